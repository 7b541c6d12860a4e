//! The promises under `kill -9`: the real binary under load, ended at random moments, judged by the auditor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use encargo::{
    audit::{self, Placed, Rules, Sources},
    domain::Flow,
    eventlog::sqlite::SqliteLog,
    store::sqlite::SqliteStore,
};
use serde_json::{Value, json};
use tokio::{sync::Mutex, task::JoinSet};

use crate::harness::{
    eventually,
    process::{Process, read_log},
};

const DWELL: &str = "150ms";
const SENDERS: usize = 8;

/// What the senders know: by idempotency key, the order that was acknowledged, or none yet.
type Requests = Arc<Mutex<BTreeMap<String, Option<Placed>>>>;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "how long a round lasts is the random part of this test, not a wait")]
async fn nothing_acknowledged_is_lost_doubled_early_or_out_of_order() {
    let rounds: u32 = std::env::var("ENCARGO_KILL_ROUNDS").map_or(50, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let requests = Requests::default();
    let mut unkeyed = Vec::new();
    for round in 0..rounds {
        let mut process = Process::start(&data, &["--dwell", DWELL]).await;
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send(process.url("intake", "/orders"), round, sender, requests.clone()));
        }
        let lasts = Duration::from_millis(random_below(600));
        tokio::time::sleep(lasts).await;
        process.kill();
        while let Some(acknowledged) = senders.join_next().await {
            unkeyed.extend(acknowledged.unwrap());
        }
    }

    let process = Process::start(&data, &["--dwell", DWELL]).await;
    settle_all(&process, &requests).await;
    wait_until_done(&process).await;
    assert!(process.terminate().success());

    let log = SqliteLog::open_read_only(&data.join("log.db")).unwrap();
    let store = SqliteStore::open_tool(&data.join("store.db")).unwrap();
    let (orders, states, dead) = ("compra_detalle", "compra_confirmada", "compra_dead_letters");
    let mut facts = audit::collect(Sources { log: &log, store: &store, orders, states, dead }).await.unwrap();
    facts.mails = audit::read_maildir(&data.join("mail")).unwrap();
    facts.acknowledged = unkeyed;
    facts.acknowledged.extend(requests.lock().await.values().flatten().cloned());
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), Duration::from_millis(150))).into();
    let rules = Rules { flow, all_finished: true, all_mailed: true, one_order_each: true, late_max: None };
    let report = audit::judge(&facts, &rules);
    let acknowledged = facts.acknowledged.len();
    println!(
        "{rounds} rounds: {acknowledged} acknowledged, {} orders, {} mails, {} ambiguous attempts repeated",
        report.orders, report.mails, facts.repeats_counted
    );
    assert!(acknowledged as u32 > rounds, "hardly any order was acknowledged: {acknowledged}");
    assert_eq!(report.objections, Vec::<String>::new());
    assert_eq!(facts.dead, 0);
    assert!(!read_log(&data).contains("@example.org"), "an address is in the log");
}

/// Places orders until the server is gone; every second one with an idempotency key that is tried again later.
async fn send(url: String, round: u32, sender: usize, requests: Requests) -> Vec<Placed> {
    let http = reqwest::Client::new();
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let email = format!("r{round}s{sender}n{number}@example.org");
        let key = (number % 2 == 0).then(|| email.replace('@', "-"));
        if let Some(key) = &key {
            requests.lock().await.insert(key.clone(), None);
        }
        let Some(placed) = place(&http, &url, &email, key.as_deref()).await else { break };
        match key {
            Some(key) => drop(requests.lock().await.insert(key, Some(placed))),
            None => acknowledged.push(placed),
        }
    }
    acknowledged
}

/// `None` when there is no answer: the order may be there or not.
async fn place(http: &reqwest::Client, url: &str, email: &str, key: Option<&str>) -> Option<Placed> {
    let mut request = http.post(url).json(&json!({ "product": "1010", "email": email }));
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let response = request.send().await.ok()?;
    let status = response.status();
    let answer: Value = response.json().await.ok()?;
    assert!([202, 409, 503].contains(&status.as_u16()), "{status}: {answer}");
    let id = answer["orderid"].as_u64().filter(|_| status == 202)?;
    Some(Placed { id, product: "1010".into(), email: email.to_owned() })
}

/// Tries every request that has no answer again under its key, as a careful client does.
async fn settle_all(process: &Process, requests: &Requests) {
    let (http, url) = (reqwest::Client::new(), process.url("intake", "/orders"));
    let open: Vec<String> =
        requests.lock().await.iter().filter(|(_, placed)| placed.is_none()).map(|(key, _)| key.clone()).collect();
    for key in open {
        let email = key.replace("-example", "@example");
        let placed = eventually("an answer under the same key", async || {
            place(&http, &url, &email, Some(&key)).await.ok_or_else(|| "still running".to_owned())
        })
        .await;
        requests.lock().await.insert(key, Some(placed));
    }
}

async fn wait_until_done(process: &Process) {
    let url = process.url("ops", "/metrics");
    eventually("all orders finished and mailed", async || {
        let text = reqwest::get(&url).await.map_err(|e| e.to_string())?.text().await.map_err(|e| e.to_string())?;
        let value = |sample: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok()).expect("a whole number")
        };
        let [in_flight, accepted] =
            ["in_flight", "accepted"].map(|is| value(&format!("encargo_orders{{is=\"{is}\"}}")));
        let mailed = value("encargo_ledger_mails{status=\"sent\"}");
        if in_flight == 0 && mailed == accepted * 4 {
            Ok(())
        } else {
            Err(format!("{in_flight} in flight, {mailed} mailed of 4 × {accepted}"))
        }
    })
    .await;
}

fn random_below(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("random numbers");
    u64::from_le_bytes(bytes) % limit
}
