//! Orders as traces, as a collector of OpenTelemetry gets them.

use std::{collections::HashSet, time::Duration};

use axum::http::StatusCode;
use encargo::domain::Flow;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::harness::{
    app::{TestApp, sample_in},
    collector::{Arrived, Collector},
    eventually, free_ports,
    process::{Process, read_log},
    smtp::Sink,
};

const DWELL: Duration = Duration::from_secs(8);
/// The trace of a caller, and its span in it.
pub const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub const CALLER: &str = "b7ad6b7169203331";

/// Places an order in the caller's trace, with these flags.
async fn place(app: &TestApp, flags: &str) -> u64 {
    let request = app.http.post(app.intake("/orders")).header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"));
    let response = request.json(&json!({ "product": "1010", "email": "ana@example.org" })).send().await.unwrap();
    assert_eq!(response.status(), 202);
    response.json::<Value>().await.unwrap()["orderid"].as_u64().unwrap()
}

/// Has it go through its states.
async fn finish(app: &mut TestApp, id: u64) {
    app.in_state(id, "recibido").await;
    for state in &Flow::STATES[1..] {
        app.advance_to(id, state, DWELL).await;
    }
}

fn only<'a>(spans: &'a [Arrived], name: &str) -> &'a Arrived {
    let mut found = spans.iter().filter(|span| span.name == name);
    let only = found.next().unwrap_or_else(|| panic!("no {name:?} in {spans:#?}"));
    assert!(found.next().is_none(), "{name:?} came twice: {spans:#?}");
    only
}

/// Checks that these are all of an order's trace, which a caller began; `orders` and `states` are the topics.
pub fn check_life(spans: &[Arrived], id: u64, orders: &str, states: &str) {
    assert!(
        spans.iter().all(|span| span.trace == TRACE && !span.failed && span.ended_ns >= span.begun_ns),
        "{spans:#?}"
    );
    assert_eq!(spans.iter().map(|span| &span.id).collect::<HashSet<_>>().len(), spans.len());
    let (request, append) = (only(spans, "POST /orders"), only(spans, &format!("send {orders}")));
    assert_eq!((request.kind, &*request.parent), (SpanKind::Server, CALLER));
    assert_eq!(request.attributes["http.route"], "/orders");
    assert_eq!(request.attributes["http.response.status_code"], "202");
    assert_eq!((append.kind, &append.parent), (SpanKind::Producer, &request.id));
    assert_eq!(append.attributes["messaging.destination.name"], orders);
    assert_eq!(append.attributes["encargo.order.id"], id.to_string());
    for (index, state) in Flow::STATES.into_iter().enumerate() {
        let event = only(spans, &format!("entered {state}"));
        let (kind, cause) = if index == 0 { (SpanKind::Consumer, "placed") } else { (SpanKind::Internal, "timer") };
        assert_eq!((event.kind, &*event.attributes["encargo.cause"]), (kind, cause));
        assert_eq!(event.parent, append.id);
        assert_eq!(event.attributes["encargo.order.state"], state);
        assert_eq!(event.attributes.contains_key("encargo.late_ms"), index > 0, "{event:#?}");
        let below = |kind: SpanKind| spans.iter().filter(move |span| span.kind == kind && span.parent == event.id);
        let projections: Vec<_> = below(SpanKind::Consumer).collect();
        assert_eq!(projections.len(), 1, "{projections:#?}");
        assert_eq!(projections[0].name, format!("process {states}"));
        assert_eq!(projections[0].attributes["messaging.destination.name"], states);
        assert_eq!(below(SpanKind::Client).count(), 1, "the mail about {state}");
    }
    assert_eq!(spans.len(), 14, "{spans:#?}");
    let told = format!("{spans:?}");
    assert!(!told.contains("ana@") && !told.contains("example.org"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_from_its_request_to_its_last_mail() {
    let (collector, sink) = (Collector::start().await, Sink::start().await);
    let settings = [("telemetry.otlp", &*collector.url), ("mail.url", &*sink.url())];
    let mut app = TestApp::start_with(&settings).await;
    let id = place(&app, "01").await;
    finish(&mut app, id).await;
    eventually("four mails", async || if sink.mails().len() == 4 { Ok(()) } else { Err("not yet".to_owned()) }).await;
    app.stop().await;
    let spans = collector.arrived();
    check_life(&spans, id, "compra_detalle", "compra_confirmada");
    for span in spans.iter().filter(|span| span.kind == SpanKind::Client) {
        assert_eq!(span.attributes["encargo.mail.result"], "sent");
        assert_eq!(span.attributes["encargo.mail.reply_code"], "250");
        assert_eq!(span.attributes["encargo.mail.attempt"], "1");
    }
    assert!(spans.iter().all(|span| span.service == "encargo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_began_a_trace_says_whether_it_is_kept() {
    let collector = Collector::start().await;
    let settings = [("telemetry.otlp", &*collector.url), ("telemetry.sample", "0%"), ("mail.url", "none:")];
    let mut app = TestApp::start_with(&settings).await;
    let left_out = place(&app, "00").await;
    let unasked = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
    let kept = place(&app, "01").await;
    for id in [left_out, unasked, kept] {
        app.in_state(id, "recibido").await;
    }
    app.stop().await;
    let spans = collector.arrived();
    let orders: HashSet<_> = spans.iter().filter_map(|span| span.attributes.get("encargo.order.id")).collect();
    assert_eq!(orders, HashSet::from([&kept.to_string()]), "{spans:#?}");
    assert_eq!(spans.len(), 4, "request, append, state, projection: {spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_traced_begins_a_trace() {
    let collector = Collector::start().await;
    let mut app = TestApp::start_with(&[("telemetry.otlp", &collector.url), ("mail.url", "none:")]).await;
    let placed = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
    app.in_state(placed, "recibido").await;
    let refused = app.http.post(app.intake("/")).body("no form").send().await.unwrap().status();
    app.stop().await;
    let spans = collector.arrived();
    let (request, append) = (only(&spans, "POST /orders"), only(&spans, "send compra_detalle"));
    assert_eq!((&*request.parent, &append.parent), ("", &request.id));
    assert_eq!(request.trace, only(&spans, "entered recibido").trace);
    let refusal = only(&spans, "POST /");
    assert_eq!(refusal.attributes["http.response.status_code"], refused.as_str());
    assert!(!refusal.failed, "what a client does wrong is no failure of ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_puts_off_comes_once_and_what_it_refuses_is_counted() {
    for (answers, arriving, refused) in [
        (vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS], 4, false),
        (vec![StatusCode::NOT_FOUND; 50], 0, true),
    ] {
        let collector = Collector::start_at("127.0.0.1:0", &answers).await;
        let mut app = TestApp::start_with(&[("telemetry.otlp", &collector.url), ("mail.url", "none:")]).await;
        let id = place(&app, "01").await;
        app.in_state(id, "recibido").await;
        let text = eventually("a verdict on all spans", async || {
            let text = app.http.get(app.ops("/metrics")).send().await.unwrap().text().await.unwrap();
            let count = |result| sample_in(&text, &format!("encargo_spans_total{{result=\"{result}\"}}"));
            if count("exported") + count("refused") >= 1 { Ok(text) } else { Err(text) }
        })
        .await;
        let refusals = sample_in(&text, "encargo_spans_total{result=\"refused\"}");
        assert_eq!(refusals > 0, refused, "{answers:?}");
        app.stop().await;
        assert_eq!(collector.arrived().len(), arriving, "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_told_of_once_and_loses_no_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let address = format!("127.0.0.1:{}", free_ports(1));
    let server = Process::start(&data, &["--dwell", "50ms", "--otlp", &format!("http://{address}")]).await;
    let http = reqwest::Client::new();
    for _ in 0..3 {
        let order = json!({ "product": "1010", "email": "ana@example.org" });
        let response = http.post(server.url("intake", "/orders")).json(&order).send().await.unwrap();
        assert_eq!(response.status(), 202);
        let id = response.json::<Value>().await.unwrap()["orderid"].clone();
        let url = server.url("tracking", &format!("/orders/{id}"));
        eventually("a finished order", async || {
            let order: Value = http.get(&url).send().await.unwrap().json().await.map_err(|e| e.to_string())?;
            if order["finished"] == true { Ok(()) } else { Err(order.to_string()) }
        })
        .await;
    }
    eventually("a warning", async || {
        let log = read_log(&data);
        if log.contains("does not take spans") { Ok(()) } else { Err(log) }
    })
    .await;
    let collector = Collector::start_at(&address, &[]).await;
    let spans = collector.spans(3 * 14).await;
    assert_eq!(spans.iter().map(|span| &span.trace).collect::<HashSet<_>>().len(), 3, "nothing was lost meanwhile");
    assert!(server.terminate().success());
    let log = read_log(&data);
    assert_eq!(log.matches("does not take spans").count(), 1, "{log}");
    assert!(log.contains("nothing listens there") && log.contains("takes spans again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_does_not_hold_up_a_stop() {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let mut app = TestApp::start_with(&[("telemetry.otlp", &url), ("mail.url", "none:")]).await;
    let id = place(&app, "01").await;
    app.in_state(id, "recibido").await;
    let (mut asked, _) = mute.accept().await.unwrap(); // a batch is on its way
    app.stop().await; // fails when it is longer than its deadline
    let mut sent = Vec::new();
    let _ = asked.read_to_end(&mut sent).await; // ends, as the process let go of it
    assert!(sent.starts_with(b"POST /v1/traces HTTP/1.1\r\n"));
}
