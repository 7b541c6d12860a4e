//! Simulates orders, crashes and rebalances: one seed decides what happens, and happens again. See `docs/simulation.md`.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

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
    /// Cancel each order around its last timer, for as many seeds as it takes to have so many such races.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    races: Option<u64>,
    /// Print every step.
    #[arg(long)]
    trace: bool,
}

fn main() -> io::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let ended = run(&Arguments::parse(), &mut out).and_then(|code| out.flush().map(|()| code));
    match ended {
        // whoever reads has seen enough
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        ended => ended,
    }
}

fn run(arguments: &Arguments, out: &mut impl Write) -> io::Result<ExitCode> {
    let Arguments { seed, seeds, steps, races, trace } = *arguments;
    let mut all = Totals::default();
    for seed in seed.. {
        let is_enough = races.map_or(all.seeds >= seeds, |races| all.in_time + all.too_late >= races && all.seeds > 0);
        if is_enough {
            break;
        }
        match sim::run(Options { seed, steps, trace, races: races.is_some() }) {
            Ok(report) => {
                print_lines(out, &report.trace)?;
                if trace || seeds == 1 && races.is_none() {
                    writeln!(out, "seed {seed}: {:016x}", report.hash)?;
                }
                all.add(&report);
            }
            Err(failure) => {
                print_lines(out, &failure.trace)?;
                writeln!(out, "{failure}")?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let Totals { seeds, orders, cancelled, events, mails, dead, hours, in_time, too_late } = all;
    if races.is_some() {
        writeln!(
            out,
            "{} cancellations raced the last timer: {in_time} came in time, {too_late} too late",
            in_time + too_late
        )?;
    }
    writeln!(
        out,
        "{seeds} seeds, {orders} orders, {cancelled} of them cancelled, {events} events, {mails} mails, {dead} dead letters in {hours:.0} hours: all promises kept"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// What happened in all seeds.
#[derive(Default)]
struct Totals {
    seeds: u64,
    orders: u64,
    cancelled: u64,
    events: u64,
    mails: u64,
    dead: u64,
    hours: f64,
    in_time: u64,
    too_late: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.orders += report.orders;
        self.cancelled += report.cancelled;
        self.events += report.events;
        self.mails += report.mails;
        self.dead += report.dead;
        self.hours += report.passed.as_secs_f64() / 3_600.0;
        self.in_time += report.in_time;
        self.too_late += report.too_late;
    }
}

fn print_lines(out: &mut impl Write, lines: &[String]) -> io::Result<()> {
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
