//! First figures: `cargo bench --bench orders -- MODE`, where MODE is
//!
//! - `acks`: durable acknowledgements per second beside a handler that does nothing, at concurrency 1, 16, 64, 256
//! - `flow [--mail none|maildir|smtp] [--rate N] [--desks N]`: sustained orders per second through all states, while so
//!   many people look at the operations desk
//! - `timers [--orders 100000] [--rate 2000] [--mail none|maildir|smtp]`: lateness of transitions and memory with that
//!   many orders in flight
//! - `restart [--orders 150000]`: time from start to the first timer with that many orders in flight
//! - `overload`: three times the sustainable rate for 30 s, then normal again
//!
//! Every mode but `acks` drives the real binary as a child process. `flow`, `timers` and `restart` take `--log URL` and
//! `--store URL`, and print the CPU of other programs with `--beside broker=PID,postgres=PID`. `docs/benchmarks.md` holds the figures.
#![allow(missing_docs, clippy::disallowed_methods, clippy::float_cmp)] // a benchmark reads real time, bounds are equal texts

mod acks;
mod client;
mod modes;
mod server;
#[path = "../../tests/it/harness/smtp/mod.rs"]
mod smtp;
mod watch;

use std::time::Duration;

/// `--name value` among the arguments, or a default.
fn option<T: std::str::FromStr>(name: &str, default: T) -> T {
    let arguments: Vec<String> = std::env::args().collect();
    let found = arguments.iter().position(|argument| argument == name).and_then(|i| arguments.get(i + 1));
    found.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `--rate N`, if it is there.
fn rate() -> Option<f64> {
    Some(option("--rate", 0.0)).filter(|rate| *rate > 0.0)
}

#[tokio::main]
async fn main() {
    let seconds = Duration::from_secs(option("--seconds", 20));
    match std::env::args().nth(1).as_deref() {
        Some("acks") => acks::run(Duration::from_secs(option("--seconds", 4))).await,
        Some("flow") => modes::flow(&option("--mail", "none".to_owned()), seconds, rate()).await,
        Some("timers") => {
            modes::timers(option("--orders", 100_000), option("--rate", 2_000.0), &option("--mail", "none".to_owned()))
                .await;
        }
        Some("restart") => modes::restart(option("--orders", 150_000)).await,
        Some("overload") => modes::overload(option("--rate", 4_000.0)).await,
        _ => println!(
            "usage: cargo bench --bench orders -- acks|flow|timers|restart|overload (see benches/orders/main.rs)"
        ),
    }
}
