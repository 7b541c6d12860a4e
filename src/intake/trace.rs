use std::{sync::Mutex, time::Duration};

use axum::http::HeaderMap;

use crate::{
    domain::{OrderId, TraceParent},
    env::Random,
    eventlog::Position,
    spans::{Kind, Span, Spans},
};

pub(super) const HEADER: &str = "traceparent";
const TRACE_BYTES: usize = 24;
const TRACES: usize = 64;

/// The trace of a request: its own if it came with one, else a new one. Random bytes are fetched for many at a time,
/// since a system call for each would cost as much as the rest of the trace.
pub(super) struct Traces {
    pool: Mutex<Pool>,
    /// Where spans of requests and appends go.
    pub(super) spans: Spans,
}

struct Pool {
    source: Random,
    random: [u8; TRACE_BYTES * TRACES],
    used: usize,
}

impl Traces {
    pub(super) fn new(source: Random, spans: Spans) -> Self {
        let pool = Pool { source, random: [0; TRACE_BYTES * TRACES], used: TRACES };
        Self { pool: Mutex::new(pool), spans }
    }

    /// None only if the system has no random bytes; an order is not refused for that.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<TraceParent> {
        given(headers).or_else(|| self.fresh())
    }

    fn fresh(&self) -> Option<TraceParent> {
        let mut pool = self.pool.lock().expect("nothing panics while it holds the pool");
        if pool.used == TRACES {
            let Pool { source, random, .. } = &mut *pool;
            source.fill(random).ok()?;
            pool.used = 0;
        }
        let (traces, _) = pool.random.as_chunks::<TRACE_BYTES>();
        let trace = TraceParent::from_random(traces[pool.used]);
        pool.used += 1;
        Some(trace)
    }

    /// The trace as what the order leaves behind has it, when spans are exported: under a span of our own, which is the append's. One
    /// that nobody keeps goes on as it came.
    pub(super) fn own(&self, given: Option<TraceParent>) -> Option<TraceParent> {
        match given {
            Some(trace) if trace.is_sampled() => Some(trace.under(self.spans.id())),
            Some(trace) => Some(trace),
            None => self.fresh().map(|trace| self.spans.sampled(trace)),
        }
    }
}

/// That with which a request came.
pub(super) fn given(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(HEADER).and_then(|value| value.to_str().ok()?.parse().ok())
}

/// Putting an order into the log: everything that follows belongs under this.
pub(super) fn appended(
    topic: &str,
    order: OrderId,
    trace: TraceParent,
    position: Option<&Position>,
    begun: Duration,
    took: Duration,
) -> Span {
    let mut attributes = vec![
        ("messaging.operation.type", "send".into()),
        ("messaging.operation.name", "send".into()),
        ("messaging.destination.name", topic.to_owned().into()),
        ("encargo.order.id", order.get().into()),
    ];
    if let Some(Position { partition, offset, .. }) = position {
        attributes.push(("messaging.destination.partition.id", partition.to_string().into()));
        attributes.push(("messaging.kafka.offset", (*offset).into()));
    }
    Span {
        id: trace.span(),
        parent: Some(trace.request()),
        kind: Kind::Producer,
        name: format!("send {topic}").into(),
        begun,
        took,
        attributes,
        failure: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn takes_a_valid_trace_over_and_makes_new_ones_otherwise() {
        let traces = Traces::new(Random::system(), Spans::default());
        let mut headers = HeaderMap::new();
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", given.parse().unwrap());
        assert_eq!(traces.of(&headers).unwrap().to_string(), given);
        headers.insert("traceparent", "00-nonsense".parse().unwrap());
        // over more than one fill
        let fresh: HashSet<String> = (0..200).map(|_| traces.of(&headers).unwrap().to_string()).collect();
        assert_eq!(fresh.len(), 200);
    }
}
