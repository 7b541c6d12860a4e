//! What a database over a network does to its clients: lost answers, hanging, away, ended under load.

use std::{process::Command, sync::Arc, time::Duration};

use encargo::store::{
    DeadLetters as _, Error, Keys as _, Ledger as _, Orders as _, Store as _,
    dead::{Action, DeadId},
    keys::{Reservation, Reserved},
    ledger::{Class, MailStatus, Settlement},
    orders::{Applied, Batch},
    postgres::{Options, PgStore},
};
use tokio::time::timeout;

use super::{
    PgSchema,
    proxy::{Cut, Proxy},
    support::*,
};
use crate::harness::{PATIENCE, eventually, free_ports, process::output};

/// A schema, a proxy before its database, and a store that goes through it.
struct Far {
    _schema: PgSchema,
    proxy: Proxy,
    store: PgStore,
}

impl Far {
    async fn new() -> Self {
        Self::with(PATIENCE).await
    }

    /// With another time for calls than one that only ends a test.
    async fn with(call_timeout: Duration) -> Self {
        let (schema, proxy) = (PgSchema::new(), Proxy::start(PgSchema::host()).await);
        schema.create().await;
        let store = PgStore::new(Options { call_timeout, ..Self::options(&schema, &proxy) }).unwrap();
        insist("the store's tables", async || store.ping().await).await;
        Self { _schema: schema, proxy, store }
    }

    fn options(schema: &PgSchema, proxy: &Proxy) -> Options {
        Options { pool_max: 2, ..patient(schema.url_at(&format!("127.0.0.1:{}", proxy.port))) }
    }

    fn cut_at(&self, at: &str, heard: bool) {
        self.proxy.cut(Cut { at: at.into(), heard });
    }
}

fn unavailable<T: std::fmt::Debug>(result: encargo::store::Result<T>) {
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
}

fn step(events: Vec<encargo::store::orders::Incoming>, from: u64) -> Arc<Batch> {
    let to = from + events.len() as u64;
    Batch { advances: vec![advance(0, from, to)], ..batch(events) }.into()
}

#[tokio::test]
async fn a_batch_whose_commit_is_lost_is_applied_once() {
    let far = Far::new().await;
    for (number, heard, repeated) in [(1, true, 0), (2, false, 2)] {
        let batch = step(events([(number, 1), (number, 2)]), 2 * (number - 1));
        far.cut_at("COMMIT\0", heard);
        unavailable(far.store.apply(batch.clone()).await);
        assert!(far.proxy.has_cut());
        let again = far.store.apply(batch).await.unwrap();
        assert_eq!(again, Applied { accepted: repeated, ..Applied::default() }, "heard: {heard}");
        assert_eq!(far.store.order(id(number)).await.unwrap().unwrap().1.len(), 2);
    }
    assert_eq!(far.store.ledger_counts().await.unwrap().by_status, [(MailStatus::Pending, 4)]);
    assert_eq!(far.store.order_counts().await.unwrap().total, 2);
}

#[tokio::test]
async fn a_lease_that_nobody_heard_of_is_given_back() {
    let far = Far::new().await;
    far.store.apply(step(events([(1, 1), (2, 1)]), 0)).await.unwrap();
    for heard in [true, false] {
        far.cut_at("COMMIT\0", heard);
        unavailable(far.store.lease(at(0), at(600), 10).await);
        assert!(far.proxy.has_cut());
    }
    let mails = far.store.lease(at(1), at(600), 10).await.unwrap();
    let told: Vec<_> = mails.iter().map(|mail| (mail.id, mail.attempt, mail.ambiguous)).collect();
    assert_eq!(
        told,
        [(mail_id(1, 1), 1, false), (mail_id(2, 1), 1, false)],
        "nothing was sent, so nothing is repeated"
    );
    assert_eq!(far.store.lease(at(2), at(600), 10).await.unwrap(), []);
    let counts = far.store.ledger_counts().await.unwrap();
    assert_eq!((counts.by_status, counts.repeated), (vec![(MailStatus::Sending, 2)], 0));
}

#[tokio::test]
async fn a_settlement_whose_commit_is_lost_counts_once() {
    let far = Far::new().await;
    far.store.apply(step(events([(1, 1), (1, 2), (2, 1)]), 0)).await.unwrap();
    let leased = far.store.lease(at(0), at(600), 10).await.unwrap();
    for (mail, (heard, counted)) in leased.iter().zip([(true, 0), (false, 1)]) {
        let results = vec![Settlement::new(mail, sent())];
        far.cut_at("COMMIT\0", heard);
        unavailable(far.store.settle(results.clone()).await);
        assert_eq!(far.store.settle(results).await.unwrap().count, counted);
    }
    let counts = far.store.ledger_counts().await.unwrap();
    assert_eq!(counts.by_status, [(MailStatus::Pending, 1), (MailStatus::Sent, 2)]);
    assert_eq!(ids(&lease(&far.store, 1).await), [mail_id(1, 2)], "the next in the lane");
}

#[tokio::test]
async fn a_reservation_whose_answer_is_lost_can_be_made_again() {
    let far = Far::new().await;
    let reservation = |key: &str, order| Reservation {
        key: key.into(),
        request: 7,
        order: id(order),
        value: vec![1],
        track: "http://127.0.0.1".into(),
        at: at(0),
        until: at(10),
    };
    for (key, order, heard) in [("first-lost-key", 1, true), ("other-lost-key", 2, false)] {
        far.cut_at(key, heard);
        unavailable(far.store.reserve(reservation(key, order)).await);
        assert!(far.proxy.has_cut());
        let run =
            Reserved::Run { order: id(order), value: vec![1], track: Some("http://127.0.0.1".into()), again: false };
        assert_eq!(far.store.reserve(reservation(key, order)).await.unwrap(), run, "by the same request");
        assert_eq!(far.store.reserve(reservation(key, order + 10)).await.unwrap(), Reserved::Running, "by another");
    }
}

#[tokio::test]
async fn a_decision_whose_answer_is_lost_is_made_once() {
    let far = Far::new().await;
    far.store.apply(step(events([(1, 1)]), 0)).await.unwrap();
    lease(&far.store, 0).await;
    settle(&far.store, mail_id(1, 1), 1, refused()).await;
    far.cut_at("COMMIT\0", true);
    let dead = DeadId::Mail(mail_id(1, 1));
    unavailable(far.store.decide(&dead, Action::Redrive, at(5)).await);
    assert!(!far.store.decide(&dead, Action::Redrive, at(5)).await.unwrap());
    assert_eq!(ids(&lease(&far.store, 5).await), [mail_id(1, 1)]);
}

#[tokio::test]
async fn a_database_that_hangs_holds_nobody_up() {
    let far = Far::with(Duration::from_secs(5)).await;
    far.proxy.hang(true);
    for _ in 0..3 {
        // more calls than connections, on connections that were fine before
        let (a, b, c) = tokio::join!(
            timeout(PATIENCE, far.store.ping()),
            timeout(PATIENCE, far.store.offsets(GROUP)),
            timeout(PATIENCE, far.store.apply(step(events([(1, 1)]), 0)))
        );
        unavailable(a.expect("in time"));
        unavailable(b.expect("in time"));
        unavailable(c.expect("in time"));
    }
    far.proxy.hang(false);
    let batch = step(events([(1, 1)]), 0);
    assert_eq!(insist("a batch", async || far.store.apply(batch.clone()).await).await.accepted, 1);
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_is_used_once_it_is_there() {
    let (schema, proxy) = (PgSchema::new(), Proxy::start(PgSchema::host()).await);
    schema.create().await;
    proxy.refuse(true);
    unavailable(PgStore::open(Far::options(&schema, &proxy)).await.map(drop));
    let store = PgStore::new(Far::options(&schema, &proxy)).unwrap();
    unavailable(store.ping().await);
    proxy.refuse(false);
    assert_eq!(store.apply(step(events([(1, 1)]), 0)).await.unwrap().accepted, 1);
}

#[tokio::test]
async fn what_is_wrong_for_good_is_said_at_once() {
    let schema = PgSchema::new();
    schema.create().await;
    let host = PgSchema::host();
    let url = |text: &str| patient(text.replace("HOST", &host));
    for (options, named) in [
        (url("postgres://nobody-of-that-name@HOST/postgres"), "nobody-of-that-name"),
        (url("postgres://HOST/postgres"), "names no user"),
        (Options { ca: Some("no/such/file.pem".into()), ..patient(schema.url()) }, "no/such/file.pem"),
    ] {
        match PgStore::open(options).await.map(drop) {
            Err(Error::Fatal(text)) => assert!(text.contains(named), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    // a database of a later version is not touched
    drop(PgStore::open(patient(schema.url())).await.unwrap());
    let newer = "INSERT INTO refinery_schema_history
                 SELECT version + 100, name, applied_on, checksum FROM refinery_schema_history";
    schema.run(newer).await;
    match PgStore::open(patient(schema.url())).await.map(drop) {
        Err(Error::Fatal(text)) => assert!(text.contains("newer version"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tables_are_made_by_one_of_several_that_start_at_once() {
    let schema = PgSchema::new();
    schema.create().await;
    let open = || PgStore::open(patient(schema.url()));
    let (first, second, third) = tokio::join!(open(), open(), open());
    for store in [first, second, third] {
        store.unwrap().ping().await.unwrap();
    }
}

/// A server of this test alone, for it is ended under way.
struct Server {
    dir: String,
    port: String,
    url: String,
}

impl Server {
    fn start() -> Self {
        let dir =
            std::env::temp_dir().join(format!("encargo-test-{:016x}", encargo::env::Random::system().u64().unwrap()));
        let mut server = Self { dir: dir.display().to_string(), port: free_ports(1).to_string(), url: String::new() };
        server.url = server.script("start");
        server
    }

    fn script(&self, command: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres-local");
        let mut call = Command::new(script);
        let output = output(call.arg(command).env("PG_DIR", &self.dir).env("PG_PORT", &self.port));
        assert!(output.status.success(), "postgres-local {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script("crash");
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Repeats a call until the database takes it.
async fn insist<T>(what: &str, mut call: impl AsyncFnMut() -> encargo::store::Result<T>) -> T {
    eventually(what, async || match call().await {
        Ok(value) => Ok(value),
        Err(Error::Unavailable(why)) => Err(why),
        Err(other) => panic!("{what}: {other}"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_ended_at_once_under_load_loses_and_repeats_nothing() {
    const ORDERS: u64 = 400;
    let server = Server::start();
    let options = || patient(&server.url);
    let (projection, mailer) = (PgStore::open(options()).await.unwrap(), PgStore::open(options()).await.unwrap());
    let project = async {
        let mut offset = 0;
        for number in 1..=ORDERS {
            for seq in 1..=4 {
                let batch = step(vec![event(order(number), seq)], offset);
                insist("a batch", async || projection.apply(batch.clone()).await).await;
                offset += 1;
            }
        }
    };
    let mail = async {
        let mut sends = 0_u64;
        while sends < 4 * ORDERS {
            let mails = insist("a lease", async || mailer.lease(at(0), at(600), 50).await).await;
            assert!(mails.iter().all(|mail| mail.attempt == 1 && !mail.ambiguous), "{mails:?}");
            sends += mails.len() as u64;
            let result = |mail: &encargo::store::ledger::Mail| Settlement::new(mail, sent());
            let results: Vec<_> = mails.iter().map(result).collect();
            insist("results", async || mailer.settle(results.clone()).await).await;
        }
    };
    let end = async {
        for part in 1..=3 {
            // at a quarter, a half, three quarters of the way
            let reached = async || match mailer.ledger_counts().await {
                Ok(counts) => {
                    let sent = counts.by_status.iter().find(|(status, _)| *status == MailStatus::Sent);
                    let sent = sent.map_or(0, |(_, n)| *n);
                    if sent >= part * ORDERS { Ok(()) } else { Err(format!("{sent} sent")) }
                }
                Err(error) => Err(error.to_string()),
            };
            eventually("the place to end it", reached).await;
            tokio::task::block_in_place(|| {
                server.script("crash");
                server.script("start");
            });
        }
    };
    tokio::join!(project, mail, end);
    let counts = mailer.ledger_counts().await.unwrap();
    assert_eq!((counts.by_status, counts.repeated), (vec![(MailStatus::Sent, 4 * ORDERS)], 0));
    let orders = projection.order_counts().await.unwrap();
    assert_eq!((orders.total, orders.finished), (ORDERS, ORDERS));
    assert_eq!(projection.offsets(GROUP).await.unwrap(), [(partition(0), 4 * ORDERS)]);
    for number in 1..=ORDERS {
        assert_eq!(projection.order(id(number)).await.unwrap().unwrap().1.len(), 4);
    }
}

/// Each field that a customer sees, changed by another hand or a bit that turned over.
#[tokio::test]
async fn a_damaged_order_is_neither_shown_nor_mailed_and_holds_nobody_up() {
    for damage in ["usermail = 'qna@example.org'", "name = 'mong' || substr(name, 5)", "price = '7.98'", "price = 'x'"]
    {
        let schema = PgSchema::new();
        schema.create().await;
        let store = PgStore::open(patient(schema.url())).await.unwrap();
        store.apply(step(events([(1, 1), (2, 1)]), 0)).await.unwrap();
        schema.run(&format!("UPDATE orders SET {damage} WHERE id = 1")).await;
        let refused = store.order(id(1)).await;
        assert!(matches!(&refused, Err(Error::Fatal(text)) if text.contains("order 1")), "{damage}: {refused:?}");
        assert!(store.order(id(2)).await.unwrap().is_some(), "{damage}");
        assert_eq!(ids(&lease(&store, 0).await), [mail_id(2, 1)], "{damage}");
        let dead = store.dead(None, 10).await.unwrap();
        assert!(dead.len() == 1 && dead[0].class == Some(Class::Composing), "{damage}: {dead:?}");
        let counts = store.ledger_counts().await.unwrap();
        assert_eq!(counts.by_status, [(MailStatus::Sending, 1), (MailStatus::Dead, 1)], "{damage}");
    }
}
