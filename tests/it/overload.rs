//! Too much to do: refused in time, and nothing acknowledged that is not durable.

use std::time::Duration;

use encargo::{eventlog::Error, faults::Fault};
use reqwest::StatusCode;
use tokio::net::TcpStream;

use crate::{
    harness::eventually,
    support::shop::{BACKLOG_MAX, Shop},
};

const BODY: &str = r#"{"product":"1010","email":"ana@example.org"}"#;
/// How long an answer of the log is held back.
const HELD: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_backlog_shuts_the_intake_until_it_is_worked_off() {
    let shop = Shop::start().await;
    for _ in 0..=BACKLOG_MAX {
        assert_eq!(shop.json(BODY).send().await.unwrap().status(), StatusCode::ACCEPTED);
    }
    // above the limit; the gate looks when the clock moves
    let refused = shop.until(StatusCode::SERVICE_UNAVAILABLE, || shop.json(BODY)).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let refused = shop.form("value=1").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.text().await.unwrap().lines().count(), 2);
    let taken = shop.orders().len();

    shop.consume_all().await;
    shop.until(StatusCode::ACCEPTED, || shop.json(BODY)).await;
    assert_eq!(shop.orders().len(), taken + 1, "what was refused is not in the log");
    assert_eq!(shop.metric("encargo_intake_backlog_records"), 0);
    assert!(shop.metric("encargo_orders_refused_total{reason=\"overloaded\"}") >= 2);
}

#[tokio::test]
async fn a_client_with_fifty_times_its_share_refuses_nobody_else() {
    let shop = Shop::start().await;
    let order = |client: u8| shop.json(BODY).header("x-forwarded-for", format!("192.0.2.{client}"));
    for round in 0..3 {
        let (mut taken, mut refused) = (0, None);
        for _ in 0..50 {
            let response = order(0).send().await.unwrap();
            match response.status() {
                StatusCode::ACCEPTED => taken += 1,
                StatusCode::TOO_MANY_REQUESTS => refused = Some(response),
                status => panic!("{status} in round {round}"),
            }
        }
        assert_eq!(taken, BACKLOG_MAX / 5 * 4, "all but what is kept for the others");
        for client in 1..10 {
            assert_eq!(order(client).send().await.unwrap().status(), StatusCode::ACCEPTED, "{client} in round {round}");
        }
        let refused = refused.expect("it wants more than its share");
        let retry_after: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(retry_after >= 1);
        let problem: serde_json::Value = refused.json().await.unwrap();
        assert_eq!(problem["type"], "urn:encargo:problem:over-share");
        assert_eq!(problem["waiting_yours"], taken);
        // one that is let in while the gate looks may count twice until it looks again
        assert!(problem["waiting"].as_u64() >= Some(taken), "{problem}");

        // the same in the words of the old form
        let form = shop.form("value=1").header("x-forwarded-for", "192.0.2.0").send().await.unwrap();
        assert_eq!((form.status(), form.text().await.unwrap().lines().count()), (StatusCode::TOO_MANY_REQUESTS, 2));

        until_seen(&shop, taken + 9).await;
        shop.consume_all().await;
        until_seen(&shop, 0).await;
    }
}

/// Until the gate has seen that so many wait: it looks when the clock moves.
async fn until_seen(shop: &Shop, waiting: u64) {
    eventually("the gate has looked", async || {
        shop.clock.advance(Duration::from_millis(100));
        let seen = shop.metric("encargo_intake_backlog_records");
        if seen == waiting { Ok(()) } else { Err(format!("it has seen {seen} and not {waiting}")) }
    })
    .await;
}

#[tokio::test]
async fn a_log_that_cannot_write_is_a_503_that_keeps_its_reasons_to_itself() {
    let shop = Shop::start().await;
    let secret = || "no space left on /srv/data".to_owned();
    let faults = [
        (Error::Overloaded(4_096), 503),
        (Error::Unavailable(secret()), 503),
        (Error::Unconfirmed(secret()), 503),
        (Error::Fatal(secret()), 500),
    ];
    for (error, status) in faults {
        shop.faults.then(Fault::Refused(error));
        let response = shop.json(BODY).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers().contains_key("retry-after"), status == 503);
        assert!(!response.text().await.unwrap().contains("/srv"));
    }
    assert_eq!(shop.json(BODY).send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(shop.orders().len(), 1);
}

#[tokio::test]
async fn a_stop_finishes_what_has_begun() {
    let shop = Shop::start().await;
    shop.faults.then(Fault::Slow(HELD));
    let begun = tokio::spawn(shop.json(BODY).send());
    // held in the log: the record is written, the answer waits
    while shop.orders().is_empty() {
        tokio::task::yield_now().await;
    }
    shop.stop();
    let address = shop.url.trim_start_matches("http://").to_owned();
    while TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!begun.is_finished());
    shop.slowness.advance(HELD);
    assert_eq!(begun.await.unwrap().unwrap().status(), StatusCode::ACCEPTED);
    shop.stopped().await;
}
