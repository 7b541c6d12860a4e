//! Data of earlier versions is taken over without a step by hand. What lies in `tests/golden/data-of-2db1da3` was written by a
//! binary of that commit, which was killed while six of eight orders were in flight; as text, since binary files cannot be
//! reviewed.

use std::{path::Path, time::Duration};

use encargo::{
    audit::{self, Rules, Sources},
    domain::Flow,
    eventlog::sqlite::SqliteLog,
    store::sqlite::SqliteStore,
};

use crate::{harness::process::Process, kill::wait_until_done};

const ORDERS: usize = 8;
/// Mails that were sent before.
const SENT: usize = 20;

/// Where files of that version lie.
fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data-of-2db1da3").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every order ends once, every state is mailed once, and the orders that come then are like any others.
#[tokio::test(flavor = "multi_thread")]
async fn files_with_orders_in_flight_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for name in ["log", "store"] {
        let file = rusqlite::Connection::open(data.join(format!("{name}.db"))).unwrap();
        file.execute_batch(&golden(&format!("{name}.sql"))).unwrap();
    }
    let mut first = Process::start(&data, &["--dwell", "1s"]).await;
    let body = serde_json::json!({ "product": "1010", "email": "ana@example.org" });
    let placed = reqwest::Client::new().post(first.url("intake", "/orders")).json(&body).send().await.unwrap();
    assert_eq!(placed.status(), 202);
    first.kill(); // and once more, with data of both versions
    let process = Process::start(&data, &["--dwell", "1s"]).await;
    wait_until_done(&process).await;
    assert!(process.terminate().success());

    let log = SqliteLog::open_read_only(&data.join("log.db")).unwrap();
    let store = SqliteStore::open_tool(&data.join("store.db")).unwrap();
    let (orders, states, dead) = ("compra_detalle", "compra_confirmada", "compra_dead_letters");
    let mut facts =
        audit::collect(Sources { log: &log, store: &store, orders, states, dead, flows: None }).await.unwrap();
    let now = audit::read_maildir(&data.join("mail")).unwrap();
    assert_eq!(now.len(), (ORDERS + 1) * Flow::STATES.len() - SENT, "what was mailed before is not mailed again");
    facts.mails = now;
    let flow = Flow::STATES.map(|estado| (estado.to_owned(), Some(Duration::from_secs(1)))).into();
    let rules = Rules { flow, all_finished: true, all_mailed: false, one_order_each: false, late_max: None };
    let report = audit::judge(&facts, &rules);
    assert_eq!((report.orders, report.objections), (ORDERS as u64 + 1, Vec::<String>::new()));
}
