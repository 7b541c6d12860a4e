//! The store behind PgBouncer in transaction mode: a bouncer, a role and its schema for each place.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use encargo::store::{
    Store,
    postgres::{Options, PgStore, Pooling},
};

use super::{PgSchema, Place, support::patient};
use crate::harness::{eventually, free_ports};

/// A PgBouncer that ends when it is dropped.
struct Bouncer {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Bouncer {
    /// Logs in at the server as this role, whoever comes.
    fn start(role: &str) -> Self {
        let port = free_ports(1);
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/pgbouncer-local"))
            .args([port.to_string(), format!("postgres://{role}@{}/", PgSchema::host())])
            .env("BOUNCER_DIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, port, _folder: folder }
    }

    async fn ready(&self) {
        let mut tries = 0;
        while let Err(error) = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await {
            tries += 1;
            assert!(tries < 6_000, "the bouncer does not listen: {error}");
            crate::harness::real_clock().sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct Pooled {
    name: String,
    bouncer: Bouncer,
}

impl Pooled {
    pub(crate) fn new() -> Self {
        let name = format!("test_{:016x}", encargo::env::Random::system().u64().expect("random numbers"));
        // a parameter of the address would not reach the server
        PgSchema::execute_now(format!(
            "CREATE ROLE {name} LOGIN; CREATE SCHEMA {name} AUTHORIZATION {name}; ALTER ROLE {name} SET search_path = {name}"
        ));
        let bouncer = Bouncer::start(&name);
        Self { name, bouncer }
    }

    fn options(&self) -> Options {
        let url = PgSchema::database();
        let database = url.split('?').next().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
        patient(format!("postgres://encargo@127.0.0.1:{}/{database}?sslmode=disable", self.bouncer.port))
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let _ = self.bouncer.process.kill();
        PgSchema::execute_now(format!("DROP OWNED BY {0} CASCADE; DROP ROLE {0}", self.name));
    }
}

#[async_trait]
impl Place for Pooled {
    async fn open(&self) -> Box<dyn Store> {
        self.bouncer.ready().await;
        Box::new(PgStore::open(self.options()).await.expect("the store opens"))
    }

    fn another(&self) -> Box<dyn Place> {
        Box::new(Self::new())
    }
}

/// Each connection left its settings, its statements and its lock with whoever came next.
#[tokio::test]
async fn nothing_outlives_a_transaction_behind_a_pooler() {
    let place = Pooled::new();
    place.bouncer.ready().await;
    // several at once set the tables up, and all come through
    let open = || async {
        let store = PgStore::new(place.options()).unwrap();
        eventually("the tables are there", async || store.ping().await.map_err(|e| e.to_string())).await;
        store
    };
    let (first, second, third) = tokio::join!(open(), open(), open());
    for store in [first, second, third] {
        for _ in 0..8 {
            store.ping().await.unwrap();
        }
    }
    // another client of the same sessions finds them as they were
    let (client, connection) = tokio_postgres::connect(&place.options().url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("BEGIN").await.unwrap();
    let left = client
        .query_one(
            "SELECT (SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared_statements%'),
                    (SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND usename = current_user), current_setting('enable_seqscan')",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((left.get::<_, i64>(0), left.get::<_, i64>(1), left.get::<_, &str>(2)), (0, 0, "on"));
    drop(client);
    let _ = connection.await;
}

#[tokio::test]
async fn a_pooler_that_is_taken_for_sessions_is_named() {
    let place = Pooled::new();
    place.bouncer.ready().await;
    let wrong = PgStore::new(Options { pooling: Pooling::Session, pool_max: 2, ..place.options() }).unwrap();
    let also = PgStore::new(Options { pooling: Pooling::Session, pool_max: 2, ..place.options() }).unwrap();
    // sooner or later a statement is looked for where it is not
    eventually("the pooler is named", async || {
        match tokio::join!(wrong.ping(), also.ping(), wrong.ping(), also.ping()) {
            (Ok(()), Ok(()), Ok(()), Ok(())) => Err("all goes well".into()),
            results => {
                let texts = format!("{results:?}");
                if texts.contains("store.pool = \\\"transaction\\\"") { Ok(()) } else { Err(texts) }
            }
        }
    })
    .await;
}
