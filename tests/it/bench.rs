//! The kit that measures, against the real system.

use std::{path::PathBuf, sync::Arc, time::Duration};

use encargo::{
    audit::{self, Rules, Sources},
    bench::{
        load::{Arrivals, Customers, Load, Outcome, Pace, Profile, Progress, Schedule},
        process::{Launch, Server, Usage},
        sink::{Keep, Setup, Sink, Trouble},
        stats::Summary,
    },
    domain::Flow,
    eventlog::sqlite::SqliteLog,
    store::sqlite::SqliteStore,
};
use tokio_util::sync::CancellationToken;

use crate::harness::eventually;

const DWELL: Duration = Duration::from_millis(100);

fn launch(data: &std::path::Path, mail: &str) -> Launch {
    let mut launch = Launch::new(PathBuf::from(env!("CARGO_BIN_EXE_encargo")), data);
    launch.arguments = ["--dwell", "100ms", "--mail", mail].map(Into::into).to_vec();
    launch.variables.push(("ENCARGO_MAIL_RETRY_MIN".into(), "50ms".into()));
    launch.variables.push(("ENCARGO_MAIL_RETRY_MAX".into(), "500ms".into()));
    launch
}

fn load(server: &Server, customers: &Customers, pace: Pace) -> Load {
    Load {
        targets: vec![server.intake],
        host: "localhost".into(),
        customers: customers.clone(),
        pace,
        connections: 16,
        answer_max: Duration::from_secs(10),
        retry: Duration::from_mins(5),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kit_loads_troubles_and_kills_the_auditor_can_judge() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sink = Sink::with(Setup { keep: Keep::Facts, ..Setup::default() }).await;
    sink.trouble(Trouble::new(0.2, 7));
    let mut launch = launch(&data, &sink.url());
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
    launch.listen = [server.intake, server.tracking, server.ops]; // customers know these
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
    let mut facts = audit::collect(Sources { log: &log, store: &store, orders, states, dead }).await.unwrap();
    facts.mails = sink.facts();
    facts.acknowledged = outcome.acknowledged(&customers);
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), DWELL)).into();
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
async fn customers_are_told_what_is_wrong_with_their_orders() {
    let folder = tempfile::tempdir().unwrap();
    let server = launch(&folder.path().join("data"), "none:").start().await.unwrap();
    let customers = Customers { run: "kit".into(), products: vec!["no such".into()], unkeyed: 0 };
    let outcome = load(&server, &customers, Pace::Count(3)).run(Arc::default(), CancellationToken::new()).await;
    assert_eq!((outcome.told.len(), outcome.latencies().count()), (3, 0));
    assert!(outcome.complaint().is_some_and(|words| words.starts_with("422: ")), "{:?}", outcome.complaint());
}
