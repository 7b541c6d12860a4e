mod life;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{Commanded, Counts, Event, Facts, Line, Mail, Placed};

/// What is expected.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The line of the orders whose own one is not among the facts.
    pub flow: Line,
    /// Whether every order's life must be over by now.
    pub all_finished: bool,
    /// Whether every (order, state) must have been mailed by now.
    pub all_mailed: bool,
    /// Whether each customer placed one order, as a load generator can see to: two orders to one address are then a
    /// retry that was taken twice.
    pub one_order_each: bool,
    /// How late a timer may fire, if that is judged.
    pub late_max: Option<Duration>,
}

/// The verdict.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Distinct orders in the log.
    pub orders: u64,
    /// Those that went through all their states.
    pub finished: u64,
    /// Those that ended otherwise: cancelled, or refused.
    pub cancelled: u64,
    /// Those whose life is not over.
    pub in_flight: u64,
    /// State events in the log.
    pub events: u64,
    /// Mails that arrived.
    pub mails: u64,
    /// Mails that arrived more than once.
    pub repeats: u64,
    /// Orders in the log that nobody was told of: their acknowledgement was lost on the way.
    pub unacknowledged: u64,
    /// How late each timer fired, in milliseconds, ascending.
    pub late_ms: Vec<i64>,
    /// What is wrong, each with the promise it breaks. Empty means that all was kept.
    pub objections: Vec<String>,
}

/// Judges the facts by the rules.
pub fn judge(facts: &Facts, rules: &Rules) -> Report {
    let mut report = Report { mails: facts.mails.len() as u64, events: facts.events.len() as u64, ..Report::default() };
    let orders = judge_orders(facts, rules, &mut report);
    let histories = by_order(&facts.events);
    for (id, history) in &histories {
        if !orders.contains_key(id) {
            report.object("I2", *id, "has events but was never placed");
        }
        if orders.get(id).is_some_and(|order| history.first().is_none_or(|event| event.to != order.email)) {
            report.object("I2", *id, "begins with another address than it was placed with");
        }
        let line = facts.lines.get(id).map_or(&rules.flow, |line| line);
        life::judge(*id, history, line, rules, &mut report);
    }
    for id in orders.keys().filter(|id| !histories.contains_key(id)) {
        if rules.all_finished {
            report.object("I2", *id, "was placed but has no event");
        }
    }
    judge_views(facts, &histories, &mut report);
    judge_mails(facts, &histories, rules, &mut report);
    judge_commands(facts, &histories, &mut report);
    judge_counts(facts, &histories, rules, &mut report);
    report.late_ms.sort_unstable();
    report
}

impl Report {
    /// How late timers fired, in milliseconds: such a part of them by no more.
    pub fn lateness_ms(&self, part: f64) -> i64 {
        let rank = (self.late_ms.len() as f64 * part).ceil() as usize;
        self.late_ms.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// I1: what was acknowledged is in the log once, with the same content.
fn judge_orders<'a>(facts: &'a Facts, rules: &Rules, report: &mut Report) -> BTreeMap<u64, &'a Placed> {
    let mut orders: BTreeMap<u64, &Placed> = BTreeMap::new();
    for order in &facts.orders {
        // a retry after a crash may append the identical order again; fulfilment ignores it
        if let Some(first) = orders.insert(order.id, order)
            && first != order
        {
            report.object("I1", order.id, "is in the log twice with different content");
        }
    }
    let mut acknowledged = BTreeSet::new();
    for order in &facts.acknowledged {
        if !acknowledged.insert(order.id) {
            report.object("I1", order.id, "was acknowledged for two orders");
        }
        match orders.get(&order.id) {
            None => report.object("I1", order.id, "was acknowledged and is not in the log"),
            Some(found) if *found != order => report.object("I1", order.id, "is in the log with other content"),
            Some(_) => {}
        }
    }
    if rules.one_order_each {
        let mut customers = HashMap::new();
        for order in orders.values() {
            if let Some(first) = customers.insert(&order.email, order.id) {
                report.object("I1", order.id, &format!("is order {first} once more"));
            }
        }
    }
    report.orders = orders.len() as u64;
    report.unacknowledged = orders.keys().filter(|id| !acknowledged.contains(id)).count() as u64;
    orders
}

fn by_order(events: &[Event]) -> BTreeMap<u64, Vec<&Event>> {
    let mut histories: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in events {
        histories.entry(event.id).or_default().push(event);
    }
    for history in histories.values_mut() {
        history.sort_by_key(|event| event.position);
    }
    histories
}

/// I4: the read model equals the log; only an unfinished audit may find it behind, none may find it ahead.
fn judge_views(facts: &Facts, histories: &BTreeMap<u64, Vec<&Event>>, report: &mut Report) {
    for (id, history) in histories {
        let expected: Vec<_> = history.iter().map(|event| (event.estado.clone(), event.at)).collect();
        match facts.views.get(id) {
            None => report.object("I4", *id, "is in the log and not in the store"),
            Some(view) if view.history != expected => {
                report.object("I4", *id, &format!("has history {:?}, the log has {expected:?}", view.history));
            }
            Some(view) if Some(&view.estado) != expected.last().map(|(estado, _)| estado) => {
                report.object("I4", *id, &format!("is shown as {:?}", view.estado));
            }
            Some(_) => {}
        }
    }
    for id in facts.views.keys().filter(|id| !histories.contains_key(id)) {
        report.object("I4", *id, "is in the store and not in the log");
    }
}

/// I3: each (order, state) at least once, in order, to the right address, beside the links that were asked for; repeats
/// have the same Message-ID and are no more than the ledger counted. Only an order that was cancelled or refused may lack
/// some: those that its end dropped, as the ledger says of each. One that was given up while nobody knew what became of an
/// attempt may come late: from a mailer that stalled in the middle of it until its lease had ended.
fn judge_mails(facts: &Facts, histories: &BTreeMap<u64, Vec<&Event>>, rules: &Rules, report: &mut Report) {
    let mut arrived: BTreeMap<(u64, &str), &str> = BTreeMap::new();
    let mut latest: HashMap<u64, (u64, usize)> = HashMap::new();
    let (links, mails): (Vec<_>, Vec<_>) = facts.mails.iter().partition(|mail| mail.is_link);
    judge_links(&links, histories, report);
    for mail in mails {
        let history = histories.get(&mail.id).map(Vec::as_slice).unwrap_or_default();
        let place = history.iter().position(|event| event.change.is_none() && event.estado == mail.estado);
        let Some(place) = place else {
            report.object("I3", mail.id, &format!("was mailed {:?} without being in that state", mail.estado));
            continue;
        };
        // that of its event, or one that was corrected before it went
        if history[place..].iter().all(|event| event.to != mail.to) {
            report.object("I3", mail.id, "was mailed to another address");
        }
        match arrived.insert((mail.id, &mail.estado), &mail.message_id) {
            Some(first) if first != mail.message_id => {
                report.object("I3", mail.id, &format!("was mailed {:?} under two Message-IDs", mail.estado));
            }
            Some(_) => report.repeats += 1,
            None => {
                if let Some(arrival) = mail.arrival
                    && let Some((_, before)) = latest.insert(mail.id, (arrival, place))
                    && before > place
                    && facts.views.get(&mail.id).is_none_or(|view| !view.unanswered.contains(&mail.estado))
                {
                    report.object("I3", mail.id, &format!("was mailed {:?} after a later state", mail.estado));
                }
            }
        }
    }
    if report.repeats > facts.repeats_counted {
        let text = format!("{} mails came twice, the ledger knows of {}", report.repeats, facts.repeats_counted);
        report.objections.push(format!("I3: {text}"));
    }
    if rules.all_mailed {
        for (id, history) in histories {
            judge_missing_mails(*id, history, facts, &arrived, report);
        }
    }
}

/// Links go to the order's own address only, wherever that was; asked for as often as anybody likes, each under a Message-ID of
/// its own.
fn judge_links(links: &[&Mail], histories: &BTreeMap<u64, Vec<&Event>>, report: &mut Report) {
    let mut arrived = BTreeSet::new();
    for mail in links {
        let history = histories.get(&mail.id).map(Vec::as_slice).unwrap_or_default();
        if history.iter().all(|event| event.to != mail.to) {
            report.object("I3", mail.id, "has its link mailed to another address");
        }
        report.repeats += u64::from(!arrived.insert(&mail.message_id));
    }
}

fn judge_missing_mails(
    id: u64,
    history: &[&Event],
    facts: &Facts,
    arrived: &BTreeMap<(u64, &str), &str>,
    report: &mut Report,
) {
    let ends_early = matches!(history[history.len() - 1].closes.as_deref(), Some("cancelled" | "refused"));
    for (place, event) in history.iter().enumerate().filter(|(_, event)| event.is_mailed) {
        if arrived.contains_key(&(id, event.estado.as_str())) {
            continue;
        }
        let is_dropped = facts.views.get(&id).is_some_and(|view| view.dropped.contains(&event.estado));
        let is_before_end = ends_early && place + 1 < history.len();
        if !(is_dropped && is_before_end) {
            report.object("I3", id, &format!("was never mailed {:?}", event.estado));
        }
    }
}

/// What clients were told of commands: what was done is in the log, once, and what was refused is not.
fn judge_commands(facts: &Facts, histories: &BTreeMap<u64, Vec<&Event>>, report: &mut Report) {
    for Commanded { id, command, is_done } in &facts.commanded {
        let did = |event: &&&Event| event.command.as_ref() == Some(command);
        let count = histories.get(id).map_or(0, |history| history.iter().filter(did).count());
        match (is_done, count) {
            (true, 0) => {
                report.object("I1", *id, &format!("was told that command {command:?} was done, and it was not"));
            }
            (false, 1..) => {
                report.object("I1", *id, &format!("was told that command {command:?} was refused, and it was done"));
            }
            _ => {}
        }
    }
}

/// I5: accepted = in flight + finished + cancelled + dead-lettered, and the store counts what the log holds.
fn judge_counts(facts: &Facts, histories: &BTreeMap<u64, Vec<&Event>>, rules: &Rules, report: &mut Report) {
    let ours = Counts { total: histories.len() as u64, finished: report.finished, cancelled: report.cancelled };
    report.in_flight = report.orders.saturating_sub(ours.finished + ours.cancelled);
    if let Some(counts) = &facts.counts
        && rules.all_finished // else the store may be behind
        && *counts != ours
    {
        report.objections.push(format!("I5: the store counts {counts:?}, the log holds {ours:?}"));
    }
}

impl Report {
    fn object(&mut self, promise: &str, id: u64, text: &str) {
        self.objections.push(format!("{promise}: order {id} {text}"));
    }
}

#[cfg(test)]
mod tests;
