//! A real schema registry: what is published there, and what is refused.

mod records;

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use encargo::{
    contract::{self, Direction},
    registry::{Options, Registry},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{
    cli::Done,
    harness::{authority::Authority, cluster::needed, process::output},
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
