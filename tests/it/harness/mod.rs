//! What the integration tests share.

pub mod app;
pub mod authority;
pub mod cluster;
pub mod load;
pub mod process;
pub mod smtp;

use std::time::{Duration, Instant};

/// Waits until `state` gives something, asking again and again; fails with what it said last when that takes too long.
#[expect(clippy::disallowed_methods, reason = "the deadline of a wait for other processes and threads is real time")]
pub async fn eventually<T>(what: &str, mut state: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match state().await {
            Ok(value) => return value,
            Err(status) if Instant::now() > deadline => panic!("waited 30 s for {what}: {status}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
