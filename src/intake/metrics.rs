use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Bounds in seconds: from one write of the log to the request's time limit.
const SECONDS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Via {
    via: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The intake in numbers. What a request counts is looked up once here, not for each request.
#[derive(Clone)]
pub(super) struct Metrics {
    /// Orders placed by the form of the old service.
    pub(super) accepted_by_form: Counter,
    /// Orders placed by JSON; an answer that an idempotency key repeats counts once.
    pub(super) accepted_by_json: Counter,
    /// Orders placed by the shop's pages; one whose form was sent twice counts once.
    pub(super) accepted_by_page: Counter,
    /// Requests that no server could have accepted.
    pub(super) refused_invalid: Counter,
    /// Requests whose idempotency key belongs to another one, or to one that still runs.
    pub(super) refused_conflict: Counter,
    /// Requests refused to keep what is accepted in time.
    pub(super) refused_overloaded: Counter,
    /// Requests refused since there were too many for their address or from their client.
    pub(super) refused_limited: Counter,
    /// Requests refused because log or store could not write.
    pub(super) refused_unavailable: Counter,
    /// Requests that ended without anyone knowing whether their order is in the log.
    pub(super) refused_unconfirmed: Counter,
    /// Time from a whole request to its answer, for requests that place orders.
    pub(super) seconds: Histogram,
    /// Records that the slowest of the watched consumer groups has still to read.
    pub(super) backlog: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let accepted = Family::<Via, Counter>::default();
        let refused = Family::<Reason, Counter>::default();
        let seconds = Histogram::new(SECONDS);
        let backlog = Gauge::default();
        registry.register("encargo_orders_accepted", "Orders that are durable in the log", accepted.clone());
        registry.register("encargo_orders_refused", "Requests for orders that were refused", refused.clone());
        registry.register("encargo_intake_request_seconds", "Time to answer requests for orders", seconds.clone());
        registry.register("encargo_intake_backlog_records", "Records behind which admission looks", backlog.clone());
        let accepted = |via| accepted.get_or_create(&Via { via }).clone();
        let refused = |reason| refused.get_or_create(&Reason { reason }).clone();
        Self {
            accepted_by_form: accepted("form"),
            accepted_by_json: accepted("json"),
            accepted_by_page: accepted("page"),
            refused_invalid: refused("invalid"),
            refused_conflict: refused("conflict"),
            refused_overloaded: refused("overloaded"),
            refused_limited: refused("limited"),
            refused_unavailable: refused("unavailable"),
            refused_unconfirmed: refused("unconfirmed"),
            seconds,
            backlog,
        }
    }
}
