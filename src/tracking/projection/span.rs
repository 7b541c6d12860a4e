//! How an order's event became visible, as a span of its trace.

use std::time::Duration;

use super::super::GROUP;
use crate::{
    domain::TraceParent,
    spans::{Kind, Span},
    store::orders::Incoming,
};

/// Of an event that was applied in a transaction with others.
pub(super) fn of(incoming: &Incoming, trace: TraceParent, begun: Duration, took: Duration) -> Span {
    let (event, record) = (&incoming.event, &incoming.letter.source);
    Span {
        id: trace.projection(event.order.id, event.seq),
        parent: Some(trace.event(event.order.id, event.seq)),
        kind: Kind::Consumer,
        name: format!("process {}", record.topic).into(),
        begun,
        took,
        attributes: vec![
            ("messaging.operation.type", "process".into()),
            ("messaging.operation.name", "process".into()),
            ("messaging.destination.name", record.topic.clone().into()),
            ("messaging.destination.partition.id", record.partition.to_string().into()),
            ("messaging.kafka.offset", record.offset.into()),
            ("messaging.consumer.group.name", GROUP.into()),
            ("encargo.order.id", event.order.id.get().into()),
            ("encargo.order.state", event.estado.to_string().into()),
        ],
        failure: None,
    }
}
