//! The command line: the real binary beside a running application, and without one.

mod flows;
mod forecast;
mod reading;
mod simulate;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use encargo::{
    domain::{Timestamp, wire::Headers},
    eventlog::NewRecord,
};
use serde_json::{Value, json};

use crate::harness::{
    PATIENCE,
    app::TestApp,
    eventually, free_ports,
    process::{end, output},
};

/// The command in a working folder of its own, with nothing of this process's environment.
fn encargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
    command.env_clear().current_dir(folder).args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let status = output.status.code().expect("it ends by itself");
        Self { status, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Done {
    /// Standard output of a command that succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}", self.err);
        self.out
    }

    pub(crate) fn json(self) -> Vec<Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Done {
    output(&mut encargo(folder, arguments)).into()
}

/// Runs the binary while this process serves what it asks.
pub(crate) async fn beside(app: &TestApp, arguments: &[&str]) -> Done {
    let data = app.config.data.display().to_string();
    let mut command = encargo(app.folder(), arguments);
    command.args(["--data", &data]);
    tokio::task::spawn_blocking(move || output(&mut command).into()).await.expect("no panic")
}

/// Two orders, the first one a state ahead and nine seconds older.
async fn two_orders() -> TestApp {
    let app = TestApp::start().await;
    app.place("1010", "ana@example.org").await;
    app.in_state(1, "recibido").await;
    app.advance_to(1, "preparando", Duration::from_secs(8)).await;
    app.clock.advance(Duration::from_secs(1));
    app.place("1020", "eva@example.org").await;
    app.in_state(2, "recibido").await;
    app
}

#[test]
fn misuse_ends_with_2_and_failure_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_eq!(run(path, &["--version"]).ok(), format!("encargo {}\n", env!("CARGO_PKG_VERSION")));
    assert!(run(path, &["--help"]).ok().contains("encargo place 1010 --email"));
    std::fs::write(path.join("bad.toml"), "[flow]\ndwel = \"1s\"\n").unwrap();
    for (misuse, words) in [
        (&["place", "1010", "--email", "x"][..], "must look like name@example.org"),
        (&["readdress", "1", "--to", "x"], "must look like name@example.org"),
        (&["list", "kafka://u:hunter2@k1"], "'kafka://***@k1'"),
    ] {
        let done = run(path, misuse);
        assert!(done.status == 2 && done.err.contains(words), "{misuse:?}: {}", done.err);
    }
    for misuse in [&[][..], &["lst"], &["list", "--limit", "x"], &["--config", "bad.toml", "list"], &["show", "0"]] {
        let done = run(path, misuse);
        assert_eq!((done.status, done.out.as_str()), (2, ""), "{misuse:?}: {done:?}");
    }
    for reading in [&["list"][..], &["show", "1"], &["log", "topics"], &["dead", "list"]] {
        let done = run(path, reading);
        assert_eq!((done.status, done.out.as_str()), (1, ""), "{reading:?}: {done:?}");
        assert_eq!(
            done.err,
            "error: there is no data folder encargo-data\n  `encargo up` creates it; if one runs with another folder, \
             name that with --data DIR\n"
        );
    }
    assert!(!path.join("encargo-data").exists(), "a reading command made the folder");
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [&["config", "show"][..], &["config", "init", "-"], &["completions", "zsh"], &["man"], &["catalog", "search"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done: Done = end(PATIENCE, encargo(folder.path(), arguments).stdout(writer)).into();
        assert_eq!(done.status, 0, "{arguments:?}: {}", done.err);
        assert!(!done.err.contains("error") && !done.err.contains("panicked"), "{arguments:?}: {}", done.err);
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["man", "--out", "man1"]).ok();
    let page = |name: &str| std::fs::read_to_string(folder.path().join("man1").join(name)).unwrap();
    assert_eq!(page("encargo.1"), run(folder.path(), &["man"]).ok());
    assert!(page("encargo-log-read.1").contains("Print the records of a topic"));
}

#[test]
fn config_writes_checks_and_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["config", "init"]).ok();
    let written = std::fs::read_to_string(path.join("encargo.toml")).unwrap();
    assert_eq!(written, run(path, &["config", "init", "-"]).ok());
    std::fs::write(
        path.join("encargo.toml"),
        "[flow]\ndwell = \"3s\"\n[tracking]\napi_key = \"geheim-geheim-geheim\"\n",
    )
    .unwrap();
    let again = run(path, &["config", "init"]);
    assert_eq!((again.status, again.err.contains("left unchanged")), (1, true), "{}", again.err);
    assert!(std::fs::read_to_string(path.join("encargo.toml")).unwrap().contains("geheim"));
    run(path, &["config", "check"]).ok();
    std::fs::write(path.join("spoilt.toml"), "[flow]\ndwel = \"3s\"\n").unwrap();
    let spoilt =
        [run(path, &["config", "check", "--config", "spoilt.toml"]), run(path, &["config", "check", "spoilt.toml"])];
    assert!(spoilt.iter().all(|done| done.status == 2 && done.err.contains("spoilt.toml:2")), "{spoilt:?}");

    let mut show = encargo(path, &["config", "show", "--changed", "--ops-listen", "127.0.0.1:0"]);
    show.envs([("ENCARGO_LOG_PARTITIONS", "8"), ("ENCARGO_DWEL", "1s")]);
    let shown = Done::from(output(&mut show));
    insta::assert_snapshot!(shown.err, @"warning: the environment variable ENCARGO_DWEL means nothing here; did you mean ENCARGO_DWELL?");
    insta::assert_snapshot!(shown.ok(), @r#"
    KEY               FROM                    VALUE
    flow.dwell        encargo.toml:2          "3s"
    log.partitions    ENCARGO_LOG_PARTITIONS  8
    ops.listen        --ops-listen            "127.0.0.1:0"
    tracking.api_key  encargo.toml:4          "(set, hidden)"
    "#);
    let keys = run(path, &["config", "show", "--json"]).json();
    let dwell = keys.iter().find(|entry| entry["key"] == "flow.dwell");
    assert_eq!(dwell, Some(&json!({ "key": "flow.dwell", "value": "3s", "from": "encargo.toml:2" })));
    assert!(keys.len() > 40 && !keys.iter().any(|entry| entry.to_string().contains("geheim")));
}

#[test]
fn the_catalogue_is_checked_and_searched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("good.csv"), "appid,name,price\n7,Ñandú azul,1.50\n8,\"Rojo, claro\",2\n").unwrap();
    std::fs::write(path.join("bad.csv"), "appid,name,price\n7,Uno,1.50\n8,Dos,free\n").unwrap();
    insta::assert_snapshot!(run(path, &["catalog", "check", "good.csv"]).ok(), @"good.csv is fine: 2 products, rows 1 to 2");
    let bad = run(path, &["catalog", "check", "bad.csv"]);
    assert_eq!((bad.status, bad.out.as_str()), (1, ""));
    insta::assert_snapshot!(bad.err, @"error: catalogue bad.csv, line 3: price: must be a decimal number like 7.99, without sign or currency; it is free");
    let found = run(path, &["catalog", "search", "nandu", "--catalog", "good.csv"]);
    insta::assert_snapshot!(found.err, @"Order one: encargo place 7 --email you@example.org");
    insta::assert_snapshot!(found.ok(), @r#"
    ROW  PRODUCT  PRICE  NAME
      1  7         1.50  Ñandú azul
    "#);
    let rows = run(path, &["catalog", "search", "--catalog", "good.csv", "--json"]).json();
    assert_eq!(rows[1], json!({ "row": 2, "product": "8", "name": "Rojo, claro", "price": "2" }));
}

#[test]
fn mails_are_previewed_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let text = run(path, &["mail", "preview", "--state", "finalizado", "--lang", "en"]).ok();
    assert!(text.lines().count() > 5 && text.contains("/track/"), "{text}");
    run(path, &["mail", "preview", "--format", "html", "--out", "mail.html"]).ok();
    assert!(std::fs::read_to_string(path.join("mail.html")).unwrap().contains("<html"));
    assert!(run(path, &["mail", "preview", "--format", "raw"]).ok().contains("X-Order-State: recibido\r\n"));
    let link = run(path, &["mail", "preview", "--state", "enlace", "--format", "raw"]);
    assert!(link.out.contains("X-Order-Mail: link\r\n") && !link.err.contains("none of the states"), "{link:?}");
    let strange = run(path, &["mail", "preview", "--state", "perdido"]);
    assert!(strange.err.contains("none of the states recibido, preparando"), "{}", strange.err);
    strange.ok();

    run(path, &["mail", "check", "--mail", "maildir:box"]).ok();
    let port = free_ports(1);
    let refused = run(path, &["mail", "check", "--json", "--mail", &format!("smtp://127.0.0.1:{port}")]);
    assert_eq!(refused.status, 1, "{refused:?}");
    let report: Value = serde_json::from_str(&refused.out).unwrap();
    assert!(report["problems"][0].as_str().unwrap().contains("refused"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_placed_as_a_customer_does() {
    let app = TestApp::start().await;
    let url = app.intake("");
    let place = async |more: &[&str]| {
        let arguments = [&["place", "1010", "--email", "ana@example.org", "--url", &url], more].concat();
        beside(&app, &arguments).await
    };
    let first = place(&["--key", "k-1", "--json", "--lang", "en"]).await.json();
    assert_eq!(first[0]["orderid"], 1);
    assert_eq!(place(&["--key", "k-1", "--json", "--lang", "en"]).await.json(), first);
    assert!(place(&[]).await.ok().starts_with("Order 2  accepted\ntracking  http://127.0.0.1:"));
    let other = place(&["--key", "k-1"]).await;
    assert_eq!((other.status, other.err.contains("refused")), (1, true), "{}", other.err);
    let unknown = beside(&app, &["place", "x", "--email", "ana@example.org", "--url", &url]).await;
    assert!(unknown.err.contains("product: no such product") && unknown.err.contains("catalog search"), "{unknown:?}");
    let malformed = beside(&app, &["place", "1010", "--email", "ana", "--url", &url]).await;
    assert_eq!(malformed.status, 2, "{malformed:?}");
    let away = beside(&app, &["place", "1010", "--email", "ana@example.org", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(away.status, 1);
    assert!(away.err.contains("refused") && away.err.contains("Is `encargo up` running there?"), "{}", away.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_shown_driven_again_and_dropped() {
    let app = TestApp::start().await;
    let poison = |value: &str| NewRecord {
        topic: "compra_detalle".into(),
        partition: Some(0),
        key: None,
        value: value.into(),
        headers: Headers::default(),
        at: Timestamp::from_millis(1_764_000_000_000),
    };
    app.app()
        .log()
        .append(vec![
            poison("\x1b[31mnot json"),
            poison(r#"{"orderid":1,"gameid":"1","name":"n","price":"7,99","usermail":"ana@example.org"}"#),
        ])
        .await
        .unwrap();
    let dead = async |count: usize| {
        eventually(&format!("{count} dead letters"), async || {
            app.clock.advance(Duration::from_secs(1));
            let items = beside(&app, &["dead", "list", "--json"]).await.json();
            if items.len() == count { Ok(items) } else { Err(format!("{items:?}")) }
        })
        .await
    };
    let items = dead(2).await;
    assert_eq!(items[0]["id"], "compra_detalle/0/0");
    let table = beside(&app, &["dead", "list"]).await.ok();
    assert!(table.starts_with("ID ") && table.contains("compra_detalle/0/1"), "{table}");
    let shown = beside(&app, &["dead", "show", "compra_detalle/0/0"]).await.ok();
    assert!(shown.contains("\\u{1b}[31mnot json") && !shown.contains('\x1b'), "{shown}");
    let misfit = json!({ "fault": "rule", "pointer": "/price", "schema": "urn:encargo:order", "version": 2, "producer": null, "records": 1 });
    assert_eq!(items[1]["misfit"], misfit);
    let beside_contract = beside(&app, &["dead", "show", "compra_detalle/0/1"]).await.ok();
    assert!(beside_contract.contains("\n>  price"), "{beside_contract}");
    assert!(beside_contract.contains("\nprice: The price in the shop's currency"), "{beside_contract}");
    let reason = items[0]["reason"].as_str().unwrap();
    assert_eq!(beside(&app, &["dead", "list", "--json", "--reason", reason]).await.json(), items[..1]);

    let tried = beside(&app, &["dead", "redrive", "--all", "--dry-run"]).await;
    assert_eq!(tried.err, "Would redrive 0 mails and 2 records; nothing was changed.\n");
    assert_eq!(dead(2).await, items);
    // the same record again, so it dies again under the place it went back to
    let redriven = beside(&app, &["dead", "redrive", "compra_detalle/0/0"]).await;
    assert_eq!((redriven.status, redriven.out.as_str()), (0, "compra_detalle/0/0\n"), "{}", redriven.err);
    eventually("the record is back and dead again", async || {
        let items = dead(2).await;
        let again = items.iter().find(|item| item["id"] == "compra_detalle/0/2");
        again.filter(|item| item["attempts"] == 1).map(drop).ok_or_else(|| format!("{items:?}"))
    })
    .await;
    let gone = beside(&app, &["dead", "redrive", "compra_detalle/0/0"]).await;
    assert_eq!((gone.status, gone.err.contains("no undecided dead letter compra_detalle/0/0")), (1, true), "{gone:?}");

    let dropped = beside(&app, &["dead", "drop", "--all", "--json"]).await;
    assert_eq!(dropped.err, "Gave up 0 mails and 2 records.\n");
    assert_eq!(dropped.json().len(), 2);
    assert_eq!(dead(0).await, Vec::<Value>::new());
    for misuse in [&["dead", "drop"][..], &["dead", "drop", "--all", "mail:1.1"], &["dead", "show", "17"]] {
        assert_eq!(beside(&app, misuse).await.status, 2, "{misuse:?}");
    }
}
