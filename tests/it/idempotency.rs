//! `Idempotency-Key`: however often a request comes, there is one order.

use std::time::Duration;

use encargo::{
    config::Config,
    domain::{Flow, Lang, Source, StateEvent, wire::Headers},
    eventlog::{Error, TopicPartition},
    faults::Fault,
    store::{
        Orders,
        orders::{Advance, Batch, Incoming},
    },
    web::Limits,
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    harness::{PATIENCE, app::TestApp, eventually},
    store::{PgSchema, Place as _},
    support::shop::{BACKLOG_MAX, RESERVATION, Shop},
};

const BODY: &str = r#"{"product":"1010","email":"ana@example.org"}"#;
/// How long an answer of the log is held back.
const HELD: Duration = Duration::from_secs(1);

fn keyed(shop: &Shop, key: &str, body: &'static str) -> RequestBuilder {
    shop.json(body).header("Idempotency-Key", key)
}

async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// What is changed between two answers, and how.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Config));

#[tokio::test]
async fn a_repeat_gets_the_same_answer_and_another_body_none() {
    let shop = Shop::start().await;
    let first = send(keyed(&shop, "k1", BODY)).await;
    assert_eq!(first.0, 202);
    // the same request, written otherwise
    let again = send(keyed(&shop, "k1", r#"{ "email":"ana@example.org", "product":"1010", "lang":null }"#)).await;
    assert_eq!(first, again);
    let other = send(keyed(&shop, "k1", r#"{"product":"1020","email":"ana@example.org"}"#)).await;
    assert_eq!((other.0, &other.1["type"]), (422, &Value::from("urn:encargo:problem:key-reused")));
    // another key is another order; the repeats have spent no id
    assert_eq!(send(keyed(&shop, "k2", BODY)).await.1["orderid"], 2);
    assert_eq!(shop.ids(), [1, 2]);
    assert_eq!(send(keyed(&shop, "with space", BODY)).await.0, 400);
    let metrics = shop.metrics();
    assert!(metrics.contains("encargo_orders_accepted_total{via=\"json\"} 2"), "{metrics}");
    assert!(metrics.contains("encargo_orders_refused_total{reason=\"conflict\"} 1"), "{metrics}");
}

#[tokio::test]
async fn many_at_once_make_one_order() {
    let shop = Shop::start().await;
    let requests: Vec<_> = (0..20).map(|_| tokio::spawn(send(keyed(&shop, "k", BODY)))).collect();
    for request in requests {
        let (status, answer) = request.await.unwrap();
        assert!(status == 409 || (status == 202 && answer["orderid"] == 1), "{status} {answer}");
    }
    let (status, answer) = send(keyed(&shop, "k", BODY)).await;
    assert_eq!((status, &answer["orderid"]), (202, &Value::from(1)));
    assert_eq!(shop.ids(), [1]);
}

#[tokio::test]
async fn what_was_not_confirmed_is_appended_again_under_the_same_id() {
    let shop = Shop::start().await;
    shop.faults.then(Fault::Unanswered(Error::Unconfirmed("no answer".into())));
    let lost = keyed(&shop, "k", BODY).send().await.unwrap();
    assert_eq!(lost.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(lost.headers()["retry-after"], RESERVATION.as_secs().to_string());
    assert_eq!(lost.json::<Value>().await.unwrap()["type"], "urn:encargo:problem:unconfirmed");
    let early = keyed(&shop, "k", BODY).send().await.unwrap();
    assert_eq!(early.status(), StatusCode::CONFLICT);
    assert_eq!(early.headers()["retry-after"], "1");

    shop.clock.advance(RESERVATION);
    let (status, answer) = send(keyed(&shop, "k", BODY)).await;
    assert_eq!((status, &answer["orderid"]), (202, &Value::from(1)));
    // twice in the log, to the byte the same, which fulfilment ignores
    let orders = shop.orders();
    assert_eq!(shop.ids(), [1, 1]);
    assert_eq!(orders[0].1.value, orders[1].1.value);
    assert_eq!(orders[0].1.key, orders[1].1.key);
    let metrics = shop.metrics();
    assert!(metrics.contains("encargo_orders_refused_total{reason=\"unconfirmed\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_was_not_confirmed_but_is_there_is_not_appended_again() {
    let shop = Shop::start().await;
    shop.faults.then(Fault::Unanswered(Error::Unconfirmed("no answer".into())));
    assert_eq!(send(keyed(&shop, "k", BODY)).await.0, 503);
    project(&shop).await;
    shop.clock.advance(RESERVATION);
    assert_eq!(send(keyed(&shop, "k", BODY)).await.0, 202);
    assert_eq!(shop.ids(), [1]);
}

#[tokio::test]
async fn what_was_certainly_refused_can_be_tried_again_at_once() {
    let shop = Shop::start().await;
    for (error, reason) in
        [(Error::Unavailable("the disk is full".into()), "unavailable"), (Error::Overloaded(4_096), "overloaded")]
    {
        shop.faults.then(Fault::Refused(error));
        let refused = keyed(&shop, reason, BODY).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        let text = refused.text().await.unwrap();
        assert!(text.contains(reason) && !text.contains("disk"), "{text}");
        assert_eq!(send(keyed(&shop, reason, BODY)).await.0, 202);
    }
    assert_eq!(shop.orders().len(), 2);
}

#[tokio::test]
async fn the_order_is_placed_though_its_request_was_given_up() {
    // with one connection only, an answer on another one shows that the first request is over
    let shop = Shop::start_with(Limits { connections_max: 1, ..Limits::default() }).await;
    shop.faults.then(Fault::Slow(HELD));
    let given_up = tokio::spawn(keyed(&shop, "k", BODY).send());
    eventually("the order", async || if shop.orders().is_empty() { Err(String::new()) } else { Ok(()) }).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled(), "its answer is held back");
    assert_eq!(shop.get("/products").send().await.unwrap().status(), StatusCode::OK);
    shop.slowness.advance(HELD);
    // no time passes on the shop's clock, so the reservation is not over: the first request itself must confirm
    let placed = async {
        loop {
            match send(keyed(&shop, "k", BODY)).await {
                (409, _) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    };
    let (status, answer) = timeout(PATIENCE, placed).await.expect("the key must be confirmed");
    assert_eq!((status, &answer["orderid"]), (202, &Value::from(1)));
    assert_eq!(shop.ids(), [1]);
}

#[tokio::test]
async fn a_repeat_is_answered_while_new_orders_are_refused() {
    let shop = Shop::start().await;
    let first = send(keyed(&shop, "k", BODY)).await;
    for _ in 0..=BACKLOG_MAX {
        assert_eq!(shop.json(BODY).send().await.unwrap().status(), StatusCode::ACCEPTED);
    }
    shop.until(StatusCode::SERVICE_UNAVAILABLE, || shop.json(BODY)).await;
    assert_eq!(send(keyed(&shop, "k", BODY)).await, first);
    assert_eq!(send(keyed(&shop, "new", BODY)).await.0, 503);
}

/// Everything that a client sees of an answer.
async fn whole(request: RequestBuilder) -> (u16, Vec<String>, String) {
    let response = request.send().await.unwrap();
    let header = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let headers = ["content-type", "location"].map(header).into();
    (response.status().as_u16(), headers, response.text().await.unwrap())
}

async fn every_keyed_answer_outlives_every_change(mut app: TestApp) {
    let bodies = [
        json!({"product": "1010", "email": "ana@example.org"}),
        json!({"product": "1080", "email": "Ana+tag@Example.org", "lang": "en-US"}),
        json!({"product": "1050", "email": "josé@españa.example", "lang": ["fr", "es"]}),
        json!({"product": "1020", "email": "ana@example.org", "lang": null}),
    ];
    let ask = async |app: &TestApp, number: usize, body: &Value| {
        whole(app.http.post(app.intake("/orders")).header("Idempotency-Key", format!("k{number}")).json(body)).await
    };
    let mut first = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        first.push(ask(&app, number, body).await);
        assert_eq!(first[number].0, 202, "{body}: {first:?}");
    }
    let catalog = app.folder().join("products.csv");
    let flow = ["nuevo", "listo"].map(str::to_owned);
    let second = Duration::from_secs(1);
    let changes: [Change<'_>; 9] = [
        ("nothing", &|_| {}),
        ("no such product any more", &|config| {
            std::fs::write(&catalog, "appid,name,price\n1,Taza,5.00\n").unwrap();
            config.catalog.path.clone_from(&catalog);
        }),
        ("another product under the id", &|_| std::fs::write(&catalog, "appid,name,price\n1010,Taza,5.00\n").unwrap()),
        ("another flow", &|config| config.flow.states = flow.to_vec()),
        ("another dwell", &|config| config.flow.dwell = second),
        ("another address for links", &|config| config.tracking.public_url = "https://shop.example".into()),
        ("another language", &|config| config.mail.lang = Lang::En),
        ("a rate", &|config| config.intake.rate_per_address = Some("1/d".parse().unwrap())),
        ("an address for the old form", &|config| config.intake.usermail = "otra@example.org".parse().unwrap()),
    ];
    for (what, change) in changes {
        app.stop().await;
        change(&mut app.config);
        app.start_again().await;
        for (number, body) in bodies.iter().enumerate() {
            assert_eq!(ask(&app, number, body).await, first[number], "{what}: {body}");
            let other = ask(&app, number, &json!({"product": "1", "email": "eva@example.org"})).await;
            assert!(other.0 == 422 && other.2.contains("key-reused"), "{what}: {other:?}");
        }
    }
    assert_eq!(app.metric("encargo_orders_accepted_total{via=\"json\"}").await, 0, "none was placed again");
}

#[tokio::test]
async fn every_keyed_answer_outlives_every_change_on_sqlite() {
    Box::pin(every_keyed_answer_outlives_every_change(TestApp::start().await)).await;
}

#[tokio::test]
async fn every_keyed_answer_outlives_every_change_on_postgres() {
    let schema = PgSchema::new();
    drop(schema.open().await);
    Box::pin(every_keyed_answer_outlives_every_change(TestApp::start_with(&[("store.url", &schema.url())]).await))
        .await;
}

#[tokio::test]
async fn an_abandoned_order_is_placed_as_it_was_asked_for_whatever_the_catalogue_says() {
    let shop = Shop::start().await;
    shop.faults.then(Fault::Refused(Error::Unconfirmed("no answer".into())));
    assert_eq!(send(keyed(&shop, "k", BODY)).await.0, 503);
    let empty = encargo::catalog::Catalog::parse("none", b"appid,name,price\n1,Taza,5.00\n").unwrap();
    let shop = shop.restart_with(empty).await;
    assert_eq!(send(keyed(&shop, "k", BODY)).await.0, 409, "its request may run still");
    shop.clock.advance(RESERVATION);
    let (status, answer) = send(keyed(&shop, "k", BODY)).await;
    assert_eq!((status, &answer["orderid"]), (202, &Value::from(1)));
    let (order, _) = shop.orders().pop().unwrap();
    assert_eq!((&*order.product.id, shop.ids()), ("1010", vec![1]));
    assert_eq!(send(keyed(&shop, "new", BODY)).await.0, 422, "no new order of what there is not");
}

/// Puts the one order that is in the log into the store, as tracking does.
async fn project(shop: &Shop) {
    let (order, _) = shop.orders().remove(0);
    let at = shop.clock.now();
    let source = Source { topic: "compra_confirmada".into(), partition: 0, offset: 0 };
    let letter = encargo::domain::DeadLetter {
        source,
        reason: String::new(),
        attempts: 0,
        at,
        key: None,
        value: Vec::new(),
        headers: Headers::default(),
    };
    let event = StateEvent::of_version_1(order, 1, Flow::STATES[0], at, Some(at));
    let tp = TopicPartition { topic: "compra_confirmada".into(), partition: 0 };
    let batch = Batch {
        group: "tracking".into(),
        advances: vec![Advance { tp, from: 0, to: 1, print: None }],
        events: vec![Incoming { event, partition: None, letter }],
        now: at,
        ..Batch::default()
    };
    assert_eq!(shop.store.apply(batch.into()).await.unwrap().accepted, 1);
}
