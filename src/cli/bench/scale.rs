//! `encargo bench scale`: what further instances and partitions bring, on Kafka and PostgreSQL.

use std::{
    collections::BTreeSet,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    DWELL, Shared, customers,
    document::Document,
    figures::{Figures, Run},
    limits::Limits,
    measure::Trial,
    page,
    plot::{Line, Plot},
    system::{Own, System},
};
use crate::{
    app::offline,
    bench::{load::Pace, process::complaint, usage::machine},
    cli::{
        Settings,
        flags::{LogFlag, MinInsyncFlag, ReplicationFlag, StoreFlag},
        interrupt::unless,
        output::explain,
        values,
    },
    config,
    domain::Lang,
    pages::format,
    words::{fill, word},
};

/// Topics that have partitions, of which each number of them has its own. The topic of order numbers is the same for all, so that
/// the store sees no number twice.
const TOPICS: [&str; 6] =
    ["topics.orders", "topics.states", "topics.dead", "topics.flows", "topics.commands", "topics.outcomes"];
const IDS: &str = "topics.ids";
/// Connections that order as fast as they are answered.
const CONNECTIONS: usize = 64;
/// Longest wait for what is in flight.
const SETTLE: Duration = Duration::from_mins(5);

/// Flags of `encargo bench scale`.
#[derive(Debug, Args)]
#[command(
    after_help = "It makes topics of its own, and removes them; its orders stay in the database, which is for trials.\n\n\
                  Example:\n  encargo bench scale --log kafka://127.0.0.1:19092 --store postgres://encargo@127.0.0.1:15432/bench --replication 1 \
                  --min-insync 1"
)]
pub(super) struct Scale {
    /// Partitions of the topics, one number after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "4,12", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    partitions: Vec<u32>,
    /// Processes that share them, for each
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u32).range(1..=64))]
    instances: Vec<u32>,
    /// How long orders come, each time
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = values::lasting)]
    duration: Duration,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    log: LogFlag,
    #[command(flatten)]
    store: StoreFlag,
    #[command(flatten)]
    replication: ReplicationFlag,
    #[command(flatten)]
    min_insync: MinInsyncFlag,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    version: &'static str,
    machine: String,
    cells: Vec<Cell>,
    limits: Limits,
}

/// So many instances on so many partitions.
#[derive(Debug, Serialize)]
struct Cell {
    partitions: u32,
    instances: u32,
    run: Run,
}

impl Scale {
    pub(super) async fn run(self, settings: &Settings, stop: &CancellationToken) -> Result<ExitCode> {
        let places =
            vec![self.log.setting(), self.store.setting(), self.replication.setting(), self.min_insync.setting()];
        let config = settings.load(&places)?.config;
        if !config.log_url().is_shared() || !config.store_url().is_shared() {
            bail!("several processes share a log on Kafka and a store on PostgreSQL: name them by --log and --store");
        }
        let limits = Limits::measure().await?;
        let mut random = [0; 4];
        getrandom::fill(&mut random).context("the system has no random numbers")?;
        let run = format!("scale_{:08x}", u32::from_be_bytes(random));
        let cells = self.cells(settings, &run, stop).await;
        // that of the numbers is the same for all
        let made: BTreeSet<_> = self.partitions.iter().flat_map(|&partitions| names(&run, partitions)).collect();
        let removed = offline::delete_topics(&config, made.into_iter().map(|(_, name)| name).collect()).await;
        let cells = cells?;
        removed.with_context(|| format!("cannot remove the topics that it made, {run}_…"))?;
        if let Some(Cell { run, .. }) = cells.iter().find(|cell| !cell.run.audit.is_kept()) {
            self.shared.output.show(run, &page::of_run(self.shared.output.lang, run))?;
            return Ok(ExitCode::FAILURE);
        }
        let found = Found { version: env!("CARGO_PKG_VERSION"), machine: machine().to_string(), cells, limits };
        self.shared.output.show(&found, &found.document(&self.shared))?;
        Ok(ExitCode::SUCCESS)
    }

    /// One after the other, until the auditor objects.
    async fn cells(&self, settings: &Settings, run: &str, stop: &CancellationToken) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for &partitions in &self.partitions {
            let mut topics = names(run, partitions);
            topics.push(("log.partitions", partitions.to_string()));
            let copies = [self.replication.setting(), self.min_insync.setting()];
            topics.extend(copies.into_iter().filter_map(|(key, value)| Some((key, value?))));
            // to its end in any case: what is made later would stay
            self.make_topics(settings, &topics).await?;
            for &instances in &self.instances {
                explain(&format!("{instances} instances on {partitions} partitions"));
                let cell = unless(stop, Box::pin(self.cell(settings, topics.clone(), partitions, instances))).await?;
                let is_kept = cell.run.audit.is_kept();
                cells.push(cell);
                if !is_kept {
                    return Ok(cells);
                }
            }
        }
        Ok(cells)
    }

    /// Has the program make the topics of a number of partitions.
    async fn make_topics(&self, settings: &Settings, topics: &[(&'static str, String)]) -> Result<()> {
        let mut init = Command::new(std::env::current_exe().context("cannot find this program")?);
        init.args(["log", "init"]).envs(topics.iter().map(|(key, value)| (config::variable(key), value)));
        if let (_, Some(url)) = self.log.setting() {
            init.args(["--log", &url]);
        }
        if let Some(file) = &settings.config {
            init.arg("--config").arg(file);
        }
        let done =
            tokio::task::spawn_blocking(move || init.output()).await?.context("cannot start `encargo log init`")?;
        if !done.status.success() {
            bail!("cannot make the topics: {}", complaint(&done.stderr));
        }
        Ok(())
    }

    async fn cell(
        &self,
        settings: &Settings,
        topics: Vec<(&'static str, String)>,
        partitions: u32,
        instances: u32,
    ) -> Result<Cell> {
        let places = vec![self.log.setting(), self.store.setting()];
        let own = Own { settings: topics, instances, ..self.shared.own(DWELL, places) };
        let mut system = System::own(settings, &own).await?;
        system.beside.clone_from(&self.shared.beside);
        let trial = Trial {
            customers: customers("1010")?,
            pace: Pace::For(self.duration),
            connections: CONNECTIONS,
            about: self.duration,
            settle: SETTLE,
        };
        let measured = trial.run(&system).await?;
        let places =
            [("n", CONNECTIONS.to_string()), ("duration", humantime::format_duration(self.duration).to_string())];
        let load = fill(word(self.shared.output.lang, "bench_load_closed"), &places).into_owned();
        let run = Run::new(load, &system, &measured, None, false);
        system.stop().await?;
        Ok(Cell { partitions, instances, run })
    }
}

/// The topics for a number of partitions: settings and names.
fn names(run: &str, partitions: u32) -> Vec<(&'static str, String)> {
    let name = |key: &'static str| (key, format!("{run}_{partitions}_{}", key.trim_start_matches("topics.")));
    TOPICS.into_iter().map(name).chain([(IDS, format!("{run}_ids"))]).collect()
}

impl Found {
    fn document(&self, shared: &Shared) -> Document {
        let rate = |cell: &Cell| cell.run.figures.as_ref().map_or(0.0, |figures| figures.completed_per_s);
        let best = self.cells.iter().max_by(|one, other| rate(one).total_cmp(&rate(other)));
        let (Some(first), Some(best)) = (self.cells.first(), best) else {
            return Document::new(shared.output.lang, String::new(), false);
        };
        let lang = shared.output.lang;
        let places = [
            ("gain", format::decimal(lang, rate(best) / rate(first).max(f64::MIN_POSITIVE), 2)),
            ("instances", best.instances.to_string()),
            ("partitions", best.partitions.to_string()),
        ];
        let title = fill(word(lang, "bench_scale_title"), &places).into_owned();
        let mut document = Document::new(lang, title, true);
        document.text(format!("{}. {}", first.run.load, page::measured_on(lang)));
        document.heading("bench_scale");
        let rows = self.cells.iter().map(|cell| cell.row(lang, rate(cell) / rate(first).max(f64::MIN_POSITIVE)));
        let titles = [
            "bench_partitions",
            "bench_instances",
            "bench_accepted_s",
            "bench_completed_s",
            "bench_ratio",
            "bench_mails_s",
            "bench_ack_p99",
            "bench_late_p99",
            "bench_cpu",
        ];
        document.table(&titles, rows.collect());
        self.plot(&mut document, rate);
        document.heading("bench_limits");
        let share = document.decimal(rate(best) / self.limits.nothing_per_s * 100.0, 1);
        document.say("bench_scale_limit", &[("share", share)]);
        document
    }

    /// A line for each number of partitions, over the instances.
    fn plot(&self, document: &mut Document, rate: impl Fn(&Cell) -> f64) {
        let mut lines: Vec<Line> = Vec::new();
        for cell in &self.cells {
            let name = format!("{} p.", cell.partitions);
            let point = (f64::from(cell.instances), rate(cell));
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name, points: vec![point] }),
            }
        }
        let title = document.word("bench_plot_scale").to_owned();
        let x = document.word("bench_instances").to_owned();
        document.plot(Plot { finding: title.clone(), title, x, lines, ..Plot::default() });
    }
}

impl Cell {
    /// `gain` is beside the first cell.
    fn row(&self, lang: Lang, gain: f64) -> Vec<String> {
        let decimal = |value: f64, digits: usize| format::decimal(lang, value, digits);
        let mut row = vec![self.partitions.to_string(), self.instances.to_string()];
        let Some(figures) = &self.run.figures else { return row };
        let Figures { accepted_per_s, completed_per_s, mails_per_s, acknowledgement_ms, cost, .. } = figures;
        let late = figures.lateness_ms.values().map(|late| late.p99).fold(0.0, f64::max);
        row.extend([decimal(*accepted_per_s, 0), decimal(*completed_per_s, 0), format!("× {}", decimal(gain, 2))]);
        row.extend([decimal(*mails_per_s, 0), decimal(acknowledgement_ms.p99, 1), decimal(late, 0)]);
        row.push(cost.as_ref().map_or_else(|| "–".to_owned(), |cost| decimal(cost.cpu_per_1000, 3)));
        row
    }
}
