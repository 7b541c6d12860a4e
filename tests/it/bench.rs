//! The kit that measures, and `encargo bench`, against the real system.

mod running;

#[cfg(feature = "kafka")]
use std::collections::BTreeSet;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use encargo::{
    audit::{self, Rules, Sources},
    bench::{
        load::{Arrivals, Customers, Load, Outcome, Pace, Profile, Progress, Schedule},
        process::{Launch, Server},
        sink::{Fault, Keep, Setup, Sink, Step, Trouble},
        stats::Summary,
        usage::Usage,
    },
    domain::Flow,
    eventlog::sqlite::SqliteLog,
    store::sqlite::SqliteStore,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::harness::{eventually, process::output};

const DWELL: Duration = Duration::from_millis(100);

fn launch(data: &Path, mail: &str) -> Launch {
    let mut launch = Launch::new(PathBuf::from(env!("CARGO_BIN_EXE_encargo")), data);
    launch.arguments = ["--dwell", "100ms", "--mail", mail].map(Into::into).to_vec();
    // chance leaves some mail unanswered again and again
    let settings = [("RETRY_MIN", "50ms"), ("RETRY_MAX", "500ms"), ("COPIES_MAX", "1000")];
    launch.variables.extend(settings.map(|(name, value)| (format!("ENCARGO_MAIL_{name}"), value.into())));
    launch
}

fn load(server: &Server, customers: &Customers, pace: Pace) -> Load {
    let load = Load::new(vec![server.intake], customers.clone(), pace);
    Load { connections: 16, retry: Duration::from_mins(5), ..load }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kit_loads_troubles_and_kills_the_auditor_can_judge() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sink = Sink::with(Setup { keep: Keep::Facts, ..Setup::usual() }).await;
    sink.trouble(Trouble::new(0.2, 7));
    sink.script(Step::Dot, Fault::Drop, 3); // mails that arrive twice, whatever chance brings
    let launch = launch(&data, &sink.url());
    let server = launch.start().await.unwrap();
    assert!(server.ready_after > Duration::ZERO);
    let customers = Customers { run: "kit".into(), products: vec!["1010".into(), "1080".into()], unkeyed: 5 };
    let profile = Profile::peak(100.0, Duration::from_secs(2));
    let open = Pace::Open(Schedule::new(profile.clone(), Arrivals::Poisson(7)));
    let due = Schedule::new(profile, Arrivals::Poisson(7)).count() as u64;
    let progress = Arc::<Progress>::default();
    let running = tokio::spawn(load(&server, &customers, open).run(progress.clone(), CancellationToken::new()));
    eventually("orders", async || match progress.accepted.load(std::sync::atomic::Ordering::Relaxed) {
        0..20 => Err("too few".to_owned()),
        _ => Ok(()),
    })
    .await;
    assert!(Usage::of(server.id()).unwrap().memory > 0);
    server.kill().unwrap();
    let server = launch.start().await.unwrap();
    let outcome: Outcome = running.await.unwrap();
    assert_eq!((outcome.told.len() as u64, outcome.complaint()), (due, None));
    let (refused, lost) = outcome.refused_and_lost();
    let latency = Summary::of(outcome.latencies());
    assert_eq!(latency.count + refused + lost, due);
    assert!(latency.p50 > 0.0 && outcome.accepted().all(|(_, _, handle)| handle.is_some()), "{latency:?}");

    sink.mend();
    let ops = server.ops().unwrap();
    eventually("every mail", async || {
        let seen = ops.scrape().await.map_err(|error| format!("{error:#}"))?;
        let [accepted, in_flight] =
            ["accepted", "in_flight"].map(|state| seen.value(&format!("encargo_orders{{state=\"{state}\"}}")));
        let sent = seen.value("encargo_ledger_mails{status=\"sent\"}");
        let is_over = in_flight == 0.0 && sent >= accepted * 4.0;
        if is_over { Ok(()) } else { Err(format!("{in_flight} in flight, {sent} sent of 4 × {accepted}")) }
    })
    .await;
    server.stop().await.unwrap();

    let log = SqliteLog::open_read_only(&data.join("log.db")).unwrap();
    let store = SqliteStore::open_tool(&data.join("store.db")).unwrap();
    let (orders, states, dead) = ("compra_detalle", "compra_confirmada", "compra_dead_letters");
    let mut facts =
        audit::collect(Sources { log: &log, store: &store, orders, states, dead, flows: None }).await.unwrap();
    facts.mails = sink.facts();
    facts.acknowledged = outcome.acknowledged(&customers);
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), Some(DWELL))).into();
    let rules = Rules { flow, all_finished: true, all_mailed: true, one_order_each: true, late_max: None };
    let report = audit::judge(&facts, &rules);
    assert_eq!(report.objections, Vec::<String>::new());
    assert!(facts.acknowledged.len() as u64 >= due * 4 / 5 && report.mails >= report.orders * 4);
    assert!(sink.troubles().values().sum::<u64>() > 0 && facts.repeats_counted > 0, "{:?}", sink.troubles());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = launch(&folder.path().join("data"), "smtp://").start().await.err().unwrap().to_string();
    assert!(error.starts_with("the system did not start:\n") && error.contains("mail"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_whose_start_is_given_up_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (program, number) = (folder.path().join("slow"), folder.path().join("number"));
    std::fs::write(&program, "#!/bin/sh\necho $$ >number.new && mv number.new number && exec sleep 600\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let starting = Launch::new(program, &folder.path().join("data"));
    let starting = tokio::spawn(async move { starting.start().await.map(drop) });
    eventually("a process", async || number.exists().then_some(()).ok_or_else(|| "none".to_owned())).await;
    starting.abort();
    assert!(starting.await.unwrap_err().is_cancelled());
    let process = std::fs::read_to_string(number).unwrap();
    assert!(!Path::new("/proc").join(process.trim()).exists(), "{process} runs on");
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_are_told_what_is_wrong_with_their_orders() {
    let folder = tempfile::tempdir().unwrap();
    let server = launch(&folder.path().join("data"), "none:").start().await.unwrap();
    let customers = Customers { run: "kit".into(), products: vec!["no such".into()], unkeyed: 0 };
    let outcome = load(&server, &customers, Pace::Count(3)).run(Arc::default(), CancellationToken::new()).await;
    assert_eq!((outcome.told.len(), outcome.latencies().count()), (3, 0));
    assert!(outcome.complaint().is_some_and(|words| words.starts_with("422: ")), "{:?}", outcome.complaint());
}

/// `encargo bench` in a folder of its own, without what the environment says of settings.
fn bench(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("TMPDIR", folder).current_dir(folder).arg("bench").args(arguments);
    command
}

/// What a measurement that ended well said.
fn measured(folder: &Path, arguments: &[&str]) -> Value {
    let done = output(bench(folder, arguments).arg("--json"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found: Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".html")), "it left {left:?}");
    found
}

#[test]
fn a_rush_is_measured_and_audited() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("bench.html");
    let load = ["--profile", "peak", "--rate", "50", "--duration", "2s", "--dwell", "100ms"];
    let run = measured(folder.path(), &[&load[..], &["--lang", "es", "--html", page.to_str().unwrap()]].concat());
    let accepted = run["accepted"].as_u64().unwrap();
    assert_eq!(
        (run["audit"]["orders"].as_u64(), run["audit"]["mails"].as_u64() >= Some(accepted * 4)),
        (Some(accepted), true)
    );
    assert_eq!((&run["audit"]["objections"], &run["audit"]["not_audited"]), (&serde_json::json!([]), &Value::Null));
    let figures = &run["figures"];
    assert_eq!(figures["acknowledgement_ms"]["count"].as_u64(), Some(accepted));
    for state in ["preparando", "entregando", "finalizado"] {
        assert_eq!(figures["lateness_ms"][state]["count"].as_u64(), Some(accepted), "{figures}");
    }
    assert!(
        figures["completed_per_s"].as_f64() > Some(0.0) && figures["mails_per_s"].as_f64() > Some(0.0),
        "{figures}"
    );
    assert!(figures["samples"].as_array().unwrap().len() > 2);
    let cost = &figures["cost"];
    for part in ["http", "mail", "log", "store", "states", "tracking"] {
        assert!(cost["threads_per_1000"][part].as_f64() > Some(0.0), "{part}: {cost}");
    }
    // every order has a commit of the log and one of the store at least, if not with others
    for file in ["log", "store"] {
        assert!(cost["fsyncs_per_order"][file].as_f64() > Some(0.0), "{file}: {cost}");
    }
    assert!(cost["cpu_per_1000"].as_f64() > Some(0.0), "{cost}");
    assert!(
        run["limits"]["nothing_per_s"].as_f64() > Some(0.0) && run["limits"]["fsync_ms"]["p50"].as_f64() > Some(0.0)
    );
    let has_postfix = Command::new("smtp-source").output().is_ok();
    assert_eq!(run["limits"]["smtp_source_per_s"].as_f64() > Some(0.0), has_postfix, "{}", run["limits"]);
    let html = std::fs::read_to_string(page).unwrap();
    let cells: Vec<_> = html.split("</td>").filter_map(|cell| Some(cell.rsplit_once('>')?.1)).collect();
    let is_english = |cell: &&&str| cell.split_once('.').is_some_and(|(_, decimals)| decimals.len() < 3);
    assert_eq!(cells.iter().find(is_english), None, "a decimal point in Spanish");
    assert!(cells.iter().any(|cell| cell.contains(',')) && html.contains(" núcleos, "), "{html}");
    assert!(html.contains("<html lang=\"es\">") && html.matches("<svg").count() >= 6, "{html}");
    assert!(!html.contains("src=") && !html.contains("href=") && !html.contains("url("), "it needs what is elsewhere");
}

#[test]
fn the_old_reports_tables_are_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let report = measured(folder.path(), &["report", "--messages", "40", "--dwell", "100ms"]);
    let tables = &report["tables"];
    let counts: Vec<_> = tables["batches"].as_array().unwrap().iter().map(|batch| batch[1]["count"].as_u64()).collect();
    assert_eq!(counts, [Some(5), Some(10), Some(15)]);
    let requests = tables["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 20);
    assert!(requests.iter().all(|request| request["processing_s"].as_f64() >= Some(0.3)), "{requests:?}");
    assert!(requests.iter().all(|request| request["mail_s"].as_f64() >= Some(0.0)), "{requests:?}");
    let growth = tables["growth"].as_array().unwrap();
    let orders: Vec<_> = growth.iter().map(|at| at["orders"].as_u64().unwrap()).collect();
    // the first and those of the tables, and then as many as it was told
    assert_eq!(orders, [51, 57, 63, 69, 75, 81]);
    assert!(growth.iter().all(|at| at["accepted_per_s"].as_f64() > Some(0.0)), "{growth:?}");
    assert_eq!(
        (report["audit"]["orders"].as_u64(), &report["audit"]["objections"]),
        (Some(87), &serde_json::json!([]))
    );
}

#[test]
fn rates_are_tried_until_one_is_too_much_or_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["capacity", "--from", "10", "--to", "20", "--step", "1s", "--dwell", "100ms", "--no-mail"];
    let found = measured(folder.path(), &arguments);
    let steps = found["steps"].as_array().unwrap();
    assert!(!steps.is_empty() && steps.iter().all(|step| step["run"]["audit"]["objections"] == serde_json::json!([])));
    let met: Vec<_> = steps.iter().filter(|step| step["broke"].is_null()).map(|step| step["rate"].as_f64()).collect();
    assert_eq!(found["capacity_per_s"].as_f64(), met.last().copied().flatten(), "{found}");
}

#[test]
fn a_killed_system_comes_back_with_all_its_timers() {
    let folder = tempfile::tempdir().unwrap();
    let found = measured(folder.path(), &["restart", "--orders", "20", "--dwell", "3s", "--no-mail"]);
    let second = |name: &str| found["recovery"][name].as_f64().expect("a number");
    assert!(
        second("ready_s") <= second("all_timers_s") && second("first_timer_s") <= second("all_timers_s"),
        "{found}"
    );
    assert_eq!((found["orders"].as_u64(), &found["audit"]["objections"]), (Some(20), &serde_json::json!([])));
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn several_instances_are_measured_and_audited_as_one_system() {
    let cluster = crate::harness::cluster::Cluster::name(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let (log, store) = (cluster.setting("log.url"), cluster.setting("store.url"));
    let arguments = ["scale", "--log", log, "--store", store, "--partitions", "2", "--instances", "2"];
    let load = ["--duration", "1s", "--dwell", "100ms"];
    let log = cluster.log();
    let mut left = BTreeSet::new();
    eventually("the topics of other trials", async || topics_of_trials(&*log).map(|names| left = names)).await;
    let found = tokio::task::block_in_place(|| measured(folder.path(), &[&arguments[..], &load].concat()));
    let cell = &found["cells"][0];
    assert_eq!((cell["partitions"].as_u64(), cell["instances"].as_u64()), (Some(2), Some(2)));
    let (audit, figures) = (&cell["run"]["audit"], &cell["run"]["figures"]);
    assert!(audit["orders"].as_u64() > Some(0) && audit["mails"].as_u64() >= audit["orders"].as_u64(), "{audit}");
    assert!(figures["completed_per_s"].as_f64() > Some(0.0), "{figures}");
    assert!(figures["cost"]["threads_per_1000"]["kafka"].as_f64() > Some(0.0), "{figures}");
    all_are_removed(&*log, &left).await;

    // and when it is interrupted
    let long = [&arguments[..], &["--duration", "10m", "--dwell", "100ms"]].concat();
    let mut child = bench(folder.path(), &long).spawn().unwrap();
    eventually("a system on topics of its own", async || {
        let has_topics = topics_of_trials(&*log)?.difference(&left).count() >= 7;
        let has_log = std::fs::read_dir(folder.path()).unwrap().count() > 0;
        if has_topics && has_log { Ok(()) } else { Err(format!("topics: {has_topics}, folder: {has_log}")) }
    })
    .await;
    crate::harness::process::signal("-INT", child.id());
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(1));
    all_are_removed(&*log, &left).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its folder is left");
}

/// Those that measurements make, from whatever time. They cannot be listed while one of another test comes or goes.
#[cfg(feature = "kafka")]
fn topics_of_trials(log: &dyn encargo::eventlog::EventLog) -> Result<BTreeSet<String>, String> {
    let topics = log.topics().map_err(|error| error.to_string())?;
    Ok(topics.into_iter().map(|topic| topic.name).filter(|name| name.starts_with("scale_")).collect())
}

#[cfg(feature = "kafka")]
async fn all_are_removed(log: &dyn encargo::eventlog::EventLog, before: &BTreeSet<String>) {
    eventually("its topics are removed", async || {
        let more: Vec<_> = topics_of_trials(log)?.difference(before).cloned().collect();
        if more.is_empty() { Ok(()) } else { Err(format!("{more:?}")) }
    })
    .await;
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("http://{}", listener.local_addr().unwrap());
    let (nobody, process) = ("http://127.0.0.1:9", u32::MAX.to_string());
    let program = format!("broker={process}");
    for (arguments, words) in [
        (&["--rate", "0"][..], "'--rate <N>': must be more than 0"),
        (&["--duration", "0s"], "'--duration <DURATION>': must be more than 0s"),
        (&["--duration", "500000000000years"], "must be a year at most"),
        (&["--connections", "0"], "0 is not in 1..=65535"),
        (&["--closed", "0"], "0 is not in 1..=65535"),
        (&["--rates", "foo"], "'--rates <RATE@TIME>': must be a rate and a time, like 20@1m"),
        (&["--beside", &program], "there is no such process"),
        (&["--html", "nowhere/page.html"], "'--html <FILE>': cannot be written: No such file"),
        (&["--target", &taken, "--ops", nobody, "--process", &process], "there is no such process"),
        (&["--target", nobody, "--ops", nobody], "nobody takes orders there"),
        (&["capacity", "--step", "0s"], "must be more than 0s"),
        (&["restart", "--orders", "0"], "0 is not in 1.."),
        (&["scale", "--duration", "0s"], "must be more than 0s"),
        (&["load", "--intake", "127.0.0.1:9", "--acknowledged", "a", "--closed", "0"], "0 is not in 1..=65535"),
        (
            &["load", "--intake", "127.0.0.1:9", "--acknowledged", "a", "--rate", "1", "--duration", "1ms"],
            "no order was acknowledged",
        ),
        (&["--target", "https://shop.example", "--ops", "http://127.0.0.1:9"], "must be an address like http://"),
        (&["--target", &taken, "--ops", nobody], "--ops must name"),
        (&["capacity", "--from", "9", "--to", "3"], "--from 9: must not be more than --to"),
        (&["scale"], "name them by --log and --store"),
        (&["--rates", "20@0s,30@0s"], "--rates: must be two at least, the first at 0s"),
        (&["report", "--messages", "11"], "--messages 11: must be 12 at least"),
    ] {
        let done = output(&mut bench(folder.path(), arguments));
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && said.contains(words), "{arguments:?}: {said}");
    }
}
