//! The system that is measured: one of our own in a folder that is deleted, or one that runs.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    audit::{self, Facts, Placed, Report, Rules, Sources},
    bench::{
        load::Customers,
        process::{Launch, Server},
        scrape::{Ops, Scrape},
        sink::{Keep, Setup, Sink},
        usage::{Usage, cpu_of_family, idle},
    },
    cli::{Settings, flags::Setting, open},
    config::{self, Config},
    domain::{Flow, Step},
};

/// How often it is asked whether all is over.
const ASK: Duration = Duration::from_millis(100);
/// Longest wait for a connection to a system that runs.
const REACH_MAX: Duration = Duration::from_secs(10);

/// What a system is told that starts here.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub dwell: Duration,
    /// Whether mails go to a server of ours; else none are sent.
    pub mail: bool,
    /// Log and store, if not SQLite in its folder.
    pub places: Vec<Setting>,
    /// Settings that have no flag.
    pub settings: Vec<(&'static str, String)>,
    /// How many processes share log and store.
    pub instances: u32,
}

/// A system that runs already.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub intake: String,
    pub ops: String,
    pub sink: Option<SocketAddr>,
    pub process: Option<u32>,
    pub places: Vec<Setting>,
    /// Whether it is measured although nobody can look at its log and store.
    pub unaudited: bool,
}

/// A system, and what looks at it.
pub(super) struct System {
    own: Option<(Server, Launch, TempDir)>,
    /// Further instances of our own.
    others: Vec<Server>,
    sink: Option<Sink>,
    ops: Vec<Ops>,
    pub intakes: Vec<SocketAddr>,
    pub host: String,
    processes: Vec<u32>,
    config: Config,
    /// Programs beside it, such as a broker: names and process numbers.
    pub beside: Vec<(String, u32)>,
}

/// What the system, and the programs beside it, have done so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub scrape: Scrape,
    /// `None` where the process is not of this machine.
    pub usage: Option<Usage>,
    /// CPU seconds of the programs beside it.
    pub beside: Vec<f64>,
    /// Mails that arrived.
    pub mails: u64,
    /// Seconds that the machine's cores have been idle.
    pub idle: f64,
}

/// What the auditor found.
pub(super) struct Audit {
    pub report: Report,
    pub facts: Facts,
    /// Mails by order, state and time of arrival, in milliseconds since the epoch.
    pub arrivals: Vec<(u64, String, i64)>,
}

impl System {
    /// Starts one in a folder for temporary files, as the settings say.
    pub(super) async fn own(settings: &Settings, own: &Own) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("encargo-bench-").tempdir().context("cannot make a folder")?;
        let data = folder.path().join("data");
        let sink = if own.mail { Some(Sink::with(facts_only()).await) } else { None };
        let mail = sink.as_ref().map_or_else(|| "none:".to_owned(), Sink::url);
        let mut flags = vec![("mail.url", Some(mail)), ("flow.dwell", Some(format!("{}ms", own.dwell.as_millis())))];
        flags.extend(own.places.iter().cloned());
        let with_data = [("data", Some(data.display().to_string()))].into_iter().chain(flags.iter().cloned());
        let further = own.settings.iter().map(|(key, value)| (*key, Some(value.clone())));
        let config = settings.load(&with_data.chain(further).collect::<Vec<_>>())?.config;
        let mut launch = Launch::new(std::env::current_exe().context("cannot find this program")?, &data);
        for (key, value) in flags {
            let Some(value) = value else { continue };
            let flag = key.strip_suffix(".url").or(key.rsplit('.').next()).unwrap_or(key);
            launch.arguments.extend([format!("--{flag}"), value]);
        }
        let file = settings.config.clone().or_else(|| Some(PathBuf::from(config::FILE)).filter(|file| file.exists()));
        if let Some(file) = file {
            let path = file.canonicalize().with_context(|| format!("cannot find {}", file.display()))?;
            launch.arguments.extend(["--config".to_owned(), path.display().to_string()]);
        }
        // what the environment says of settings holds for the system that is measured, too
        let ours = std::env::vars().filter(|(name, _)| name.starts_with("ENCARGO_") && name != "ENCARGO_CONFIG");
        let given: Vec<_> = ours.collect();
        launch.variables.retain(|(name, _)| given.iter().all(|(other, _)| other != name));
        launch.variables.extend(given);
        launch.variables.extend(own.settings.iter().map(|(key, value)| (config::variable(key), value.clone())));
        let server = launch.start().await?;
        let mut others = Vec::new();
        for slot in 1..own.instances {
            let mut other = launch.another(data.with_file_name(format!("data-{slot}")));
            other.arguments.extend(["--slot".to_owned(), slot.to_string()]);
            others.push(other.start().await?);
        }
        let servers = || [&server].into_iter().chain(&others);
        let ops = servers().map(|server| Ok(server.ops()?.with_token(&config.ops.token))).collect::<Result<_>>()?;
        let intakes = servers().map(|server| server.intake).collect();
        let processes = servers().map(Server::id).collect();
        let (own, host) = (Some((server, launch, folder)), "localhost".to_owned());
        Ok(Self { own, others, sink, ops, intakes, host, processes, config, beside: Vec::new() })
    }

    /// One that runs; its log and store are those of the settings.
    pub(super) async fn target(settings: &Settings, target: &Target) -> Result<Self> {
        let url = reqwest::Url::parse(&target.intake).ok().filter(|url| url.scheme() == "http");
        let Some((url, host)) = url.and_then(|url| url.host_str().map(str::to_owned).map(|host| (url, host))) else {
            bail!("--target {}: must be an address like http://127.0.0.1:3000", target.intake);
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
        let found: Vec<_> = found.map(Iterator::collect).unwrap_or_default();
        if found.is_empty() {
            bail!("--target {}: there is no host {host}", target.intake);
        }
        let reached = timeout(REACH_MAX, TcpStream::connect(&*found)).await.map_err(io::Error::from).flatten();
        let intake = reached.and_then(|reached| reached.peer_addr());
        let intake = intake.with_context(|| format!("--target {}: nobody takes orders there", target.intake))?;
        let config = settings.load(&target.places)?.config;
        let ops = Ops::at(&target.ops)?.with_token(&config.ops.token);
        ops.scrape().await.context("--ops must name the system's operations listener")?;
        let sink = match target.sink {
            Some(addr) => {
                let sink = Sink::on(addr, facts_only()).await;
                Some(sink.with_context(|| format!("--sink {addr}: cannot listen there"))?)
            }
            None => None,
        };
        if !target.unaudited {
            let unseen = "no figure is given that nobody can check: name the system's log and store (--data, or --log and --store), \
                          or measure it --unaudited";
            drop((open::log(&config).context(unseen)?, open::store(&config).await.context(unseen)?));
        }
        let host = url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        Ok(Self {
            own: None,
            others: Vec::new(),
            sink,
            ops: vec![ops],
            intakes: vec![intake],
            host,
            processes: target.process.into_iter().collect(),
            config,
            beside: Vec::new(),
        })
    }

    /// The flow of the settings: that of a system of our own.
    pub(super) fn flow(&self) -> Result<Flow> {
        Ok(self.config.flow()?)
    }

    /// Ends a system of our own the hard way, and starts it again at a time on the same ports; how long it took then until it was
    /// ready.
    pub(super) async fn restart_at(&mut self, at: Instant) -> Result<Duration> {
        let (server, launch, folder) = self.own.take().context("only a system of our own is killed")?;
        server.kill()?;
        tokio::time::sleep_until(at.into()).await;
        let server = launch.start().await?;
        let ready = server.ready_after;
        self.processes = vec![server.id()];
        self.own = Some((server, launch, folder));
        Ok(ready)
    }

    /// What its metrics say, of all instances together.
    pub(super) async fn scrape(&self) -> Result<Scrape> {
        let mut all = Scrape::default();
        for ops in &self.ops {
            all = all.with(ops.scrape().await?);
        }
        Ok(all)
    }

    /// Ends all its instances in order, as far as they are our own.
    pub(super) async fn stop(mut self) -> Result<()> {
        for server in self.own.take().map(|(server, ..)| server).into_iter().chain(std::mem::take(&mut self.others)) {
            server.stop().await?;
        }
        Ok(())
    }

    pub(super) async fn read(&self) -> Result<Reading> {
        let usages = self.processes.iter().map(|process| Usage::of(*process).ok());
        Ok(Reading {
            scrape: self.scrape().await?,
            usage: usages.reduce(|one, other| Some(one?.with(other?))).flatten(),
            beside: self.beside.iter().map(|(_, process)| cpu_of_family(*process)).collect(),
            mails: self.sink.as_ref().map_or(0, Sink::accepted),
            idle: idle(),
        })
    }

    /// Waits until so many orders were read since the log's beginning, none is in flight and no mail waits, in the log as in the
    /// store; whether that came in time.
    pub(super) async fn settle(
        &self,
        orders_read: f64,
        most: Duration,
        mut tell: impl FnMut(f64, f64),
    ) -> Result<bool> {
        let began = Instant::now();
        let store = open::store(&self.config).await.ok();
        loop {
            let scrape = self.scrape().await?;
            let orders = |state: &str| scrape.value(&format!("encargo_orders{{state=\"{state}\"}}"));
            let (in_flight, waiting) = (orders("in_flight"), waiting(&scrape));
            let is_projected = match &store {
                Some(store) => {
                    let counts = store.order_counts().await?;
                    (counts.finished + counts.cancelled) as f64 >= orders("finished") + orders("cancelled")
                }
                None => true,
            };
            // asked after the store: with an order's end come the mails about it
            let is_over = orders("accepted") >= orders_read && in_flight <= 0.0 && is_projected;
            if is_over && self::waiting(&self.scrape().await?) <= 0.0 {
                return Ok(true);
            }
            if began.elapsed() > most {
                return Ok(false);
            }
            tell(in_flight, waiting);
            tokio::time::sleep(ASK).await;
        }
    }

    /// Lets the auditor judge the orders of these customers; an error says why it cannot.
    pub(super) async fn audit(&self, acknowledged: Vec<Placed>, customers: &Customers, is_over: bool) -> Result<Audit> {
        let (log, store) = (open::log(&self.config)?, open::store(&self.config).await?);
        let topics = &self.config.topics;
        let (orders, states, dead, flows) = (&*topics.orders, &*topics.states, &*topics.dead, Some(&*topics.flows));
        let sources = Sources { log: log.as_ref(), store: store.as_ref(), orders, states, dead, flows };
        let mut facts = audit::collect(sources).await?;
        facts.orders.retain(|order| customers.is_theirs(&order.email));
        let ours: HashSet<u64> = facts.orders.iter().map(|order| order.id).collect();
        facts.events.retain(|event| ours.contains(&event.id));
        facts.views.retain(|id, _| ours.contains(id));
        facts.counts = facts.counts.filter(|counts| counts.total == ours.len() as u64);
        facts.acknowledged = acknowledged;
        let mut arrivals = Vec::new();
        if let Some(sink) = &self.sink {
            facts.mails = sink.facts();
            facts.mails.retain(|mail| ours.contains(&mail.id));
            arrivals = sink.arrivals();
        }
        let usual = |step: &Step| (step.state.to_string(), step.dwell().map(|dwell| dwell.usual));
        let rules = Rules {
            flow: self.flow()?.steps().iter().map(usual).collect(),
            all_finished: is_over,
            all_mailed: is_over && self.sink.is_some(),
            one_order_each: true,
            late_max: None,
        };
        Ok(Audit { report: audit::judge(&facts, &rules), facts, arrivals })
    }
}

/// Mails that are not settled.
pub(super) fn waiting(scrape: &Scrape) -> f64 {
    ["pending", "sending"]
        .map(|status| scrape.value(&format!("encargo_ledger_mails{{status=\"{status}\"}}")))
        .iter()
        .sum()
}

/// A mail server that keeps what the auditor judges by.
pub(super) fn facts_only() -> Setup {
    Setup { keep: Keep::Facts, ..Setup::usual() }
}
