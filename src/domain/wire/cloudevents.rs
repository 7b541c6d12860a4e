//! The headers that our records have: CloudEvents 1.0 in the binary mode of the Kafka protocol binding (§3.2), with the extensions
//! Partitioning and Distributed Tracing.
//!
//! What all records of a kind have in common is packed once. The version in a type is that of its format: it counts up when readers
//! of before would misread it, and not when a field is added.

use std::{fmt::Display, sync::LazyLock};

use super::{Headers, schema_id};
use crate::domain::{Command, CommandOutcome, Order, OrderId, StateEvent, Timestamp, TraceParent};

/// Bytes of what differs in most records' headers, and of the seal: less would be moved as they grow.
const ROOM: usize = 320;
const FORWARDED: &str = "/encargo/forward";

/// What we write as events of one type.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The format of the data.
    pub format: &'static str,
    /// Which role writes them.
    pub source: &'static str,
    /// What they are, with the version.
    pub name: &'static str,
}

const PLACED: Kind = Kind { format: "order", source: "/encargo/intake", name: "encargo.order.placed.v1" };
const ENTERED: Kind = Kind { format: "state", source: "/encargo/fulfilment", name: "encargo.order.state-entered.v2" };
const COMMAND: Kind = Kind { format: "command", source: "/encargo/tracking", name: "encargo.order.command.v1" };
const DECIDED: Kind =
    Kind { format: "outcome", source: "/encargo/fulfilment", name: "encargo.order.command-decided.v1" };

/// All that we write, in the order in which an order meets them.
pub const KINDS: [Kind; 4] = [PLACED, ENTERED, COMMAND, DECIDED];

static OF_PLACED: LazyLock<Headers> = LazyLock::new(|| PLACED.headers());
static OF_ENTERED: LazyLock<Headers> = LazyLock::new(|| ENTERED.headers());
static OF_FORWARDED: LazyLock<Headers> = LazyLock::new(|| Kind { source: FORWARDED, ..ENTERED }.headers());
static OF_COMMAND: LazyLock<Headers> = LazyLock::new(|| COMMAND.headers());
static OF_DECIDED: LazyLock<Headers> = LazyLock::new(|| DECIDED.headers());

/// The headers of a placed order; `ce_id` is its number.
pub fn order_headers(order: &Order) -> Headers {
    let mut headers = event(&OF_PLACED, &order.id, order.id, order.placed_at);
    push_trace(&mut headers, order.trace);
    headers
}

/// The headers of a state event; `ce_id` is the event's identity, `order.seq`.
pub fn event_headers(event: &StateEvent) -> Headers {
    of_state(&OF_ENTERED, event)
}

/// The headers of a state that is forwarded to old readers.
pub fn forwarded_headers(event: &StateEvent) -> Headers {
    of_state(&OF_FORWARDED, event)
}

/// Whether a record is a state that was forwarded to old readers, and so stands in our topic already.
pub fn is_forwarded(headers: &Headers) -> bool {
    headers.text("ce_source") == Some(FORWARDED)
}

/// The headers of a command that is sent at that time; `ce_id` is its id.
pub fn command_headers(command: &Command, at: Timestamp) -> Headers {
    event(&OF_COMMAND, &command.id.as_str(), command.order, at)
}

/// The headers of what became of a command; `ce_id` tells apart what became of each copy of it.
pub fn outcome_headers(outcome: &CommandOutcome) -> Headers {
    let id = outcome.command.as_str();
    match outcome.copy {
        Some(copy) => event(&OF_DECIDED, &format_args!("{id}.{copy}"), outcome.order, outcome.at),
        None => event(&OF_DECIDED, &id, outcome.order, outcome.at),
    }
}

/// The trace that a record tells: as a CloudEvent, or as any record does (W3C Trace Context).
pub(super) fn trace(headers: &Headers) -> Option<TraceParent> {
    let of = |name: &str| headers.text(name)?.parse().ok();
    of("ce_traceparent").or_else(|| of("traceparent"))
}

impl Kind {
    /// The headers that all of them have.
    fn headers(self) -> Headers {
        let schema = schema_id(self.format);
        Headers::from_iter([
            ("content-type", "application/json"),
            ("ce_specversion", "1.0"),
            ("ce_type", self.name),
            ("ce_source", self.source),
            ("ce_dataschema", &schema),
        ])
    }
}

fn of_state(of_all: &Headers, state: &StateEvent) -> Headers {
    let order = &state.order;
    let mut headers = event(of_all, &format_args!("{}.{}", order.id, state.seq), order.id, state.at);
    push_trace(&mut headers, order.trace);
    headers
}

fn event(of_all: &Headers, id: &dyn Display, order: OrderId, at: Timestamp) -> Headers {
    let mut headers = of_all.with_room(ROOM);
    headers.push_shown("ce_id", id);
    headers.push_shown("ce_time", &at);
    headers.push_shown("ce_subject", &order);
    headers.push_shown("ce_partitionkey", &order); // it is the record's key
    headers
}

/// Twice: instrumentation that knows nothing of CloudEvents reads the name without a prefix.
fn push_trace(headers: &mut Headers, trace: Option<TraceParent>) {
    if let Some(trace) = trace {
        headers.push_shown("ce_traceparent", &trace);
        headers.push_shown("traceparent", &trace);
    }
}
