//! `/orders`: search, and lists with the late ones first.

use std::sync::Arc;

use axum::{
    extract::{Query as Fields, State, rejection::QueryRejection},
    response::{IntoResponse as _, Redirect, Response},
};
use minijinja::{Value, context};
use serde::Deserialize;

use super::{
    Desk,
    says::{Voice, line, look_of, petals, quoted},
    unavailable,
    watch::Seen,
};
use crate::{
    domain::{OrderId, Timestamp, Waits},
    pages::Reader,
    store::{
        Store,
        ledger::MailStatus,
        orders::{HistoryEntry, OrderView, Query},
        overview::{LATE, Snapshot},
    },
    web::Problem,
};

/// Rows of a page.
const PAGE: usize = 25;
/// Late orders before them.
const LATE_ROWS: usize = 10;
/// A list for which the store may have to look at more orders than this is not kept up to date by itself.
const LOOKED_AT_MAX: u64 = 10_000;
/// Longest text that is searched for.
const TEXT_MAX: usize = 256;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    q: String,
    state: String,
    late: String,
    below: String,
}

/// An order with what happened to it.
type Whole = (OrderView, Vec<HistoryEntry>);

pub(super) async fn page(
    State(desk): State<Desk>,
    reader: Reader,
    asked: Result<Fields<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let asked = asked.map(|Fields(asked)| asked).unwrap_or_default();
    let text: String = asked.q.trim().chars().take(TEXT_MAX).collect();
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    if let Ok(id) = text.trim_start_matches('#').parse::<OrderId>()
        && store.order(id).await.map_err(unavailable)?.is_some()
    {
        return Ok(Redirect::to(&format!("/orders/{id}")).into_response());
    }
    let seen = desk.look().await?;
    let is_late = !asked.late.is_empty();
    let is_all = text.is_empty() && asked.state.is_empty() && !is_late && asked.below.is_empty();
    let is_live = looked_at(&seen.snapshot, &text, &asked.state, is_late) <= LOOKED_AT_MAX;
    let query = Query {
        estado: Some(asked.state.clone()).filter(|state| !state.is_empty()),
        overdue_at: is_late.then(|| seen.at - LATE),
        usermail: text.parse().ok(),
        product: Some(text.clone()).filter(|text| !text.is_empty() && !text.contains('@')),
        below: asked.below.parse().ok(),
        limit: PAGE + 1,
        ..Query::default()
    };
    // what looks like an address and is none is nobody's
    let is_nobody = text.contains('@') && query.usermail.is_none();
    let mut found = if is_nobody { Vec::new() } else { store.orders(query).await.map_err(unavailable)? };
    let older = (found.len() > PAGE).then(|| found[PAGE - 1].order.id.get());
    found.truncate(PAGE);
    let late =
        if is_all { seen.snapshot.late.iter().take(LATE_ROWS).map(|late| late.id).collect() } else { Vec::new() };
    let late = whole(store, late).await.map_err(unavailable)?;
    let found = whole(store, found.iter().map(|view| view.order.id).collect()).await.map_err(unavailable)?;
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let rows = |orders: &[Whole]| orders.iter().map(|order| row(&desk, order, voice)).collect::<Vec<_>>();
    let late_count: u64 = seen.snapshot.in_flight.iter().map(|state| state.late).sum();
    let values = context! {
        q => text, state => &asked.state, is_late, below => &asked.below,
        chips => chips(&desk, &seen, &asked, voice), late => rows(&late), late_count, rows => rows(&found), older, is_live,
        command => command(&asked, is_late),
    };
    Ok(desk.render("desk/orders.html", &reader, "/orders", values).await)
}

/// How many orders the store may have to look at to find those that are asked for.
fn looked_at(snapshot: &Snapshot, text: &str, state: &str, is_late: bool) -> u64 {
    let counts = &snapshot.counts;
    let in_state = counts.by_state.iter().find(|(name, _)| **name == *state).map_or(0, |(_, n)| *n);
    let in_flight = snapshot.in_flight.iter().find(|found| *found.estado == *state).map_or(0, |found| found.count);
    if text.is_empty() && state.is_empty() && !is_late {
        0 // the newest are found by their numbers
    } else if is_late || !state.is_empty() && in_state == in_flight {
        counts.total - counts.finished - counts.cancelled
    } else {
        counts.total // a text, or a state in which orders have ended
    }
}

/// Orders with their histories, all read at the same time.
async fn whole(store: &Arc<dyn Store>, ids: Vec<OrderId>) -> crate::store::Result<Vec<Whole>> {
    let mut reads = tokio::task::JoinSet::new();
    for (place, id) in ids.into_iter().enumerate() {
        let store = store.clone();
        reads.spawn(async move { (place, store.order(id).await) });
    }
    let mut found = Vec::new();
    while let Some(read) = reads.join_next().await {
        let (place, order) = read.map_err(|error| crate::store::Error::Unavailable(error.to_string()))?;
        found.extend(order?.map(|order| (place, order)));
    }
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, order)| order).collect())
}

/// Ways to see fewer orders, each with how many those are.
fn chips(desk: &Desk, seen: &Seen, asked: &Asked, voice: Voice<'_>) -> Vec<Value> {
    let counts = &seen.snapshot.counts;
    let late: u64 = seen.snapshot.in_flight.iter().map(|state| state.late).sum();
    let is_all = asked.state.is_empty() && asked.late.is_empty();
    let mut chips = vec![
        context! { link => "/orders", label => voice.word("all"), count => counts.total, is_here => is_all && asked.q.is_empty() },
        context! { link => "/orders?late=1", label => voice.word("late_"), count => late, is_here => !asked.late.is_empty() },
    ];
    let flow = &desk.0.deps.flow;
    let of_flow = line(flow).map(|(_, step)| &*step.state).chain([&*flow.cancelled().state]);
    let of_flow: Vec<&str> = of_flow.chain(flow.refused().map(|end| &*end.state)).collect();
    let others = counts.by_state.iter().map(|(state, _)| &**state).filter(|state| !of_flow.contains(state));
    for state in of_flow.iter().copied().chain(others) {
        let count = counts.by_state.iter().find(|(other, _)| **other == *state).map_or(0, |(_, n)| *n);
        let fields = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
        let is_here = asked.state == state;
        chips.push(context! { link => format!("/orders?{fields}"), label => voice.state(state), count, is_here });
    }
    chips
}

fn command(asked: &Asked, is_late: bool) -> String {
    let stuck = if is_late { " --stuck" } else { "" };
    let state = Some(&*asked.state).filter(|state| !state.is_empty());
    let state = state.map_or_else(String::new, |state| format!(" --state={}", quoted(state)));
    format!("encargo list{stuck}{state}")
}

fn row(desk: &Desk, (view, history): &Whole, voice: Voice<'_>) -> Value {
    let due = view.next_at().or(view.exits.expect_at);
    let late_by = due.filter(|due| view.closes().is_none() && *due + LATE < voice.now).map(|due| voice.now.since(due));
    let sent = history.iter().filter(|entry| entry.mail == Some(MailStatus::Sent)).count();
    let mails = history.iter().filter(|entry| entry.mail.is_some()).count();
    let dead = history.iter().filter(|entry| entry.mail == Some(MailStatus::Dead)).count() as u64;
    let waits = match view.waits {
        Waits::Held(_) => Some(voice.word("is_held")),
        Waits::ForCommand => Some(voice.word("for_somebody")),
        _ => None,
    };
    context! {
        id => view.order.id.get(), product => view.order.product.name.to_string(), customer => view.recipient().as_str(),
        state => voice.state(&view.estado), petals => petals(&desk.0.deps.flow, view), look => look_of(view, late_by.is_some()),
        since => view.at.as_millis(), next => due.map(Timestamp::as_millis),
        late_by => late_by.map(|span| voice.seconds(span)), waits,
        mails => (mails > 0).then(|| voice.say("m_of", &[("a", &sent.to_string()), ("b", &mails.to_string())])),
        refused => (dead > 0).then(|| voice.count("n_refused", dead)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{orders::OrderCounts, overview::InState};

    #[test]
    fn a_list_costs_what_the_store_looks_at() {
        let by_state = vec![("recibido".into(), 40), ("completado".into(), 900), ("cancelado".into(), 60)];
        let counts = OrderCounts { total: 1_000, by_state, finished: 900, cancelled: 60 };
        let in_flight = vec![InState { estado: "recibido".into(), count: 40, ..InState::default() }];
        let snapshot = Snapshot { counts, in_flight, ..Snapshot::default() };
        for (text, state, is_late, expected) in [
            ("", "", false, 0),
            ("", "", true, 40),
            ("", "recibido", false, 40),
            ("", "preparando", false, 40),
            ("", "completado", false, 1_000),
            ("xyz", "", false, 1_000),
        ] {
            assert_eq!(looked_at(&snapshot, text, state, is_late), expected, "{text} {state} {is_late}");
        }
    }
}
