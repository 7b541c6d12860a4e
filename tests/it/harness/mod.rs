//! What the integration tests share.

pub mod app;
pub mod authority;
pub mod cluster;
pub mod load;
pub mod process;
pub mod smtp;

use std::time::{Duration, Instant};

/// Longest wait for a state that must come. It only ends a test that would hang: the slowest machine must not reach it.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Waits until `state` gives something, asking again and again; fails with what it said last when that takes too long.
#[expect(clippy::disallowed_methods, reason = "the deadline of a wait for other processes and threads is real time")]
pub async fn eventually<T>(what: &str, mut state: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match state().await {
            Ok(value) => return value,
            Err(status) if Instant::now() > deadline => panic!("waited {PATIENCE:?} for {what}: {status}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
