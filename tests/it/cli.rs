//! The command line: the real binary beside a running application, and without one.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use encargo::{domain::Timestamp, eventlog::NewRecord};
use serde_json::{Value, json};

use crate::harness::{
    PATIENCE,
    app::TestApp,
    eventually,
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
        [&["config", "show"][..], &["config", "init", "-"], &["completions", "zsh"], &["catalog", "search"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done: Done = end(PATIENCE, encargo(folder.path(), arguments).stdout(writer)).into();
        assert_eq!(done.status, 0, "{arguments:?}: {}", done.err);
        assert!(!done.err.contains("error") && !done.err.contains("panicked"), "{arguments:?}: {}", done.err);
    }
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
    assert_eq!((again.status, again.err.contains("left as it is")), (1, true), "{}", again.err);
    assert!(std::fs::read_to_string(path.join("encargo.toml")).unwrap().contains("geheim"));
    run(path, &["config", "check"]).ok();

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

/// A kitchen: somebody says when a dish is done, and one product waits longer for who fetches it.
const KITCHEN: &str = r#"
name = "cocina"
version = 1
[[step]]
state = "recibido"
dwell = "2m"
[[step]]
state = "cocinando"
leave = "command"
expect = "20m"
mail = false
[[step]]
state = "mostrador"
leave = "either"
dwell = "1h"
expect = "10m"
for = [{ name = "*tarta*", dwell = "2h" }]
mail = "entregando"
[[step]]
state = "entregado"
[refused]
state = "rechazado"
mail = false
[cancelled]
state = "cancelado"
mail = false
"#;

#[test]
fn flows_are_checked_shown_and_tried_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("kitchen.toml"), KITCHEN).unwrap();
    std::fs::write(path.join("bad.toml"), KITCHEN.replace("20m", "20")).unwrap();
    insta::assert_snapshot!(run(path, &["flow", "check", "kitchen.toml"]).ok(), @r#"
    kitchen.toml is fine: cocina@1, 4 states
    note  entregado is mailed with the generic text: there is no template for it
    "#);
    let bad = run(path, &["flow", "check", "bad.toml"]);
    assert_eq!((bad.status, bad.out.as_str()), (1, ""));
    insta::assert_snapshot!(bad.err, @r#"error: bad.toml:10: expect must be a duration with its unit, like "8s", "500ms" or "30d", not "20""#);
    let checked = run(path, &["flow", "check", "kitchen.toml", "--json"]).json().remove(0);
    assert_eq!((&checked["name"], &checked["version"], &checked["states"]), (&json!("cocina"), &json!(1), &json!(4)));

    insta::assert_snapshot!(run(path, &["flow", "show", "kitchen.toml"]).ok(), @r#"
    cocina@1  content b816110733253694
       STATE      LEFT BY           AFTER                EXPECTED  CANCELLED BY        MAIL
    1  recibido   timer             2m                             customer, operator  recibido
    2  cocinando  command                                20m       customer, operator  none
    3  mostrador  timer or command  1h                   10m       operator            entregando
                                    2h for name *tarta*
    4  entregado  (the end)                                                            entregado
       cancelado  (cancelled)                                                          none
       rechazado  (refused)                                                            none
    "#);
    insta::assert_snapshot!(run(path, &["flow", "show"]).ok(), @r#"
    default@1  content 3b9e8bfcf2c7614c
       STATE       LEFT BY      AFTER  EXPECTED  CANCELLED BY        MAIL
    1  recibido    timer        8s               customer, operator  recibido
    2  preparando  timer        8s               customer, operator  preparando
    3  entregando  timer        8s               operator            entregando
    4  finalizado  (the end)                                         finalizado
       cancelado   (cancelled)                                       cancelado
    "#);
    let shown = run(path, &["flow", "show", "kitchen.toml", "--json"]).json().remove(0);
    assert_eq!(shown["step"][2]["for"], json!([{ "name": "*tarta*", "dwell": "2h" }]));

    let simulate = |more: &[&str]| run(path, &[&["flow", "simulate", "kitchen.toml"], more].concat());
    let tried = simulate(&[]);
    insta::assert_snapshot!(tried.err, @r#"
    10000 orders of cocina@1, seed 1; at most 1992 in flight at once. Times are the flow's own: nobody waits for a busy cook.
    How long commands take is drawn from an exponential distribution with expect as its mean.
    Each of 56 products is ordered as often as the others.
    "#);
    insta::assert_snapshot!(tried.ok(), @r#"
    STATE      LEFT BY                  SHARE     HALF     90 %        99 %         ALL  AT ONCE
    recibido   timer                      6 %       2m       2m          2m          2m      154  ▇
    cocinando  command                   63 %  13m 43s  45m 22s  1h 32m 32s  3h 26m 56s     1270  ▇▇▇▇▇▇▇▇▇▇▇▇▇
    mostrador  timer, or 9976 commands   31 %   6m 54s  22m 41s     45m 20s          1h      629  ▇▇▇▇▇▇
    (whole)                                    26m 16s   1h 29s  1h 44m 58s  3h 34m 11s     1992
    "#);
    let standard = run(path, &["flow", "simulate", "--orders", "100", "--json"]).json().remove(0);
    assert_eq!(standard["time"], json!({ "p50_ms": 24_000, "p90_ms": 24_000, "p99_ms": 24_000, "max_ms": 24_000 }));
    assert_eq!(simulate(&["--seed", "7"]).ok(), simulate(&["--seed", "7"]).ok());
    assert_ne!(simulate(&["--seed", "7"]).ok(), simulate(&["--seed", "8"]).ok());
    std::fs::write(path.join("unknown.toml"), KITCHEN.replace("expect = \"20m\"", "")).unwrap();
    insta::assert_snapshot!(run(path, &["flow", "simulate", "unknown.toml"]).err, @r#"error: cocinando waits for a command, and the flow does not say how long that takes: give it an `expect`, like expect = "20m""#);
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_compared_beside_orders_in_flight() {
    let app = two_orders().await;
    let write = |name: &str, text: &str| std::fs::write(app.folder().join(name), text).unwrap();
    write("old.toml", KITCHEN);
    let newer = KITCHEN.replace("version = 1", "version = 2").replace("20m", "15m");
    let place = newer.find("[[step]]\nstate = \"mostrador\"").unwrap();
    let (before, after) = newer.split_at(place);
    write("new.toml", &format!("{before}[[step]]\nstate = \"caja\"\ndwell = \"1m\"\n{after}"));
    write("other.toml", &KITCHEN.replace("20m", "15m"));
    let differ = beside(&app, &["flow", "diff", "old.toml", "new.toml"]).await;
    insta::assert_snapshot!(differ.err, @r#"
    Orders in flight go on under cocina@1 to their end; new ones begin under cocina@2.
    In flight now: 1 order in recibido.
    "#);
    insta::assert_snapshot!(differ.ok(), @r#"
    cocina@1 → cocina@2
    STATE      KEY     BEFORE  AFTER
    cocinando  expect  20m     15m
    caja       step    -       place 3: leave timer, dwell 1m, cancel customer, mail caja
    "#);
    let refused = beside(&app, &["flow", "diff", "old.toml", "other.toml"]).await;
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.err.contains("one version cannot mean two things"), "{refused:?}");
    let json = beside(&app, &["flow", "diff", "old.toml", "new.toml", "--json"]).await.json().remove(0);
    assert_eq!((&json["meaning"], &json["in_flight"]), (&json!("newer"), &json!({ "recibido": 1 })));
    let alone = run(app.folder(), &["flow", "diff", "old.toml", "old.toml", "--data", "none"]);
    insta::assert_snapshot!(alone.err, @r#"
    Both say the same: nothing changes.
    Orders in flight are not counted: there is no data folder none.
    "#);
    alone.ok();
}

#[test]
fn a_flow_with_a_template_that_is_not_there_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("kitchen.toml"), KITCHEN.replace("mail = \"entregando\"", "mail = \"aviso\"")).unwrap();
    std::fs::write(path.join("encargo.toml"), "flow.file = \"kitchen.toml\"\nops.listen = \"127.0.0.1:0\"\n").unwrap();
    let listen = ["--intake-listen", "127.0.0.1:0", "--tracking-listen", "127.0.0.1:0"];
    let done: Done = end(PATIENCE, &mut encargo(path, &[&["up"], &listen[..]].concat())).into();
    assert_eq!(done.status, 1, "{done:?}");
    for named in ["the flow cocina mails mostrador with the template \"aviso\"", "there are cancelado, entregando,"] {
        assert!(done.err.contains(named), "{done:?}");
    }
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
    let strange = run(path, &["mail", "preview", "--state", "perdido"]);
    assert!(strange.err.contains("none of the states recibido, preparando"), "{}", strange.err);
    strange.ok();

    run(path, &["mail", "check", "--mail", "maildir:box"]).ok();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = run(path, &["mail", "check", "--json", "--mail", &format!("smtp://127.0.0.1:{port}")]);
    assert_eq!(refused.status, 1, "{refused:?}");
    let report: Value = serde_json::from_str(&refused.out).unwrap();
    assert!(report["problems"][0].as_str().unwrap().contains("refused"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_and_shown_beside_a_running_server() {
    let app = two_orders().await;
    let lines = beside(&app, &["list", "--json"]).await.json();
    let field = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("orderid"), [2, 1]);
    assert_eq!(field("estado"), ["recibido", "preparando"]);
    assert_eq!(field("usermail"), ["eva@example.org", "ana@example.org"]);
    let ids = |done: Done| done.json().iter().map(|line| line["orderid"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(beside(&app, &["list", "--json", "--state", "preparando"]).await), [1]);
    assert_eq!(ids(beside(&app, &["list", "--json", "--limit", "1"]).await), [2]);
    assert_eq!(ids(beside(&app, &["list", "--json", "--below", "2"]).await), [1]);
    // the application's clock stands in 2025, so by the system's clock both are late
    assert_eq!(ids(beside(&app, &["list", "--json", "--stuck"]).await), [2, 1]);
    let none = beside(&app, &["list", "--state", "perdido"]).await;
    assert!(none.err.contains("none of the states recibido, preparando"), "{}", none.err);
    let page = beside(&app, &["list", "--limit", "1"]).await;
    assert_eq!(page.err, "1 order shown; older ones: --below 2\n");
    assert!(page.out.starts_with("ORDER  STATE") && page.out.lines().count() == 2, "{}", page.out);

    let served: Value = app.http.get(app.tracking("/orders/1")).send().await.unwrap().json().await.unwrap();
    let mut shown = beside(&app, &["show", "1", "--json"]).await.json().remove(0);
    for entry in shown["history"].as_array_mut().unwrap().iter_mut().chain([&mut served.clone()]) {
        entry.as_object_mut().unwrap().remove("mail");
    }
    for key in ["orderid", "usermail", "handle", "placed_at", "next_at", "price"] {
        assert_eq!(shown[key], served[key], "{key}");
    }
    assert_eq!(shown["history"].as_array().unwrap().len(), 2);
    let text = beside(&app, &["show", "1"]).await.ok();
    for part in ["Order 1", "ana@example.org", "2025-11-24 16:00:08 UTC  +8.0 s", "/track/"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let unknown = beside(&app, &["show", "99"]).await;
    assert_eq!((unknown.status, unknown.out.as_str()), (1, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_beside_a_running_server() {
    let app = two_orders().await;
    let topics = beside(&app, &["log", "topics", "--json"]).await.json();
    let records = |topic: &str| -> u64 {
        let of = topics.iter().filter(|line| line["topic"] == topic);
        of.map(|line| line["end"].as_u64().unwrap() - line["start"].as_u64().unwrap()).sum()
    };
    assert_eq!((records("compra_detalle"), records("compra_confirmada")), (2, 3));
    let read = async |more: &[&str]| {
        let arguments = [&["log", "read", "compra_confirmada", "--json"], more].concat();
        let lines = beside(&app, &arguments).await.json();
        lines
            .iter()
            .map(|line| format!("{}.{}", line["key"].as_str().unwrap(), line["value"]["seq"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&[]).await, ["1.1", "1.2", "2.1"], "by time over all partitions");
    assert_eq!(read(&["--limit", "2"]).await, ["1.1", "1.2"]);
    let partition = topics.iter().find(|line| line["topic"] == "compra_confirmada" && line["end"] == 2);
    if let Some(partition) = partition.map(|line| line["partition"].to_string()) {
        assert_eq!(read(&["--partition", &partition, "--from", "1"]).await, ["1.2"]);
        assert_eq!(read(&["--partition", &partition, "--tail", "1"]).await, ["1.2"]);
    }
    let text = beside(&app, &["log", "read", "compra_detalle", "--limit", "1", "--headers"]).await.ok();
    assert!(
        text.contains("2025-11-24 16:00:00 UTC  key 1") && text.contains("ce_type: encargo.order.placed"),
        "{text}"
    );
    let unknown = beside(&app, &["log", "read", "compras"]).await;
    assert_eq!(unknown.status, 1);
    assert!(unknown.err.contains("there are compra_confirmada, compra_dead_letters"), "{}", unknown.err);
    let beyond = beside(&app, &["log", "read", "compra_detalle", "--partition", "9"]).await;
    assert!(beyond.err.contains("has partitions 0 to 3"), "{}", beyond.err);

    // the projection's offsets stand in the store and are copied to the log now and then
    eventually("no lag", async || {
        app.clock.advance(Duration::from_secs(1));
        let groups = beside(&app, &["log", "groups", "--json"]).await.json();
        let behind = groups.iter().filter(|line| line["lag"] != 0).count();
        if behind == 0 && groups.len() >= 8 { Ok(()) } else { Err(format!("{groups:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_the_log_sees_what_comes() {
    let app = two_orders().await;
    let data = app.config.data.display().to_string();
    let arguments = ["log", "read", "compra_detalle", "--follow", "--limit", "3", "--json", "--data", &data];
    let child = encargo(app.folder(), &arguments).spawn().unwrap();
    let follower = tokio::task::spawn_blocking(move || Done::from(child.wait_with_output().unwrap()));
    app.place("1030", "leo@example.org").await;
    let lines = follower.await.unwrap().json();
    assert_eq!(lines.iter().map(|line| line["key"].clone()).collect::<Vec<_>>(), ["1", "2", "3"]);
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
async fn an_order_is_followed_to_its_end() {
    let app = TestApp::start().await;
    let url = app.intake("");
    let arguments = ["place", "1010", "--email", "ana@example.org", "--follow", "--json", "--url", &url];
    let child = encargo(app.folder(), &arguments).spawn().unwrap();
    let follower = tokio::task::spawn_blocking(move || Done::from(child.wait_with_output().unwrap()));
    app.in_state(1, "recibido").await;
    for state in ["preparando", "entregando", "finalizado"] {
        app.advance_to(1, state, Duration::from_secs(8)).await;
    }
    let done = follower.await.unwrap();
    let states: Vec<_> = done.err.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(states, ["recibido", "preparando", "entregando", "finalizado"]);
    let order = done.json().remove(0);
    assert_eq!(
        (&order["finished"], &order["estado"], &order["orderid"]),
        (&json!(true), &json!("finalizado"), &json!(1))
    );
    assert!(order.get("usermail").is_none(), "a customer's answer has no address");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_shown_driven_again_and_dropped() {
    let app = TestApp::start().await;
    let poison = |value: &str| NewRecord {
        topic: "compra_detalle".into(),
        partition: Some(0),
        key: None,
        value: value.into(),
        headers: vec![],
        at: Timestamp::from_millis(1_764_000_000_000),
    };
    app.app().log().append(vec![poison("\x1b[31mnot json"), poison("{\"orderid\":0}")]).await.unwrap();
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
