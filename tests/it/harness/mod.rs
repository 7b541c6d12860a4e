//! What the integration tests share.

pub mod app;
pub mod authority;
pub mod changes;
pub mod cluster;
#[cfg(feature = "otlp")]
pub mod collector;
pub mod load;
pub mod process;
pub mod stream;
pub mod turn;

use std::time::{Duration, Instant};

pub use encargo::bench::{process::free_ports, sink as smtp};
use encargo::clock::Clock;

/// Longest wait for a state that must come. It only ends a test that would hang: the slowest machine must not reach it.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Settings by which an answer waits for what a busy machine has not done yet. It would say otherwise that it does not know, which is
/// right, and not what a test asks about.
pub const UNHURRIED: [(&str, &str); 2] = [("http.request_timeout", "90s"), ("http.command_wait", "40s")];

/// The machine's time, for what tests share with servers, files and other threads.
#[expect(clippy::disallowed_methods, reason = "a test is its own world")]
pub fn real_clock() -> Clock {
    Clock::system()
}

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
