//! Systems that run already, and parts of a measurement by themselves.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use encargo::{
    bench::sink::{Setup, Sink},
    store::{Orders as _, sqlite::SqliteStore},
};
use serde_json::Value;

use super::{bench, launch, measured};
use crate::harness::{
    eventually, free_ports,
    process::{output, signal},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_runs_is_measured_and_one_whose_mails_do_not_come_gets_no_figures() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sink = format!("127.0.0.1:{}", free_ports(1));
    let server = launch(&data, &format!("smtp://{sink}")).start().await.unwrap();
    let (target, ops) = (format!("http://{}", server.intake), format!("http://{}", server.ops));
    let process = server.id().to_string();
    let run = |more: &[&str]| {
        let place = ["--target", &target, "--ops", &ops, "--process", &process, "--rate", "20", "--duration", "1s"];
        output(bench(folder.path(), &place).args(more))
    };
    let data = data.to_str().unwrap();
    let good = run(&["--data", data, "--sink", &sink, "--json"]);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let good: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert!(
        good["figures"]["cost"]["memory_max"].as_u64() > Some(0) && good["audit"]["mails"].as_u64() > Some(0),
        "{good}"
    );

    // mails go to a server that another measurement has
    let other = Sink::on(sink.parse().unwrap(), Setup::default()).await.unwrap();
    let elsewhere = format!("127.0.0.1:{}", free_ports(1));
    let bad = run(&["--data", data, "--sink", &elsewhere]);
    let said = String::from_utf8(bad.stdout).unwrap();
    assert_eq!(bad.status.code(), Some(1), "{said}");
    assert!(said.starts_with("# Promises were broken") && said.contains("I3") && !said.contains("p99"), "{said}");

    assert!(other.accepted() > 0);

    let unseen = run(&["--data", "/nowhere"]);
    let said = String::from_utf8(unseen.stderr).unwrap();
    assert!(!unseen.status.success() && unseen.stdout.is_empty() && said.contains("--unaudited"), "{said}");
    let unseen = run(&["--data", "/nowhere", "--unaudited"]);
    let said = String::from_utf8(unseen.stdout).unwrap();
    assert!(unseen.status.success() && said.starts_with("# Not audited") && said.contains("p99"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_behind_a_token_is_measured_and_one_that_takes_no_order_gets_no_figures() {
    let (folder, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    let (token, file) = ("a-token-of-the-operations-listener", folder.path().join("token"));
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let mut launch = launch(&data, "none:");
    launch.variables.push(("ENCARGO_OPS_TOKEN".into(), token.into()));
    let server = launch.start().await.unwrap();
    let ops = format!("http://{}", server.ops);
    let run = |target: &str, is_known: bool| {
        let place = ["--target", target, "--ops", &ops, "--data", data.to_str().unwrap()];
        let mut bench = bench(work.path(), &[&place[..], &["--rate", "20", "--duration", "1s"]].concat());
        bench.envs(is_known.then_some(("ENCARGO_OPS_TOKEN_FILE", &file)));
        let done = output(&mut bench);
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let target = format!("http://{}", server.intake);
    let (code, said, error) = run(&target, false);
    assert!(code == Some(1) && said.is_empty() && error.contains("set ops.token, or ops.token_file"), "{error}");
    let (code, said, error) = run(&target, true);
    assert!(code == Some(0) && said.starts_with("# Every promise was kept") && said.contains("p99"), "{said}{error}");

    // somebody listens, and hangs up
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let (code, said, error) = run(&target, true);
    assert!(code == Some(1) && said.starts_with("# No order was acknowledged"), "{said}{error}");
    assert!(said.contains("no answer") && !said.contains("p99"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_runs_is_judged_by_the_flows_that_its_orders_began_with() {
    let (folder, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    let mut launch = launch(&data, "none:");
    for dwell in ["300ms", "100ms"] {
        launch.arguments[1] = dwell.into();
        let server = launch.start().await.unwrap();
        let (target, ops) = (format!("http://{}", server.intake), format!("http://{}", server.ops));
        let place = ["--target", &target, "--ops", &ops, "--data", data.to_str().unwrap()];
        let run = measured(work.path(), &[&place[..], &["--rate", "20", "--duration", "1s"]].concat());
        assert_eq!(run["audit"]["objections"], serde_json::json!([]));
        assert!(run["audit"]["orders"].as_u64() > Some(0), "{run}");
        server.stop().await.unwrap();
    }
    let audit = |more: &[&str]| {
        let mut auditor = Command::new(env!("CARGO_BIN_EXE_encargo-audit"));
        let done =
            output(auditor.current_dir(folder.path()).args(["--json", "--data", data.to_str().unwrap()]).args(more));
        let verdict: Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
        (done.status.code(), verdict["objections"].as_array().unwrap().len())
    };
    assert_eq!(audit(&[]), (Some(0), 0));
    // what it is told counts more than what the log says
    let (code, objections) = audit(&["--dwell", "200ms"]);
    assert!(code == Some(1) && objections > 0, "{objections} objections");
}

/// A part of `encargo bench` that runs until it is told to stop, and what it prints.
struct Part(Child, Lines<BufReader<ChildStdout>>);

impl Part {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = bench(folder, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }

    /// The next line that it prints.
    fn said(&mut self) -> Value {
        serde_json::from_str(&self.1.next().expect("a line").unwrap()).expect("JSON")
    }

    /// Ends it, as an operator does.
    fn end(mut self) -> Option<Value> {
        signal("-TERM", self.0.id());
        let said = self.1.next().map(|line| serde_json::from_str(&line.unwrap()).expect("JSON"));
        assert!(self.0.wait().unwrap().success());
        said
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait()); // it may have ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_and_mail_server_by_themselves_write_down_what_the_auditor_judges() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, mails) = (path("data"), path("mails"));
    let (acknowledged, commanded) = (path("acknowledged"), path("commanded"));
    let mut sink = Part::start(folder.path(), &["sink", "--mails", &mails]);
    let smtp = format!("smtp://{}", sink.said()["smtp"].as_str().unwrap());
    let server = launch(Path::new(&data), &smtp).start().await.unwrap();
    let (intake, tracking) = (server.intake.to_string(), server.tracking.to_string());
    // nobody is at the first address: customers go where they are told
    let files = ["--acknowledged", &acknowledged, "--tracking", &tracking, "--commanded", &commanded];
    let load = ["load", "--intake", "127.0.0.1:9", "--follow", "--rates", "40@0s,80@1s,40@1h"];
    let mut load = Part::start(folder.path(), &[&load[..], &files].concat());
    let ops = server.ops().unwrap();
    writeln!(load.0.stdin.as_mut().unwrap(), "{intake}").unwrap();
    eventually("orders", async || match ops.scrape().await.unwrap().value("encargo_orders{state=\"accepted\"}") {
        few @ 0.0..100.0 => Err(format!("{few}")),
        _ => Ok(()),
    })
    .await;
    let counts = load.end().unwrap();
    let counted = |name: &str| counts[name].as_u64().unwrap();
    assert!(counted("acknowledged") >= 100 && counted("commands") > 0 && counted("asked_again") > 0, "{counts}");
    assert_eq!((counted("changed"), counted("unsettled")), (0, 0), "{counts}");
    let store = SqliteStore::open_tool(&Path::new(&data).join("store.db")).unwrap();
    eventually("the end of all orders", async || {
        // first the store: with an order's end come the mails about it
        let orders = store.order_counts().await.map_err(|error| format!("{error:#}"))?;
        let seen = ops.scrape().await.map_err(|error| format!("{error:#}"))?;
        let waiting = ["pending", "sending"].map(|is| seen.value(&format!("encargo_ledger_mails{{status=\"{is}\"}}")));
        let open = seen.value("encargo_orders{state=\"accepted\"}") - (orders.finished + orders.cancelled) as f64;
        if waiting == [0.0, 0.0] && open == 0.0 { Ok(()) } else { Err(format!("{open} orders, {waiting:?} mails")) }
    })
    .await;
    server.stop().await.unwrap();
    assert_eq!(sink.end(), None);

    let audit = || {
        let files = ["--acknowledged", &acknowledged, "--commanded", &commanded, "--mails", &mails, "--one-order-each"];
        let mut auditor = Command::new(env!("CARGO_BIN_EXE_encargo-audit"));
        let done = output(auditor.current_dir(folder.path()).args(["--json", "--data", &data]).args(files));
        serde_json::from_slice::<Value>(&done.stdout).expect("one JSON object")["objections"].clone()
    };
    assert_eq!(audit(), serde_json::json!([]));
    // one that was lost, a command that was not done, a mail that did not come: each is found
    let spoil = |file: &str, change: &dyn Fn(&str) -> String| {
        let whole = std::fs::read_to_string(file).unwrap();
        std::fs::write(file, change(&whole)).unwrap();
        let objections = audit();
        std::fs::write(file, whole).unwrap();
        assert!(objections.as_array().is_some_and(|objections| !objections.is_empty()), "{file}");
    };
    let line = r#"{"orderid":999999,"product":"1010","email":"lost@example.org","at":1}"#;
    spoil(&acknowledged, &|text| format!("{text}{line}\n"));
    spoil(&commanded, &|text| format!("{text}{{\"orderid\":1,\"command\":\"cancel-1\",\"done\":true}}\n"));
    spoil(&mails, &|text| text.split_once('\n').unwrap().1.to_owned());
}
