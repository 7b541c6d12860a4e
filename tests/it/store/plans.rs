//! The plans of PostgreSQL for the statements of a batch.

use encargo::store::{
    Ledger as _,
    ledger::{Mail, Settlement},
    postgres::PgStore,
};
use tokio_postgres::NoTls;

use super::{PgSchema, support::*};
use crate::harness::eventually;

const BACKLOG: u64 = 5_000;
const BATCH: u64 = 100;

/// A store whose sessions carry this name.
async fn open(schema: &PgSchema, name: &str) -> PgStore {
    PgStore::open(patient(format!("{}&application_name={name}", schema.url()))).await.unwrap()
}

/// Ends the sessions of this name, which thereby report what they read. Returns the entries that all indexes of the schema
/// have given.
async fn index_reads(schema: &PgSchema, store: PgStore, name: &str) -> i64 {
    drop(store);
    let (client, connection) = tokio_postgres::connect(&schema.url(), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    eventually("the sessions of the store end", async || {
        match client.query_one(sessions, &[&name]).await.unwrap().get::<_, i64>(0) {
            0 => Ok(()),
            open => Err(format!("{open} are open")),
        }
    })
    .await;
    let reads = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE schemaname = current_schema()";
    let reads = client.query_one(reads, &[]).await.unwrap().get(0);
    drop(client);
    connection.await.unwrap().unwrap();
    reads
}

/// Sends what is due and moves those orders on. Returns how many mails there were.
async fn work(store: &PgStore) -> u64 {
    let mails = store.lease(at(1), at(61), BATCH as usize).await.unwrap();
    let settlement = |mail: &Mail| Settlement::new(mail, sent());
    let settled = store.settle(mails.iter().map(settlement).collect()).await.unwrap().count;
    for seq in [2, 4] {
        apply(store, mails.iter().map(|mail| event(mail.order.clone(), seq)).collect()).await;
    }
    settled
}

/// Planned while hardly any mail waited, a batch walked the whole table of waiting mails until the next count.
#[tokio::test]
async fn a_backlog_costs_no_more_when_the_plans_are_of_empty_tables() {
    let schema = PgSchema::new();
    schema.create().await;
    let (working, loading) = (format!("{}-working", schema.name), format!("{}-loading", schema.name));
    let store = open(&schema, &working).await;
    apply(&store, events([(1, 1), (2, 1), (3, 1)])).await;
    for table in ["lane", "orders", "history", "in_flight"] {
        schema.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off); ANALYZE {table}")).await;
    }
    assert_eq!(work(&store).await, 3);
    let loader = open(&schema, &loading).await;
    for from in (4..BACKLOG).step_by(1_000) {
        apply(&loader, (from..from + 1_000).map(|number| event(order(number), 1)).collect()).await;
    }
    let before = index_reads(&schema, loader, &loading).await;
    assert_eq!(work(&store).await, BATCH);
    let reads = index_reads(&schema, store, &working).await - before;
    assert!(reads < BACKLOG as i64, "{reads} index entries for {BATCH} of {BACKLOG} orders: a table was walked");
}
