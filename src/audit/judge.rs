use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{Event, Facts, Placed};

/// What is expected.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The states with their dwells, in order.
    pub flow: Vec<(String, Duration)>,
    /// Whether every order must have reached the last state by now.
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
    /// State events in the log.
    pub events: u64,
    /// Mails that arrived.
    pub mails: u64,
    /// Mails that arrived more than once.
    pub repeats: u64,
    /// Orders in the log that nobody was told of: their acknowledgement was lost on the way.
    pub unacknowledged: u64,
    /// How late the latest timer fired, in milliseconds.
    pub late_ms_max: i64,
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
        judge_history(*id, history, rules, &mut report);
    }
    for id in orders.keys().filter(|id| !histories.contains_key(id)) {
        if rules.all_finished {
            report.object("I2", *id, "was placed but has no event");
        }
    }
    judge_views(facts, &histories, &mut report);
    judge_mails(facts, &histories, &orders, rules, &mut report);
    report
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

/// I2: exactly the flow's states, in order, once each, none before its dwell has passed.
fn judge_history(id: u64, history: &[&Event], rules: &Rules, report: &mut Report) {
    if history.iter().any(|event| event.position.0 != history[0].position.0) {
        report.object("I2", id, "has events in more than one partition");
    }
    for (place, event) in history.iter().enumerate() {
        match rules.flow.get(place) {
            Some((estado, _)) if *estado == event.estado => {}
            Some((estado, _)) => {
                report.object("I2", id, &format!("has state {:?} where {estado:?} belongs", event.estado));
                return;
            }
            None => {
                report.object("I2", id, &format!("has state {:?} after its last", event.estado));
                return;
            }
        }
        if let Some(before) = place.checked_sub(1) {
            let (stayed, dwell) = (event.at - history[before].at, rules.flow[before].1.as_millis() as i64);
            if stayed < dwell {
                let text = format!("left {:?} after {stayed} ms, its dwell is {dwell} ms", history[before].estado);
                report.object("I2", id, &text);
            }
            let late = stayed - dwell;
            report.late_ms_max = report.late_ms_max.max(late);
            if rules.late_max.is_some_and(|max| late > max.as_millis() as i64) {
                report.object("I2", id, &format!("left {:?} {late} ms late", history[before].estado));
            }
        }
    }
    if rules.all_finished && history.len() < rules.flow.len() {
        report.object("I2", id, &format!("stopped at {:?}", history[history.len() - 1].estado));
    }
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

/// I3: each (order, state) at least once, in order, to the right address; repeats have the same Message-ID and are
/// no more than the ledger counted.
fn judge_mails(
    facts: &Facts,
    histories: &BTreeMap<u64, Vec<&Event>>,
    orders: &BTreeMap<u64, &Placed>,
    rules: &Rules,
    report: &mut Report,
) {
    let place: HashMap<&str, usize> = rules.flow.iter().enumerate().map(|(i, (estado, _))| (&**estado, i)).collect();
    let mut arrived: BTreeMap<(u64, &str), &str> = BTreeMap::new();
    let mut latest: HashMap<u64, (u64, usize)> = HashMap::new();
    for mail in &facts.mails {
        let entered = histories.get(&mail.id).is_some_and(|h| h.iter().any(|event| event.estado == mail.estado));
        if !entered {
            report.object("I3", mail.id, &format!("was mailed {:?} without being in that state", mail.estado));
            continue;
        }
        if orders.get(&mail.id).is_some_and(|order| order.email != mail.to) {
            report.object("I3", mail.id, "was mailed to another address");
        }
        match arrived.insert((mail.id, &mail.estado), &mail.message_id) {
            Some(first) if first != mail.message_id => {
                report.object("I3", mail.id, &format!("was mailed {:?} under two Message-IDs", mail.estado));
            }
            Some(_) => report.repeats += 1,
            None => {
                let Some(&this) = place.get(mail.estado.as_str()) else { continue }; // objected to as an event
                if let Some(arrival) = mail.arrival
                    && let Some((_, before)) = latest.insert(mail.id, (arrival, this))
                    && before > this
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
        for event in histories.values().flatten() {
            if !arrived.contains_key(&(event.id, event.estado.as_str())) {
                report.object("I3", event.id, &format!("was never mailed {:?}", event.estado));
            }
        }
    }
}

impl Report {
    fn object(&mut self, promise: &str, id: u64, text: &str) {
        self.objections.push(format!("{promise}: order {id} {text}"));
    }
}

#[cfg(test)]
mod tests;
