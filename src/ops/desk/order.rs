//! `/orders/{id}`: one order, why it stands where it stands, everything that happened to it, and what can be done.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use minijinja::{Value, context};

use super::{
    Desk, lanes,
    says::{Voice, look_of, petals},
    timeline, unavailable,
    watch::Seen,
};
use crate::{
    domain::{
        OrderId,
        command::{Verb, allows},
        flow::Party,
        why::{LATE, Road, Stretch, Why},
    },
    eventlog::TopicPartition,
    pages::{Reader, escaped, format},
    store::{
        ledger::MailStatus,
        mails::MailEntry,
        orders::{HistoryEntry, OrderView},
    },
    web::{Problem, query_field},
    words,
};

/// What sending the last mail again is called in addresses, beside the verbs of commands.
pub(super) const RESEND: &str = "resend";

pub(super) async fn page(
    State(desk): State<Desk>,
    reader: Reader,
    uri: Uri,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (view, history) = find(&desk, &id).await?;
    let seen = desk.look().await?;
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    let mails = store.mails_of(view.order.id).await.map_err(unavailable)?;
    let resends = store.resends_of(view.order.id).await.map_err(unavailable)?;
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let why = Why::of(view.waits, view.exits, road(&desk, &seen, &view), voice.now);
    let done = query_field(&uri, "done").and_then(|done| match &*done {
        RESEND => Some("did_resend"),
        verb => Verb::named(verb).map(done_key),
    });
    let done = done.map(|key| voice.word(key));
    let pending = query_field(&uri, "sent").and_then(|verb| Verb::named(&verb)).map(|_| voice.word("act_pending"));
    let values = context! {
        id => view.order.id.get(), title => voice.state(&view.estado), petals => petals(&desk.0.deps.flow, &view),
        look => look_of(&view, why.is_late()), estado => view.estado.to_string(), done, pending,
        why => why_values(&why, &view, &history, voice),
        records => records(&desk, &view),
        line => timeline::entries(&desk, &view, &history, (&mails, &resends), voice),
        lanes => lanes::of(&view, &history, &mails, voice),
        facts => facts(&desk, &view), actions => actions(&desk, &view, &mails, voice),
        handle => (desk.0.deps.handle)(view.order.id),
    };
    Ok(desk.render("desk/order.html", &reader, "/orders", values).await)
}

/// The order of that number.
pub(super) async fn find(desk: &Desk, id: &str) -> Result<(OrderView, Vec<HistoryEntry>), Problem> {
    let none = || Problem::not_found("there is no order of this number").shown_as("no_order");
    let id: OrderId = id.parse().map_err(|_| none())?;
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    store.order(id).await.map_err(unavailable)?.ok_or_else(none)
}

fn why_values(why: &Why, view: &OrderView, history: &[HistoryEntry], voice: Voice<'_>) -> Value {
    let (time, text) = (|at| voice.time(at).to_string(), &escaped);
    let detail = words::why::details(why, &view.facts(history), voice.lang, &time, &format::duration, text);
    let detail = Value::from_safe_string(detail);
    context! { code => why.code(), title => words::why::title(why, voice.lang), detail, is_late => why.is_late() }
}

/// What is between the order and its next state, as far as this process sees.
fn road(desk: &Desk, seen: &Seen, view: &OrderView) -> Road {
    let groups = desk.0.deps.watch.groups();
    // each group's first topic is the one that orders move on
    let stretch = |place: usize| {
        let (partition, group) = (view.partition?, groups.get(place)?);
        let of_topic = |tp: &TopicPartition| Some(&tp.topic) == group.topics.first() && tp.partition == partition;
        let reading = seen.readings.iter().find(|reading| reading.group == group.word && of_topic(&reading.lag.tp))?;
        Some(Stretch {
            partition: reading.lag.tp.to_string(),
            records: reading.lag.records(),
            is_read: !reading.is_unread,
            is_behind: reading.behind > LATE,
        })
    };
    Road::over(stretch(0), || stretch(1))
}

/// Where the log holds what happened to it.
fn records(desk: &Desk, view: &OrderView) -> Option<String> {
    let (id, from) = (view.order.id.get(), view.order.placed_at - std::time::Duration::from_mins(1));
    let TopicPartition { topic, partition } = desk.told_on(view)?;
    Some(format!("/log?topic={topic}&partition={partition}&at={from}&holds={id}#read"))
}

fn facts(desk: &Desk, view: &OrderView) -> Value {
    let order = &view.order;
    let tp = desk.taken_on(view);
    context! {
        product => order.product.name.to_string(), product_id => order.product.id.to_string(),
        price => order.product.price.as_str(), customer => view.recipient().as_str(),
        placed_with => view.address.as_ref().map(|_| order.email.as_str()),
        lang => order.lang.map(crate::domain::Lang::code), placed_at => order.placed_at.as_millis(),
        partition => tp.as_ref().map(TopicPartition::to_string),
        partition_link => tp.map(|tp| format!("/log?topic={}&partition={}#read", tp.topic, tp.partition)), flow => view.flow.as_deref(), trace => order.trace.map(|trace| trace.to_string()),
    }
}

/// The last mail about an order's events, if there is one.
pub(super) fn last_mail(mails: &[MailEntry]) -> Option<&MailEntry> {
    mails.iter().rev().find(|mail| !mail.id.is_link())
}

/// What the shop may do to the order, the ways out of the line last.
fn actions(desk: &Desk, view: &OrderView, mails: &[MailEntry], voice: Voice<'_>) -> Vec<Value> {
    const ORDER: [Verb; 7] =
        [Verb::Advance, Verb::Resume, Verb::Hold, Verb::Delay, Verb::Address, Verb::Refuse, Verb::Cancel];
    let can = |verb: &Verb| desk.commands().is_some() && allows(view.waits, view.exits, Party::Operator, *verb);
    let action = |verb: Verb| {
        let is_end = matches!(verb, Verb::Refuse | Verb::Cancel);
        context! { verb => verb.name(), label => voice.word(label_key(verb)), is_end }
    };
    let is_sent = last_mail(mails).is_some_and(|mail| mail.status == MailStatus::Sent);
    let again = is_sent.then(|| context! { verb => RESEND, label => voice.word("act_resend"), is_end => false });
    again.into_iter().chain(ORDER.into_iter().filter(can).map(action)).collect()
}

/// The key of what an action is called.
pub(super) const fn label_key(verb: Verb) -> &'static str {
    match verb {
        Verb::Cancel => "act_cancel",
        Verb::Advance => "act_advance",
        Verb::Refuse => "act_refuse",
        Verb::Hold => "act_hold",
        Verb::Resume => "act_resume",
        Verb::Delay => "act_delay",
        Verb::Address => "act_address",
    }
}

const fn done_key(verb: Verb) -> &'static str {
    match verb {
        Verb::Cancel => "did_cancel",
        Verb::Advance => "did_advance",
        Verb::Refuse => "did_refuse",
        Verb::Hold => "did_hold",
        Verb::Resume => "did_resume",
        Verb::Delay => "did_delay",
        Verb::Address => "did_address",
    }
}
