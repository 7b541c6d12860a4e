//! The whole way from the old services to ours and back, with orders arriving all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use encargo::audit;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    STATES,
    moving::{KAFKA_PYTHON, check, next_step},
    ours::Ours,
    players::{self, Player},
};
use crate::harness::{PATIENCE, eventually};

/// Orders that are placed at most.
const ORDERS_MAX: u64 = 400;

/// Customers who place orders for as long as somebody takes them.
struct Customers {
    intake: Arc<Mutex<Option<String>>>,
    acknowledged: Arc<AtomicU64>,
}

impl Customers {
    fn start() -> Self {
        let this = Self { intake: Arc::default(), acknowledged: Arc::default() };
        let (intake, acknowledged) = (this.intake.clone(), this.acknowledged.clone());
        tokio::spawn(async move {
            let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
            while acknowledged.load(Ordering::Relaxed) < ORDERS_MAX {
                {
                    // whoever changes the intake waits for the answer
                    let intake = intake.lock().await;
                    if let Some(url) = &*intake {
                        let request = http.post(url).header("Content-Type", "application/x-www-form-urlencoded");
                        let answer = request.body("value=1").send().await.expect("an answer");
                        assert!(answer.status().is_success(), "{}", answer.status());
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                }
                crate::harness::real_clock().sleep(Duration::from_secs(1)).await;
            }
        });
        this
    }

    async fn go_to(&self, url: Option<String>) {
        *self.intake.lock().await = url;
    }

    /// Waits until a few more were taken.
    async fn some_more(&self) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + 3;
        eventually("more orders", async || {
            let taken = self.acknowledged.load(Ordering::Relaxed);
            if taken >= wanted { Ok(()) } else { Err(format!("{taken} taken")) }
        })
        .await;
    }
}

async fn all_done(ours: &Ours) -> Value {
    eventually("nothing queued or in flight", async || {
        let (found, _) = check(ours);
        let orders = &found["orders"];
        if orders["queued"] == 0 && orders["in_flight"] == 0 { Ok(found) } else { Err(found.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_every_order_finishes_once_and_every_mail_arrives() {
    let mut ours = Ours::beside_old_readers("200ms", "3").await;
    ours.cluster.set("intake.rate_per_address", "off");
    let file = ours.cluster.folder.path().join("old.jsonl");
    let notifications = Player::notifications(KAFKA_PYTHON, &file, &ours);
    let processing = Player::processing(KAFKA_PYTHON, "0.1", "4", &ours);
    let old_intake = Player::intake(KAFKA_PYTHON, "none", 1, &ours);
    let customers = Customers::start();
    customers.go_to(Some(old_intake.url("/"))).await;
    customers.some_more().await;

    // there
    customers.go_to(None).await;
    drop(old_intake);
    let first = next_step(&ours, "intake").await["highest_id"].as_u64().expect("a number") + 1;
    ours.cluster.run(&["log", "init", "--first-id", &first.to_string()]);
    let mut intake = ours.cluster.start("intake", 0).await;
    customers.go_to(Some(intake.url("intake", "/"))).await;
    customers.some_more().await;
    next_step(&ours, "processing").await;
    drop(processing);
    let fulfilment = ours.cluster.start("fulfilment", 0).await;
    customers.some_more().await;
    next_step(&ours, "notifications").await;
    drop(notifications);
    let since = eventually("the time from which on ours have to mail", async || {
        let (found, _) = check(&ours);
        match (&found["old"]["notifications"], found["mail"]["since"].as_str()) {
            (members, Some(since)) if *members == json!([]) => Ok(since.to_owned()),
            _ => Err(found.to_string()),
        }
    })
    .await;
    ours.cluster.set("mail.since", since);
    let (tracking, mail) = (ours.cluster.start("tracking", 0).await, ours.cluster.start("mail", 0).await);
    next_step(&ours, "done").await;
    customers.some_more().await;

    // and back
    assert!(tracking.terminate().success() && mail.terminate().success());
    let _notifications = Player::notifications(KAFKA_PYTHON, &file, &ours);
    customers.some_more().await;
    customers.go_to(None).await;
    all_done(&ours).await;
    assert!(fulfilment.terminate().success());
    players::to_end(&ours, &format!("procesamiento-{}", ours.states), &ours.orders);
    let _processing = Player::processing(KAFKA_PYTHON, "0.1", "4", &ours);
    customers.go_to(Some(intake.url("intake", "/"))).await;
    customers.some_more().await;
    customers.go_to(None).await;
    intake.kill();
    let first = check(&ours).0["highest_id"].as_u64().expect("a number") + 1;
    let old_intake = Player::intake(KAFKA_PYTHON, "none", first, &ours);
    customers.go_to(Some(old_intake.url("/"))).await;
    customers.some_more().await;
    customers.go_to(None).await;
    let found = all_done(&ours).await;

    assert_eq!(found["ids_given_twice"], 0, "{found}");
    let ids = finished_once(&ours, customers.acknowledged.load(Ordering::Relaxed));
    mailed(&ours, &file, &ids).await;
}

/// Every order that was acknowledged is there, and the last state of each was written once, whoever wrote it.
fn finished_once(ours: &Ours, acknowledged: u64) -> BTreeSet<u64> {
    let id = |value: &Value| value["orderid"].as_u64().expect("a number");
    let ids: BTreeSet<u64> = ours.records(&ours.orders).values().map(id).collect();
    assert_eq!(ids.len() as u64, acknowledged, "orders");
    // what was forwarded to the old topic has no more fields than the old services know, so count what is in either
    let own = ours.records(&ours.cluster.config().topics.states);
    let mut finished: BTreeMap<u64, u64> = BTreeMap::new();
    let ours_finished: BTreeSet<u64> = own.values().filter(|state| state["estado"] == STATES[3]).map(id).collect();
    for state in ours.records(&ours.states).values().filter(|state| state["estado"] == STATES[3]) {
        *finished.entry(id(state)).or_default() += 1;
    }
    assert!(ours_finished.iter().all(|id| finished.contains_key(id)), "all of ours were forwarded");
    assert_eq!(finished, ids.iter().map(|id| (*id, 1)).collect(), "each once");
    ids
}

/// Every state of every order was mailed by somebody; what was mailed more than once is listed.
async fn mailed(ours: &Ours, file: &std::path::Path, ids: &BTreeSet<u64>) {
    let wanted: BTreeSet<(u64, String)> =
        ids.iter().flat_map(|id| STATES.map(|state| (*id, state.to_owned()))).collect();
    let told = eventually("every mail", async || {
        let mut told: BTreeMap<(u64, String), u64> = BTreeMap::new();
        let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
        for line in text.lines() {
            let mail: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
            let estado = mail["estado"].as_str().expect("text").to_owned();
            *told.entry((mail["orderid"].as_u64().expect("a number"), estado)).or_default() += 1;
        }
        for mail in audit::read_maildir(&ours.cluster.folder.path().join("mail")).map_err(|e| format!("{e:#}"))? {
            *told.entry((mail.id, mail.estado.clone())).or_default() += 1;
        }
        let missing: Vec<_> = wanted.iter().filter(|mail| !told.contains_key(mail)).collect();
        if missing.is_empty() { Ok(told) } else { Err(format!("missing: {missing:?}")) }
    })
    .await;
    let repeated: Vec<_> = told.into_iter().filter(|(_, times)| *times > 1).collect();
    eprintln!("{} of {} mails came more than once: {repeated:?}", repeated.len(), wanted.len());
}
