//! An order's life as spans of its trace, for a collector that speaks OpenTelemetry's protocol (`docs/tracing.md`).
//!
//! - Reads: nothing. Services say what they have done, once it is done.
//! - Writes: to the collector, in the background (`otlp`, with the feature of that name).
//! - Guarantees: no order waits for a span or fails by one. The queue is bounded; a span for which it has no room is counted and gone.
//!   Where nobody collects, and for traces that nobody wants kept, no span is made.
//! - Refused: spans by scopes of the code (`tracing-opentelemetry`). An order's life is in records and timers, over hours and
//!   processes, and no scope lasts for it.

#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
pub mod otlp;

use std::{
    borrow::Cow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use siphasher::sip::SipHasher13;
use tokio::sync::mpsc;

use crate::domain::{SpanId, TraceParent};

/// Most spans that wait to be sent; they take some megabytes.
pub const QUEUE_MAX: usize = 16_384;

/// Where spans go, and who sends them.
#[derive(Debug, Clone)]
pub struct Options {
    /// The collector's address, without the path of the protocol, or with it.
    pub url: String,
    /// A PEM file with certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// What the process is called among the services of a trace (`service.name`); the environment's `OTEL_SERVICE_NAME` wins.
    pub service: String,
    /// Which of those processes it is (`service.instance.id`).
    pub instance: String,
    /// What the event log is (`messaging.system`).
    pub log: &'static str,
}

/// Something that was done for an order.
#[derive(Debug, Clone)]
pub struct Span {
    /// Whose it is among those of the trace.
    pub id: SpanId,
    /// What it was done for; a trace that begins here has none.
    pub parent: Option<SpanId>,
    /// Its part in the talk of services.
    pub kind: Kind,
    /// Of few that there are: no numbers of orders.
    pub name: Cow<'static, str>,
    /// When it began, since 1970.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// What else is known, by names of OpenTelemetry's semantic conventions where they have one. No addresses, no names of people.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, as a word of few.
    pub failure: Option<Cow<'static, str>>,
}

/// Part of a span in the talk of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Writes a record.
    Producer,
    /// Does what a record wants.
    Consumer,
    /// Asks another server.
    Client,
    /// Nothing of these.
    Internal,
}

/// Of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
    /// Another number.
    Fraction(f64),
}

/// Where services say what they have done; a cheap handle. That of a process that exports nothing does nothing.
#[derive(Debug, Clone, Default)]
pub struct Spans(Option<Arc<Queue>>);

#[derive(Debug)]
struct Queue {
    to: mpsc::Sender<(TraceParent, Span)>,
    fates: Fates,
    /// The part of the orders that nobody traced whose traces begin here.
    sample: f64,
    /// Ids are hashes by a secret of this process.
    ids: (SipHasher13, AtomicU64),
}

/// Counts what became of spans.
#[derive(Debug, Clone, Default)]
pub struct Fates(Family<[(&'static str, &'static str); 1], Counter>);

impl Fates {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let fates = Self::default();
        for fate in ["exported", "dropped", "refused"] {
            drop(fates.of(fate)); // so that a rise from nothing is seen
        }
        let help = "Spans of orders' traces: taken by the collector, dropped before it was asked since too many waited, or not taken by it";
        registry.register("encargo_spans", help, fates.0.clone());
        fates
    }

    fn of(&self, fate: &'static str) -> Counter {
        self.0.get_or_create(&[("result", fate)]).clone()
    }
}

impl Spans {
    /// Into a queue, which somebody has to empty. `chance` tells this process from others.
    pub fn queue(fates: Fates, sample: f64, chance: u64) -> (Self, mpsc::Receiver<(TraceParent, Span)>) {
        let (to, queued) = mpsc::channel(QUEUE_MAX);
        let ids = (SipHasher13::new_with_keys(chance, 0), AtomicU64::new(0));
        (Self(Some(Arc::new(Queue { to, fates, sample, ids }))), queued)
    }

    /// Whether there is a queue.
    pub const fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Makes a span of an order and sends it on its way, if somebody wants the trace kept.
    pub fn add(&self, trace: Option<TraceParent>, span: impl FnOnce(TraceParent) -> Span) {
        if let (Some(queue), Some(trace)) = (&self.0, trace)
            && trace.is_sampled()
        {
            match queue.to.try_reserve() {
                Ok(place) => place.send((trace, span(trace))),
                Err(_) => drop(queue.fates.of("dropped").inc()),
            }
        }
    }

    /// Whether a trace that begins here is kept.
    pub fn sampled(&self, trace: TraceParent) -> TraceParent {
        self.0.as_ref().map_or(trace, |queue| trace.sampled(queue.sample))
    }

    /// An id that no other span has.
    pub fn id(&self) -> SpanId {
        let Some(queue) = &self.0 else { return [1; 8] };
        let (hasher, made) = &queue.ids;
        hasher.hash(&made.fetch_add(1, Ordering::Relaxed).to_le_bytes()).max(1).to_be_bytes()
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number as i64)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Fraction(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        let (begun, took) = (Duration::ZERO, Duration::ZERO);
        let (attributes, failure) = (Vec::new(), None);
        Span { id: [1; 8], parent: None, kind: Kind::Internal, name: "test".into(), begun, took, attributes, failure }
    }

    #[test]
    fn what_is_not_wanted_is_not_made() {
        let trace = TraceParent::from_random([7; 24]);
        let never = |_| panic!("nobody wants it");
        Spans::default().add(Some(trace), never);
        let (spans, _queued) = Spans::queue(Fates::default(), 1.0, 1);
        spans.add(None, never);
        spans.add(Some(trace.sampled(0.0)), never);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let (fates, trace) = (Fates::default(), TraceParent::from_random([7; 24]));
        let (spans, mut queued) = Spans::queue(fates.clone(), 1.0, 1);
        for _ in 0..QUEUE_MAX + 3 {
            spans.add(Some(trace), |_| span());
        }
        assert_eq!(fates.of("dropped").get(), 3);
        queued.try_recv().unwrap();
        spans.add(Some(trace), |_| span());
        assert_eq!(fates.of("dropped").get(), 3, "there was room again");
    }

    #[test]
    fn ids_are_never_the_same() {
        let (one, _one) = Spans::queue(Fates::default(), 1.0, 1);
        let (other, _other) = Spans::queue(Fates::default(), 1.0, 2);
        let ids: std::collections::HashSet<_> = (0..1_000).flat_map(|_| [one.id(), other.id()]).collect();
        assert_eq!(ids.len(), 2_000);
    }
}
