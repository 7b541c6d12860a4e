//! `encargo bench capacity`: the highest rate at which states are entered in time, nobody is refused, and mails keep up; and what
//! gives first beyond it.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::{
    DWELL, Shared, customers,
    document::Document,
    figures::{Figures, Run},
    in_digits, in_words,
    limits::Limits,
    measure::{Measured, Trial},
    page,
    plot::{Line, Plot},
    system::{System, waiting},
};
use crate::{
    bench::{
        load::{Arrivals, Pace, Profile, Schedule},
        usage::Usage,
    },
    cli::{
        Settings,
        flags::{LogFlag, StoreFlag},
        output::explain,
        values,
    },
    domain::Lang,
    pages::format,
    words::{fill, word},
};

/// Lateness in milliseconds that 99 % of the states may have at most.
const LATE_MAX: f64 = 500.0;
/// Seconds by which mails may be behind when the last order is placed.
const MAILS_BEHIND: f64 = 0.5;
/// Percent of a core from which a thread is full, and of all cores from which the machine is.
const FULL: f64 = 85.0;
/// Times that the gap between the last rate that was fine and the first that was not is halved.
const HALVINGS: u32 = 3;
const CONNECTIONS: usize = 512;

/// Flags of `encargo bench capacity`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  encargo bench capacity\n  encargo bench capacity --from 500 --step 20s --html capacity.html\n  \
                        encargo bench capacity --no-mail --json"
)]
pub(super) struct Capacity {
    /// Orders per second at first; then twice as many, until it is too much
    #[arg(long, value_name = "N", default_value = "200", value_parser = values::positive)]
    from: f64,
    /// Highest rate that is tried
    #[arg(long, value_name = "N", default_value = "50000", value_parser = values::positive)]
    to: f64,
    /// How long each rate is kept
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::lasting)]
    step: Duration,
    /// Repeats the same orders at the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    log: LogFlag,
    #[command(flatten)]
    store: StoreFlag,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    version: &'static str,
    machine: String,
    /// Orders per second: the highest that met the objective, if one did.
    capacity_per_s: Option<f64>,
    /// Why the next higher one did not, and what was full or grew then.
    broke: Option<String>,
    bottlenecks: Vec<String>,
    steps: Vec<Step>,
    limits: Limits,
}

/// A rate that was tried on a system of its own.
#[derive(Debug, Serialize)]
struct Step {
    rate: f64,
    /// What was not met; none: all was.
    broke: Option<String>,
    bottlenecks: Vec<String>,
    run: Run,
}

impl Capacity {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        if self.from > self.to {
            bail!("--from {}: must not be more than --to", self.from);
        }
        let limits = Limits::measure().await?;
        let mut steps: Vec<Step> = Vec::new();
        let (mut good, mut rate) = (None, self.from);
        let mut bad = loop {
            let step = self.step(settings, rate).await?;
            let is_kept = step.run.audit.is_kept();
            let is_good = step.broke.is_none();
            steps.push(step);
            match (is_kept, is_good) {
                (false, _) => return self.objected(&steps),
                (true, false) => break Some(rate),
                (true, true) => good = Some(rate),
            }
            if rate >= self.to {
                break None;
            }
            rate = (rate * 2.0).min(self.to);
        };
        for _ in 0..HALVINGS {
            let (Some(low), Some(high)) = (good, bad) else { break };
            let step = self.step(settings, f64::midpoint(low, high).round()).await?;
            if !step.run.audit.is_kept() {
                steps.push(step);
                return self.objected(&steps);
            }
            *(if step.broke.is_none() { &mut good } else { &mut bad }) = Some(step.rate);
            steps.push(step);
        }
        let first_bad =
            steps.iter().filter(|step| step.broke.is_some()).min_by(|one, other| one.rate.total_cmp(&other.rate));
        let (broke, bottlenecks) =
            first_bad.map_or((None, Vec::new()), |step| (step.broke.clone(), step.bottlenecks.clone()));
        steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        let (version, machine) = (env!("CARGO_PKG_VERSION"), steps[0].run.machine.clone());
        let found = Found { version, machine, capacity_per_s: good, broke, bottlenecks, steps, limits };
        self.shared.output.show(&found, &found.document(&self.shared))?;
        Ok(ExitCode::SUCCESS)
    }

    /// A rate on a fresh system, which is audited afterwards.
    async fn step(&self, settings: &Settings, rate: f64) -> Result<Step> {
        let places = vec![self.log.setting(), self.store.setting()];
        let mut system = System::own(settings, &self.shared.own(DWELL, places)).await?;
        system.beside.clone_from(&self.shared.beside);
        let arrivals = Arrivals::Poisson(self.seed);
        let trial = Trial {
            customers: customers("1010")?,
            pace: Pace::Open(Schedule::new(Profile::constant(rate, self.step), arrivals)),
            connections: CONNECTIONS,
            about: self.step,
            settle: Duration::from_mins(10),
        };
        let measured = trial.run(&system).await?;
        let words = in_words(self.shared.output.lang, "bench_constant", rate, self.step, arrivals);
        let run = Run::new(words, &system, &measured, None, false);
        let states = f64::from(system.flow()?.last_seq());
        let broke = run
            .figures
            .as_ref()
            .and_then(|figures| broken(self.shared.output.lang, &run, figures, &measured, rate * states));
        let bottlenecks =
            if broke.is_some() { bottlenecks(self.shared.output.lang, &measured, rate) } else { Vec::new() };
        let good = if run.audit.is_kept() { "fine" } else { "no figures" };
        explain(&format!("{} orders/s: {}", in_digits(Lang::En, rate), broke.as_deref().unwrap_or(good)));
        Ok(Step { rate, broke, bottlenecks, run })
    }

    /// There is no figure when a step fails the audit.
    fn objected(&self, steps: &[Step]) -> Result<ExitCode> {
        let run = &steps[steps.len() - 1].run;
        self.shared.output.show(run, &page::of_run(self.shared.output.lang, run))?;
        Ok(ExitCode::FAILURE)
    }
}

/// What the objective does not allow; `mails` come per second.
fn broken(lang: Lang, run: &Run, figures: &Figures, measured: &Measured, mails: f64) -> Option<String> {
    let (wait, late) = (waiting(&measured.loaded.scrape), worst(figures));
    let failed = (run.refused + run.lost) as f64;
    let acknowledgement = figures.acknowledgement_ms.p99;
    let breaches = [
        ("bench_broke_refused", failed, 0.0),
        ("bench_broke_late", late, LATE_MAX),
        ("bench_broke_answers", acknowledgement, LATE_MAX),
        ("bench_broke_mails", wait, mails * MAILS_BEHIND),
    ];
    let (key, value, _) = breaches.into_iter().find(|(_, value, most)| value > most)?;
    Some(said(lang, key, value))
}

/// Which queue grew and which thread was full while orders came.
fn bottlenecks(lang: Lang, measured: &Measured, rate: f64) -> Vec<String> {
    let Measured { before, loaded, seconds, .. } = measured;
    let spent = |group: &str| {
        let cpu = |usage: &Option<Usage>| usage.as_ref().map_or(0.0, |usage| usage.spent(group).cpu);
        (cpu(&loaded.usage) - cpu(&before.usage)) / seconds * 100.0
    };
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let busy = 100.0 - (loaded.idle - before.idle) / (seconds * cores) * 100.0;
    let signs = [
        ("bench_full_behind", loaded.scrape.value("encargo_intake_backlog_records"), rate / 2.0),
        ("bench_full_mails", waiting(&loaded.scrape), rate),
        ("bench_full_log", spent("log"), FULL),
        ("bench_full_store", spent("store"), FULL),
        ("bench_full_cores", busy, FULL),
    ];
    signs.into_iter().filter(|(_, value, most)| value > most).map(|(key, value, _)| said(lang, key, value)).collect()
}

fn said(lang: Lang, key: &str, value: f64) -> String {
    fill(word(lang, key), &[("n", format::decimal(lang, value, 0))]).into_owned()
}

impl Found {
    fn document(&self, shared: &Shared) -> Document {
        let title = match (self.capacity_per_s, &self.broke) {
            (Some(rate), Some(_)) => ("bench_capacity", rate),
            (Some(rate), None) => ("bench_capacity_more", rate),
            (None, _) => ("bench_capacity_none", self.steps[0].rate),
        };
        let lang = shared.output.lang;
        let words = fill(word(lang, title.0), &[("rate", in_digits(lang, title.1))]).into_owned();
        let mut document = Document::new(lang, words, true);
        document.text(page::measured_on(lang));
        document.say("bench_capacity_objective", &[("late", format!("{LATE_MAX:.0}"))]);
        if let Some(broke) = &self.broke {
            document.say("bench_capacity_broke", &[("what", broke.clone())]);
        }
        for bottleneck in &self.bottlenecks {
            document.text(bottleneck.clone());
        }
        document.heading("bench_capacity_steps");
        document.table(
            &[
                "bench_rate",
                "bench_completed_s",
                "bench_mails_s",
                "bench_ack_p99",
                "bench_late_p99",
                "bench_cpu",
                "bench_objective",
            ],
            self.steps.iter().map(|step| step.row(lang)).collect(),
        );
        self.plots(&mut document);
        if let Some(rate) = self.capacity_per_s {
            document.heading("bench_limits");
            let share = document.decimal(rate / self.limits.nothing_per_s * 100.0, 1);
            document.say("bench_capacity_limit", &[("share", share)]);
        }
        document
    }

    fn plots(&self, document: &mut Document) {
        let line = |key: &str, of: fn(&Figures) -> f64| Line {
            name: document.word(key).to_owned(),
            points: self.steps.iter().filter_map(|step| Some((step.rate, of(step.run.figures.as_ref()?)))).collect(),
        };
        let cpu = |figures: &Figures| figures.cost.as_ref().map_or(0.0, |cost| cost.cpu_per_1000);
        let rates =
            vec![line("bench_line_completed", |f| f.completed_per_s), line("bench_line_mails", |f| f.mails_per_s)];
        let late = vec![line("bench_line_late", worst)];
        let limit = Some((LATE_MAX, document.word("bench_objective").to_owned()));
        for (title, lines, limit) in [
            ("bench_plot_capacity", rates, None),
            ("bench_plot_capacity_late", late, limit),
            ("bench_plot_capacity_cpu", vec![line("bench_line_cpu_order", cpu)], None),
        ] {
            let finding = document.word(title).to_owned();
            let x = document.word("bench_rate").to_owned();
            document.plot(Plot { title: finding.clone(), finding, x, limit, lines, ..Plot::default() });
        }
    }
}

/// The lateness of the state that is latest, p99 in milliseconds.
fn worst(figures: &Figures) -> f64 {
    figures.lateness_ms.values().map(|late| late.p99).fold(0.0, f64::max)
}

impl Step {
    fn row(&self, lang: Lang) -> Vec<String> {
        let decimal = |value: f64, digits: usize| format::decimal(lang, value, digits);
        let Some(figures) = &self.run.figures else { return vec![in_digits(lang, self.rate)] };
        let cpu = figures.cost.as_ref().map_or_else(|| "–".to_owned(), |cost| decimal(cost.cpu_per_1000, 3));
        vec![
            in_digits(lang, self.rate),
            decimal(figures.completed_per_s, 0),
            decimal(figures.mails_per_s, 0),
            decimal(figures.acknowledgement_ms.p99, 1),
            decimal(worst(figures), 0),
            cpu,
            self.broke.clone().unwrap_or_else(|| "✓".to_owned()),
        ]
    }
}
