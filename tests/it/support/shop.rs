//! An intake on a real socket over the embedded log and store, with a clock that stands until it is moved.

use std::{path::Path, sync::Arc, time::Duration};

use encargo::{
    catalog::Catalog,
    clock::Clock,
    domain::{HandleKey, Order, OrderId, Timestamp, wire},
    env::Env,
    eventlog::{
        self, EventLog, GroupOffset, Member, MemberEvent, MemberMode, Outcome, Record, TopicPartition, TopicSpec,
        sqlite::SqliteLog,
    },
    faults::FaultyLog,
    intake::{Deps, Intake, Options, Watched},
    pages::Site,
    spans::Spans,
    store::{self, sqlite::SqliteStore},
    web::{self, Limits},
};
use prometheus_client::registry::Registry;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::faulty::Script;
use crate::harness::PATIENCE;
use crate::harness::app::sample_in;

pub const ORDERS: &str = "compra_detalle";
pub const GROUP: &str = "readers";
pub const PARTITIONS: u32 = 4;
pub const BACKLOG_MAX: u64 = 50;
pub const RESERVATION: Duration = Duration::from_secs(10);

/// What browsers accept.
pub const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

pub struct Shop {
    pub log: Arc<FaultyLog>,
    pub faults: Arc<Script>,
    /// The time by which calls of the log are slow: it stands until it is moved.
    pub slowness: Clock,
    pub store: Arc<SqliteStore>,
    pub clock: Clock,
    pub client: Client,
    pub url: String,
    pub registry: Registry,
    stop: CancellationToken,
    server: JoinHandle<()>,
    folder: TempDir,
}

impl Shop {
    pub async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub async fn start_with(limits: Limits) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_764_000_000_000));
        Self::open(tempfile::tempdir().unwrap(), clock, limits, Catalog::sample()).await
    }

    async fn open(folder: TempDir, clock: Clock, limits: Limits, catalog: Catalog) -> Self {
        let log = open_log(folder.path());
        for (name, partitions) in [(ORDERS, PARTITIONS), ("encargo_ids", 1)] {
            log.create(&TopicSpec { name: name.into(), partitions }).unwrap();
        }
        let (faults, slowness) = (Script::of_appends_to(ORDERS), Clock::manual(Timestamp::default()));
        let log = Arc::new(FaultyLog::new(Arc::new(log), faults.clone(), slowness.clone()));
        let store =
            Arc::new(SqliteStore::open(&folder.path().join("store.db"), store::sqlite::Options::default()).unwrap());
        let deps = Deps {
            log: log.clone(),
            store: store.clone(),
            catalog: Arc::new(catalog),
            env: Env::real(clock.clone()),
            handles: handles(),
            spans: Spans::default(),
        };
        let options = Options {
            watched: vec![Watched { group: GROUP.into(), topic: ORDERS.into() }],
            backlog_max: BACKLOG_MAX,
            trusted_hops: 1,
            reservation: RESERVATION,
            tracking_url: "http://shop.example/".into(),
            site: Site { tracking: Some("http://shop.example".into()), currency: "€".into(), ..Site::default() },
            ..Options::default()
        };
        let mut registry = Registry::default();
        let intake = Intake::new(deps, options, &mut registry).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let server = tokio::spawn(run(intake, listener, limits, stop.clone()));
        Self { log, faults, slowness, store, clock, client: Client::new(), url, registry, stop, server, folder }
    }

    /// Stops in order and starts again on the same data.
    pub async fn restart(self) -> Self {
        self.restart_with(Catalog::sample()).await
    }

    /// The same with another catalogue.
    pub async fn restart_with(self, catalog: Catalog) -> Self {
        let Self { log, store, clock, stop, server, folder, .. } = self;
        stop.cancel();
        server.await.unwrap();
        drop((log, store));
        Self::open(folder, clock, Limits::default(), catalog).await
    }

    /// Asks the server to stop; returns when it has.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub async fn stopped(self) {
        timeout(PATIENCE, self.server).await.expect("the server must stop").unwrap();
    }

    pub fn form(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.client.post(&self.url);
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    pub fn json(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.client.post(format!("{}/orders", self.url));
        request.header("content-type", "application/json").body(body)
    }

    /// A request as a browser makes it, which is not led on.
    pub fn browse(&self, path: &str) -> RequestBuilder {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        client.get(format!("{}{path}", self.url)).header("accept", BROWSER)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    /// All orders in the log, by id, with their records.
    pub fn orders(&self) -> Vec<(Order, Record)> {
        let mut orders = Vec::new();
        for partition in 0..PARTITIONS {
            let mut reader = self.log.read(&TopicPartition { topic: ORDERS.into(), partition }, 0).unwrap();
            loop {
                let records = reader.next(100).unwrap();
                if records.is_empty() {
                    break;
                }
                for record in records {
                    let order = wire::decode_order(&record.value, &record.headers, record.at).unwrap();
                    orders.push((order, record));
                }
            }
        }
        orders.sort_by_key(|(order, _)| order.id);
        orders
    }

    pub fn ids(&self) -> Vec<u64> {
        self.orders().iter().map(|(order, _)| order.id.get()).collect()
    }

    pub fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// A counting metric's value.
    pub fn metric(&self, sample: &str) -> u64 {
        sample_in(&self.metrics(), sample)
    }

    /// Reads all orders as a consumer group and commits how far it came.
    pub async fn consume_all(&self) {
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || consume(log.join(GROUP, &[ORDERS], 0, MemberMode::Outputs).unwrap()))
            .await
            .unwrap();
    }

    /// Repeats a request, moving the clock on each time, until it is answered with a status.
    pub async fn until(&self, status: StatusCode, request: impl Fn() -> RequestBuilder) -> Response {
        let attempts = async {
            loop {
                let response = request().send().await.unwrap();
                if response.status() == status {
                    return response;
                }
                self.clock.advance(Duration::from_millis(100));
            }
        };
        timeout(PATIENCE, attempts).await.unwrap_or_else(|_| panic!("no answer came with {status}"))
    }
}

pub fn handles() -> HandleKey {
    HandleKey::new([7; 16])
}

pub fn id(id: u64) -> OrderId {
    OrderId::new(id).unwrap()
}

pub fn open_log(folder: &Path) -> SqliteLog {
    SqliteLog::open(&folder.join("log.db"), eventlog::sqlite::Options::default()).unwrap()
}

/// As the application does it: the listener stops first, then what it needs.
async fn run(intake: Intake, listener: TcpListener, limits: Limits, stop: CancellationToken) {
    let stop_helpers = CancellationToken::new();
    let router = intake.router();
    let helpers = tokio::spawn(intake.run(stop_helpers.clone()));
    web::serve(listener, router, limits, stop).await.unwrap();
    stop_helpers.cancel();
    helpers.await.unwrap().unwrap();
}

fn consume(mut member: Box<dyn Member>) {
    loop {
        match member.next(Duration::ZERO).unwrap() {
            MemberEvent::Records(tp, records) => {
                let offset = records.last().unwrap().offset + 1;
                let done = member.commit(&[], &[GroupOffset { tp, offset, metadata: String::new() }]);
                assert!(matches!(done, Outcome::Committed(_)), "{done:?}");
            }
            MemberEvent::Idle => return,
            _ => {}
        }
    }
}
