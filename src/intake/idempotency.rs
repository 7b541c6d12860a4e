//! Orders with an `Idempotency-Key`: however often the request comes, there is one order.
//!
//! The key comes first: what was answered is answered again, whatever catalogue, settings and load are by now. Else
//! reserve the key with the order's whole record (durable) → append → confirm. Whoever finds a reservation that its
//! owner left behind takes it over and appends the same bytes under the same id, which fulfilment ignores when they
//! are there already.

use std::sync::Arc;

use axum::http::HeaderMap;
use prometheus_client::metrics::counter::Counter;

use super::place::{OrderRequest, OrderService, Placed, Refusal};
use crate::{
    domain::{OrderId, TraceParent, wire},
    store::keys::{Reservation, Reserved},
    web::Problem,
};

const KEY_LENGTH_MAX: usize = 255;
/// Orders that are being placed under a key; more are refused. Those whose client is gone go on, so the listener's own
/// bound does not hold them.
pub(super) const PLACING_MAX: usize = 4_096;

/// The client's key, if it sent one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const RULE: &str = "Idempotency-Key: must be given once, with 1 to 255 visible ASCII characters";
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let is_valid = (1..=KEY_LENGTH_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    if !is_valid || values.next().is_some() {
        return Err(Problem::malformed(RULE));
    }
    Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
}

/// A client's key with the hash of what it asks for.
#[derive(Debug, Clone)]
pub(super) struct Once {
    pub(super) key: String,
    pub(super) request: u64,
    /// Counts the order when it is placed, and none of the answers that repeat it.
    pub(super) accepted: Counter,
}

impl OrderService {
    /// The answer that a key has already; nothing when it is new.
    pub(super) async fn earlier(
        self: &Arc<Self>,
        once: &Once,
        trace: Option<TraceParent>,
    ) -> Result<Option<Placed>, Refusal> {
        let Once { key, request, .. } = once;
        let held = self.store.held(key, *request, self.clock.now()).await.map_err(|error| self.key_error(&error))?;
        if matches!(held, None | Some(Reserved::Done { .. } | Reserved::Mismatch { is_done: true })) {
            return held.map(answer).transpose();
        }
        // it may be placed by now: that is noted a moment after it was answered
        let (this, once) = (self.clone(), once.clone());
        self.detached(async move {
            let at = this.clock.now();
            let resumed = this.store.resume(&once.key, once.request, at, at + this.reservation).await;
            match resumed.map_err(|error| this.key_error(&error))? {
                Some(reserved) => this.settle(&once, reserved, trace).await.map(Some),
                None => Ok(None),
            }
        })
        .await
    }

    /// Places an order unless the key stands for one already.
    pub(super) async fn place_once(self: Arc<Self>, once: Once, request: OrderRequest) -> Result<Placed, Refusal> {
        let this = self.clone();
        self.detached(async move { this.reserve(once, request).await }).await
    }

    async fn reserve(&self, once: Once, request: OrderRequest) -> Result<Placed, Refusal> {
        let trace = request.trace;
        let fresh = self.ids.take().await.map_err(|error| self.id_error(&error))?;
        let order = self.order(fresh, request);
        let at = self.clock.now();
        let reservation = Reservation {
            key: once.key.clone(),
            request: once.request,
            order: fresh,
            value: wire::encode_order(&order),
            track: self.tracking_url.clone(),
            at,
            until: at + self.reservation,
        };
        // after an error nobody knows whether the id is stored with the key, so it is not used again
        let reserved = self.store.reserve(reservation).await.map_err(|error| self.key_error(&error))?;
        if !matches!(reserved, Reserved::Run { again: false, .. }) {
            self.ids.put_back(fresh);
        }
        self.settle(&once, reserved, trace).await
    }

    /// Does what a reservation wants, if it wants anything.
    async fn settle(&self, once: &Once, reserved: Reserved, trace: Option<TraceParent>) -> Result<Placed, Refusal> {
        let Reserved::Run { order: id, value, track, again } = reserved else { return answer(reserved) };
        let key = &once.key;
        let is_there = again && self.is_known(id).await?;
        if !is_there {
            self.append_reserved(key, value, trace).await?;
        }
        once.accepted.inc();
        self.confirm(key, id).await;
        Ok(Placed { id, track })
    }

    /// Goes on when its client is gone, so that the retry finds a result and not a reservation.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = self.placing.clone().try_acquire_owned().map_err(|_| Refusal::Overloaded)?;
        let task = tokio::spawn(async move {
            let _place = place;
            work.await
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "placing an order with an idempotency key failed");
            Err(Refusal::Internal)
        })
    }

    pub(super) async fn is_known(&self, id: OrderId) -> Result<bool, Refusal> {
        let order = self.store.order(id).await.map_err(|error| self.key_error(&error))?;
        Ok(order.is_some())
    }

    /// Appends what was reserved; lets go of the key if that was certainly refused.
    async fn append_reserved(&self, key: &str, value: Vec<u8>, trace: Option<TraceParent>) -> Result<(), Refusal> {
        let mut order = wire::decode_order(&value, &wire::Headers::default(), self.clock.now()).map_err(|error| {
            tracing::error!(%error, "a reserved order cannot be read");
            Refusal::Internal
        })?;
        order.trace = trace;
        let result = self.append(&order, value).await;
        if let Err(Refusal::Overloaded | Refusal::Unavailable) = result
            && let Err(error) = self.store.release(key).await
        {
            self.key_error(&error); // told; the key is free when the reservation is over
        }
        result
    }

    /// The order is durable whatever happens here; without the note, a retry takes the reservation over.
    async fn confirm(&self, key: &str, id: OrderId) {
        if let Err(error) = self.store.confirm(key).await {
            tracing::warn!(order.id = %id, %error, "cannot note that an order with an idempotency key is placed");
        }
    }
}

/// What a key stands for that nothing has to be done for.
fn answer(reserved: Reserved) -> Result<Placed, Refusal> {
    match reserved {
        Reserved::Done { order: id, track } => Ok(Placed { id, track }),
        Reserved::Running | Reserved::Run { .. } => Err(Refusal::Running),
        Reserved::Mismatch { is_done } => Err(Refusal::Mismatch { is_placed: is_done }),
    }
}

/// A hash of what the client asked for, in its own words, the same for ever (FNV-1a). Not of the bytes: a client may
/// write the same request with other spaces. Not of what the words mean: the catalogue may change between two tries.
pub(super) fn hash(product: &str, email: &str, lang: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for field in [product, email, lang] {
        // 0xff never occurs in UTF-8, so it separates the fields
        for byte in field.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_visible_and_alone() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", value.parse().unwrap());
            }
            headers
        };
        assert_eq!(key(&headers(&[])), Ok(None));
        for good in ["a", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &"k".repeat(255)] {
            assert_eq!(key(&headers(&[good])), Ok(Some(good.to_owned())));
        }
        for bad in [&[""][..], &["a b"], &["ñ"], &[&"k".repeat(256)], &["a", "a"]] {
            assert!(key(&headers(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_hash_sees_what_was_asked_for_and_no_more() {
        let first = hash("10", "ana@example.org", "");
        assert_eq!(first, 0x5378_8484_69a0_ec59, "stored hashes must stay valid over versions");
        for (product, email, lang) in
            [("1", "0ana@example.org", ""), ("10", "eva@example.org", ""), ("10", "ana@example.org", "es")]
        {
            assert_ne!(first, hash(product, email, lang));
        }
    }
}
