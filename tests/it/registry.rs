//! A real schema registry: what is published there, what is refused, and records that bear the numbers of its schemas.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use encargo::{
    audit,
    contract::{self, Direction},
    domain::{
        Flow, OrderId,
        wire::{Framed, Headers},
    },
    eventlog::NewRecord,
    registry::{Options, Registry},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::{
    cli::Done,
    eventlog::{part, read_all},
    harness::{app::TestApp, authority::Authority, cluster::needed, eventually, process::output},
};

/// Topics of this test's own, since all meet in one registry.
struct Topics(String);

impl Topics {
    fn new(test: &str) -> Self {
        Self(format!("{test}_{}", std::process::id()))
    }

    fn name(&self, setting: &str) -> String {
        format!("{}_{setting}", self.0)
    }

    fn subject(&self, setting: &str) -> String {
        contract::value_subject(&self.name(setting))
    }

    async fn publish(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
        command.args(["contract", "publish"]).args(arguments);
        for setting in ["orders", "states", "commands", "outcomes"] {
            command.env(format!("ENCARGO_TOPICS_{}", setting.to_uppercase()), self.name(setting));
        }
        tokio::task::spawn_blocking(move || output(&mut command).into()).await.expect("no panic")
    }
}

fn registry() -> (String, Registry) {
    let url = needed("ENCARGO_TEST_REGISTRY");
    let options = Options { url: url.clone(), user: None, password: String::new(), ca: None };
    (url, Registry::new(&options).unwrap())
}

fn schema(format: &str) -> Value {
    contract::schemas().find(|(name, _)| *name == format).expect("the format").1
}

#[tokio::test]
async fn formats_are_published_once_and_a_trial_changes_nothing() {
    let (url, registry) = registry();
    let topics = Topics::new("publish");
    let verdicts = |done: Done| -> Vec<_> {
        let lines = done.json().into_iter();
        lines.map(|line| (line["subject"].clone(), line["verdict"].clone(), line["level_before"].clone())).collect()
    };
    let all = |verdict: &str, level: Value| -> Vec<_> {
        let settings = ["orders", "states", "commands", "outcomes"].into_iter();
        let subjects = settings.flat_map(|setting| ["key", "value"].map(|part| (topics.name(setting), part)));
        subjects.map(|(topic, part)| (json!(format!("{topic}-{part}")), json!(verdict), level.clone())).collect()
    };
    let trial = topics.publish(&["--registry", &url, "--dry-run", "--json"]).await;
    assert!(trial.err.contains("Nothing was changed"), "{trial:?}");
    assert_eq!(verdicts(trial), all("new", Value::Null));
    assert_eq!(registry.versions(&topics.subject("orders")).await.unwrap(), Vec::<u32>::new());

    assert_eq!(verdicts(topics.publish(&["--registry", &url, "--json"]).await), all("new", Value::Null));
    let version = registry.version(&topics.subject("states"), 1).await.unwrap();
    assert_eq!(version.schema.kind, "JSON");
    assert_eq!(registry.level(&topics.subject("states")).await.unwrap().as_deref(), Some("FORWARD"));

    assert_eq!(verdicts(topics.publish(&["--registry", &url, "--json"]).await), all("same", json!("FORWARD")));
    assert_eq!(registry.versions(&topics.subject("states")).await.unwrap(), [1]);
    let full = topics.publish(&["--registry", &url, "--mode", "full", "--dry-run"]).await.ok();
    assert!(full.contains("same (FORWARD becomes FULL)"), "{full}");
}

/// Others read what we are about to stop writing.
#[tokio::test]
async fn what_breaks_a_reader_is_refused_with_its_place_and_nothing_is_changed() {
    let (url, registry) = registry();
    let topics = Topics::new("refuse");
    let mut older = schema("state");
    older["properties"]["courier"] = json!({ "type": "string" });
    older["required"].as_array_mut().unwrap().push("courier".into());
    registry.register(&topics.subject("states"), &older).await.unwrap();

    let refused = topics.publish(&["--registry", &url]).await;
    assert_eq!(refused.status, 1);
    assert!(refused.out.contains(&format!("{}: refused (", topics.subject("states"))), "{}", refused.out);
    let reason = "version 1: /required: wants courier, and a record may be without it; that breaks old readers";
    assert!(refused.out.contains(reason), "{}", refused.out);
    assert!(refused.err.contains("Nothing was changed: 1 subject refused"), "{}", refused.err);
    assert_eq!(registry.versions(&topics.subject("orders")).await.unwrap(), Vec::<u32>::new());
    assert_ne!(registry.level(&topics.subject("states")).await.unwrap().as_deref(), Some("FORWARD"));
}

type Change = fn(&mut Value);

/// What must fail does so at both, and what is let through is so by both.
#[tokio::test]
async fn its_verdicts_are_ours() {
    let (_, registry) = registry();
    let cases: [(&str, &str, Change); 7] = [
        ("nothing", "FULL", |_| ()),
        ("a field added", "FORWARD", |s| s["properties"]["courier"] = json!({ "type": "string" })),
        ("a field removed", "FORWARD", |s| drop(s["properties"].as_object_mut().unwrap().remove("next_at"))),
        ("a type narrowed", "BACKWARD", |s| s["properties"]["seq"]["type"] = "integer".into()),
        ("made required", "BACKWARD", |s| s["required"].as_array_mut().unwrap().push("seq".into())),
        ("values shortened", "BACKWARD", |s| s["properties"]["cancel"] = json!({ "enum": ["customer", null] })),
        ("renamed", "FORWARD", |s| {
            let price = s["properties"].as_object_mut().unwrap().remove("price").unwrap();
            s["properties"]["precio"] = price;
            for name in s["required"].as_array_mut().unwrap().iter_mut().filter(|name| **name == "price") {
                *name = "precio".into();
            }
        }),
    ];
    let mut refused = 0;
    for (index, (what, level, change)) in cases.into_iter().enumerate() {
        let subject = format!("verdicts_{}_{index}-value", std::process::id());
        let (old, mut new) = (schema("state"), schema("state"));
        change(&mut new);
        registry.register(&subject, &old).await.unwrap();
        registry.set_level(&subject, level).await.unwrap();
        let theirs = registry.judge(&subject, &new).await.unwrap().is_compatible;
        let direction = Direction { backward: level != "FORWARD", forward: level != "BACKWARD" };
        let ours = contract::breaks(&old, &new, direction).unwrap();
        assert_eq!(theirs, ours.is_empty(), "{what}: {ours:?}");
        refused += usize::from(!theirs);
    }
    assert_eq!(refused, 5);
}

/// A registry behind TLS that wants a password: `user:password`.
async fn guarded(authority: &Authority, login: &str) -> String {
    let expected = format!("Basic {}", STANDARD.encode(login));
    let acceptor = authority.acceptor(&["localhost"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = needed("ENCARGO_TEST_REGISTRY");
    let (behind, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("an address");
    let (behind, port) = (behind.to_owned(), listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut client) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") && client.read_buf(&mut head).await.unwrap() > 0 {}
            if String::from_utf8_lossy(&head).contains(&expected) {
                let mut server = TcpStream::connect(&behind).await.unwrap();
                server.write_all(&head).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            } else {
                let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                client.write_all(answer).await.unwrap();
                drop(client.shutdown().await);
            }
        }
    });
    format!("https://localhost:{port}/{path}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_tls_and_a_password_is_asked_as_it_wants() {
    let authority = Authority::new();
    let url = guarded(&authority, "encargo:s3cret-word").await;
    let topics = Topics::new("guarded");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (file("right", "s3cret-word\n"), file("wrong", "an0ther-word\n"));
    let ca = authority.ca().display().to_string();
    let asked = async |password: &str, ca: &[&str]| {
        let login = ["--registry", &url, "--user", "encargo", "--password-file", password, "--dry-run"];
        topics.publish(&[&login, ca].concat()).await
    };
    let done = asked(&right, &["--ca-file", &ca]).await;
    assert!(done.out.contains("new (FORWARD)"), "{done:?}");

    let denied = asked(&wrong, &["--ca-file", &ca]).await;
    assert!(denied.status == 1 && denied.err.contains("registry.password_file right"), "{denied:?}");
    let distrusted = asked(&right, &[]).await;
    assert!(
        distrusted.status == 1 && distrusted.err.contains("name the authority's certificate (PEM) in registry.ca"),
        "{distrusted:?}"
    );
    for done in [done, denied, distrusted] {
        assert!(!format!("{done:?}").contains("-word"), "{done:?}");
    }
}

#[tokio::test]
async fn a_registry_that_cannot_be_asked_is_told_with_what_to_do() {
    let topics = Topics::new("away");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{free}");
    let astray = needed("ENCARGO_TEST_REGISTRY").replace("ccompat/v7", "nowhere");
    for (arguments, told) in [
        (vec![], "Give --registry URL"),
        (vec!["--registry", "registry:8081"], "must look like https://registry.example"),
        (vec!["--registry", "http://ana:geheim@localhost:1"], "must name no user"),
        (vec!["--registry", "http://registry.example", "--user", "ana"], "in clear text"),
        (vec!["--registry", &nobody], "nothing listens there"),
        (vec!["--registry", &astray], "has registry.url the path of the API?"),
    ] {
        let done = topics.publish(&arguments).await;
        assert!(done.status > 0 && done.err.contains(told) && !done.err.contains("geheim"), "{done:?}");
    }
}

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
    start.args(["up", "--data", &folder.path().display().to_string()]).envs(
        settings.iter().map(|(key, value)| (format!("ENCARGO_{}", key.to_uppercase().replace('.', "_")), *value)),
    );
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
    let mut facts = audit::collect(audit::Sources { log, store, orders, states, dead }).await.unwrap();
    facts.mails = mails;
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), app.config.flow.dwell)).into();
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
