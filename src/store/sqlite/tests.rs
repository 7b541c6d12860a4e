//! What only the embedded store can meet: files, disks, a second process. The rest is in the contract suite.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::*;
use crate::{
    domain::{Flow, Order, OrderId, Product, Source, StateEvent, Timestamp, wire::Headers},
    store::{
        DeadLetters as _, Keys as _, Ledger as _, Orders as _,
        dead::{Action, DeadId},
        keys::Reserved,
        ledger::{Class, MailId, MailStatus, Reason, Settlement, Verdict},
        orders::{Batch, Incoming, Query},
    },
};

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    (dir, path)
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options::default()).unwrap()
}

fn batch(orders: std::ops::Range<u64>) -> Batch {
    let events = orders.map(|id| {
        let id = OrderId::new(id).unwrap();
        let order = Order {
            id,
            product: Product::new("3170", &"long name ".repeat(50), "7.99").unwrap(),
            email: "ana@example.org".parse().unwrap(),
            lang: None,
            placed_at: Timestamp::default(),
            handle: None,
            trace: None,
        };
        let at = Timestamp::default();
        let source = Source { topic: "compra_confirmada".into(), partition: 0, offset: id.get() };
        let (reason, key, value, headers) = (String::new(), None, vec![], Headers::default());
        let letter = crate::domain::DeadLetter { source, reason, attempts: 0, at, key, value, headers };
        Incoming { event: StateEvent::of_version_1(order, 1, Flow::STATES[0], at, Some(at)), partition: None, letter }
    });
    Batch { group: "tracking".into(), events: events.collect(), mail: true, ..Batch::default() }
}

/// The text of a refusal to open, which must be final.
fn refusal(opened: Result<SqliteStore>) -> String {
    match opened {
        Err(Error::Fatal(text)) => text,
        Err(other) => panic!("not final: {other:?}"),
        Ok(_) => panic!("it opened"),
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    let (_dir, path) = place();
    let store = open(&path);
    store.apply(batch(1..11).into()).await.unwrap();
    let limit_pages = async |pages: i64| {
        let set = move |conn: &Connection| {
            let pages: i64 = match pages {
                0 => conn.query_row("PRAGMA page_count", [], |row| row.get(0))?,
                pages => pages,
            };
            Ok::<_, Error>(conn.pragma_update(None, "max_page_count", pages)?)
        };
        store.writer.run(set).await.unwrap();
    };
    limit_pages(0).await; // not one more than there are
    let refused = store.apply(batch(11..500).into()).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert_eq!(store.order_counts().await.unwrap().total, 10, "reads go on, and nothing was written");
    limit_pages(1 << 30).await;
    assert_eq!(store.apply(batch(11..500).into()).await.unwrap().accepted, 489);
    assert_eq!(store.order_counts().await.unwrap().total, 499);
}

#[test]
fn a_file_that_is_no_database_is_refused_with_a_remedy() {
    let (_dir, path) = place();
    fs::write(&path, "not a database, ".repeat(1_000)).unwrap();
    for opened in [SqliteStore::open(&path, Options::default()), SqliteStore::open_tool(&path)] {
        let text = refusal(opened);
        assert!(text.contains("store.db") && text.contains("backup"), "{text}");
    }
    assert!(fs::read_to_string(&path).unwrap().starts_with("not a database"), "left as it was");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_with_a_remedy() {
    let (dir, _) = place();
    // a plain file where the folder should be refuses even the superuser
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let text = refusal(SqliteStore::open(&file.join("store.db"), Options::default()));
    assert!(text.contains("writable"), "{text}");
}

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_has_gone() {
    let (_dir, path) = place();
    let first = open(&path);
    let text = refusal(SqliteStore::open(&path, Options::default()));
    assert!(text.contains("in use") && text.contains("--data"), "{text}");
    first.apply(batch(1..2).into()).await.unwrap();
    drop(first);
    assert_eq!(open(&path).order_counts().await.unwrap().total, 1);
}

#[tokio::test]
async fn a_tool_writes_beside_the_server() {
    let (_dir, path) = place();
    let server = open(&path);
    server.apply(batch(1..2).into()).await.unwrap();
    let time = Timestamp::from_millis;
    server.lease(time(0), time(60_000), 1).await.unwrap();
    let id = MailId { order: OrderId::new(1).unwrap(), seq: 1 };
    server
        .settle(vec![Settlement {
            id,
            attempt: 1,
            to: "ana@example.org".parse().unwrap(),
            verdict: Verdict::Dead(Reason::new(Class::Refused, "550")),
        }])
        .await
        .unwrap();

    let tool = SqliteStore::open_tool(&path).unwrap();
    assert!(tool.decide(&DeadId::Mail(id), Action::Redrive, time(5)).await.unwrap());
    assert_eq!(server.next_due().await.unwrap(), Some(time(5)));
    assert_eq!(server.lease(time(5), time(60_000), 1).await.unwrap().len(), 1);
    server.apply(batch(2..3).into()).await.unwrap();
    assert_eq!(tool.orders(Query { limit: 10, ..Query::default() }).await.unwrap().len(), 2);
    assert_eq!(tool.ledger_counts().await.unwrap(), server.ledger_counts().await.unwrap());
}

#[test]
fn a_tool_needs_a_store_of_its_version() {
    let (dir, path) = place();
    let text = refusal(SqliteStore::open_tool(&path));
    assert!(text.contains("encargo up"), "{text}");
    let strange = dir.path().join("strange.db");
    Connection::open(&strange).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(refusal(SqliteStore::open_tool(&strange)).contains("encargo up"));

    drop(open(&path));
    let newer = "INSERT INTO refinery_schema_history
                 SELECT version + 100, name, applied_on, checksum FROM refinery_schema_history";
    Connection::open(&path).unwrap().execute_batch(newer).unwrap();
    for opened in [SqliteStore::open(&path, Options::default()), SqliteStore::open_tool(&path)] {
        let text = refusal(opened);
        assert!(text.contains("use that version"), "{text}");
    }
}

/// Each field that a customer sees, one bit turned over while nobody looked.
#[tokio::test]
async fn a_damaged_order_is_neither_shown_nor_mailed_and_holds_nobody_up() {
    let time = Timestamp::from_millis;
    for damage in [
        "usermail = 'qna@example.org'",
        "name = 'mong' || substr(name, 5)",
        "price = '7.98'",
        "gameid = '3171'",
        "price = 'x'",
        "fingerprint = fingerprint + 1",
    ] {
        let (_dir, path) = place();
        let store = open(&path);
        store.apply(batch(1..3).into()).await.unwrap();
        Connection::open(&path).unwrap().execute(&format!("UPDATE orders SET {damage} WHERE id = 1"), []).unwrap();
        let refused = store.order(OrderId::new(1).unwrap()).await;
        assert!(matches!(&refused, Err(Error::Fatal(text)) if text.contains("order 1")), "{damage}: {refused:?}");
        assert!(store.order(OrderId::new(2).unwrap()).await.unwrap().is_some(), "{damage}");
        let leased = store.lease(time(0), time(60_000), 10).await.unwrap();
        assert_eq!(leased.iter().map(|mail| mail.order.id.get()).collect::<Vec<_>>(), [2], "{damage}");
        let dead = store.dead(None, 10).await.unwrap();
        assert!(dead.len() == 1 && dead[0].class == Some(Class::Composing), "{damage}: {dead:?}");
        let counts = store.ledger_counts().await.unwrap();
        assert_eq!(counts.by_status, [(MailStatus::Sending, 1), (MailStatus::Dead, 1)], "{damage}");
    }
}

#[tokio::test]
async fn too_many_writes_are_refused() {
    let (_dir, path) = place();
    let store = SqliteStore::open(&path, Options { waiting_max: 0, ..Options::default() }).unwrap();
    assert!(matches!(store.apply(batch(1..2).into()).await, Err(Error::Overloaded(_))));
    assert!(matches!(store.ping().await, Err(Error::Overloaded(_))));
}

#[tokio::test]
async fn more_reads_than_connections_are_all_answered() {
    let (_dir, path) = place();
    let store = std::sync::Arc::new(open(&path));
    store.apply(batch(1..11).into()).await.unwrap();
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        reads.spawn(async move { store.order_counts().await.unwrap().total });
    }
    assert_eq!(reads.join_all().await, [10; 50]);
}

#[tokio::test]
async fn a_key_of_an_older_version_is_answered_without_its_own_tracking_address() {
    let (_dir, path) = place();
    let store = open(&path);
    let old = "INSERT INTO idempotency_keys (key, request, order_id, reserved_at, until) VALUES ('k', 7, 1, 0, 0)";
    Connection::open(&path).unwrap().execute_batch(old).unwrap();
    let held = store.held("k", 7, Timestamp::default()).await.unwrap();
    assert_eq!(held, Some(Reserved::Done { order: OrderId::new(1).unwrap(), track: None }));
}
