//! `Idempotency-Key`: however often a request comes, there is one order.

use std::{sync::Arc, time::Duration};

use encargo::{
    domain::{Flow, Source, StateEvent},
    eventlog::{Error, TopicPartition},
    store::{
        Orders,
        orders::{Advance, Batch, Incoming},
    },
    web::Limits,
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    harness::PATIENCE,
    support::{
        faulty::Fault,
        shop::{RESERVATION, Shop},
    },
};

const BODY: &str = r#"{"product":"1010","email":"ana@example.org"}"#;

fn keyed(shop: &Shop, key: &str, body: &'static str) -> RequestBuilder {
    shop.json(body).header("Idempotency-Key", key)
}

async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

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
    shop.log.next(Fault::WriteAndSay(Error::Unconfirmed("no answer".into())));
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
    shop.log.next(Fault::WriteAndSay(Error::Unconfirmed("no answer".into())));
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
        shop.log.next(Fault::Refuse(error));
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
async fn the_order_is_placed_though_the_client_has_gone() {
    // with one connection only, an answer on another one shows that the server has seen the first one go
    let shop = Shop::start_with(Limits { connections_max: 1, ..Limits::default() }).await;
    let gate = Arc::new(Semaphore::new(0));
    shop.log.next(Fault::Hold(gate.clone()));
    let gone = keyed(&shop, "k", BODY).timeout(Duration::from_millis(500)).send().await;
    assert!(gone.unwrap_err().is_timeout());
    assert_eq!(shop.get("/products").send().await.unwrap().status(), StatusCode::OK);
    gate.add_permits(1);
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
        headers: Vec::new(),
    };
    let event = StateEvent { order: order.into(), estado: Flow::STATES[0].into(), seq: Some(1), at, next_at: None };
    let of = TopicPartition { topic: "compra_confirmada".into(), partition: 0 };
    let batch = Batch {
        group: "tracking".into(),
        advances: vec![Advance { of, from: 0, to: 1 }],
        events: vec![Incoming { event, seq: 1, last: false, letter }],
        now: at,
        ..Batch::default()
    };
    assert_eq!(shop.store.apply(batch.into()).await.unwrap().accepted, 1);
}
