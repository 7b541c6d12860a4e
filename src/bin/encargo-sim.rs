//! Simulates orders, crashes and rebalances: one seed decides what happens, and happens again. See `docs/simulation.md`.

use std::process::ExitCode;

use clap::Parser;
use encargo::sim::{self, Options, Report};

/// Runs the services in a world in memory in which everything goes wrong, and judges what became of every order.
///
/// It ends with 0 when all promises were kept, and otherwise with 1 and the command that replays what happened.
#[derive(Parser)]
struct Arguments {
    /// The seed, or the first of them.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds, one after the other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Steps of each.
    #[arg(long, default_value_t = 300)]
    steps: u32,
    /// Print every step.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let Arguments { seed, seeds, steps, trace } = Arguments::parse();
    let (mut orders, mut cancelled, mut events, mut mails, mut dead, mut hours) = (0, 0, 0, 0, 0, 0.0);
    for seed in (seed..).take(usize::try_from(seeds).unwrap_or(usize::MAX)) {
        match sim::run(Options { seed, steps, trace }) {
            Ok(report) => {
                print_lines(&report.trace);
                let Report { passed, hash, .. } = report;
                (orders, events) = (orders + report.orders, events + report.events);
                (mails, dead) = (mails + report.mails, dead + report.dead);
                cancelled += report.cancelled;
                hours += passed.as_secs_f64() / 3_600.0;
                if seeds == 1 {
                    println!("seed {seed}: {hash:016x}");
                }
            }
            Err(failure) => {
                print_lines(&failure.trace);
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{seeds} seeds, {orders} orders, {cancelled} of them cancelled, {events} events, {mails} mails, {dead} dead letters in {hours:.0} hours: all promises kept"
    );
    ExitCode::SUCCESS
}

fn print_lines(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}
