//! `/orders`: search, and lists with the late ones first.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use minijinja::{Value, context};

use super::{
    Desk, csv,
    says::{Voice, line, look_of, petals, quoted},
    sought::{Sought, in_state, late},
    unavailable,
    watch::Seen,
};
use crate::{
    domain::{OrderId, Timestamp, Waits},
    pages::Reader,
    store::{
        Store,
        ledger::MailStatus,
        orders::{HistoryEntry, OrderView},
        overview::LATE,
    },
    web::{Fields, Problem},
};

/// Rows of a page.
const PAGE: usize = 25;
/// Late orders before them.
const LATE_ROWS: usize = 10;
/// A list for which the store may have to look at more orders than this is not kept up to date by itself.
const LOOKED_AT_MAX: u64 = 10_000;
/// An order with what happened to it.
type Whole = (OrderView, Vec<HistoryEntry>);

pub(super) async fn page(
    State(desk): State<Desk>,
    reader: Reader,
    Fields(sought): Fields<Sought>,
) -> Result<Response, Problem> {
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    if let Ok(id) = sought.text().trim_start_matches('#').parse::<OrderId>()
        && store.order(id).await.map_err(unavailable)?.is_some()
    {
        return Ok(Redirect::to(&format!("/orders/{id}")).into_response());
    }
    let seen = desk.look().await?;
    let snapshot = &seen.snapshot;
    let mut found = match sought.query(seen.at, PAGE + 1) {
        Some(query) => store.orders(query).await.map_err(unavailable)?,
        None => Vec::new(),
    };
    let older = (found.len() > PAGE).then(|| found[PAGE - 1].order.id.get());
    found.truncate(PAGE);
    let is_first = sought.is_all() && sought.below.is_empty();
    let worst = snapshot.late.iter().take(if is_first { LATE_ROWS } else { 0 }).map(|late| late.id).collect();
    let worst = whole(store, worst).await.map_err(unavailable)?;
    let found = whole(store, found.iter().map(|view| view.order.id).collect()).await.map_err(unavailable)?;
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let rows = |orders: &[Whole]| orders.iter().map(|order| row(&desk, order, voice)).collect::<Vec<_>>();
    let last = sought.shown().saturating_add(found.len() as u64);
    // counted a moment before the rows were read
    let count = sought.count(snapshot).map(|count| count.max(last)).or(older.is_none().then_some(last));
    let values = context! {
        q => sought.text(), state => &sought.state, is_late => sought.is_late(), is_refused => sought.is_refused(),
        fields => sought.fields(), below => &sought.below, chips => chips(&desk, &seen, &sought, voice),
        late => rows(&worst), late_count => late(snapshot), rows => rows(&found),
        first => sought.shown().saturating_add(1), last, count, older,
        csv_max => count.is_none_or(|count| count > csv::ROWS_MAX as u64).then_some(csv::ROWS_MAX),
        is_live => sought.looked_at(snapshot) <= LOOKED_AT_MAX, command => command(&sought),
    };
    Ok(desk.render("desk/orders.html", &reader, "/orders", values).await)
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
fn chips(desk: &Desk, seen: &Seen, sought: &Sought, voice: Voice<'_>) -> Vec<Value> {
    let counts = &seen.snapshot.counts;
    let chip = |link: String, label: String, count: u64, is_here: bool| context! { link, label, count, is_here };
    let named = |link: &str, key, count, is_here| chip(link.to_owned(), voice.word(key).to_owned(), count, is_here);
    let mut chips = vec![
        named("/orders", "all", counts.total, sought.is_all()),
        named("/orders?late=1", "late_", late(&seen.snapshot), sought.is_late()),
    ];
    let flow = &desk.0.deps.flow;
    let of_flow = line(flow).map(|(_, step)| &*step.state).chain([&*flow.cancelled().state]);
    let of_flow: Vec<&str> = of_flow.chain(flow.refused().map(|end| &*end.state)).collect();
    let others = counts.by_state.iter().map(|(state, _)| &**state).filter(|state| !of_flow.contains(state));
    for state in of_flow.iter().copied().chain(others) {
        let fields = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
        let (count, is_here) = (in_state(&seen.snapshot, state), sought.state == state);
        chips.push(chip(format!("/orders?{fields}"), voice.state(state), count, is_here));
    }
    chips.push(named("/orders?refused=1", "mail_failed", seen.snapshot.mail_refused, sought.is_refused()));
    chips
}

fn command(sought: &Sought) -> String {
    let stuck = if sought.is_late() { " --stuck" } else { "" };
    let refused = if sought.is_refused() { " --mail-refused" } else { "" };
    let state = Some(&*sought.state).filter(|state| !state.is_empty());
    let state = state.map_or_else(String::new, |state| format!(" --state={}", quoted(state)));
    format!("encargo list{stuck}{refused}{state}")
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
