//! What happened to an order as a span of its trace.

use std::time::Duration;

use super::Now;
use crate::{
    domain::{Cause, StateEvent, TraceParent},
    spans::{Kind, Span},
};

/// From when the event was due, or was decided, until it is durable.
pub(super) fn of(event: &StateEvent, trace: TraceParent, late: Option<Duration>, now: Now) -> Span {
    let took = late.unwrap_or_else(|| now.wall.since(event.at));
    // what came by a record is the end of its way; a timer is our own
    let (kind, cause) = match event.cause {
        Cause::Placed => (Kind::Consumer, "placed"),
        Cause::Command { .. } => (Kind::Consumer, "command"),
        Cause::Timer => (Kind::Internal, "timer"),
    };
    let mut attributes = vec![
        ("encargo.order.id", event.order.id.get().into()),
        ("encargo.order.state", event.estado.to_string().into()),
        ("encargo.order.seq", u32::from(event.seq).into()),
        ("encargo.cause", cause.into()),
    ];
    if kind == Kind::Consumer {
        attributes.push(("messaging.operation.type", "process".into()));
        attributes.push(("messaging.operation.name", "process".into()));
    }
    attributes.extend(event.flow.as_ref().map(|flow| ("encargo.flow", flow.to_string().into())));
    attributes.extend(late.map(|late| ("encargo.late_ms", (late.as_secs_f64() * 1e3).into())));
    Span {
        id: trace.event(event.order.id, event.seq),
        parent: Some(trace.span()),
        kind,
        name: format!("{} {}", event.change.name(), event.estado).into(),
        begun: Duration::from_millis(now.wall.as_millis() as u64).saturating_sub(took),
        took,
        attributes,
        failure: None,
    }
}
