use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{Counters, Now, span};
use crate::{
    domain::{Fault, StateEvent, command::Verdict},
    refusals::Refusals,
    spans::Spans,
};

/// What fulfilment tells about itself.
#[derive(Debug, Clone)]
pub struct Metrics {
    transitions: Family<[(&'static str, String); 1], Counter>,
    lateness: Histogram,
    commits: Histogram,
    orders: Family<[(&'static str, &'static str); 1], Gauge<u64, AtomicU64>>,
    repeats: Counter,
    commands: Family<[(&'static str, &'static str); 1], Counter>,
    retries: Counter,
    lost: Counter,
    refusals: Refusals,
    spans: Spans,
    ready: Arc<AtomicBool>,
}

/// Upper bounds of the lateness histogram, in seconds; fine around the targets of 50 ms and 250 ms.
const LATENESS: [f64; 12] = [0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// Upper bounds of the histogram of commits, in seconds: an fsync takes a tenth of a millisecond, a transaction of Kafka ten.
const COMMIT: [f64; 11] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            transitions: Family::default(),
            lateness: Histogram::new(LATENESS),
            commits: Histogram::new(COMMIT),
            orders: Family::default(),
            repeats: Counter::default(),
            commands: Family::default(),
            retries: Counter::default(),
            lost: Counter::default(),
            refusals: Refusals::default(),
            spans: Spans::default(),
            ready: Arc::default(),
        };
        let transitions = metrics.transitions.clone();
        registry.register("encargo_order_transitions", "Orders that entered a state", transitions);
        let lateness = metrics.lateness.clone();
        let help = "Time from a timer's due time to its durable event, in seconds";
        registry.register("encargo_transition_lateness_seconds", help, lateness);
        let help = "Time that a commit of events and offsets took, in seconds";
        registry.register("encargo_commit_seconds", help, metrics.commits.clone());
        let help = "Orders since the log's beginning: accepted = in_flight + finished + cancelled + dead";
        registry.register("encargo_orders", help, metrics.orders.clone());
        let help = "Identical repeats of an order, ignored";
        registry.register("encargo_order_repeats", help, metrics.repeats.clone());
        let help = "Commands about orders that were decided, by what became of them";
        registry.register("encargo_commands_decided", help, metrics.commands.clone());
        for result in ["done", "repeated", "refused", "unknown"] {
            drop(metrics.commands.get_or_create(&[("result", result)])); // so that a rise from nothing is seen
        }
        let help = "Commits that the log refused and that were retried";
        registry.register("encargo_commit_retries", help, metrics.retries.clone());
        let help = "Dead letters that their topic refuses in every form: only the process's log says where they were";
        registry.register("encargo_dead_letters_lost", help, metrics.lost.clone());
        metrics
    }

    /// Counts refused records there, too.
    #[must_use]
    pub fn counting(self, refusals: &Refusals) -> Self {
        Self { refusals: refusals.clone(), ..self }
    }

    /// Tells of the states that orders enter there, too.
    #[must_use]
    pub fn spanning(self, spans: &Spans) -> Self {
        Self { spans: spans.clone(), ..self }
    }

    /// Whether the orders in flight were restored, so that timers fire, and the log takes commits.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Not ready any more: the log has to be joined again.
    pub fn waiting(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }

    pub(super) fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// An event is durable; `late` is the time since its timer was due, if it came by one.
    pub(super) fn transition(&self, event: &StateEvent, late: Option<Duration>, now: Now) {
        self.transitions.get_or_create(&[("estado", event.estado.to_string())]).inc();
        if let Some(late) = late {
            self.lateness.observe(late.as_secs_f64());
        }
        self.spans.add(event.order.trace, |trace| span::of(event, trace, late, now));
    }

    pub(super) fn orders(&self, partitions: impl Iterator<Item = Counters>) {
        let total = partitions.fold(Counters::default(), |sum, partition| Counters {
            accepted: sum.accepted + partition.accepted,
            finished: sum.finished + partition.finished,
            dead: sum.dead + partition.dead,
            cancelled: sum.cancelled + partition.cancelled,
        });
        for (name, value) in [
            ("accepted", total.accepted),
            ("in_flight", total.in_flight()),
            ("finished", total.finished),
            ("cancelled", total.cancelled),
            ("dead", total.dead),
        ] {
            self.orders.get_or_create(&[("state", name)]).set(value);
        }
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }

    pub(super) fn repeat_ignored(&self) {
        self.repeats.inc();
    }

    pub(super) fn command(&self, verdict: &Verdict) {
        self.commands.get_or_create(&[("result", verdict.name())]).inc();
    }

    #[cfg(test)]
    pub(super) fn lost(&self) -> u64 {
        self.lost.get()
    }

    pub(super) fn refused(&self, topic: &str, producer: Option<Cow<'_, str>>, fault: Fault) {
        self.refusals.count(topic, producer.as_deref(), fault);
    }

    pub(super) fn dead_letter_lost(&self) {
        self.lost.inc();
    }

    pub(super) fn commit_retried(&self) {
        self.ready.store(false, Ordering::Relaxed); // until a commit succeeds
        self.retries.inc();
    }
}
