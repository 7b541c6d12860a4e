//! What a collector of traces gets, read as OpenTelemetry's own types read it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::span::SpanKind,
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinHandle};

use super::eventually;

/// A span that arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    pub service: String,
    pub trace: String,
    pub id: String,
    /// Empty where a trace begins.
    pub parent: String,
    pub kind: SpanKind,
    pub name: String,
    pub begun_ns: u64,
    pub ended_ns: u64,
    pub attributes: BTreeMap<String, String>,
    /// Whether it is marked as failed.
    pub failed: bool,
}

/// A collector; ended when dropped.
pub struct Collector {
    pub url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    arrived: Mutex<Vec<Arrived>>,
    /// What is answered next, last first; afterwards all is well.
    answers: Mutex<Vec<StatusCode>>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0", &[]).await
    }

    /// One that first gives these answers.
    pub async fn start_at(address: &str, answers: &[StatusCode]) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let answers = Mutex::new(answers.iter().rev().copied().collect());
        let shared = Arc::new(Shared { answers, ..Shared::default() });
        let router = Router::new().route("/v1/traces", post(take)).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, shared, server }
    }

    /// What has arrived, in the order in which it began.
    pub fn arrived(&self) -> Vec<Arrived> {
        let mut arrived = self.shared.arrived.lock().unwrap().clone();
        arrived.sort_by_key(|span| span.begun_ns);
        arrived
    }

    /// The same, once there are so many.
    pub async fn spans(&self, count: usize) -> Vec<Arrived> {
        eventually(&format!("{count} spans"), async || {
            let arrived = self.arrived();
            let names = || arrived.iter().map(|span| span.name.as_str()).collect::<Vec<_>>();
            if arrived.len() >= count { Ok(arrived.clone()) } else { Err(format!("{:?}", names())) }
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    assert_eq!(headers[CONTENT_TYPE], "application/x-protobuf");
    if let Some(answer) = shared.answers.lock().unwrap().pop() {
        return (answer, Vec::new());
    }
    let request = ExportTraceServiceRequest::decode(body).expect("Protobuf");
    let mut arrived = shared.arrived.lock().unwrap();
    for resource in request.resource_spans {
        let of = fields(resource.resource.expect("who sends is told").attributes);
        assert!(of.contains_key("service.version") && of.contains_key("telemetry.sdk.name"), "{of:?}");
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            arrived.push(Arrived {
                service: of["service.name"].clone(),
                kind: span.kind(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                begun_ns: span.start_time_unix_nano,
                ended_ns: span.end_time_unix_nano,
                attributes: fields(span.attributes),
                failed: span.status.is_some_and(|status| status.code == 2),
            });
        }
    }
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}

fn fields(fields: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    fields.into_iter().map(|field| (field.key, text(field.value.and_then(|any| any.value).expect("a value")))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes text");
        text
    })
}
