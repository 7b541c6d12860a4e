//! Records that bear the numbers of the registry's schemas: those of others, which are read, and ours.

use std::process::Command;

use encargo::{
    audit, config, contract,
    domain::{
        Flow, OrderId,
        wire::{Framed, Headers},
    },
    eventlog::NewRecord,
};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpSocket, TcpStream},
};

use super::{Topics, registry};
use crate::{
    cli::Done,
    eventlog::{part, read_all},
    harness::{app::TestApp, eventually, process::output},
};

const ORDER: &str = r#"{ "type": "record", "name": "Order", "fields": [
    { "name": "orderid", "type": "long" }, { "name": "gameid", "type": "string" }, { "name": "name", "type": "string" },
    { "name": "price", "type": "string" }, { "name": "usermail", "type": "string" } ] }"#;

/// Registers a schema of another kind than ours; its number.
async fn register(url: &str, subject: &str, kind: &str, schema: &str) -> u32 {
    let url = format!("{url}/subjects/{subject}/versions");
    let body = json!({ "schemaType": kind, "schema": schema });
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    u32::try_from(answer["id"].as_u64().unwrap()).unwrap()
}

/// An order as a serialiser writes it in Avro.
fn avro(schema: u32, id: u8) -> Vec<u8> {
    let mut value = [&[0][..], &schema.to_be_bytes(), &[id * 2]].concat();
    for text in ["3170", "Faro", "7.99", "ana@example.org"] {
        value.push(text.len() as u8 * 2);
        value.extend(text.as_bytes());
    }
    value
}

fn plain(id: u8) -> Vec<u8> {
    let order =
        json!({ "orderid": id, "gameid": "3170", "name": "Faro", "price": "7.99", "usermail": "ana@example.org" });
    order.to_string().into_bytes()
}

async fn append(app: &TestApp, partition: u32, values: Vec<Vec<u8>>) {
    let record = |value| NewRecord {
        topic: app.config.topics.orders.clone(),
        partition: Some(partition),
        key: None,
        value,
        headers: Headers::default(),
        at: app.clock.now(),
    };
    app.app().log().append(values.into_iter().map(record).collect()).await.unwrap();
}

async fn reasons(app: &TestApp, count: usize) -> Vec<String> {
    eventually("dead letters", async || {
        let dead = app.app().store().dead(None, 100).await.map_err(|e| e.to_string())?;
        if dead.len() < count {
            Err(format!("{dead:?}"))
        } else {
            Ok(dead.into_iter().map(|dead| dead.reason).collect())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_wait_for_a_registry_that_is_away_and_none_is_lost_or_refused() {
    let (url, _) = registry();
    let id = register(&url, &format!("away_{}-value", std::process::id()), "AVRO", ORDER).await;
    let (behind, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("an address");
    // bound and not listening, so that nobody else gets the port
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = socket.local_addr().unwrap();
    let app = TestApp::start_with(&[("registry.url", &format!("http://{at}/{path}"))]).await;

    append(&app, 0, vec![avro(id, 1), plain(2)]).await;
    append(&app, 1, vec![plain(3), [&[0, 0xff, 0xff, 0xff, 0xff][..], &plain(4)].concat()]).await;
    app.in_state(3, "recibido").await;
    app.in_state(4, "recibido").await; // JSON needs no schema
    for id in [1, 2] {
        let known = app.app().store().order(OrderId::new(id).unwrap()).await.unwrap();
        assert!(known.is_none(), "order {id} must wait");
    }

    let (listener, behind) = (socket.listen(16).unwrap(), behind.to_owned());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&behind).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let order = app.in_state(1, "recibido").await;
    assert_eq!((&order["price"], &order["name"]), (&json!("7.99"), &json!("Faro")));
    app.in_state(2, "recibido").await;
    assert!(app.app().store().dead(None, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schema_does_not_describe_is_refused_in_words() {
    let (url, _) = registry();
    let subject = |kind: &str| format!("words_{kind}_{}-value", std::process::id());
    let order = register(&url, &subject("order"), "AVRO", ORDER).await;
    let proto = "syntax = \"proto3\"; message Order { int64 orderid = 1; }";
    let proto = register(&url, &subject("proto"), "PROTOBUF", proto).await;
    let app = TestApp::start_with(&[("registry.url", &url)]).await;
    let framed = |schema: u32, payload: &[u8]| [&[0][..], &schema.to_be_bytes(), payload].concat();
    let whole = avro(order, 1);
    let wrong = {
        let mut wrong = avro(order, 2);
        let place = wrong.windows(4).position(|text| text == b"7.99").unwrap();
        wrong[place + 1] = b',';
        wrong
    };
    let refused = [
        (framed(proto, b"\0\x08\x01"), "is of Protobuf"),
        (framed(u32::MAX, b"\x02"), "which the registry does not have"),
        (whole[..whole.len() - 1].to_vec(), "and ends before"),
        ([&whole[..], b"x"].concat(), "and goes on after"),
        (wrong, "price: must be a decimal number"),
    ];
    append(&app, 0, refused.iter().map(|(value, _)| value.clone()).chain([whole]).collect()).await;
    app.in_state(1, "recibido").await; // nothing stops the one behind them
    let reasons = reasons(&app, refused.len()).await;
    assert_eq!(reasons.len(), refused.len(), "{reasons:?}");
    for (_, told) in &refused {
        assert!(reasons.iter().any(|reason| reason.contains(told)), "{told}: {reasons:?}");
    }
    assert!(reasons.iter().all(|reason| !reason.contains("example.org")), "{reasons:?}");
    let letters = app.app().store().dead(None, 100).await.unwrap();
    let kept = letters.iter().filter_map(|dead| dead.letter.as_ref()).any(|letter| letter.value == refused[4].0);
    assert!(kept, "the letter holds what was written, and not what was made of it");
}

#[tokio::test]
async fn without_a_registry_avro_is_refused_and_told_what_to_set() {
    let app = TestApp::start().await;
    append(&app, 0, vec![avro(7, 1), plain(2)]).await;
    app.in_state(2, "recibido").await;
    let reasons = reasons(&app, 1).await;
    assert!(reasons[0].contains("schema 7") && reasons[0].contains("set registry.url"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_bear_the_numbers_of_their_schemas_when_that_is_set() {
    let (url, registry) = registry();
    let topics = Topics::new("framed");
    let names = ["orders", "states", "commands", "outcomes"].map(|setting| topics.name(setting));
    let keys = ["topics.orders", "topics.states", "topics.commands", "topics.outcomes"];
    let set = [("log.framing", "confluent"), ("registry.url", &url)];
    let settings: Vec<_> = set.into_iter().chain(keys.into_iter().zip(names.iter().map(|name| &**name))).collect();

    let folder = tempfile::tempdir().unwrap();
    let mut start = Command::new(env!("CARGO_BIN_EXE_encargo"));
    start
        .args(["up", "--data", &folder.path().display().to_string()])
        .envs(settings.iter().map(|(key, value)| (config::variable(key), *value)));
    for listener in ["INTAKE", "TRACKING", "OPS"] {
        start.env(format!("ENCARGO_{listener}_LISTEN"), "127.0.0.1:0");
    }
    let refused: Done = tokio::task::spawn_blocking(move || output(&mut start).into()).await.unwrap();
    assert!(refused.status == 1 && refused.err.contains("run `encargo contract publish`"), "{refused:?}");

    topics.publish(&["--registry", &url]).await.ok();
    let mut app = TestApp::start_with(&settings).await;
    let placed = app.place("1010", "ana@example.org").await;
    let id = placed["orderid"].as_u64().unwrap();
    app.in_state(id, "recibido").await;
    app.stop().await; // what is read again must be known as ours
    app.start_again().await;
    for estado in &Flow::STATES[1..] {
        app.advance_to(id, estado, app.config.flow.dwell).await;
    }
    let mails = app.mails(4).await;
    let [orders, states, ..] = &names;
    let (log, store, dead) = (app.app().log().as_ref(), app.app().store().as_ref(), &*app.config.topics.dead);
    let mut facts = audit::collect(audit::Sources { log, store, orders, states, dead, flows: None }).await.unwrap();
    facts.mails = mails;
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), Some(app.config.flow.dwell))).into();
    let rules = audit::Rules { flow, all_finished: true, all_mailed: true, one_order_each: true, late_max: None };
    assert_eq!(audit::judge(&facts, &rules).objections, Vec::<String>::new());

    let other = app.place("1010", "ana@example.org").await;
    app.in_state(other["orderid"].as_u64().unwrap(), "recibido").await;
    let path = format!("/track/{}/cancel", other["handle"].as_str().unwrap());
    let request = app.http.post(app.tracking(&path)).header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body("confirm=true").send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    app.in_state(other["orderid"].as_u64().unwrap(), "cancelado").await;
    app.mails(6).await;

    for (name, count) in names.iter().zip([2, 6, 1, 1]) {
        let id = registry.version(&contract::value_subject(name), 1).await.unwrap().id;
        let topic = log.topic(name).unwrap().expect("our topic");
        let partitions = topic.partitions.iter().zip(0..);
        let records: Vec<_> = partitions.flat_map(|(range, n)| read_all(log, &part(name, n), range.start)).collect();
        let numbers: Vec<_> =
            records.iter().map(|record| Framed::read(&record.value).map(|framed| framed.schema)).collect();
        assert_eq!(numbers, vec![Some(id); count], "{name}");
    }
}
