use std::sync::Mutex;

use axum::http::HeaderMap;

use crate::{domain::TraceParent, env::Random};

const TRACE_BYTES: usize = 24;
const TRACES: usize = 64;

/// The trace of a request: its own if it came with one, else a new one. Random bytes are fetched for many at a time,
/// since a system call for each would cost as much as the rest of the trace.
pub(super) struct Traces(Mutex<Pool>);

struct Pool {
    source: Random,
    random: [u8; TRACE_BYTES * TRACES],
    used: usize,
}

impl Traces {
    pub(super) fn new(source: Random) -> Self {
        Self(Mutex::new(Pool { source, random: [0; TRACE_BYTES * TRACES], used: TRACES }))
    }

    /// None only if the system has no random bytes; an order is not refused for that.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<TraceParent> {
        let given = headers.get("traceparent").and_then(|value| value.to_str().ok()?.parse().ok());
        given.or_else(|| self.fresh())
    }

    fn fresh(&self) -> Option<TraceParent> {
        let mut pool = self.0.lock().expect("nothing panics while it holds the pool");
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
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn takes_a_valid_trace_over_and_makes_new_ones_otherwise() {
        let traces = Traces::new(Random::system());
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
