//! The intake: reads HTTP requests, writes orders to the log, and answers once they are durable.
//!
//! - Reads: the catalogue; the store's idempotency keys; how far the consumers of its orders are.
//! - Writes: the orders topic (`compra_detalle`), the ids topic, idempotency keys; in the store, how far ids were given
//!   out, by which an older log is known at the next start.
//! - Serves: the shop's pages (`shop`), which order as programs do.
//! - Guarantees: an order that was acknowledged is in the log once; one whose acknowledgement was lost is there once or
//!   not at all, and a retry with the same `Idempotency-Key` finds out which without ordering twice, whatever changed meanwhile. Nothing is
//!   acknowledged that is not durable: what cannot be taken in time is refused with 503 and `Retry-After`; before
//!   that, whose orders fill the room is refused with 429 (`shares`).
//! - Refused: a queue of its own between HTTP and log (it would acknowledge or forget), and ids from the store (the
//!   log has offsets already, see [`ids`]).

mod admission;
mod contract;
mod form;
mod idempotency;
pub mod ids;
mod json;
mod metrics;
mod noting;
mod place;
mod products;
mod rates;
mod shares;
mod shop;
mod span;
mod trace;

pub use contract::openapi;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    http::HeaderValue,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use prometheus_client::registry::Registry;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;

use crate::{
    catalog::Catalog,
    domain::{EmailAddress, Flow, HandleKey},
    env::Env,
    eventlog::{EventLog, TopicPartition},
    pages::{
        self, Site,
        docs::{Docs, Told},
    },
    spans::Spans,
    store::Store,
    telemetry::ThrottledLog,
    web::{self, Rate},
};

use self::{
    admission::Admission, ids::Ids, metrics::Metrics, place::OrderService, rates::Rates, shop::Shop, trace::Traces,
};

/// What can go wrong with the intake as a whole; what goes wrong with a request is its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the tracking pages cannot stand in a link.
    #[error("the tracking address {0:?} must look like http://host:port")]
    TrackingUrl(String),
    /// A task of the intake ended that should not have.
    #[error("a task of the intake ended by itself")]
    Ended(#[source] Option<tokio::task::JoinError>),
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;

/// What the intake works with.
#[derive(Clone)]
pub struct Deps {
    /// Where orders go.
    pub log: Arc<dyn EventLog>,
    /// Where idempotency keys are.
    pub store: Arc<dyn Store>,
    /// What can be ordered.
    pub catalog: Arc<Catalog>,
    /// Time and chance.
    pub env: Env,
    /// The secret behind the tracking handles.
    pub handles: HandleKey,
    /// Where it tells what it did.
    pub spans: Spans,
}

/// A consumer group that new orders must not leave behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The group.
    pub group: String,
    /// The topic it reads.
    pub topic: String,
}

/// How the intake behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The topic of placed orders.
    pub orders_topic: String,
    /// The topic whose offsets become order ids; it must have one partition.
    pub ids_topic: String,
    /// The address for orders of the old form that come without one.
    pub usermail: EmailAddress,
    /// Where customers reach the tracking listener, `http://host:port`; links are made from it.
    pub tracking_url: String,
    /// Groups whose backlog shuts the intake; none, and it never shuts.
    pub watched: Vec<Watched>,
    /// Most records that a watched group may be behind: above, new orders are refused until it is down to ¾ of this.
    pub backlog_max: u64,
    /// How long a request keeps its idempotency key to itself; must be longer than the log takes to write or give up.
    pub reservation: Duration,
    /// Most orders for one address; none, and there is no bound.
    pub rate_per_address: Option<Rate>,
    /// Most orders from one client; none, and there is no bound.
    pub rate_per_client: Option<Rate>,
    /// Proxies in front, each of which adds to `X-Forwarded-For` whom it serves.
    pub trusted_hops: usize,
    /// Origins of pages whose scripts may order.
    pub allowed_origins: Vec<web::Origin>,
    /// What the shop's pages know of the shop.
    pub site: Site,
    /// What happens to new orders, as the shop's pages tell it.
    pub flow: Arc<Flow>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            orders_topic: "compra_detalle".into(),
            ids_topic: "encargo_ids".into(),
            usermail: "cliente@localhost".parse().expect("a valid address"),
            tracking_url: "http://127.0.0.1:5000".into(),
            watched: Vec::new(),
            backlog_max: 100_000,
            reservation: Duration::from_secs(10),
            rate_per_address: None,
            rate_per_client: None,
            trusted_hops: 0,
            allowed_origins: Vec::new(),
            site: Site::default(),
            flow: Arc::new(Flow::standard(Duration::from_secs(8))),
        }
    }
}

/// The service.
pub struct Intake {
    service: Arc<OrderService>,
    shop: Arc<Shop>,
    docs: Docs,
    cors: Option<CorsLayer>,
}

impl Intake {
    /// Puts the service together; nothing runs yet.
    pub fn new(deps: Deps, options: Options, registry: &mut Registry) -> Result<Self> {
        let tracking_url = options.tracking_url.trim_end_matches('/').to_owned();
        let is_http = tracking_url.starts_with("http://") || tracking_url.starts_with("https://");
        if !is_http || HeaderValue::from_str(&tracking_url).is_err() {
            return Err(Error::TrackingUrl(options.tracking_url));
        }
        let Deps { log, store, catalog, env, handles, spans } = deps;
        let clock = env.clock.clone();
        let metrics = Metrics::register(registry);
        let ids = Ids::new(log.clone(), clock.clone(), options.ids_topic.clone());
        let backlog = metrics.backlog.clone();
        let admission = Admission::new(log.clone(), env.clone(), options.watched, options.backlog_max, backlog);
        let service = OrderService {
            log,
            store,
            catalog,
            clock,
            pace: env.pace,
            handles,
            ids,
            metrics,
            admission: Arc::new(admission),
            traces: Traces::new(env.random.clone(), spans),
            random: env.random,
            rates: Rates::new(options.rate_per_address, options.rate_per_client, options.trusted_hops),
            placing: Arc::new(Semaphore::new(idempotency::PLACING_MAX)),
            failures: ThrottledLog::default(),
            orders_topic: options.orders_topic,
            ids_topic: options.ids_topic,
            usermail: options.usermail,
            tracking_url,
            reservation: options.reservation,
        };
        let service = Arc::new(service);
        let shop = Arc::new(Shop::new(service.clone(), &options.site, options.flow));
        Ok(Self { service, shop, docs: docs(&options.site), cors: web::cors(&options.allowed_origins) })
    }

    /// The routes. Requests wait for order ids until [`Intake::run`] runs.
    pub fn router(&self) -> Router {
        let routes = Router::new()
            .route("/", post(form::place))
            .route("/orders", post(json::place))
            .with_state(self.service.clone())
            .route("/checkout", self.shop.clone().checkout());
        let routes = if self.service.traces.spans.are_wanted() {
            routes.layer(from_fn_with_state(self.service.clone(), span::traced))
        } else {
            routes
        };
        let routes = routes
            .route("/products", get(products::list).with_state(self.service.clone()))
            .route("/openapi.json", get(|| async { Json(contract::openapi()) }));
        let routes = web::with_fallbacks(routes.merge(self.docs.clone().router()).merge(pages::assets()));
        let routes = routes.layer(from_fn_with_state(self.shop.clone(), shop::window));
        match &self.cors {
            Some(cors) => routes.layer(cors.clone()), // outside the fallbacks, one of which would answer preflights
            None => routes,
        }
    }

    /// Runs what the routes need, until `stop`; stop it after the listener, so that requests that have begun still get
    /// their ids.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.service.ids.clone().refill(stop.clone()));
        tasks.spawn(self.service.admission.clone().watch(stop.clone()));
        let tp = TopicPartition { topic: self.service.ids_topic.clone(), partition: 0 };
        let (end, store, pace) = (self.service.ids.end(), self.service.store.clone(), self.service.pace.clone());
        tasks.spawn(noting::run(end, store, tp, pace, stop.clone()));
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| Error::Ended(Some(error)))?;
            if !stop.is_cancelled() {
                return Err(Error::Ended(None));
            }
        }
        Ok(())
    }
}

/// What is answered here, for people.
fn docs(site: &Site) -> Docs {
    let others = site.tracking.iter().map(|tracking| ("tracking", format!("{tracking}/docs"))).collect();
    let (address, home) = (site.shop.clone(), site.shop.clone());
    Docs::new(site, contract::openapi(), Told { name: "intake", address, home, others, ..Told::default() })
}
