//! Audits a deployment: were the promises of `docs/guarantees.md` kept?

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use encargo::{
    app::offline,
    audit::{self, Facts, Report, Rules, Sources},
    config,
    domain::Flow,
};
use serde::Serialize;

/// Dwell of orders of which neither the arguments nor the log say it: that of the old services.
const DWELL: Duration = Duration::from_secs(8);

/// Recounts log, store and mailbox, and objects to anything lost, doubled, early or out of order.
///
/// Settings that have no flag here (names of topics, properties of the Kafka client) come from the configuration file
/// and the environment, as those of `encargo` do.
#[derive(Parser)]
struct Arguments {
    /// Configuration file [default: encargo.toml in the working folder, if there].
    #[arg(long, env = "ENCARGO_CONFIG", hide_env = true)]
    config: Option<PathBuf>,
    /// The data folder [default: encargo-data].
    #[arg(long)]
    data: Option<String>,
    /// The event log: `sqlite:PATH`, `kafka://HOST:PORT,…` [default: log.db in the data folder].
    #[arg(long)]
    log: Option<String>,
    /// The store: `sqlite:PATH`, `postgres://…` [default: store.db in the data folder].
    #[arg(long)]
    store: Option<String>,
    /// The states of all orders, in order, whatever the log says [default: those of the flow that each order began with].
    #[arg(long, value_delimiter = ',')]
    states: Option<Vec<String>>,
    /// The dwell of each state of all orders, whatever the log says [default: that of the flow that each order began with].
    #[arg(long, value_parser = humantime::parse_duration)]
    dwell: Option<Duration>,
    /// What clients were told is accepted: a JSON object per line with orderid, product, email.
    #[arg(long)]
    acknowledged: Option<PathBuf>,
    /// What clients were told of commands: a JSON object per line with orderid, command, done.
    #[arg(long)]
    commanded: Option<PathBuf>,
    /// The Maildir, if mails are to be judged.
    #[arg(long)]
    maildir: Option<PathBuf>,
    /// What an SMTP server noted instead: a JSON object per line with id, estado, message_id, to, as they arrived.
    #[arg(long, conflicts_with = "maildir")]
    mails: Option<PathBuf>,
    /// What another reader saw in the topics of orders and states, printed by tests/foreign/dump.py.
    #[arg(long)]
    second_opinion: Option<PathBuf>,
    /// Each address placed one order: two are a retry taken twice.
    #[arg(long)]
    one_order_each: bool,
    /// How late a timer may fire at most.
    #[arg(long, value_parser = humantime::parse_duration)]
    late_max: Option<Duration>,
    /// Orders may still be in flight, mails may still wait.
    #[arg(long)]
    running: bool,
    /// Print the verdict as one JSON object.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let flags = [("data", &arguments.data), ("log.url", &arguments.log), ("store.url", &arguments.store)];
    let flags: Vec<_> = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
    let config = config::load(arguments.config.as_deref(), &flags)?.config;
    let (log, store) = (offline::log(&config)?, offline::store(&config).await?);
    let topics = &config.topics;
    let mut facts = audit::collect(Sources {
        log: log.as_ref(),
        store: store.as_ref(),
        orders: &topics.orders,
        states: &topics.states,
        dead: &topics.dead,
        flows: (arguments.states.is_none() && arguments.dwell.is_none()).then_some(&topics.flows),
    })
    .await?;
    if let Some(path) = &arguments.acknowledged {
        facts.acknowledged = audit::read_acknowledged(path)?;
    }
    if let Some(path) = &arguments.commanded {
        facts.commanded = audit::read_commanded(path)?;
    }
    if let Some(path) = &arguments.maildir {
        facts.mails = audit::read_maildir(path)?;
    }
    if let Some(path) = &arguments.mails {
        facts.mails = audit::read_mails(path)?;
    }
    let judges_mails = arguments.maildir.is_some() || arguments.mails.is_some();
    let states = arguments.states.unwrap_or_else(|| Flow::STATES.map(str::to_owned).into());
    let rules = Rules {
        flow: states.into_iter().map(|estado| (estado, Some(arguments.dwell.unwrap_or(DWELL)))).collect(),
        all_finished: !arguments.running,
        all_mailed: !arguments.running && judges_mails,
        one_order_each: arguments.one_order_each,
        late_max: arguments.late_max,
    };
    let mut report = audit::judge(&facts, &rules);
    if let Some(path) = &arguments.second_opinion {
        let ours = audit::read_log(log.as_ref(), &[&topics.orders, &topics.states])?;
        report.objections.extend(audit::differences(&ours, &audit::read_dump(path)?));
    }
    print(&report, &facts, arguments.json);
    Ok(ExitCode::from(u8::from(!report.objections.is_empty())))
}

/// What was found, for programs.
#[derive(Serialize)]
struct Verdict<'a> {
    orders: u64,
    finished: u64,
    cancelled: u64,
    in_flight: u64,
    events: u64,
    mails: u64,
    repeats: u64,
    /// Repeats that the ledger knew to be possible.
    repeats_counted: u64,
    unacknowledged: u64,
    dead: u64,
    late_ms_p99: i64,
    late_ms_max: i64,
    /// What is wrong; nothing when all promises were kept.
    objections: &'a [String],
}

fn print(report: &Report, facts: &Facts, json: bool) {
    let Report {
        orders,
        finished,
        cancelled,
        in_flight,
        events,
        mails,
        repeats,
        unacknowledged,
        late_ms: _,
        objections,
    } = report;
    let [late_ms_p99, late_ms_max] = [0.99, 1.0].map(|part| report.lateness_ms(part));
    let (dead, counted) = (facts.dead, facts.repeats_counted);
    if json {
        let verdict = Verdict {
            orders: *orders,
            finished: *finished,
            cancelled: *cancelled,
            in_flight: *in_flight,
            events: *events,
            mails: *mails,
            repeats: *repeats,
            repeats_counted: counted,
            unacknowledged: *unacknowledged,
            dead,
            late_ms_p99,
            late_ms_max,
            objections,
        };
        println!("{}", serde_json::to_string(&verdict).expect("texts and numbers always serialise"));
        return;
    }
    println!(
        "{orders} orders ({in_flight} in flight, {finished} finished, {cancelled} cancelled), {events} events, {mails} mails ({repeats} repeated, {counted} counted as ambiguous), \
         {unacknowledged} orders whose acknowledgement was lost, {dead} dead records, latest timer {late_ms_max} ms late, 99 % of them at most {late_ms_p99}"
    );
    for objection in objections {
        println!("{objection}");
    }
    println!("{}", if objections.is_empty() { "all promises kept" } else { "PROMISES BROKEN" });
}
