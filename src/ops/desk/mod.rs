//! The operations desk: what the machine is doing, which orders are where and why, what failed, and what can be done about it.
//!
//! Reads the store and the log, and writes commands about orders to the log and decisions about dead letters to the store.
//! Guarantees: whatever is changed is changed by a form of this desk, which was confirmed on a page of its own; a decision about
//! many counts only while they are those that the page spoke of; an order's history tells that the desk changed it.
//!
//! Pages work without script; a small one keeps them as they are here (`src/ops/live.rs`).

mod accounts;
mod actions;
mod ahead;
mod attention;
mod browse;
mod calm;
mod capacity;
mod charts;
mod csv;
mod decide;
mod demand;
mod failures;
mod foresight;
mod form;
mod growth;
mod lag;
mod lanes;
mod log;
mod now;
mod order;
mod orders;
mod owners;
mod paced;
mod question;
mod resend;
mod says;
mod sought;
mod timeline;
mod topics;
mod wanted;
mod watch;
mod windows;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use minijinja::{Value, context};

pub use self::{
    accounts::{Accounts, ReadAccounts},
    watch::{Group, Watch, Watched},
};
pub(super) use self::{
    ahead::{Ahead, Coming, look as look_ahead},
    says::petals_in,
    sought::Sought,
    wanted::reason,
};
use self::{paced::Paced, says::Voice, watch::Seen};
use super::{Check, Relay};
use crate::{
    commands::{self, Commands},
    domain::{Flow, Lang},
    env::Env,
    eventlog::{TopicInfo, TopicPartition},
    forecast::{BUCKET, Load},
    pages::{Pages, Reader, Site},
    role::Role,
    store::{self, orders::OrderView},
    web::Problem,
};

/// What the desk works with.
#[derive(Clone)]
pub struct Deps {
    /// What it sees.
    pub watch: Watch,
    /// Time and chance.
    pub env: Env,
    /// The flow of the settings, for the names and the order of states.
    pub flow: Arc<Flow>,
    /// What an order means for each role.
    pub loads: [Load; Role::ALL.len()],
    /// Topics of a log that deletes what it is told to, whose records are deleted once they are older than this.
    pub deleted: Vec<(String, Duration)>,
    /// Where commands about orders go; none where this process cannot write them.
    pub commands: Option<commands::Options>,
    /// What must be true of the services.
    pub checks: Vec<Check>,
    /// How the mails' destination fares.
    pub relay: Relay,
    /// What all pages know of the shop.
    pub site: Site,
    /// Where the mails are shown.
    pub mails: &'static str,
    /// Makes a tracking handle of an order's number, once the store is open.
    pub handle: Arc<dyn Fn(crate::domain::OrderId) -> Option<String> + Send + Sync>,
}

/// The desk; a cheap handle.
#[derive(Clone)]
pub(super) struct Desk(Arc<Inner>);

struct Inner {
    deps: Deps,
    pages: Pages,
    commands: OnceLock<Commands>,
    /// The topics of the log, as they were seen last.
    topics: Paced<Arc<Vec<TopicInfo>>>,
    /// How they are kept, which changes slowly.
    keeping: Paced<Arc<topics::Kept>>,
    /// The minutes that were looked at.
    loads: capacity::Loads,
    /// How many reasons failures have.
    reasons: Paced<usize>,
    /// What will come, by what came.
    foresight: Paced<Arc<foresight::Foresight>>,
    /// Places for downloads.
    downloads: Arc<tokio::sync::Semaphore>,
    /// Since when all has been well.
    calm: calm::Calm,
    /// Held by whoever asks the log for topics or records.
    reading: Arc<tokio::sync::Mutex<()>>,
}

macro_rules! built_in {
    ($($name:literal)*) => { [$((concat!("desk/", $name), include_str!(concat!("templates/", $name)))),*] };
}

/// What all pages of this listener have in common.
pub(super) const LAYOUT: [(&str, &str); 4] = built_in! { "desk.html" "zone.html" "live.html" "views.html" };

impl Desk {
    pub(super) fn new(deps: Deps) -> Self {
        let templates = built_in! {
            "now.html" "orders.html" "row.html" "order.html" "act.html" "failures.html" "decide.html"
            "log.html" "capacity.html"
        };
        let templates: Vec<_> = LAYOUT.into_iter().chain(templates).collect();
        let pages = Pages::new(&deps.site, &templates);
        Self(Arc::new(Inner {
            deps,
            pages,
            commands: OnceLock::new(),
            topics: Paced::default(),
            keeping: Paced::every(topics::FRESH),
            loads: Default::default(),
            reasons: Paced::default(),
            foresight: Paced::every(BUCKET),
            downloads: Arc::new(tokio::sync::Semaphore::new(csv::DOWNLOADS_MAX)),
            reading: Arc::default(),
            calm: calm::Calm::default(),
        }))
    }

    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/", get(now::page))
            .route("/orders", get(orders::page))
            .route("/orders.csv", get(csv::download))
            .route("/orders/{id}", get(order::page))
            .route("/orders/{id}/resend", get(resend::ask).post(resend::act))
            .route("/orders/{id}/{verb}", get(actions::ask).post(actions::act))
            .route("/failures", get(failures::page))
            .route("/failures/decide", get(decide::ask))
            .route("/failures/decide", post(decide::act))
            .route("/log", get(log::page))
            .route("/capacity", get(capacity::page))
            .with_state(self)
    }

    /// Looks now and then while nobody else does, so that it is known since when all has been well. Ends with the desk.
    pub(super) fn look_now_and_then(&self) {
        let (desk, pace) = (Arc::downgrade(&self.0), self.0.deps.env.pace.clone());
        tokio::spawn(async move {
            loop {
                pace.sleep(calm::EVERY).await;
                let Some(desk) = desk.upgrade().map(Self) else { return };
                if let Ok(seen) = desk.look().await {
                    let voice = Voice { lang: Lang::default(), site: &desk.0.deps.site, now: seen.at };
                    attention::items(&desk, &seen, voice).await;
                }
            }
        });
    }

    async fn render(&self, name: &str, reader: &Reader, here: &'static str, values: Value) -> Response {
        let sections = super::sections(here, self.0.deps.mails, open_failures(&self.0.deps.watch).await);
        let shared = context! { nav => sections, ..super::of_time(&self.0.deps.site.zone, &self.0.deps.env.clock) };
        self.0.pages.render(name, reader, context! { ..values, ..shared })
    }

    async fn look(&self) -> Result<Arc<Seen>, Problem> {
        let seen = self.0.deps.watch.look().await;
        if seen.is_err() {
            self.0.calm.note(false, self.0.deps.env.clock.now(), self.0.deps.env.pace.monotonic());
        }
        seen.map_err(unavailable)
    }

    /// The partition on which the order was taken, if that is known: of the first topic that fulfilment reads.
    fn taken_on(&self, view: &OrderView) -> Option<TopicPartition> {
        let topic = self.0.deps.watch.groups().first()?.topics.first()?.clone();
        Some(TopicPartition { topic, partition: view.partition? })
    }

    /// The partition that holds the events of an order, if that is known: of the first topic that tracking reads.
    fn told_on(&self, view: &OrderView) -> Option<TopicPartition> {
        let topic = self.0.deps.watch.groups().get(1)?.topics.first()?.clone();
        Some(TopicPartition { topic, partition: view.partition? })
    }

    /// What sends commands, where this process can.
    fn commands(&self) -> Option<&Commands> {
        let Inner { deps, commands, .. } = &*self.0;
        let options = deps.commands.clone()?;
        let (log, store) = (deps.watch.log()?.clone(), deps.watch.store().ok()?.clone());
        Some(commands.get_or_init(|| Commands::new(log, store, deps.env.clone(), options)))
    }
}

/// How many failures nobody has decided about; none while the store does not tell.
pub(super) async fn open_failures(watch: &Watch) -> u64 {
    watch.look().await.map_or(0, |seen| failures::open(&seen))
}

/// How many mails wait, and how many were refused for good; nothing while the store does not tell.
pub(super) async fn open_mails(watch: &Watch) -> Option<(u64, u64)> {
    let seen = watch.look().await.ok()?;
    Some((seen.waiting_mails(), seen.dead_mails()))
}

fn unavailable(error: store::Error) -> Problem {
    tracing::warn!(%error, "the desk cannot read the store");
    Problem::unavailable("the store does not answer; nothing is lost, ask again in a moment")
}
