//! What the integration tests share.

pub mod app;
pub mod authority;
pub mod changes;
pub mod cluster;
pub mod load;
pub mod process;
pub mod stream;

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

pub use encargo::bench::sink as smtp;
use encargo::clock::Clock;

/// Longest wait for a state that must come. It only ends a test that would hang: the slowest machine must not reach it.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// The first of so many ports in a row on which nobody listens, for a server that takes a while to come up. They lie below
/// those that the system hands out, and each is given once, so that nobody takes one meanwhile.
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u16 = 10_000;
    const LAST: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // tests of another process begin elsewhere
    let start = (std::process::id() % 97) as u16 * 100;
    loop {
        let place = start + NEXT.fetch_add(count, Ordering::Relaxed);
        let first = FIRST + place % (LAST - FIRST - count);
        if (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}

/// A port on loopback that nobody listens on, for a server that cannot pick one itself.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}

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
