//! Our spans as OpenTelemetry's.

use std::time::UNIX_EPOCH;

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{SpanData, SpanEvents, SpanLinks},
};

use crate::{
    domain::TraceParent,
    spans::{Kind, Options, Span, Value},
};

/// Who made the spans, as the environment completes and corrects it.
pub(super) fn resource(options: &Options) -> Resource {
    let ours = Resource::builder_empty().with_service_name(options.service.clone()).with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", options.instance.clone()),
    ]);
    let given = ours.with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => given.with_service_name(name).build(),
        _ => given.build(),
    }
}

/// What all spans have in common.
pub(super) struct Converter {
    scope: InstrumentationScope,
    log: &'static str,
}

impl Converter {
    pub(super) fn new(log: &'static str) -> Self {
        let scope = InstrumentationScope::builder("encargo").with_version(env!("CARGO_PKG_VERSION"));
        Self { scope: scope.build(), log }
    }

    pub(super) fn span(&self, trace: TraceParent, span: &Span) -> SpanData {
        let of = |id| {
            let trace_id = TraceId::from_bytes(trace.trace());
            SpanContext::new(trace_id, SpanId::from_bytes(id), TraceFlags::SAMPLED, false, TraceState::NONE)
        };
        let mut attributes: Vec<_> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
        if matches!(span.kind, Kind::Producer | Kind::Consumer) {
            attributes.push(KeyValue::new("messaging.system", self.log));
        }
        let failure = span.failure.clone();
        attributes.extend(failure.clone().map(|failure| KeyValue::new("error.type", failure)));
        let begun = UNIX_EPOCH + span.begun;
        SpanData {
            span_context: of(span.id),
            parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: kind(span.kind),
            name: span.name.clone(),
            start_time: begun,
            end_time: begun + span.took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: failure.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        }
    }
}

const fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Server => SpanKind::Server,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
        Kind::Client => SpanKind::Client,
        Kind::Internal => SpanKind::Internal,
    }
}

fn attribute(name: &'static str, value: &Value) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text.clone()),
        Value::Number(number) => KeyValue::new(name, *number),
        Value::Fraction(number) => KeyValue::new(name, *number),
    }
}
