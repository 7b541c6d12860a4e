//! Roles as processes of their own, on real brokers and a real database.

use std::{collections::BTreeMap, time::Duration};

use encargo::{
    audit::{self, Rules, Sources},
    domain::{Flow, Timestamp},
    store::ledger::MailStatus,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::harness::{
    cluster::{Cluster, needed},
    eventually, free_ports,
    load::{Requests, amid, send, settle_all},
    process::Process,
    real_clock,
};

const DWELL: Duration = Duration::from_millis(500);
const ROLES: [&str; 4] = ["intake", "fulfilment", "tracking", "mail"];

/// Places an order, which must be taken.
pub async fn place(intake: &Process, email: &str) -> Value {
    let body = json!({ "product": "1010", "email": email });
    let response = reqwest::Client::new().post(intake.url("intake", "/orders")).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 202, "{:?}", response.text().await);
    response.json().await.unwrap()
}

/// The order as the shop sees it, once it is finished.
pub async fn finished(tracking: &Process, id: &Value) -> Value {
    let url = tracking.url("tracking", &format!("/orders/{id}"));
    eventually(&format!("order {id} finished"), async || {
        let response = reqwest::get(&url).await.map_err(|e| e.to_string())?;
        let order: Value = response.json().await.map_err(|e| e.to_string())?;
        if order["finished"] == true { Ok(order) } else { Err(order.to_string()) }
    })
    .await
}

async fn mails(cluster: &Cluster, count: usize) {
    let path = cluster.folder.path().join("mail");
    eventually(&format!("{count} mails"), async || {
        let mails = audit::read_maildir(&path).map_err(|e| format!("{e:#}"))?;
        if mails.len() >= count { Ok(()) } else { Err(format!("{} mails", mails.len())) }
    })
    .await;
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_does_it_all_and_the_commands_see_it() {
    let cluster = Cluster::prepare(&[]).await;
    let up = cluster.start("up", 0).await;
    let placed = place(&up, "ana@example.org").await;
    let order = finished(&up, &placed["orderid"]).await;
    let states: Vec<&str> = order["history"].as_array().unwrap().iter().filter_map(|e| e["estado"].as_str()).collect();
    assert_eq!(states, Flow::STATES);
    mails(&cluster, 4).await;

    assert!(cluster.run(&["show", "1"]).contains("finalizado"));
    assert_eq!(lines(&cluster.run(&["list", "--json"]))[0]["orderid"], 1);
    assert_eq!(cluster.run(&["dead", "list", "--json"]), "");
    let config = cluster.config();
    let records = lines(&cluster.run(&["log", "read", &config.topics.states, "--json"]));
    assert_eq!(records.iter().filter_map(|r| r["value"]["estado"].as_str()).collect::<Vec<_>>(), Flow::STATES);
    let topics = lines(&cluster.run(&["log", "topics", "--json"]));
    assert_eq!(topics.iter().filter(|topic| topic["topic"] == *config.topics.orders).count(), 4);
    // a member that stood still for longer than its session is another one for a moment
    eventually("the group with its owner", async || {
        let groups = lines(&cluster.run(&["log", "groups", "--json"]));
        let ours = |line: &&Value| line["group"] == "encargo-fulfilment" && line["topic"] == *config.topics.orders;
        let owned = |line: &Value| line["owner"].as_str().is_some_and(|owner| owner.starts_with("encargo-slot-0@"));
        let idle = |line: &&Value| line["members"] == 1 && line["lag_seconds"] == 0.0 && owned(line);
        if groups.iter().filter(ours).filter(idle).count() == 4 { Ok(()) } else { Err(format!("{groups:?}")) }
    })
    .await;
    assert!(up.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_do_it_together() {
    let cluster = Cluster::prepare(&[]).await;
    let (intake, fulfilment) = (cluster.start("intake", 0).await, cluster.start("fulfilment", 0).await);
    let (tracking, mail) = (cluster.start("tracking", 0).await, cluster.start("mail", 0).await);
    let placed = place(&intake, "ana@example.org").await;
    finished(&tracking, &placed["orderid"]).await;
    mails(&cluster, 4).await;
    // the secret of the handles is the store's, so tracking opens what intake gave out
    let track = tracking.url("tracking", &format!("/track/{}", placed["handle"].as_str().unwrap()));
    assert!(reqwest::get(track).await.unwrap().text().await.unwrap().contains("finalizado"));
    let (_, checks) = fulfilment.readyz().await.unwrap();
    assert_eq!(checks["checks"], json!({ "log": true, "fulfilment": true }), "a role names what it needs and no more");
    for process in [intake, fulfilment, tracking, mail] {
        assert!(process.terminate().success());
    }
}

#[cfg(feature = "otlp")]
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_four_processes() {
    use crate::{
        harness::collector::Collector,
        spans::{CALLER, TRACE, check_life},
    };
    let collector = Collector::start().await;
    let cluster = Cluster::prepare(&[("telemetry.otlp", &collector.url)]).await;
    let mut processes = Vec::new();
    for role in ROLES {
        processes.push(cluster.start(role, 0).await);
    }
    let (intake, tracking) = (&processes[0], &processes[2]);
    let order = reqwest::Client::new()
        .post(intake.url("intake", "/orders"))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&json!({ "product": "1010", "email": "ana@example.org" }));
    let placed: Value = order.send().await.unwrap().json().await.unwrap();
    finished(tracking, &placed["orderid"]).await;
    mails(&cluster, 4).await;
    for process in processes {
        assert!(process.terminate().success());
    }
    let (spans, topics) = (collector.arrived(), cluster.config().topics);
    check_life(&spans, placed["orderid"].as_u64().unwrap(), &topics.orders, &topics.states);
    for (index, role) in ROLES.into_iter().enumerate() {
        let service = format!("encargo-{role}");
        let own = spans.iter().filter(|span| span.service == service).count();
        assert_eq!(own, [2, 4, 4, 4][index], "{service}: {spans:#?}");
    }
    let append = spans.iter().find(|span| span.name.starts_with("send ")).unwrap();
    assert_eq!(append.attributes["messaging.system"], "kafka");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_shown_created_and_compared() {
    let mut cluster = Cluster::name(&[("log.partitions", "6")]).await;
    let state =
        |text: &str| lines(text).iter().map(|line| line["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(state(&cluster.run(&["log", "init", "--dry-run", "--json"])), ["missing"; 7]);
    let refused = cluster.output(&["fulfilment"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("encargo log init --log kafka://"), "{said}");
    assert_eq!(state(&cluster.run(&["log", "init", "--json"])), ["created"; 7]);
    assert_eq!(state(&cluster.run(&["log", "init", "--json"])), ["fits"; 7]);
    let config = cluster.config();
    cluster.run(&["log", "init", "--first-id", "1500"]);
    let ids = |log: &dyn encargo::eventlog::EventLog| log.lag("nobody", &[&config.topics.ids]).unwrap()[0].end;
    assert_eq!(ids(cluster.log().as_ref()), 1499, "the next order is number 1500");
    // the partitions that are there count, other settings are only told
    cluster.set("log.partitions", "4");
    cluster.set("log.replication", "2");
    assert_eq!(state(&cluster.run(&["log", "init", "--json"])), ["differs, works"; 7]);
    // an ids topic of several partitions would give ids out twice
    let orders = cluster.config().topics.orders;
    cluster.set("topics.orders", format!("{orders}_other"));
    cluster.set("topics.ids", orders);
    let wrong = cluster.output(&["log", "init", "--dry-run", "--json"]);
    assert_eq!(state(&String::from_utf8_lossy(&wrong.stdout))[3], "cannot be used");
    assert_eq!(wrong.status.code(), Some(1));
}

/// The first broker's address is silent at first, and then leads to a real one.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_waits_for_a_broker_that_is_away() {
    let mut cluster = Cluster::prepare(&[]).await;
    let away = format!("127.0.0.1:{}", free_ports(1));
    cluster.set("log.url", format!("kafka://{away}"));
    let up = cluster.spawn("up", 0);
    let (status, checks) = up.readyz().await.unwrap();
    assert_eq!((status, &checks["checks"]["log"]), (503, &json!(false)), "{checks}");
    let body = json!({ "product": "1010", "email": "ana@example.org" });
    let refused = reqwest::Client::new().post(up.url("intake", "/orders")).json(&body).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));

    let broker = needed("ENCARGO_TEST_KAFKA3").split(',').next().unwrap().to_owned();
    let door = TcpListener::bind(&away).await.unwrap();
    let forwarding = tokio::spawn(async move {
        while let Ok((mut from, _)) = door.accept().await {
            let mut to = tokio::net::TcpStream::connect(&broker).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    up.ready().await;
    let placed = place(&up, "ana@example.org").await;
    finished(&up, &placed["orderid"]).await;
    assert!(up.terminate().success());
    forwarding.abort();
}

/// Two instances of each role; under load, one of each is killed and comes back, then the other is replaced in order, as a rolling
/// update does it; then one fulfilment leaves for good.
#[tokio::test(flavor = "multi_thread")]
async fn instances_share_the_work_and_neither_kills_nor_updates_lose_anything() {
    let cluster = Cluster::prepare(&[]).await;
    let mut first = Vec::new();
    let mut second = Vec::new();
    for role in ROLES {
        first.push(cluster.start(role, 0).await);
        second.push(cluster.start(role, 1).await);
    }
    let requests = Requests::default();
    let mut unkeyed = Vec::new();
    let mut updates_began = Timestamp::default();
    for round in 0..8_u32 {
        let is_update = round as usize >= ROLES.len();
        let victim = round as usize % ROLES.len();
        let mut senders = JoinSet::new();
        let intakes = [&first[0], &second[0]].into_iter().enumerate();
        let sending: Vec<_> = intakes
            .map(|(sender, intake)| senders.spawn(send(intake.address("intake"), round, sender, 30, requests.clone())))
            .collect();
        amid(30, &requests, &sending).await; // of 60 orders every second one has a key
        if is_update {
            if updates_began == Timestamp::default() {
                updates_began = real_clock().now();
            }
            assert!(second.remove(victim).terminate().success(), "{} ends in order", ROLES[victim]);
            second.insert(victim, cluster.start(ROLES[victim], 1).await);
        } else {
            first[victim].kill();
            first[victim] = cluster.start(ROLES[victim], 0).await;
        }
        while let Some(acknowledged) = senders.join_next().await {
            unkeyed.extend(acknowledged.unwrap());
        }
        let of_round = format!("r{round}s");
        let open =
            requests.lock().await.iter().filter(|(key, placed)| key.starts_with(&of_round) && placed.is_none()).count();
        if is_update && ROLES[victim] != "intake" {
            assert_eq!(open, 0, "orders were refused while {} was replaced", ROLES[victim]);
        }
    }
    assert!(first.remove(1).terminate().success(), "fulfilment leaves in order");
    settle_all(second[0].address("intake"), &requests).await;

    let mut acknowledged = unkeyed;
    acknowledged.extend(requests.lock().await.values().flatten().cloned());
    assert!(acknowledged.len() > 100, "hardly any order was acknowledged: {}", acknowledged.len());
    wait_until_done(&cluster, acknowledged.len() as u64).await;
    for process in first.into_iter().chain(second) {
        assert!(process.terminate().success());
    }
    let (log, store, config) = (cluster.log(), cluster.store().await, cluster.config());
    let topics = &config.topics;
    let sources = Sources {
        log: log.as_ref(),
        store: store.as_ref(),
        orders: &topics.orders,
        states: &topics.states,
        dead: &topics.dead,
        flows: None,
    };
    let mut facts = audit::collect(sources).await.unwrap();
    facts.mails = audit::read_maildir(&cluster.folder.path().join("mail")).unwrap();
    facts.acknowledged = acknowledged;
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), Some(DWELL))).into();
    let rules = Rules { flow, all_finished: true, all_mailed: true, one_order_each: true, late_max: None };
    let report = audit::judge(&facts, &rules);
    let [killed, updated] = [false, true].map(|is_updated| lateness(&facts, |at| is_updated == (at >= updates_began)));
    println!(
        "{} orders, {} mails, {} ambiguous attempts repeated; late by {killed} where killed, and {updated} where replaced in order",
        report.orders, report.mails, facts.repeats_counted
    );
    assert_eq!(report.objections, Vec::<String>::new());
    assert_eq!(facts.dead, 0);
}

/// How late timers fired at such times: half of them, 99 % and the latest, in milliseconds.
fn lateness(facts: &audit::Facts, is_asked: impl Fn(Timestamp) -> bool) -> String {
    let due: BTreeMap<_, _> = facts.events.iter().map(|event| ((event.id, event.seq), event.next_at)).collect();
    let late = |event: &audit::Event| {
        let due = due.get(&(event.id, Some(event.seq?.checked_sub(1)?)))?.as_ref()?;
        is_asked(Timestamp::from_millis(event.at)).then(|| event.at - due)
    };
    let mut late: Vec<_> = facts.events.iter().filter_map(late).collect();
    late.sort_unstable();
    let quantile =
        |part: f64| late.get((late.len() as f64 * part) as usize).or(late.last()).copied().unwrap_or_default();
    format!("p50 {} ms, p99 {} ms, at most {} ms", quantile(0.5), quantile(0.99), quantile(1.0))
}

async fn wait_until_done(cluster: &Cluster, acknowledged: u64) {
    let store = cluster.store().await;
    let lost = cluster.log();
    let config = cluster.config();
    eventually("all orders finished and mailed", async || {
        let (log, topics) = (lost.clone(), [config.topics.orders.clone()]);
        let lag = tokio::task::spawn_blocking(move || log.lag("encargo-fulfilment", &[&topics[0]])).await.unwrap();
        let lag: u64 = lag.map_err(|e| e.to_string())?.iter().map(encargo::eventlog::Lag::records).sum();
        let orders = store.order_counts().await.map_err(|e| e.to_string())?;
        let ledger = store.ledger_counts().await.map_err(|e| e.to_string())?;
        let sent = ledger.by_status.iter().find(|(status, _)| *status == MailStatus::Sent).map_or(0, |(_, n)| *n);
        let is_done = lag == 0 && orders.total >= acknowledged && orders.finished == orders.total;
        if is_done && sent == orders.total * 4 {
            Ok(())
        } else {
            Err(format!("lag {lag}, {orders:?}, {sent} mails sent"))
        }
    })
    .await;
}
