//! `/ledger`: the mails in numbers, where they go, what waits, what is dead, and who gets none; as a page, and as JSON.
//! The numbers are metrics, too.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use minijinja::{Value, context};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Frame, OnceHandle, Ops, Relay,
    answer::{LedgerJson, ReasonCount, SuppressedList},
};
use crate::{
    clock::Clock,
    domain::Timestamp,
    pages::{Pages, Reader},
    store::{
        self, Store,
        dead::DeadItem,
        ledger::{Class, LedgerCounts, MailStatus, Suppression},
        mails::{MailEntry, SuppressedQuery},
    },
    web::{Fields, Problem, accepts_html},
};

/// Most rows of each list; the command line shows all.
const ROWS_MAX: usize = 50;

/// The ledger's page; a cheap handle.
#[derive(Clone)]
pub(super) struct Ledger(Arc<Inner>);

struct Inner {
    store: OnceHandle<dyn Store>,
    relay: Relay,
    clock: Clock,
    pages: Pages,
}

/// What it tells.
struct Facts {
    now: Timestamp,
    counts: LedgerCounts,
    dead_records: u64,
    relay: Option<super::RelayState>,
    waiting: Vec<MailEntry>,
    dead: Vec<DeadItem>,
    suppressed: Vec<Suppression>,
}

impl Ledger {
    /// None where this process has no store.
    pub(super) fn of(ops: &Ops) -> Option<Self> {
        let own = [("ledger.html", include_str!("templates/ledger.html"))];
        let pages = Pages::new(&ops.site, &[&super::desk::LAYOUT[..], &own].concat());
        let store = ops.store.clone()?;
        Some(Self(Arc::new(Inner { store, relay: ops.relay.clone(), clock: ops.clock.clone(), pages })))
    }

    pub(super) fn router(self) -> Router {
        Router::new().route("/ledger", get(ledger)).with_state(self)
    }

    async fn facts(&self) -> Result<Facts, Problem> {
        let Inner { store, relay, clock, .. } = &*self.0;
        let store = store.get().ok_or_else(|| Problem::unavailable("the store is not open yet"))?;
        let gather = async {
            Ok::<_, store::Error>(Facts {
                now: clock.now(),
                counts: store.ledger_counts().await?,
                dead_records: store.dead_record_count().await?,
                relay: relay.get().map(|state| state()),
                waiting: store.mails_waiting(ROWS_MAX).await?,
                dead: store.dead(None, ROWS_MAX).await?,
                suppressed: store.suppressed(SuppressedQuery { limit: ROWS_MAX, ..SuppressedQuery::default() }).await?,
            })
        };
        gather.await.map_err(|error| {
            tracing::warn!(%error, "the ledger cannot be read");
            Problem::unavailable("the store does not answer; nothing is lost, ask again in a moment")
        })
    }
}

/// How the ledger is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Asked {
    /// `json`: also where Accept would have a page.
    format: String,
}

/// `GET /ledger`: a page for browsers, JSON for others and with `?format=json`.
async fn ledger(
    State(ledger): State<Ledger>,
    Extension(frame): Extension<Frame>,
    reader: Reader,
    headers: HeaderMap,
    Fields(asked): Fields<Asked>,
) -> Result<Response, Problem> {
    let facts = ledger.facts().await?;
    if accepts_html(&headers) && asked.format != "json" {
        let values = context! { ..facts.values(), ..frame.values().await };
        return Ok(ledger.0.pages.render("ledger.html", &reader, values));
    }
    Ok(([(header::VARY, "accept")], Json(facts.json())).into_response())
}

impl Facts {
    fn count(&self, status: MailStatus) -> u64 {
        self.counts.of(status)
    }

    fn oldest(&self) -> Option<Duration> {
        // to the second, as pages are read
        self.counts.oldest_unsettled_at.map(|at| Duration::from_secs(self.now.since(at).as_secs()))
    }

    fn json(&self) -> LedgerJson<'_> {
        let Self { counts, waiting, dead, suppressed, .. } = self;
        let reasons = counts.by_class.iter().map(|(status, class, count)| ReasonCount {
            status: status.name(),
            class: class.name(),
            count: *count,
        });
        LedgerJson {
            mails: counts.into(),
            reasons: reasons.collect(),
            repeated: counts.repeated,
            oldest_unsettled_at: counts.oldest_unsettled_at,
            oldest_unsettled_seconds: self.oldest().map_or(0, |age| age.as_secs()),
            destination: self.relay.as_ref().map(Into::into),
            waiting: waiting.iter().map(Into::into).collect(),
            dead: dead.iter().map(Into::into).collect(),
            dead_records: self.dead_records,
            suppressed: SuppressedList {
                count: counts.suppressed,
                addresses: suppressed.iter().map(Into::into).collect(),
            },
        }
    }

    /// For the template.
    fn values(&self) -> Value {
        let Self { counts, now, .. } = self;
        let statuses = MailStatus::ALL.map(|status| context! { name => status.name(), count => self.count(status) });
        let reasons = counts.by_class.iter().map(|(status, class, count)| {
            context! { status => status.name(), class => class.name(), count => *count }
        });
        let waiting = self.waiting.iter().map(|mail| {
            let due = mail.due_at.filter(|due| due > now).map(Timestamp::as_millis);
            context! {
                order => mail.id.order.get(), estado => mail.estado.as_ref(), status => mail.status.name(), due,
                attempts => mail.attempts, class => mail.class.map(store::ledger::Class::name),
                reason => mail.reply.as_deref(), is_ambiguous => mail.ambiguous,
            }
        });
        let dead = self.dead.iter().map(|item| {
            context! {
                id => item.id.to_string(), order => item.order.map(crate::domain::OrderId::get),
                at => item.at.as_millis(), class => item.class.map(store::ledger::Class::name),
                reason => item.reason.as_str(), attempts => item.attempts,
            }
        });
        let suppressed = self.suppressed.iter().map(|found| {
            context! { address => found.address.as_str(), at => found.at.as_millis(), reason => found.reason.as_str() }
        });
        context! {
            statuses => Value::from(statuses.to_vec()), reasons => reasons.collect::<Value>(),
            waiting => waiting.collect::<Value>(), dead => dead.collect::<Value>(),
            suppressed => suppressed.collect::<Value>(), suppressed_count => counts.suppressed,
            repeated => counts.repeated, dead_records => self.dead_records,
            oldest => self.oldest().map(|age| age.as_secs()),
            relay => self.relay.as_ref().map(super::RelayState::values),
        }
    }
}

/// The same numbers as metrics.
pub(super) async fn measure(store: &dyn Store, clock: &Clock, registry: &mut Registry) -> store::Result<()> {
    let counts = store.ledger_counts().await?;
    let mails = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for status in MailStatus::ALL {
        mails.get_or_create(&[("status", status.name())]).set(counts.of(status) as i64);
    }
    registry.register("encargo_ledger_mails", "Mails in the ledger by status", mails);
    let reasons = Family::<[(&'static str, &'static str); 2], Gauge>::default();
    for class in Class::ALL {
        drop(reasons.get_or_create(&[("status", MailStatus::Dead.name()), ("class", class.name())])); // so that a rise from nothing is seen
    }
    for (status, class, count) in &counts.by_class {
        reasons.get_or_create(&[("status", status.name()), ("class", class.name())]).set(*count as i64);
    }
    let help = "Mails that were tried and not accepted, by the class of the last reason";
    registry.register("encargo_ledger_failed_mails", help, reasons);
    let gauge = |value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value as i64);
        gauge
    };
    let age = counts.oldest_unsettled_at.map_or(0, |since| clock.now().since(since).as_secs());
    registry.register("encargo_ledger_oldest_unsettled_seconds", "Age of the oldest unsettled mail", gauge(age));
    let suppressed = gauge(counts.suppressed);
    registry.register("encargo_suppressed_addresses", "Addresses that no longer get mail", suppressed);
    let dead = gauge(store.dead_record_count().await?);
    registry.register("encargo_dead_records", "Poison records that are not resolved yet", dead);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Lang, words::find};

    #[test]
    fn every_status_and_class_has_a_word() {
        let statuses = MailStatus::ALL.map(|status| format!("ml_status_{}", status.name()));
        let classes = Class::ALL.map(|class| format!("ml_class_{}", class.name()));
        let missing: Vec<_> = statuses.into_iter().chain(classes).filter(|key| find(Lang::En, key).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
