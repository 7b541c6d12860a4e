use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{
    admission::Admission,
    ids::{self, Ids},
    metrics::Metrics,
    rates::Rates,
    shares::Queue,
    trace::{Traces, appended},
};
use crate::{
    catalog::Catalog,
    clock::Clock,
    domain::{EmailAddress, HandleKey, Lang, Order, OrderId, Product, TraceParent, wire},
    env::Random,
    eventlog::{self, EventLog, NewRecord},
    store::{self, Store},
    telemetry::ThrottledLog,
    web,
};

/// Everything that a request needs to place an order.
pub(super) struct OrderService {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) store: Arc<dyn Store>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) clock: Clock,
    /// What is no part of an order is paced by this.
    pub(super) pace: Clock,
    pub(super) handles: HandleKey,
    pub(super) ids: Ids,
    pub(super) metrics: Metrics,
    pub(super) admission: Arc<Admission>,
    pub(super) rates: Rates,
    pub(super) placing: Arc<Semaphore>,
    pub(super) traces: Traces,
    pub(super) random: Random,
    pub(super) failures: ThrottledLog,
    pub(super) orders_topic: String,
    pub(super) ids_topic: String,
    pub(super) usermail: EmailAddress,
    pub(super) tracking_url: String,
    pub(super) reservation: Duration,
}

/// A valid request for an order that has no number yet.
pub(super) struct OrderRequest {
    pub(super) product: Product,
    pub(super) email: EmailAddress,
    pub(super) lang: Option<Lang>,
    pub(super) trace: Option<TraceParent>,
}

/// An order that is durable.
pub(super) struct Placed {
    pub(super) id: OrderId,
    /// Where tracking is, as its first answer said; unknown where that was long ago.
    pub(super) track: Option<String>,
}

/// Why there is no acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too much to do; there is no order.
    Overloaded,
    /// Too much waits; there is no order.
    Full(Queue),
    /// As much of what waits is this client's as may be; there is no order.
    Share(Queue),
    /// Too many orders for this address or from this client, for that many seconds; there is no order.
    TooMany(u32),
    /// Log or store cannot write now; there is no order.
    Unavailable,
    /// The log did not answer in time: there may be an order or not.
    Unconfirmed,
    /// A request with the same idempotency key still runs.
    Running,
    /// The idempotency key belongs to another request.
    Mismatch {
        /// Whether that one's order is known to be placed.
        is_placed: bool,
    },
    /// It will not get better by itself.
    Internal,
}

impl OrderService {
    /// Whether an order may be taken now: what is refused here has cost nothing yet.
    pub(super) fn admit(&self, client: Option<IpAddr>, email: &EmailAddress) -> Result<(), Refusal> {
        let network = client.map(web::network);
        self.admission.open(network).map_err(Refusal::Full)?;
        if let Some(network) = network {
            self.admission.share(network).map_err(Refusal::Share)?;
        }
        // nobody chose the address of the old form, so nobody is written to against his will
        let email = Some(email).filter(|email| **email != self.usermail);
        self.rates.take(self.clock.monotonic(), client, email).map_err(Refusal::TooMany)?;
        self.admission.count(network);
        Ok(())
    }

    /// Where an order is followed: the same address whenever it is asked for.
    pub(super) fn address_of(&self, placed: &Placed) -> String {
        let tracking = placed.track.as_ref().unwrap_or(&self.tracking_url);
        format!("{tracking}/track/{}", self.handles.seal(placed.id))
    }

    /// Places an order and returns once it is durable.
    pub(super) async fn place(&self, request: OrderRequest) -> Result<OrderId, Refusal> {
        let id = self.ids.take().await.map_err(|error| self.id_error(&error))?;
        let order = self.order(id, request);
        self.append(&order, wire::encode_order(&order)).await?;
        Ok(id)
    }

    pub(super) fn order(&self, id: OrderId, request: OrderRequest) -> Order {
        let OrderRequest { product, email, lang, trace } = request;
        let handle = Some(self.handles.seal(id));
        Order { id, product, email, lang, placed_at: self.clock.now(), handle, trace }
    }

    /// Appends an order as `value`.
    pub(super) async fn append(&self, order: &Order, value: Vec<u8>) -> Result<(), Refusal> {
        let record = NewRecord {
            topic: self.orders_topic.clone(),
            partition: None,
            key: Some(wire::key(order.id)),
            value,
            headers: wire::order_headers(order),
            at: self.clock.now(),
        };
        #[cfg(debug_assertions)]
        if crate::flaws::loses(order.id.get()) {
            return Ok(());
        }
        let (begun, start) = (self.clock.exactly(), self.clock.monotonic());
        match self.log.append(vec![record]).await {
            Ok(positions) => {
                let took = || self.clock.monotonic().saturating_sub(start);
                self.traces.spans.add(order.trace, |trace| {
                    appended(&self.orders_topic, order.id, trace, positions.first(), begun, took())
                });
                let trace_id = || order.trace.map(TraceParent::trace_id);
                tracing::debug!(order.id = %order.id, trace_id = trace_id(), "order accepted");
                Ok(())
            }
            Err(eventlog::Error::Overloaded(_)) => Err(Refusal::Overloaded),
            Err(error) => {
                self.failures
                    .warn(&self.clock, |more| tracing::warn!(%error, more_before = more, "cannot append an order"));
                Err(match error {
                    eventlog::Error::Unavailable(_) => Refusal::Unavailable,
                    eventlog::Error::Unconfirmed(_) => Refusal::Unconfirmed,
                    _ => Refusal::Internal,
                })
            }
        }
    }

    pub(super) fn id_error(&self, error: &ids::Error) -> Refusal {
        match error {
            ids::Error::Overloaded => Refusal::Overloaded,
            ids::Error::Unavailable(_) | ids::Error::Stopping => {
                self.failures
                    .warn(&self.clock, |more| tracing::warn!(%error, more_before = more, "cannot get an order id"));
                Refusal::Unavailable
            }
        }
    }

    pub(super) fn key_error(&self, error: &store::Error) -> Refusal {
        if let store::Error::Overloaded(_) = error {
            return Refusal::Overloaded;
        }
        self.failures
            .warn(&self.clock, |more| tracing::warn!(%error, more_before = more, "cannot use an idempotency key"));
        match error {
            store::Error::Unavailable(_) => Refusal::Unavailable,
            _ => Refusal::Internal,
        }
    }

    /// Counts a refusal by its reason.
    pub(super) fn count(&self, refusal: Refusal) {
        let metrics = &self.metrics;
        let counter = match refusal {
            Refusal::Overloaded | Refusal::Full(_) => &metrics.refused_overloaded,
            Refusal::TooMany(_) | Refusal::Share(_) => &metrics.refused_limited,
            Refusal::Unavailable | Refusal::Internal => &metrics.refused_unavailable,
            Refusal::Unconfirmed => &metrics.refused_unconfirmed,
            Refusal::Running | Refusal::Mismatch { .. } => &metrics.refused_conflict,
        };
        counter.inc();
    }
}
