//! Promise by promise: what was looked at, and what speaks against it.

use std::collections::BTreeMap;

use super::{
    arrivals::{Arrivals, Twice},
    certificate::{Count, Promise, Repeat},
    system::Done,
    watch::Seen,
};
use crate::{
    audit::{Commanded, Facts, Report},
    bench::{load::Outcome, shop::verb},
};

/// Everything that a trial has found out.
pub(super) struct Evidence {
    pub(super) facts: Facts,
    pub(super) report: Report,
    pub(super) load: Outcome,
    pub(super) arrivals: Arrivals,
    pub(super) troubles: BTreeMap<&'static str, u64>,
    pub(super) done: Done,
    pub(super) seen: Seen,
    /// Commands that nobody answered in the end.
    pub(super) unanswered: Vec<(u64, String)>,
    /// Dead mails that were driven again.
    pub(super) redriven: u64,
    /// Of which mails, by order and state, the ledger knows that an attempt may have succeeded.
    pub(super) ambiguous: Vec<(u64, String)>,
    /// What the system logged.
    pub(super) log: String,
    /// Objections of no one promise: it never came to rest.
    pub(super) others: Vec<String>,
}

/// Domain of every address in a trial.
pub(super) const DOMAIN: &str = "@example.org";

impl Evidence {
    /// What was done to the system, how often.
    pub(super) fn tried(&self) -> Vec<Count> {
        let mut tried = vec![
            Count::new("orders", self.load.told.len() as u64),
            Count::new("kills", self.done.kills),
            Count::new("disk_full", self.done.disk_full),
            Count::new("broker_restarts", self.done.broker_restarts),
        ];
        for verb in ["cancel", "advance", "hold", "resume", "delay", "address"] {
            tried.push(Count::new(&format!("did_{verb}"), count(&self.facts.commanded, verb)));
        }
        tried.extend(self.troubles.iter().map(|(name, times)| Count::new(&format!("smtp_{}", slug(name)), *times)));
        tried.push(Count::new("redriven", self.redriven));
        tried.push(Count::new("foreign", self.seen.foreign));
        tried.retain(|count| count.count > 0);
        tried
    }

    /// The mails that came more than once, and whether the ledger knows why.
    pub(super) fn repeats(&self) -> Vec<Repeat> {
        let repeat = |twice: Twice| Repeat {
            explained: self.ambiguous.contains(&(twice.order, twice.estado.clone())),
            order: twice.order,
            estado: twice.estado,
            copies: twice.copies as u64,
            same_bytes: twice.is_same,
        };
        self.arrivals.twice().into_iter().map(repeat).collect()
    }

    /// The verdict on each promise.
    pub(super) fn promises(&self, repeats: &[Repeat]) -> Vec<Promise> {
        let (facts, report) = (&self.facts, &self.report);
        let (refused, lost) = self.load.refused_and_lost();
        let done = facts.commanded.iter().filter(|told| told.is_done).count() as u64;
        let more = self.objections(repeats);
        let promise = |id: &'static str, counts: &[(&str, u64)]| {
            let objections: Vec<_> = report.objections.iter().chain(&more).filter_map(|text| of(id, text)).collect();
            let counts = counts.iter().map(|(what, count)| Count::new(what, *count)).collect();
            Promise { id, kept: objections.is_empty(), counts, objections }
        };
        vec![
            promise(
                "I1",
                &[
                    ("acknowledged", facts.acknowledged.len() as u64),
                    ("unacknowledged", report.unacknowledged),
                    ("refused", refused),
                    ("lost", lost),
                ],
            ),
            promise(
                "I2",
                &[
                    ("events", report.events),
                    ("finished", report.finished),
                    ("cancelled", report.cancelled),
                    ("commands_done", done),
                    ("commands_refused", facts.commanded.len() as u64 - done),
                    ("late_ms", report.lateness_ms(1.0).max(0) as u64),
                ],
            ),
            promise(
                "I3",
                &[("mails", report.mails), ("repeated", report.repeats), ("ambiguous", facts.repeats_counted)],
            ),
            promise("I4", &[("lookups", self.seen.lookups), ("views", facts.views.len() as u64)]),
            promise("I5", &[("balances", self.seen.balances)]),
            promise(
                "I6",
                &[
                    ("memory_mb", self.done.memory_max >> 20),
                    ("starts", self.done.kills + 1),
                    ("ready_ms", self.done.ready_after_max.as_millis() as u64),
                ],
            ),
            promise("I7", &[("log_lines", self.log.lines().count() as u64)]),
            promise("I8", &[("foreign", self.seen.foreign)]),
        ]
    }

    /// What speaks against promises beside what the auditor says.
    fn objections(&self, repeats: &[Repeat]) -> Vec<String> {
        let mut objections = self.seen.objections.clone();
        objections.extend(self.arrivals.objections.iter().cloned());
        objections.extend(self.arrivals.too_early(&self.facts.events));
        objections.extend(self.done.objections.iter().chain(&self.others).map(|text| format!("I6: {text}")));
        objections.extend(self.load.complaint().map(|words| format!("I1: an order was refused for good: {words}")));
        if self.facts.dead > 0 {
            objections
                .push(format!("I2: {} records could not be processed, and each was one of ours", self.facts.dead));
        }
        for (order, command) in &self.unanswered {
            objections.push(format!("I1: order {order}: nobody says what became of command {command:?}"));
        }
        for repeat in repeats {
            let Repeat { order, estado, copies, .. } = repeat;
            if !repeat.explained {
                objections.push(format!(
                    "I3: order {order} was mailed {estado:?} {copies} times, and the ledger knows of no doubt"
                ));
            }
            if !repeat.same_bytes {
                objections.push(format!("I3: order {order} was mailed {estado:?} {copies} times with other bytes"));
            }
        }
        if let Some(line) = self.log.lines().find(|line| line.contains(DOMAIN)) {
            objections.push(format!("I7: an address is in the log: {line}"));
        }
        if self.facts.orders.iter().any(|order| order.email.starts_with("foreign@")) {
            objections.push("I8: an order of a foreign page is in the log".to_owned());
        }
        objections
    }
}

/// What an objection says, if it is about that promise.
fn of(id: &str, text: &str) -> Option<String> {
    text.strip_prefix(id)?.strip_prefix(": ").map(str::to_owned)
}

fn count(commanded: &[Commanded], of: &str) -> u64 {
    commanded.iter().filter(|told| verb(&told.command) == of).count() as u64
}

/// A name as it stands in a key of the table of words.
fn slug(name: &str) -> String {
    let plain = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_lowercase();
    plain.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}
