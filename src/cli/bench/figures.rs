//! What a run comes to, as numbers. A run to which the auditor objects has none.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    limits::Limits,
    measure::{Measured, Sample},
    system::{Audit, Reading, System},
};
use crate::{
    audit::Event,
    bench::{stats::Summary, usage::machine},
};

/// A run of `encargo bench`.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub version: &'static str,
    pub machine: String,
    /// The load in words.
    pub load: String,
    pub accepted: u64,
    pub refused: u64,
    pub lost: u64,
    pub audit: Verdict,
    /// None when no order was acknowledged, the audit objects, or it could not look and nobody wanted figures all the same.
    pub figures: Option<Figures>,
    pub limits: Option<Limits>,
}

/// What the auditor says.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verdict {
    /// Orders that customers know of.
    pub acknowledged: u64,
    /// Why it could not look, if it could not.
    pub not_audited: Option<String>,
    pub orders: u64,
    pub in_flight: u64,
    pub mails: u64,
    /// Mails that came twice, and attempts that the ledger made although an earlier one may have been accepted.
    pub repeats: u64,
    pub repeats_counted: u64,
    pub objections: Vec<String>,
}

/// Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub accepted_per_s: f64,
    /// Orders through all their states, between the first that was and the last.
    pub completed_per_s: f64,
    pub mails_per_s: f64,
    pub acknowledgement_ms: Summary,
    /// How late each state was entered, by state.
    pub lateness_ms: BTreeMap<String, Summary>,
    pub cost: Option<Cost>,
    /// The acknowledgement of each order, and the lateness by state, for plots.
    #[serde(skip)]
    pub acknowledgements: Vec<f64>,
    #[serde(skip)]
    pub lateness: Vec<(String, Vec<f64>)>,
    pub samples: Vec<Sample>,
}

/// From the first order until all was over.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    /// CPU seconds per 1,000 orders: of the system, of what its threads do, and of programs beside it.
    pub cpu_per_1000: f64,
    pub threads_per_1000: BTreeMap<&'static str, f64>,
    pub beside_per_1000: BTreeMap<String, f64>,
    /// Bytes given to storage per 1,000 orders, in all and by the threads that write log and store in files.
    pub written_per_1000: f64,
    pub written_by_per_1000: BTreeMap<&'static str, f64>,
    /// Commits to the files of log and store per order, each with an fsync.
    pub fsyncs_per_order: BTreeMap<&'static str, f64>,
    /// Commits of fulfilment per order.
    pub commits_per_order: f64,
    /// Bytes of memory at most.
    pub memory_max: u64,
}

/// Who shares threads, and which files have a writer; as metrics call them.
const SHARED: [&str; 2] = ["http", "mail"];
const FILES: [&str; 2] = ["log", "store"];

impl Run {
    pub(super) fn new(
        load: String,
        system: &System,
        measured: &Measured,
        limits: Option<Limits>,
        unaudited: bool,
    ) -> Self {
        let (refused, lost) = measured.outcome.refused_and_lost();
        let accepted = measured.outcome.accepted().count() as u64;
        let audit = Verdict::of(accepted, measured.audit.as_ref());
        let is_told = audit.is_kept() || (unaudited && accepted > 0 && audit.objections.is_empty());
        let figures = is_told.then(|| Figures::of(system, measured));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: machine().to_string(),
            load,
            accepted,
            refused,
            lost,
            audit,
            figures,
            limits,
        }
    }
}

impl Verdict {
    /// Whether anything was promised, and the auditor looked and has no objection.
    pub(super) fn is_kept(&self) -> bool {
        self.acknowledged > 0 && self.not_audited.is_none() && self.objections.is_empty()
    }

    pub(super) fn of(acknowledged: u64, audit: Result<&Audit, &String>) -> Self {
        match audit {
            Ok(Audit { report, facts, .. }) => Self {
                acknowledged,
                not_audited: None,
                orders: report.orders,
                in_flight: report.in_flight,
                mails: report.mails,
                repeats: report.repeats,
                repeats_counted: facts.repeats_counted,
                objections: report.objections.clone(),
            },
            Err(why) => Self { acknowledged, not_audited: Some(why.clone()), ..Self::default() },
        }
    }
}

impl Figures {
    fn of(system: &System, measured: &Measured) -> Self {
        let Measured { outcome, samples, before, after, seconds, seconds_all, audit, .. } = measured;
        let acknowledgements: Vec<f64> = outcome.latencies().map(|seconds| seconds * 1e3).collect();
        let events = audit.as_ref().map_or(&[][..], |audit| &audit.facts.events);
        let lateness = lateness(events);
        let completed =
            span(events.iter().filter(|event| event.closes.as_deref() == Some("finished")).map(|event| event.at));
        let arrived = span(audit.iter().flat_map(|audit| &audit.arrivals).map(|(_, _, at)| *at));
        let rate = |(count, seconds): (u64, f64)| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        // without the log, as the metrics tell it, over all the time that it took
        let finished = after.scrape.since(&before.scrape, "encargo_orders{state=\"finished\"}");
        Self {
            accepted_per_s: acknowledgements.len() as f64 / seconds.max(1e-3),
            completed_per_s: if events.is_empty() { finished / seconds_all } else { rate(completed) },
            mails_per_s: rate(arrived),
            acknowledgement_ms: Summary::of(acknowledgements.iter().copied()),
            lateness_ms: lateness
                .iter()
                .map(|(state, late)| (state.clone(), Summary::of(late.iter().copied())))
                .collect(),
            cost: Cost::of(system, before, after, acknowledgements.len() as f64),
            acknowledgements,
            lateness,
            samples: samples.clone(),
        }
    }
}

impl Cost {
    fn of(system: &System, before: &Reading, after: &Reading, orders: f64) -> Option<Self> {
        let (from, to) = (before.usage.as_ref()?, after.usage.as_ref()?);
        let per_1000 = |amount: f64| amount / orders.max(1.0) * 1e3;
        let since = |sample: &str| after.scrape.since(&before.scrape, sample);
        let mut threads: BTreeMap<_, _> =
            to.threads.iter().map(|(kind, spent)| (*kind, spent.cpu - from.spent(kind).cpu)).collect();
        shared_out(
            &mut threads,
            SHARED.map(|kind| since(&format!("encargo_task_busy_seconds_total{{task=\"{kind}\"}}"))),
        );
        let written = FILES.map(|file| (file, per_1000((to.spent(file).written - from.spent(file).written) as f64)));
        let fsyncs = FILES.map(|file| (file, since(&format!("encargo_sqlite_commits_total{{file=\"{file}\"}}"))));
        let beside = system.beside.iter().zip(before.beside.iter().zip(&after.beside));
        Some(Self {
            cpu_per_1000: per_1000(to.cpu - from.cpu),
            threads_per_1000: threads.into_iter().map(|(kind, cpu)| (kind, per_1000(cpu))).collect(),
            beside_per_1000: beside.map(|((name, _), (from, to))| (name.clone(), per_1000(to - from))).collect(),
            written_per_1000: per_1000((to.written - from.written) as f64),
            written_by_per_1000: written.into_iter().filter(|(_, bytes)| *bytes > 0.0).collect(),
            fsyncs_per_order: fsyncs
                .into_iter()
                .filter(|(_, commits)| *commits > 0.0)
                .map(|(file, commits)| (file, commits / orders.max(1.0)))
                .collect(),
            commits_per_order: since("encargo_commit_seconds_count") / orders.max(1.0),
            memory_max: to.memory_max,
        })
    }
}

/// The CPU time of the threads that several kinds of tasks share, by how long each was busy.
fn shared_out(threads: &mut BTreeMap<&'static str, f64>, busy: [f64; SHARED.len()]) {
    let all: f64 = busy.iter().sum();
    if all > 0.0
        && let Some(cpu) = threads.remove("shared")
    {
        threads.extend(SHARED.into_iter().zip(busy).map(|(kind, busy)| (kind, cpu * busy / all)));
    }
}

/// Milliseconds by which states were entered after they were due, in the order in which states first come.
pub(super) fn lateness(events: &[Event]) -> Vec<(String, Vec<f64>)> {
    let mut orders: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in events {
        orders.entry(event.id).or_default().push(event);
    }
    let mut states: Vec<(String, Vec<f64>)> = Vec::new();
    for events in orders.values_mut() {
        events.sort_by_key(|event| event.position);
        for two in events.windows(2) {
            // a command moves an order when it comes
            let (Some(due), None, None) = (two[0].next_at, &two[1].change, &two[1].command) else { continue };
            let late = (two[1].at - due) as f64;
            match states.iter_mut().find(|(state, _)| *state == two[1].estado) {
                Some((_, all)) => all.push(late),
                None => states.push((two[1].estado.clone(), vec![late])),
            }
        }
    }
    states
}

/// How many times there are, and the seconds between the first and the last of them, which are in milliseconds.
fn span(times: impl Iterator<Item = i64>) -> (u64, f64) {
    let (mut count, mut first, mut last) = (0, i64::MAX, i64::MIN);
    for at in times {
        (count, first, last) = (count + 1, first.min(at), last.max(at));
    }
    (count, if count > 0 { (last - first) as f64 / 1e3 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_threads_are_told_apart_by_how_busy_each_kind_was() {
        let mut threads = BTreeMap::from([("shared", 6.0), ("log", 1.0)]);
        shared_out(&mut threads, [0.0, 0.0]);
        assert_eq!(threads.get("shared"), Some(&6.0));
        shared_out(&mut threads, [1.0, 3.0]);
        assert_eq!(threads, BTreeMap::from([("http", 1.5), ("log", 1.0), ("mail", 4.5)]));
    }

    #[test]
    fn a_state_is_late_by_what_the_log_says() {
        let event = |id, offset, estado: &str, at, next_at| Event {
            position: (0, offset),
            id,
            estado: estado.into(),
            at,
            next_at,
            ..Event::default()
        };
        let mut by_hand = event(2, 5, "preparando", 3_000, None);
        by_hand.command = Some("c1".into());
        let events = [
            event(1, 1, "recibido", 1_000, Some(2_000)),
            event(2, 2, "recibido", 1_500, Some(2_500)),
            event(1, 3, "preparando", 2_030, Some(3_030)),
            event(1, 4, "entregando", 3_030, None),
            by_hand,
        ];
        assert_eq!(lateness(&events), [("preparando".to_owned(), vec![30.0]), ("entregando".to_owned(), vec![0.0])]);
        assert_eq!((span([2_000, 500].into_iter()), span([].into_iter())), ((2, 1.5), (0, 0.0)));
    }
}
