//! Audits a data folder: were the promises of `docs/guarantees.md` kept?

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use encargo::{
    audit::{self, Facts, Report, Rules, Sources},
    eventlog::sqlite::SqliteLog,
    store::sqlite::SqliteStore,
};

/// Recounts log, store and mailbox of a data folder, and objects to anything lost, doubled, early or out of order.
#[derive(Parser)]
struct Arguments {
    /// The data folder.
    #[arg(long, default_value = "encargo-data")]
    data: PathBuf,
    /// The states, in order.
    #[arg(long, value_delimiter = ',', default_value = "recibido,preparando,entregando,finalizado")]
    states: Vec<String>,
    /// The dwell of each state.
    #[arg(long, default_value = "8s", value_parser = humantime::parse_duration)]
    dwell: Duration,
    /// What clients were told is accepted: a JSON object per line with orderid, product, email.
    #[arg(long)]
    acknowledged: Option<PathBuf>,
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
    let log = SqliteLog::open_read_only(&arguments.data.join("log.db"))?;
    let store = SqliteStore::open_tool(&arguments.data.join("store.db"))?;
    let mut facts = audit::collect(Sources {
        log: &log,
        store: &store,
        orders: "compra_detalle",
        states: "compra_confirmada",
        dead: "compra_dead_letters",
    })
    .await?;
    if let Some(path) = &arguments.acknowledged {
        facts.acknowledged = audit::read_acknowledged(path)?;
    }
    if let Some(path) = &arguments.maildir {
        facts.mails = audit::read_maildir(path)?;
    }
    if let Some(path) = &arguments.mails {
        facts.mails = audit::read_mails(path)?;
    }
    let judges_mails = arguments.maildir.is_some() || arguments.mails.is_some();
    let rules = Rules {
        flow: arguments.states.into_iter().map(|estado| (estado, arguments.dwell)).collect(),
        all_finished: !arguments.running,
        all_mailed: !arguments.running && judges_mails,
        one_order_each: arguments.one_order_each,
        late_max: arguments.late_max,
    };
    let mut report = audit::judge(&facts, &rules);
    if let Some(path) = &arguments.second_opinion {
        let ours = audit::read_log(&log, &["compra_detalle", "compra_confirmada"])?;
        report.objections.extend(audit::differences(&ours, &audit::read_dump(path)?));
    }
    print(&report, &facts, arguments.json);
    Ok(ExitCode::from(u8::from(!report.objections.is_empty())))
}

fn print(report: &Report, facts: &Facts, json: bool) {
    let Report { orders, events, mails, repeats, unacknowledged, late_ms_max, objections } = report;
    let (dead, counted) = (facts.dead, facts.repeats_counted);
    if json {
        let verdict = serde_json::json!({
            "orders": orders, "events": events, "mails": mails, "repeats": repeats, "repeats_counted": counted,
            "unacknowledged": unacknowledged, "dead": dead, "late_ms_max": late_ms_max, "objections": objections,
        });
        println!("{verdict}");
        return;
    }
    println!(
        "{orders} orders, {events} events, {mails} mails ({repeats} repeated, {counted} counted as ambiguous), \
         {unacknowledged} orders whose acknowledgement was lost, {dead} dead records, latest timer {late_ms_max} ms late"
    );
    for objection in objections {
        println!("{objection}");
    }
    println!("{}", if objections.is_empty() { "all promises kept" } else { "PROMISES BROKEN" });
}
