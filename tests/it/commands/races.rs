//! Cancelling beside timers and beside each other: one thing happens, and everybody is told the same.

use std::{sync::Arc, time::Duration};

use encargo::{
    audit::{self, Commanded, Placed, Rules, Sources},
    domain::Flow,
    eventlog::sqlite::SqliteLog,
    store::sqlite::SqliteStore,
};
use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

use super::{answer, form, placed};
use crate::{
    harness::{app::TestApp, eventually, load::random_below, process::Process, real_clock},
    kill::wait_until_over,
};

const DWELL: Duration = Duration::from_millis(60);
const AT_ONCE: usize = 16;
/// How long after its last state was seen an order is cancelled, at most: some come before its timer, some after.
const LATEST: Duration = Duration::from_millis(60);

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_cancel_one_did() {
    let app = TestApp::start().await;
    for id in 1..=10 {
        let handle = placed(&app).await;
        let shop = answer(app.http.post(app.tracking(&format!("/orders/{id}/cancel"))));
        let customer = app.http.post(app.tracking(&format!("/track/{handle}/cancel")));
        let (shop, customer) = tokio::join!(shop, answer(form(customer, "confirm=true")));
        let mut statuses = [shop.0, customer.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{shop:?} {customer:?}");
        let refused = if shop.0 == 409 { &shop.1 } else { &customer.1 };
        assert_eq!((&refused["code"], &refused["estado"]), (&json!("closed"), &json!("cancelado")));
    }
    assert_eq!(app.metric("encargo_orders{state=\"cancelled\"}").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_twice_at_once_happens_once() {
    let app = TestApp::start().await;
    for id in 1..=10 {
        placed(&app).await;
        let hold = || {
            let request = app.http.post(app.tracking(&format!("/orders/{id}/hold")));
            answer(request.header("idempotency-key", format!("k-{id}")))
        };
        let (one, other) = tokio::join!(hold(), hold());
        assert_eq!((one.0, other.0), (200, 200), "{one:?} {other:?}");
        let (_, order) = answer(app.http.get(app.tracking(&format!("/orders/{id}")))).await;
        assert_eq!(order["history"].as_array().unwrap().len(), 2, "{order}");
    }
}

/// There is one outcome for an id; each order tells by itself what was done to it.
#[tokio::test(flavor = "multi_thread")]
async fn one_key_for_two_orders_at_once_is_told_to_each_as_it_is() {
    let app = TestApp::start().await;
    for pair in 0..10 {
        placed(&app).await;
        placed(&app).await;
        let ids = [pair * 2 + 1, pair * 2 + 2];
        let hold = |id: u64| {
            let request = app.http.post(app.tracking(&format!("/orders/{id}/hold")));
            answer(request.header("idempotency-key", format!("k-{pair}")))
        };
        let (one, other) = tokio::join!(hold(ids[0]), hold(ids[1]));
        for (id, (status, said)) in ids.into_iter().zip([one, other]) {
            let (_, order) = answer(app.http.get(app.tracking(&format!("/orders/{id}")))).await;
            let is_held = order["waits"] == "held";
            assert_eq!(status, if is_held { 200 } else { 422 }, "{said} {order}");
            assert_eq!(hold(id).await.0, status, "the same again");
            let looked = answer(app.http.get(app.tracking(&format!("/orders/{id}/commands/k-{pair}")))).await;
            assert_eq!(looked.0, if is_held { 200 } else { 404 }, "{looked:?}");
        }
    }
}

/// What one customer did and was told.
struct Told {
    placed: Placed,
    command: String,
    is_done: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_race_the_timers_and_all_tell_the_same() {
    let orders: usize = std::env::var("ENCARGO_RACES").map_or(150, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Arc::new(Process::start(&data, &["--dwell", "60ms"]).await);
    let told = all_change_their_minds(&process, orders).await;
    wait_until_over(&process, &data).await;
    assert!(Arc::into_inner(process).expect("all customers are gone").terminate().success());

    let log = SqliteLog::open_read_only(&data.join("log.db")).unwrap();
    let store = SqliteStore::open_tool(&data.join("store.db")).unwrap();
    let (orders_topic, states, dead) = ("compra_detalle", "compra_confirmada", "compra_dead_letters");
    let sources = Sources { log: &log, store: &store, orders: orders_topic, states, dead, flows: None };
    let mut facts = audit::collect(sources).await.unwrap();
    facts.mails = audit::read_maildir(&data.join("mail")).unwrap();
    facts.acknowledged = told.iter().map(|told| told.placed.clone()).collect();
    facts.commanded = told
        .iter()
        .map(|Told { placed, command, is_done }| Commanded {
            id: placed.id,
            command: command.clone(),
            is_done: *is_done,
        })
        .collect();
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), Some(DWELL))).into();
    let rules = Rules { flow, all_finished: true, all_mailed: true, one_order_each: true, late_max: None };
    let report = audit::judge(&facts, &rules);
    assert_eq!(report.objections, Vec::<String>::new());
    println!("{orders} orders: {} cancelled, {} finished", report.cancelled, report.finished);
    assert_eq!(report.cancelled + report.finished, orders as u64);
}

/// So many customers, not all at once.
async fn all_change_their_minds(process: &Arc<Process>, orders: usize) -> Vec<Told> {
    let (mut customers, mut told) = (JoinSet::new(), Vec::new());
    let all = async {
        for number in 0..orders {
            if customers.len() == AT_ONCE {
                told.push(customers.join_next().await.unwrap().unwrap());
            }
            customers.spawn_local(change_their_mind(process.clone(), number));
        }
        while let Some(customer) = customers.join_next().await {
            told.push(customer.unwrap());
        }
    };
    LocalSet::new().run_until(all).await;
    told
}

/// Places an order, and cancels it at some moment about the end of its last timer.
async fn change_their_mind(process: Arc<Process>, number: usize) -> Told {
    let http = reqwest::Client::new();
    let email = format!("c{number}@example.org");
    let order = json!({ "product": "1010", "email": email });
    let (status, accepted) = answer(http.post(process.url("intake", "/orders")).json(&order)).await;
    assert_eq!(status, 202, "{accepted}");
    let id = accepted["orderid"].as_u64().unwrap();
    eventually(&format!("the last timer of order {id}"), async || {
        let (_, order) = answer(http.get(process.url("tracking", &format!("/orders/{id}")))).await;
        if order["estado"] == "entregando" || order["finished"] == true { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
    real_clock().sleep(Duration::from_micros(random_below(LATEST.as_micros() as u64))).await;
    let command = format!("c-{number}");
    let url = process.url("tracking", &format!("/orders/{id}/cancel"));
    let is_done = eventually(&format!("order {id} cancelled or refused"), async || {
        match answer(http.post(&url).header("idempotency-key", &command)).await {
            (200, _) => Ok(true),
            (409, _) => Ok(false),
            (status, said) => Err(format!("{status} {said}")), // not projected yet, or not decided yet
        }
    })
    .await;
    Told { placed: Placed { id, product: "1010".into(), email }, command, is_done }
}
