//! What is judged when all is at rest.

use std::collections::{BTreeSet, HashMap};

use super::{
    instance::Shared,
    line::Line,
    model::Model,
    setup::{DEAD, ORDERS, STATES},
};
use crate::{
    audit::{self, Commanded, Counts, Facts, Placed, Report, Rules, Sources},
    domain::OrderId,
    store::{Mails, ledger::MailStatus},
};

/// Orders from this number on are others'.
pub(super) const STRANGERS_FROM: u64 = 1_000_000;
const STATES_IN_ORDER: [&str; 4] = ["recibido", "preparando", "entregando", "finalizado"];

/// The auditor's verdict, and the ledger's account of every mail. Strangers' records are not judged.
pub(super) fn judge(shared: &Shared, acknowledged: Vec<Placed>, model: &Model) -> Result<(Facts, Report), Vec<String>> {
    let Shared { log, store, runtime, setup, .. } = shared;
    let sources = Sources { log, store, orders: ORDERS, states: STATES, dead: DEAD, flows: None };
    let facts = runtime.block_on(audit::collect(sources));
    let mut facts = facts.map_err(|error| vec![format!("cannot be audited: {error:#}")])?;
    facts.acknowledged = acknowledged;
    facts.events.retain(|event| !model.is_stranger(event.position));
    let told = |(command, id, is_done): (&str, u64, bool)| Commanded { id, command: command.to_owned(), is_done };
    facts.commanded = model.answers().map(told).collect();
    facts.mails = shared.peer.arrived();
    facts.mails.retain(|mail| mail.id < STRANGERS_FROM);
    let strangers = facts.views.split_off(&STRANGERS_FROM);
    if let Some(counts) = &mut facts.counts {
        counts.total -= strangers.len() as u64;
        counts.finished -= strangers.values().filter(|view| view.estado == STATES_IN_ORDER[3]).count() as u64;
    }
    let mut report = by_line(&facts, &setup.lines, model);
    for (id, view) in strangers {
        let history: Vec<_> = view.history.iter().map(|(estado, _)| &**estado).collect();
        if !STATES_IN_ORDER.starts_with(&history) || history.last() != Some(&&*view.estado) {
            report.objections.push(format!("I4: order {id} of others is shown as {}, with {history:?}", view.estado));
        }
    }
    if setup.mailers > 0 {
        report.objections.extend(unaccounted(shared, &facts));
    }
    if report.objections.is_empty() { Ok((facts, report)) } else { Err(report.objections) }
}

/// The auditor judges by one line of states: the orders of each version apart, and then all of them together.
fn by_line(facts: &Facts, lines: &[Line], model: &Model) -> Report {
    let mut all = Report::default();
    for line in lines {
        let rules = Rules {
            flow: line.rules(),
            all_finished: true,
            all_mailed: false, // a server that refuses leaves dead ones
            one_order_each: false,
            late_max: None,
        };
        let id = line.id();
        // what no order began with is judged with the first version, and objected to
        let is_one = |order: u64| model.flow_of(order).map_or(line.version == 1, |flow| flow == id);
        let part = Facts {
            acknowledged: facts.acknowledged.iter().filter(|order| is_one(order.id)).cloned().collect(),
            orders: facts.orders.iter().filter(|order| is_one(order.id)).cloned().collect(),
            events: facts.events.iter().filter(|event| is_one(event.id)).cloned().collect(),
            views: facts
                .views
                .iter()
                .filter(|(order, _)| is_one(**order))
                .map(|(id, view)| (*id, view.clone()))
                .collect(),
            lines: HashMap::new(),
            mails: facts.mails.iter().filter(|mail| is_one(mail.id)).cloned().collect(),
            commanded: facts.commanded.iter().filter(|command| is_one(command.id)).cloned().collect(),
            counts: None,
            dead: facts.dead,
            repeats_counted: facts.repeats_counted,
        };
        let report = audit::judge(&part, &rules);
        all.orders += report.orders;
        all.finished += report.finished;
        all.cancelled += report.cancelled;
        all.events += report.events;
        all.mails += report.mails;
        all.objections.extend(report.objections);
    }
    let counted = Counts { total: all.finished + all.cancelled, finished: all.finished, cancelled: all.cancelled };
    if facts.counts != Some(counted) {
        all.objections.push(format!("I5: the store counts {:?}, the log holds {counted:?}", facts.counts));
    }
    all
}

/// Mails that are neither there nor dead for a reason.
fn unaccounted(Shared { store, runtime, .. }: &Shared, facts: &Facts) -> Vec<String> {
    let arrived: BTreeSet<_> = facts.mails.iter().map(|mail| (mail.id, &*mail.estado)).collect();
    let mut objections = Vec::new();
    for (id, view) in &facts.views {
        let order = OrderId::new(*id).expect("it is in the store");
        let mails = runtime.block_on(store.mails_of(order)).expect("a store in memory answers");
        let rows: BTreeSet<_> = mails.iter().map(|mail| &*mail.estado).collect();
        let mailed = facts.events.iter().filter(|event| event.id == *id && event.is_mailed);
        if let Some(event) = mailed.clone().find(|event| !rows.contains(&*event.estado)) {
            objections.push(format!("I3: order {id} has no mail about {}", event.estado));
        }
        for mail in mails {
            let is_accounted_for = match mail.status {
                MailStatus::Sent => arrived.contains(&(*id, &*mail.estado)),
                MailStatus::Dead => mail.class.is_some(),
                MailStatus::Dropped => view.estado == "cancelado",
                _ => false,
            };
            if !is_accounted_for {
                objections.push(format!("I3: order {id} has a mail about {} that is {:?}", mail.estado, mail.status));
            }
        }
    }
    objections
}
