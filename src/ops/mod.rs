//! Operations, on :9000: is it alive, is it ready, what does it measure, which mails did it write.

mod access;
mod answer;
mod contract;
mod desk;
mod documents;
mod exposition;
mod ledger;
mod live;
mod mailbox;
mod metrics;
mod process;
mod relay;
mod scale;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, OnceLock, RwLock},
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::tz::TimeZone;
use minijinja::{Value, context};
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};

use self::ledger::Ledger;
use crate::{
    clock::Clock,
    contract::Deployment,
    domain::Flow,
    eventlog::EventLog,
    pages::{
        self, Site,
        docs::{Docs, Told},
    },
    store::Store,
    web,
};

pub use access::{Access, AccessOptions};
pub use answer::{DeadJson, MailJson, SuppressedJson};
pub use contract::openapi;
pub use desk::{Accounts, Deps as DeskDeps, Group, ReadAccounts, Watch, Watched};
pub use live::Live;
pub use mailbox::{Mailbox, Place, Sample, Samples};
pub use relay::{Relay, RelayState, Trouble};

/// A view of the mails: its path, its word, and how many mails it shows, where the store counts them.
type View = (&'static str, &'static str, Option<u64>);

/// A named question with a yes or no, for `/readyz`.
pub type Check = (&'static str, Arc<dyn Fn() -> bool + Send + Sync>);

/// What is opened after this listener: a broker or a database may be away at the start.
pub type OnceHandle<T> = Arc<OnceLock<Arc<T>>>;

/// How long `/readyz` waits for the log and the store.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// What the operations listener looks at.
#[derive(Clone)]
pub struct Ops {
    /// The event log, if this role has one.
    pub log: Option<OnceHandle<dyn EventLog>>,
    /// The store, if this role has one.
    pub store: Option<OnceHandle<dyn Store>>,
    /// The time.
    pub clock: Clock,
    /// Everything that is measured.
    pub registry: Arc<RwLock<Registry>>,
    /// What must be true of the services before this instance takes traffic.
    pub checks: Vec<Check>,
    /// How far the log is read.
    pub watch: Watch,
    /// Where the data lies.
    pub data: PathBuf,
    /// The mails, as pages, where they are sent from here.
    pub mailbox: Option<Mailbox>,
    /// How their destination fares.
    pub relay: Relay,
    /// The desk, where this process has a store.
    pub desk: Option<DeskDeps>,
    /// What the topics are called whose records are described here.
    pub contract: Deployment,
    /// What all pages know of the shop.
    pub site: Site,
    /// Who is let in where addresses are shown.
    pub access: Access,
    /// What keeps its pages as they are.
    pub live: Live,
    /// Held by who asks the log whether it is there.
    pub asking: Arc<Mutex<()>>,
}

impl Ops {
    /// The routes.
    pub fn router(self) -> Router {
        let mailbox = self.mailbox.clone().map_or_else(Router::new, Mailbox::router);
        let ledger = Ledger::of(&self).map_or_else(Router::new, Ledger::router);
        let mails = mailbox.merge(ledger).layer(Extension(Frame::of(&self)));
        let desk = self.desk.clone().map(desk::Desk::new);
        let access = self.access.clone();
        let follow = middleware::from_fn_with_state(self.live.clone(), live::follow);
        let numbers = Router::new().route("/metrics", get(metrics::metrics)).route("/scale", get(scale::scale));
        let numbers = numbers.layer(Extension(desk.clone()));
        if let Some(desk) = &desk {
            desk.look_now_and_then();
        }
        let desk = desk.map_or_else(Router::new, desk::Desk::router);
        let docs = docs(&self.site, access.has_token());
        let numbers = numbers.with_state(self.clone()).merge(documents::router(&self.contract)).merge(docs.router());
        let routes = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .with_state(self)
            .merge(access.protect(mails.merge(desk), numbers).layer(follow))
            .merge(pages::assets());
        web::with_fallbacks(routes)
    }

    /// The store, once it is open.
    pub fn store(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref()?.get()
    }

    /// What an order needs, and whether it is there.
    async fn checked(&self) -> Vec<(&'static str, bool)> {
        let mut checks = Vec::new();
        if let Some(log) = &self.log {
            checks.push(("log", self.log_answers(log).await));
        }
        if let Some(store) = &self.store {
            checks.push(("store", Self::store_answers(store).await));
        }
        checks.extend(self.checks.iter().map(|(name, is_met)| (*name, is_met())));
        checks
    }

    /// One question at a time: of a log that hangs, each would hold a thread for as long as that.
    async fn log_answers(&self, log: &OnceHandle<dyn EventLog>) -> bool {
        let Some(log) = log.get().cloned() else { return false };
        let ask = async {
            let turn = self.asking.clone().lock_owned().await;
            let ping = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                log.ping()
            });
            ping.await
        };
        matches!(timeout(CHECK_MAX, ask).await, Ok(Ok(Ok(()))))
    }

    async fn store_answers(store: &OnceHandle<dyn Store>) -> bool {
        let Some(store) = store.get() else { return false };
        matches!(timeout(CHECK_MAX, store.ping()).await, Ok(Ok(())))
    }
}

/// Whether a process can do its work.
#[derive(Debug, Serialize, JsonSchema)]
struct Readiness {
    /// Whether all checks are met.
    ready: bool,
    /// Each thing that an order needs, and whether it is there.
    checks: BTreeMap<&'static str, bool>,
}

/// 200 when everything that an order needs is there, 503 otherwise; says which is missing.
async fn readyz(State(ops): State<Ops>) -> Response {
    let checks = ops.checked().await;
    let ready = checks.iter().all(|(_, is_met)| *is_met);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks: checks.into_iter().collect() })).into_response()
}

/// The sections of the desk for its layout, `here` being one of them, with the failures that nobody has decided about.
fn sections(here: &str, mails: &'static str, open: u64) -> Vec<Value> {
    let sections = [
        ("/", "nav_now"),
        ("/orders", "nav_orders"),
        ("/failures", "nav_failures"),
        ("/log", "nav_log"),
        (mails, "nav_mail"),
        ("/capacity", "nav_capacity"),
    ];
    let section = |(path, word): (&'static str, &'static str)| {
        context! { path, word, is_here => path == here, open => if path == "/failures" { open } else { 0 } }
    };
    sections.map(section).to_vec()
}

/// What is answered here, for people.
fn docs(site: &Site, has_key: bool) -> Docs {
    let others = [("intake", &site.shop), ("tracking", &site.tracking)];
    let others = others.into_iter().filter_map(|(name, at)| Some((name, format!("{}/docs", at.as_ref()?))));
    let told = Told { name: "ops", home: Some("/".to_owned()), others: others.collect(), has_key, ..Told::default() };
    Docs::new(site, openapi(), told)
}

/// What surrounds the views of the mails.
#[derive(Clone)]
struct Frame {
    watch: Watch,
    flow: Option<Arc<Flow>>,
    clock: Clock,
    zone: TimeZone,
    has_mailbox: bool,
}

impl Frame {
    fn of(ops: &Ops) -> Self {
        let (watch, clock, zone) = (ops.watch.clone(), ops.clock.clone(), ops.site.zone.clone());
        let flow = ops.desk.as_ref().map(|desk| desk.flow.clone());
        Self { watch, flow, clock, zone, has_mailbox: ops.mailbox.is_some() }
    }

    /// How many petals the flower of a state has, where its flow is known.
    fn petals(&self, state: &str) -> Option<&'static str> {
        desk::petals_in(self.flow.as_deref()?, state)
    }

    /// For the layout. Without a mailer there is no mailbox to go to.
    async fn values(&self) -> Value {
        let mails = if self.has_mailbox { "/mailbox" } else { "/ledger" };
        let (waiting, refused) = desk::open_mails(&self.watch).await.unzip();
        let views: [View; 4] = [
            ("/mailbox", "ml_mailbox", None),
            ("/ledger", "waiting", waiting),
            ("/failures", "refused_m", refused),
            ("/mailbox/gallery", "ml_gallery", None),
        ];
        let views = views.into_iter().filter(|(path, ..)| self.has_mailbox || !path.starts_with("/mailbox"));
        let views: Vec<Value> = views.map(|(path, word, count)| context! { path, word, count }).collect();
        let open = desk::open_failures(&self.watch).await;
        context! { nav => sections(mails, mails, open), views, ..of_time(&self.zone, &self.clock) }
    }
}

/// What the times of a page are told with.
fn of_time(zone: &TimeZone, clock: &Clock) -> Value {
    context! { zone => zone.iana_name().unwrap_or("UTC"), now => clock.now().as_millis() }
}
