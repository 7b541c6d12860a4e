//! First figures: `cargo bench --bench orders -- MODE`, where MODE is
//!
//! - `acks`: durable acknowledgements per second beside a handler that does nothing, at concurrency 1, 16, 64, 256
//! - `flow [--mail none|maildir|smtp] [--rate N] [--desks N]`: sustained orders per second through all states, while so
//!   many people look at the operations desk
//! - `timers [--orders 100000] [--rate 2000] [--mail none|maildir|smtp]`: lateness of transitions and memory with that
//!   many orders in flight
//! - `idle [--seconds 20] [--mail none|maildir|smtp]`: wake-ups, CPU and memory of a process that has nothing to do
//! - `shares [--rate N]`: ten clients behind a proxy, one of which sends 50 times its share of that rate
//! - `overload`: three times the sustainable rate for 30 s, then normal again
//!
//! Every mode but `acks` drives the real binary as a child process. `flow` and `timers` take `--log URL` and
//! `--store URL`, and print the CPU of other programs with `--beside broker=PID,postgres=PID`. `docs/benchmarks.md` holds the figures.
#![allow(missing_docs, clippy::disallowed_methods)] // a benchmark reads real time

mod acks;
mod desk;
mod modes;
mod watch;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use encargo::bench::{
    load::{Arrivals, Customers, Load, Outcome, Pace, Profile, Schedule},
    stats::Summary,
};
use tokio_util::sync::CancellationToken;

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

/// Orders on so many connections: one after the other, or so many per second.
async fn load(to: SocketAddr, connections: usize, duration: Duration, rate: Option<f64>) -> Outcome {
    load_from(None, to, connections, duration, rate).await
}

/// The same from a client, as a reverse proxy names it.
async fn load_from(
    client: Option<IpAddr>,
    to: SocketAddr,
    connections: usize,
    duration: Duration,
    rate: Option<f64>,
) -> Outcome {
    let even = |rate| Pace::Open(Schedule::new(Profile::constant(rate, duration), Arrivals::Even));
    let customers = Customers { run: "c".into(), products: vec!["1010".into()], unkeyed: 1 };
    let load = Load {
        client,
        connections,
        answer_max: Duration::from_mins(1),
        ..Load::new(vec![to], customers, rate.map_or(Pace::For(duration), even))
    };
    let outcome = load.run(Arc::default(), CancellationToken::new()).await;
    assert_eq!(outcome.complaint(), None);
    outcome
}

/// What a load saw, in a line.
fn report(outcome: &Outcome) -> String {
    let (latency, (refused, lost)) = (Summary::of(outcome.latencies()).scaled(1e3), outcome.refused_and_lost());
    let rate = latency.count as f64 / outcome.elapsed.as_secs_f64();
    format!(
        "{rate:.0} accepted/s, {refused} refused, {lost} lost, p50 {:.2} ms, p99 {:.2} ms",
        latency.p50, latency.p99
    )
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
        Some("idle") => modes::idle(&option("--mail", "maildir".to_owned()), seconds).await,
        Some("shares") => modes::shares(option("--rate", 1_000.0), seconds).await,
        Some("overload") => modes::overload(option("--rate", 4_000.0)).await,
        _ => {
            println!(
                "usage: cargo bench --bench orders -- acks|flow|timers|idle|shares|overload (see benches/orders/main.rs)"
            );
        }
    }
}
