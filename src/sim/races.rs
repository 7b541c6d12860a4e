//! Cancellations that race the last timer of their order: each lands around it, and the order ends in one of two ways, of which
//! client, log, view and mails tell the same.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;

use super::{
    commands::{Senders, Target, submit},
    model::Model,
};
use crate::{
    audit::Facts,
    domain::Timestamp,
    eventlog::{EventLog, NewRecord},
};

#[derive(Default)]
pub(super) struct Races {
    /// Cancellations that are to be sent, or again since nobody knows whether they were written.
    planned: BTreeMap<u64, (Timestamp, Target, Option<NewRecord>)>,
    /// The command that each order was cancelled by.
    sent: BTreeMap<u64, String>,
}

impl Races {
    /// Plans one for each order that waits for its last timer: a little before or after, or at that very moment.
    pub(super) fn draw(
        &mut self,
        rng: &mut Rng,
        last_timers: impl Iterator<Item = (Target, Timestamp)>,
        unit: Duration,
    ) {
        for (to, due) in last_timers {
            if self.sent.contains_key(&to.id) || self.planned.contains_key(&to.id) {
                continue;
            }
            let away = match rng.u32(0..4) {
                0 => Duration::ZERO,
                1 => Duration::from_millis(1),
                _ => unit.mul_f64(rng.f64()),
            };
            // services take their time: what comes at the timer's moment comes too late more often than not
            let at = if rng.u32(0..4) == 0 { due + away } else { due - away };
            self.planned.insert(to.id, (at, to, None));
        }
    }

    /// The moment of the next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.planned.values().map(|(at, ..)| *at).min()
    }

    /// Sends those whose moment has come; returns what, in words. Whoever has no answer asks again under the same id.
    pub(super) fn send(&mut self, log: &dyn EventLog, senders: &mut Senders, now: Timestamp) -> Vec<String> {
        let mut notes = Vec::new();
        let come: Vec<u64> = self.planned.iter().filter(|(_, (at, ..))| *at <= now).map(|(id, _)| *id).collect();
        for id in come {
            let (at, to, record) = self.planned.remove(&id).expect("it was just found");
            let record = record.unwrap_or_else(|| {
                let (command, record) = senders.cancel(to, now);
                self.sent.insert(id, command);
                record
            });
            let (sent, is_written) = submit(log, record.clone());
            notes.push(format!("races: {sent}"));
            if !is_written {
                self.planned.insert(id, (at, to, Some(record)));
            }
        }
        notes
    }
}

/// How many cancellations came in time, and how many too late; or whoever tells something else than the others.
pub(super) fn judge(races: Option<&Races>, model: &Model, facts: &Facts) -> Result<(u64, u64), Vec<String>> {
    let (mut in_time, mut too_late, mut objections) = (0, 0, Vec::new());
    let Some(races) = races else { return Ok((0, 0)) };
    let answers: BTreeMap<_, _> = model.answers().map(|(command, _, is_done)| (command, is_done)).collect();
    for (id, command) in &races.sent {
        let Some(is_done) = answers.get(command.as_str()) else { continue }; // it was never written
        *if *is_done { &mut in_time } else { &mut too_late } += 1;
        let (end, other) = if *is_done { ("cancelado", "finalizado") } else { ("finalizado", "cancelado") };
        let events: Vec<_> = facts.events.iter().filter(|event| event.id == *id).collect();
        let log = events.iter().max_by_key(|event| event.position.1).map(|event| &*event.estado);
        let view = facts.views.get(id).map(|view| &*view.estado);
        let mailed = facts.mails.iter().any(|mail| mail.id == *id && mail.estado == other);
        if log != Some(end) || view != Some(end) || mailed {
            objections.push(format!(
                "order {id} is {end} by the answer to its client, {log:?} in the log, {view:?} in the view; mailed {other}: {mailed}"
            ));
        }
    }
    if objections.is_empty() { Ok((in_time, too_late)) } else { Err(objections) }
}
