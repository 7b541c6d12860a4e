//! The promises under `kill -9`: the real binary under load, ended at random moments, judged by the auditor.

use std::{path::Path, time::Duration};

use encargo::{
    audit::{self, Rules, Sources},
    domain::Flow,
    eventlog::sqlite::SqliteLog,
    store::{Orders as _, sqlite::SqliteStore},
};
use tokio::task::JoinSet;

use crate::harness::{
    app::sample_in,
    changes::{self, Changes, change},
    eventually,
    load::{Requests, amid, send, settle_all},
    process::{Process, read_log},
};

const DWELL: &str = "150ms";
const SENDERS: usize = 8;
const CHANGERS: usize = 2;
/// Most keyed orders in a round before the strike, each sender's every second.
const ACKNOWLEDGED_MAX: u64 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_doubled_early_or_out_of_order() {
    let rounds: u32 = std::env::var("ENCARGO_KILL_ROUNDS").map_or(50, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (requests, changes) = (Requests::default(), Changes::default());
    let mut unkeyed = Vec::new();
    for round in 0..rounds {
        let mut process = Process::start(&data, &["--dwell", DWELL]).await;
        let mut senders = JoinSet::new();
        let sending: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let to = process.address("intake");
                senders.spawn(send(to, round, sender, usize::MAX, requests.clone()))
            })
            .collect();
        let mut changers = JoinSet::new();
        for changer in 0..CHANGERS {
            changers.spawn(change(process.url("tracking", ""), changer, requests.clone(), changes.clone()));
        }
        amid(ACKNOWLEDGED_MAX, &requests, &sending).await;
        process.kill();
        while let Some(acknowledged) = senders.join_next().await {
            unkeyed.extend(acknowledged.unwrap());
        }
        changers.abort_all();
        while let Some(ended) = changers.join_next().await {
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
        }
    }

    let process = Process::start(&data, &["--dwell", DWELL]).await;
    settle_all(process.address("intake"), &requests).await;
    let commanded = changes::settle_all(&process.url("tracking", ""), &changes).await;
    wait_until_over(&process, &data).await;
    assert!(process.terminate().success());

    let log = SqliteLog::open_read_only(&data.join("log.db")).unwrap();
    let store = SqliteStore::open_tool(&data.join("store.db")).unwrap();
    let (orders, states, dead) = ("compra_detalle", "compra_confirmada", "compra_dead_letters");
    let mut facts =
        audit::collect(Sources { log: &log, store: &store, orders, states, dead, flows: None }).await.unwrap();
    facts.mails = audit::read_maildir(&data.join("mail")).unwrap();
    facts.acknowledged = unkeyed;
    facts.acknowledged.extend(requests.lock().await.values().flatten().cloned());
    facts.commanded = commanded;
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), Some(Duration::from_millis(150)))).into();
    let rules = Rules { flow, all_finished: true, all_mailed: true, one_order_each: true, late_max: None };
    let report = audit::judge(&facts, &rules);
    let acknowledged = facts.acknowledged.len();
    println!(
        "{rounds} rounds: {acknowledged} acknowledged, {} orders, {} of them cancelled, {} of {} commands done, {} mails, {} \
         ambiguous attempts repeated",
        report.orders,
        report.cancelled,
        facts.commanded.iter().filter(|told| told.is_done).count(),
        facts.commanded.len(),
        report.mails,
        facts.repeats_counted
    );
    assert!(acknowledged as u32 > rounds, "hardly any order was acknowledged: {acknowledged}");
    assert_eq!(report.objections, Vec::<String>::new());
    assert_eq!(facts.dead, 0);
    assert!(!read_log(&data).contains("@example.org"), "an address is in the log");
}

pub async fn wait_until_done(process: &Process) {
    let url = process.url("ops", "/metrics");
    eventually("all orders finished and mailed", async || {
        let text = reqwest::get(&url).await.map_err(|e| e.to_string())?.text().await.map_err(|e| e.to_string())?;
        let value = |sample: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok()).expect("a whole number")
        };
        let [in_flight, accepted] =
            ["in_flight", "accepted"].map(|is| value(&format!("encargo_orders{{state=\"{is}\"}}")));
        let mailed = value("encargo_ledger_mails{status=\"sent\"}");
        if in_flight == 0 && mailed == accepted * 4 {
            Ok(())
        } else {
            Err(format!("{in_flight} in flight, {mailed} mailed of 4 × {accepted}"))
        }
    })
    .await;
}

/// Waits until every order's life is over, in the store as in the log, and no mail waits. Some may have been cancelled, so that
/// nobody can say how many mails that makes.
pub async fn wait_until_over(process: &Process, data: &Path) {
    let store = SqliteStore::open_tool(&data.join("store.db")).unwrap();
    let url = process.url("ops", "/metrics");
    eventually("all orders over and mailed", async || {
        // first the store: with an order's end come the mails about it
        let counts = store.order_counts().await.map_err(|e| e.to_string())?;
        let over = counts.finished + counts.cancelled;
        let text = reqwest::get(&url).await.map_err(|e| e.to_string())?.text().await.map_err(|e| e.to_string())?;
        let accepted = sample_in(&text, "encargo_orders{state=\"accepted\"}");
        let waiting = ["pending", "sending"].map(|status| format!("encargo_ledger_mails{{status=\"{status}\"}}"));
        let waiting: u64 = waiting.iter().map(|sample| sample_in(&text, sample)).sum();
        if over == accepted && waiting == 0 {
            Ok(())
        } else {
            Err(format!("{over} of {accepted} are over, {waiting} mails wait"))
        }
    })
    .await;
}
