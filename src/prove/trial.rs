use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    arrivals::Arrivals,
    certificate::Certificate,
    judge::Evidence,
    plan::{Moment, plan},
    rest::rest,
    system::{SmallDisk, System, make_topics},
    watch::Watch,
};
use crate::{
    app::offline,
    audit::{self, Facts, Rules, Sources},
    bench::{
        load::{Arrivals as Spread, Customers, Load, Outcome, Pace, Profile, Progress, Schedule},
        process::Launch,
        scrape::Ops,
        shop::Shop,
        sink::{Setup, Sink, Trouble},
    },
    clock::Clock,
    config::{self, Config},
    domain::{Flow, OrderId},
    store::Store,
};

/// What is tried.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The program: `encargo` itself.
    pub program: PathBuf,
    /// Orders that are placed.
    pub orders: u64,
    /// How many a second.
    pub rate: f64,
    /// How long an order stays in each state.
    pub dwell: Duration,
    /// How often the system is killed.
    pub kills: u32,
    /// The share of the steps of a mail at which the mail server does something wrong, 0 to 1.
    pub smtp_trouble: f64,
    /// Whether the disk is full for a while.
    pub disk_full: bool,
    /// A shell command that restarts the broker and returns once it serves again.
    pub broker_restart: Option<String>,
    /// Of what chance is made.
    pub seed: u64,
    /// The event log and the store, where they are not SQLite: both must be empty.
    pub log: Option<String>,
    /// See there.
    pub store: Option<String>,
    /// Copies of each partition, on Kafka.
    pub replication: u32,
    /// Where a temporary folder is made.
    pub folder: PathBuf,
    /// Longest wait for an end of it all, once no more orders come.
    pub patience: Duration,
    /// The command that tries this again.
    pub command: String,
}

/// Topics of a trial, which are its own.
const TOPICS: [(&str, &str); 7] = [
    ("topics.orders", "compra_detalle"),
    ("topics.states", "compra_confirmada"),
    ("topics.dead", "compra_dead_letters"),
    ("topics.ids", "encargo_ids"),
    ("topics.flows", "encargo_flows"),
    ("topics.commands", "encargo_commands"),
    ("topics.outcomes", "encargo_outcomes"),
];
/// Customers at work at once, at most.
const CONNECTIONS: usize = 16;
/// Every n-th order has no idempotency key.
const UNKEYED: u64 = 5;
/// For how long an order with a key is tried again: longer than anything that is done to the system.
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Longest wait for an answer over HTTP.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How often the orders are counted, between strikes.
const ASK: Duration = Duration::from_millis(20);
/// Room for a trial on a small disk, beside what its orders need; and what each of them does.
const DISK: u64 = 64 << 20;
const DISK_PER_ORDER: u64 = 64 << 10;

impl Default for Trial {
    fn default() -> Self {
        Self {
            program: PathBuf::from("encargo"),
            orders: 500,
            rate: 25.0,
            dwell: Duration::from_secs(1),
            kills: 10,
            smtp_trouble: 0.0,
            disk_full: false,
            broker_restart: None,
            seed: 0,
            log: None,
            store: None,
            replication: 3,
            folder: std::env::temp_dir(),
            patience: Duration::from_mins(5),
            command: String::new(),
        }
    }
}

/// A task beside the load, which ends with what it has when it is told to stop.
struct Beside<T> {
    stop: CancellationToken,
    task: JoinHandle<T>,
}

impl<T: Send + 'static> Beside<T> {
    fn start<F: Future<Output = T> + Send + 'static>(work: impl FnOnce(CancellationToken) -> F) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(work(stop.clone())), stop }
    }

    async fn end(self) -> Result<T> {
        self.stop.cancel();
        self.task.await.context("a part of the trial has failed")
    }
}

impl Trial {
    /// Tries it all; `say` is told what is being done.
    pub async fn run(&self, say: impl Fn(&str)) -> Result<Certificate> {
        let (began, clock) = (Instant::now(), Clock::system());
        let at = clock.now();
        let place = tempfile::Builder::new().prefix("encargo-prove-").tempdir_in(&self.folder);
        let place = place.with_context(|| format!("cannot make a folder in {}", self.folder.display()))?;
        let disk = DISK + DISK_PER_ORDER * self.orders;
        let _small = self.disk_full.then(|| SmallDisk::over(place.path(), disk)).transpose()?;
        let evidence = self.evidence(place.path(), &say).await?;
        let repeats = evidence.repeats();
        let promises = evidence.promises(&repeats);
        Ok(Certificate {
            kept: promises.iter().all(|promise| promise.kept),
            version: env!("CARGO_PKG_VERSION"),
            machine: machine(),
            back_ends: if self.log.is_some() { "Kafka, PostgreSQL" } else { "SQLite" },
            began: at,
            seconds: began.elapsed().as_secs(),
            seed: self.seed,
            command: self.command.clone(),
            tried: evidence.tried(),
            promises,
            repeats,
            ambiguous: evidence.facts.repeats_counted,
        })
    }

    async fn evidence(&self, place: &Path, say: &impl Fn(&str)) -> Result<Evidence> {
        let sink = Arc::new(Sink::on(([127, 0, 0, 1], 0).into(), Setup::default()).await?);
        if self.smtp_trouble > 0.0 {
            sink.trouble(Trouble::new(self.smtp_trouble, self.seed));
        }
        let file = place.join(config::FILE);
        let config = self.settings(place, &file, &sink)?;
        say("starting the system");
        let mut launch = Launch::new(self.program.clone(), &config.data);
        launch.arguments = vec!["--config".into(), file.display().to_string()];
        if self.log.is_some() {
            make_topics(&self.program, &file).await?;
        }
        let mut system = System::start(launch, self.broker_restart.clone()).await?;

        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
        let progress = Arc::new(Progress::default());
        let [_, tracking, ops] = system.urls();
        let arrivals = Beside::start(|stop| Arrivals::default().take(sink.clone(), stop));
        let watch = Watch::new(http.clone(), system.urls(), self.seed);
        let watch = Beside::start(|stop| watch.look(progress.clone(), stop));
        let shop = Shop::new(http, vec![tracking], self.seed);
        let shop = Beside::start(|stop| shop.work(progress.clone(), stop));

        let customers = self.customers();
        let load = tokio::spawn(self.load(&system, &customers).run(progress.clone(), CancellationToken::new()));
        self.strike_all(&mut system, &load, &progress, say).await?;
        let load = load.await.context("the customers have failed")?;
        say("no more orders come; waiting until all is over");
        sink.mend();
        let mut shop = shop.end().await?;
        // what did not come back answers nobody
        let patience = if system.is_alive() { self.patience } else { Duration::ZERO };
        let (commanded, unanswered) = shop.settle(patience).await;
        let store = offline::store(&config).await?;
        let (others, redriven) = rest(&mut system, &*store, &Ops::at(&ops)?, patience, say).await;
        let seen = watch.end().await?;
        system.stop().await?;
        let arrivals = arrivals.end().await?;

        say("auditing log, store and mails");
        let mut facts = collect(&config, &*store).await?;
        facts.acknowledged = load.acknowledged(&customers);
        facts.commanded = commanded;
        facts.mails.clone_from(&arrivals.mails);
        let report = audit::judge(&facts, &self.rules());
        let ambiguous = ambiguous(&*store, &facts).await?;
        let log = std::fs::read_to_string(system.log()).context("cannot read the system's log")?;
        let troubles = sink.troubles();
        let done = system.done.clone();
        Ok(Evidence {
            facts,
            report,
            load,
            arrivals,
            troubles,
            done,
            seen,
            unanswered,
            redriven,
            ambiguous,
            log,
            others,
        })
    }

    /// Writes the system's configuration, and reads it as the system does.
    fn settings(&self, place: &Path, file: &Path, sink: &Sink) -> Result<Config> {
        let dwell = humantime::format_duration(self.dwell).to_string();
        let mut settings = vec![
            ("data", place.join("data").display().to_string()),
            ("mail.url", sink.url()),
            ("mail.retry_max", "4s".to_owned()),
            ("mail.lease", "10s".to_owned()),
            // by chance, one of thousands of mails gets no answer three times in a row, and may not be given up for that
            ("mail.copies_max", u32::MAX.to_string()),
            ("flow.dwell", dwell),
        ];
        if let Some(url) = &self.log {
            let run = format!("{:x}", Clock::system().now().as_millis());
            settings.extend(TOPICS.map(|(key, name)| (key, format!("prove_{run}_{name}"))));
            let replicas = self.replication;
            settings.extend(
                [("log.replication", replicas), ("log.min_insync", replicas.div_ceil(2))]
                    .map(|(key, n)| (key, n.to_string())),
            );
            settings.push(("log.url", url.clone()));
        }
        settings.extend(self.store.iter().map(|url| ("store.url", url.clone())));
        let line = |(key, value): &(&str, String)| match value.parse::<u32>() {
            Ok(number) => format!("{key} = {number}"),
            Err(_) => format!("{key} = {value:?}"),
        };
        let lines: Vec<_> = settings.iter().map(line).collect();
        std::fs::write(file, lines.join("\n")).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(config::load(Some(file), &settings)?.config)
    }

    fn customers(&self) -> Customers {
        let products = ["1010", "1030", "1050", "1080"].map(str::to_owned).into();
        Customers { run: format!("p{:x}", self.seed), products, unkeyed: UNKEYED }
    }

    fn load(&self, system: &System, customers: &Customers) -> Load {
        let duration = Duration::from_secs_f64(self.orders as f64 / self.rate);
        let profile = Profile::constant(self.rate, duration);
        let intake = system.intake();
        Load {
            host: intake.to_string(),
            connections: CONNECTIONS,
            answer_max: ANSWER_MAX,
            retry: RETRY_MAX,
            ..Load::new(vec![intake], customers.clone(), Pace::Open(Schedule::new(profile, Spread::Even)))
        }
    }

    /// Each strike at its moment, or as soon as no more orders come.
    async fn strike_all(
        &self,
        system: &mut System,
        load: &JoinHandle<Outcome>,
        progress: &Progress,
        say: &impl Fn(&str),
    ) -> Result<()> {
        for (number, Moment { accepted, then, strike }) in (1..).zip(plan(self)) {
            while progress.accepted.load(Relaxed) < accepted && !load.is_finished() {
                tokio::time::sleep(ASK).await;
                system.stand_up().await;
                if !system.is_alive() {
                    return Ok(());
                }
            }
            tokio::time::sleep(then).await;
            say(&format!("{} orders; strike {number}: {strike:?}", progress.accepted.load(Relaxed)));
            system.strike(strike).await?;
        }
        Ok(())
    }

    fn rules(&self) -> Rules {
        let flow = Flow::STATES.map(|estado| (estado.to_owned(), Some(self.dwell))).into();
        Rules { flow, all_finished: true, all_mailed: true, one_order_each: true, late_max: None }
    }
}

async fn collect(config: &Config, store: &dyn Store) -> Result<Facts> {
    let log = offline::log(config)?;
    let topics = &config.topics;
    let (orders, states, dead) = (&*topics.orders, &*topics.states, &*topics.dead);
    audit::collect(Sources { log: &*log, store, orders, states, dead, flows: None }).await
}

/// Of which mails the ledger knows that an attempt may have succeeded.
async fn ambiguous(store: &dyn Store, facts: &Facts) -> Result<Vec<(u64, String)>> {
    let mut ambiguous = Vec::new();
    for id in facts.views.keys() {
        let Ok(order) = OrderId::new(*id) else { continue };
        let mails = store.mails_of(order).await?;
        ambiguous.extend(mails.iter().filter(|mail| mail.ambiguous).map(|mail| (*id, mail.estado.to_string())));
    }
    Ok(ambiguous)
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} {}, {cores} CPU", std::env::consts::OS, std::env::consts::ARCH)
}
