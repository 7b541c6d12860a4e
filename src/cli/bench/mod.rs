//! `encargo bench`: how fast, how late, at what cost, and whether nothing was lost. Measured from outside, on a system that it
//! starts itself or on one that runs.

mod capacity;
mod figures;
mod limits;
mod load;
mod measure;
mod page;
mod report;
mod restart;
mod scale;
mod sink;
mod system;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum, builder::RangedU64ValueParser};

use self::{
    document::Output,
    figures::Run,
    limits::Limits,
    measure::Trial,
    system::{Own, System, Target},
};
use super::{
    Settings, document,
    flags::{LogFlag, StoreFlag},
    interrupt::{interrupted, unless},
    plot, values,
};
use crate::{
    bench::load::{Arrivals, Customers, Pace, Profile, Schedule},
    domain::Lang,
    pages::format,
    words::{fill, word},
};

/// Dwell of each state where nothing else is said.
const DWELL: Duration = Duration::from_secs(1);

/// Flags of `encargo bench`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  encargo bench --profile peak --rate 300 --duration 2m --html bench.html\n  \
                  encargo bench --target http://127.0.0.1:3000 --ops http://127.0.0.1:9000 --sink 127.0.0.1:1025\n  \
                  encargo bench capacity"
)]
pub(super) struct Bench {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    profile: ProfileFlags,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reproduce the tables of the report on the Python services, beside its figures
    Report(report::ReportFlags),
    /// Raise the rate until states are late or orders refused, and name what gives first
    Capacity(capacity::Capacity),
    /// Kill the system with many orders in flight, and time how it comes back
    Restart(restart::Restart),
    /// How much more several instances do, and more partitions: on Kafka and PostgreSQL
    Scale(scale::Scale),
    /// Only place orders at instances that run, and write down what each customer was told
    Load(load::LoadFlags),
    /// Only take mails, as a mail server, and write down each that comes
    Sink(sink::SinkFlags),
}

/// What comes, and when.
#[derive(Debug, Args)]
struct ProfileFlags {
    /// How the rate goes: constant, ramp (from nothing up), peak (a lunch rush), burst (two, at once)
    #[arg(long, value_enum, default_value = "constant")]
    profile: Shape,
    /// Orders per second where they are most
    #[arg(long, value_name = "N", default_value = "100", value_parser = values::positive)]
    rate: f64,
    /// How long orders come
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::lasting)]
    duration: Duration,
    /// Rates with the time of each instead, straight in between: 20@0s,80@1m,20@2m
    #[arg(long, value_name = "RATE@TIME", value_delimiter = ',', value_parser = point, conflicts_with_all = ["profile", "rate", "duration"])]
    rates: Vec<(Duration, f64)>,
    /// Space orders evenly, instead of as customers come (Poisson)
    #[arg(long)]
    even: bool,
    /// Repeats the same orders at the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Connections, and so orders without an answer, at most
    #[arg(long, value_name = "N", default_value = "256", value_parser = connections())]
    connections: usize,
    /// Order on so many connections as fast as answers come, instead of by a rate
    #[arg(long, value_name = "CONNECTIONS", value_parser = connections(), conflicts_with_all = ["profile", "rate", "rates", "even", "connections"])]
    closed: Option<usize>,
}

/// Which system is measured.
#[derive(Debug, Args)]
struct Place {
    /// A system that runs: where it takes orders [default: start one in a temporary folder]
    #[arg(long, value_name = "URL", requires = "ops")]
    target: Option<String>,
    /// Where its metrics are; where they want a token, it is read from ops.token, or ops.token_file, of the settings
    #[arg(long, value_name = "URL", requires = "target")]
    ops: Option<String>,
    /// Listen here for its mails: tell it to send them there (--mail smtp://…)
    #[arg(long, value_name = "ADDR", requires = "target")]
    sink: Option<SocketAddr>,
    /// Its process on this machine, whose CPU and memory are then told
    #[arg(long, value_name = "PID", requires = "target", value_parser = values::process)]
    process: Option<u32>,
    /// Key of the product that is ordered, again and again
    #[arg(long, value_name = "KEY", default_value = "1010")]
    product: String,
    /// Measure it even where its log and store cannot be read from here, and say that nobody has looked whether all is true
    #[arg(long, requires = "target")]
    unaudited: bool,
    /// Longest wait for what is in flight when no more orders come
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    settle: Duration,
    #[command(flatten)]
    log: LogFlag,
    #[command(flatten)]
    store: StoreFlag,
}

/// What every measurement can be told.
#[derive(Debug, Args)]
pub(super) struct Shared {
    /// How long an order stays in each state, of a system that is started [default: 1s; report: 3s; restart: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    dwell: Option<Duration>,
    /// Send no mails, of a system that is started
    #[arg(long)]
    no_mail: bool,
    /// Programs that work for it, whose CPU counts, too: broker=PID,database=PID
    #[arg(long, value_name = "NAME=PID", value_delimiter = ',', value_parser = values::program)]
    beside: Vec<(String, u32)>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Constant,
    Ramp,
    Peak,
    Burst,
}

impl Bench {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let stop = interrupted()?;
        match self.command {
            Some(Command::Report(report)) => unless(&stop, Box::pin(report.run(settings))).await,
            Some(Command::Capacity(capacity)) => unless(&stop, Box::pin(capacity.run(settings))).await,
            Some(Command::Restart(restart)) => unless(&stop, Box::pin(restart.run(settings))).await,
            Some(Command::Scale(scale)) => scale.run(settings, &stop).await,
            Some(Command::Load(load)) => load.run(&stop).await,
            Some(Command::Sink(sink)) => sink.run(&stop).await,
            None => unless(&stop, Box::pin(self.measure(settings))).await,
        }
    }

    async fn measure(&self, settings: &Settings) -> Result<ExitCode> {
        let (pace, words) = self.profile.pace(self.shared.output.lang)?;
        let trial = Trial {
            customers: customers(&self.place.product)?,
            pace,
            connections: self.profile.closed.unwrap_or(self.profile.connections),
            about: self.profile.duration,
            settle: self.place.settle,
        };
        let mut system = self.system(settings).await?;
        system.beside.clone_from(&self.shared.beside);
        let limits = Limits::measure().await?;
        let measured = trial.run(&system).await?;
        let run = Run::new(words, &system, &measured, Some(limits), self.place.unaudited);
        drop(system);
        self.shared.output.show(&run, &page::of_run(self.shared.output.lang, &run))?;
        Ok(ExitCode::from(u8::from(run.figures.is_none())))
    }

    async fn system(&self, settings: &Settings) -> Result<System> {
        let places = vec![self.place.log.setting(), self.place.store.setting()];
        let Place { target: Some(intake), ops: Some(ops), .. } = &self.place else {
            return System::own(settings, &self.shared.own(DWELL, places)).await;
        };
        let Place { sink, process, unaudited, .. } = self.place;
        let (intake, ops) = (intake.clone(), ops.clone());
        System::target(settings, &Target { intake, ops, sink, process, places, unaudited }).await
    }
}

impl ProfileFlags {
    /// The pace, and in words what it is.
    fn pace(&self, lang: Lang) -> Result<(Pace, String)> {
        let Self { profile, mut rate, mut duration, even, seed, closed, .. } = *self;
        if let Some(connections) = closed {
            let places = [
                ("n", format::number(lang, connections as u64)),
                ("duration", humantime::format_duration(duration).to_string()),
            ];
            return Ok((Pace::For(duration), fill(word(lang, "bench_load_closed"), &places).into_owned()));
        }
        let (name, profile) = match profile {
            _ if !self.rates.is_empty() => {
                (rate, duration) = check_points(&self.rates)?;
                ("bench_rates", Profile::through(&self.rates))
            }
            Shape::Constant => ("bench_constant", Profile::constant(rate, duration)),
            Shape::Ramp => ("bench_ramp", Profile::ramp(rate, duration)),
            Shape::Peak => ("bench_peak", Profile::peak(rate, duration)),
            Shape::Burst => ("bench_burst", Profile::burst(rate, duration)),
        };
        let arrivals = if even { Arrivals::Even } else { Arrivals::Poisson(seed) };
        Ok((Pace::Open(Schedule::new(profile, arrivals)), in_words(lang, name, rate, duration, arrivals)))
    }
}

/// As many as there are ports for, and one at least.
fn connections() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=65_535)
}

/// A rate at a time: `20@1m`.
fn point(text: &str) -> Result<(Duration, f64), String> {
    let pair =
        text.split_once('@').and_then(|(rate, at)| Some((humantime::parse_duration(at).ok()?, rate.parse().ok()?)));
    let is_rate = |(_, rate): &(_, f64)| rate.is_finite() && *rate >= 0.0;
    pair.filter(is_rate).ok_or_else(|| "must be a rate and a time, like 20@1m".to_owned())
}

/// The highest of some rates, and how long they take.
fn check_points(points: &[(Duration, f64)]) -> Result<(f64, Duration)> {
    let highest = points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let is_sorted = points.is_sorted_by(|(one, _), (other, _)| one < other);
    match points {
        [(Duration::ZERO, _), .., (end, _)] if is_sorted && highest > 0.0 => Ok((highest, *end)),
        _ => bail!("--rates: must be two at least, the first at 0s, each later than the one before, and not all 0"),
    }
}

impl Shared {
    /// A system of our own; `dwell` if none was named.
    fn own(&self, dwell: Duration, places: Vec<super::flags::Setting>) -> Own {
        let (settings, instances) = (Vec::new(), 1);
        Own { dwell: self.dwell.unwrap_or(dwell), mail: !self.no_mail, places, settings, instances }
    }
}

/// A number that somebody chose, with the decimals that it has, three at most.
fn in_digits(lang: Lang, number: f64) -> String {
    let text = ((number * 1e3).round() / 1e3).to_string();
    format::decimal(lang, number, text.split_once('.').map_or(0, |(_, decimals)| decimals.len()))
}

/// A load; `profile` is a key of words.
fn in_words(lang: Lang, profile: &str, rate: f64, duration: Duration, arrivals: Arrivals) -> String {
    let spread = match arrivals {
        Arrivals::Even => word(lang, "bench_even").to_owned(),
        Arrivals::Poisson(seed) => fill(word(lang, "bench_poisson"), &[("seed", seed.to_string())]).into_owned(),
    };
    let duration = humantime::format_duration(duration).to_string();
    let places = [
        ("profile", word(lang, profile).to_owned()),
        ("rate", in_digits(lang, rate)),
        ("duration", duration),
        ("spread", spread),
    ];
    fill(word(lang, "bench_load"), &places).into_owned()
}

/// Customers whose orders are told apart from those of any other run.
fn customers(product: &str) -> Result<Customers> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).context("the system has no random numbers")?;
    let run = format!("bench{:08x}", u32::from_be_bytes(random));
    Ok(Customers { run, products: vec![product.to_owned()], unkeyed: 1 })
}
