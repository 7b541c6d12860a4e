//! `/scale`: how many instances of each role are wanted, and why, as JSON that KEDA's `metrics-api` reads as it is; the numbers
//! are metrics, too. `docs/elasticity.md` says how they come about.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::{
    Ops,
    desk::{Ahead, Coming, Desk, Watch, look_ahead, reason},
};
use crate::{domain::Lang, pages::Reader, role::Role, scale::Decision, web::Problem};

/// How many instances of each role are wanted: `intake`, `fulfilment`, `tracking`, `mail`; of those about which something is
/// known.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Scale")]
pub(super) struct ScaleJson(BTreeMap<&'static str, RoleScale>);

/// How many instances of a role are wanted, and why.
#[derive(Debug, Serialize, JsonSchema)]
struct RoleScale {
    /// How many are wanted now.
    wanted: u32,
    /// Why, in words.
    reason: String,
    /// How many will be wanted once one that is started now works; never fewer than `wanted`.
    foreseen: u32,
    /// The minutes to come, by the orders in flight.
    due: Vec<Coming>,
    /// The hours to come, by the forecast; none before two weeks are known.
    next: Vec<Coming>,
    /// How many are needed now: fewer than `wanted`, if they have not been enough for long.
    needed: u32,
    /// Work that comes per second: orders for intake and fulfilment, states for tracking, mails for mail.
    arriving_per_s: f64,
    /// Work that waits for an instance.
    waiting: u64,
    /// For how long the oldest of it has waited, in seconds.
    behind_s: f64,
    /// Instances at work, where that is known.
    instances: Option<u32>,
    /// How many instances can share the work, where that has a bound: one for each partition.
    at_most: Option<u32>,
    /// What one instance does per second.
    capacity_per_s: f64,
    /// How that is known: `set`, `learned` or `guessed`.
    capacity: &'static str,
}

/// How long an autoscaler waits for the hours to come.
const AHEAD_MAX: Duration = Duration::from_secs(2);

/// `GET /scale`. 503 when nothing is known: a number that is guessed would stop instances that are needed.
pub(super) async fn scale(
    State(ops): State<Ops>,
    Extension(desk): Extension<Option<Desk>>,
    reader: Reader,
) -> Response {
    let wanted = ops.watch.wanted().await;
    if wanted.is_empty() {
        let detail = "neither the log nor the store has answered yet; keep what runs, and ask again in a moment";
        return Problem::unavailable(detail).into_response();
    }
    let ahead = look(desk.as_ref()).await;
    let told = |(role, decision): &(Role, Decision)| {
        (role.name(), RoleScale::new(reader.lang, *role, decision, ahead.as_ref()))
    };
    Json(ScaleJson(wanted.iter().map(told).collect())).into_response()
}

/// The numbers as metrics; of roles about which nothing is known there are none.
pub(super) async fn measure(watch: &Watch, desk: Option<&Desk>, registry: &mut Registry) {
    let [wanted, soon] = [(); 2].map(|()| Family::<[(&'static str, &'static str); 1], Gauge>::default());
    let decided = watch.wanted().await;
    let ahead = look(desk).await;
    for (role, decision) in decided {
        let of = [("role", role.name())];
        wanted.get_or_create(&of).set(i64::from(decision.wanted));
        soon.get_or_create(&of).set(i64::from(foreseen(role, &decision, ahead.as_ref())));
    }
    registry.register("encargo_scale_wanted", "Instances of a role that are wanted, as /scale tells", wanted);
    let help = "Instances of a role that will be wanted once one that is started now works, as /scale tells";
    registry.register("encargo_scale_foreseen", help, soon);
}

/// What is to come, where this process can know that. A look that takes too long goes on, and is there for the next one.
async fn look(desk: Option<&Desk>) -> Option<Ahead> {
    timeout(AHEAD_MAX, look_ahead(desk?)).await.ok().flatten()
}

impl RoleScale {
    fn new(lang: Lang, role: Role, decision: &Decision, ahead: Option<&Ahead>) -> Self {
        let Decision { wanted, need, seen, capacity, source } = decision;
        let told = |tell: fn(&Ahead, Lang, Role) -> Vec<Coming>| {
            ahead.map(|ahead| tell(ahead, lang, role)).unwrap_or_default()
        };
        Self {
            wanted: *wanted,
            reason: reason(lang, decision),
            foreseen: foreseen(role, decision, ahead),
            due: told(Ahead::minutes),
            next: told(Ahead::hours),
            needed: need.instances,
            arriving_per_s: rounded(seen.arriving),
            waiting: seen.waiting,
            behind_s: rounded(seen.behind.as_secs_f64()),
            instances: seen.instances,
            at_most: seen.shares,
            capacity_per_s: rounded(*capacity),
            capacity: source.name(),
        }
    }
}

/// How many will be wanted once an instance that is started now works.
fn foreseen(role: Role, decision: &Decision, ahead: Option<&Ahead>) -> u32 {
    ahead.map(|ahead| ahead.soon(role)).unwrap_or_default().max(decision.wanted)
}

/// To a tenth.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
