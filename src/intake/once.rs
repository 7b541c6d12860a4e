//! Orders with an `Idempotency-Key`: however often the request comes, there is one order.
//!
//! Reserve the key with the order's whole record (durable) → append → confirm. Whoever finds a reservation that its
//! owner left behind takes it over and appends the same bytes under the same id, which fulfilment ignores when they
//! are there already.

use std::sync::Arc;

use axum::http::HeaderMap;

use super::place::{Desk, Refusal, Wish};
use crate::{
    domain::{Lang, OrderId, TraceParent, wire},
    store::keys::{Reservation, Reserved},
    web::Problem,
};

const KEY_LENGTH_MAX: usize = 255;

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

impl Desk {
    /// Places an order unless the key stands for one already. Goes on when its client is gone, so that the retry finds
    /// a result and not a reservation.
    pub(super) async fn place_once(self: Arc<Self>, key: String, wish: Wish) -> Result<OrderId, Refusal> {
        match tokio::spawn(async move { self.run_once(key, wish).await }).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "placing an order with an idempotency key failed");
                Err(Refusal::Internal)
            }
        }
    }

    async fn run_once(&self, key: String, wish: Wish) -> Result<OrderId, Refusal> {
        let (request, trace) = (hash(&wish), wish.trace);
        let fresh = self.ids.take().await.map_err(|error| self.no_id(&error))?;
        let order = self.order(fresh, wish);
        let at = self.clock.now();
        let reservation = Reservation {
            key: key.clone(),
            request,
            order: fresh,
            value: wire::encode_order(&order),
            at,
            until: at + self.reservation,
        };
        // after an error nobody knows whether the id is stored with the key, so it is not used again
        let reserved = self.store.reserve(reservation).await.map_err(|error| self.no_key(&error))?;
        if !matches!(reserved, Reserved::Run { again: false, .. }) {
            self.ids.give_back(fresh);
        }
        match reserved {
            Reserved::Done(id) => Ok(id),
            Reserved::Running => Err(Refusal::Running),
            Reserved::Mismatch => Err(Refusal::Mismatch),
            Reserved::Run { order: id, value, again } => {
                let is_there = again && self.is_known(id).await?;
                if !is_there {
                    self.append_reserved(&key, value, trace).await?;
                }
                self.metrics.accepted_by_json.inc(); // here, so that a repeated answer does not count
                self.confirm(&key, id).await;
                Ok(id)
            }
        }
    }

    async fn is_known(&self, id: OrderId) -> Result<bool, Refusal> {
        let order = self.store.order(id).await.map_err(|error| self.no_key(&error))?;
        Ok(order.is_some())
    }

    /// Appends what was reserved; lets go of the key if that was certainly refused.
    async fn append_reserved(&self, key: &str, value: Vec<u8>, trace: Option<TraceParent>) -> Result<(), Refusal> {
        let mut order = wire::decode_order(&value, &Vec::new(), self.clock.now()).map_err(|error| {
            tracing::error!(%error, "a reserved order cannot be read");
            Refusal::Internal
        })?;
        order.trace = trace;
        let result = self.append(&order, value).await;
        if let Err(Refusal::Overloaded | Refusal::Unavailable) = result
            && let Err(error) = self.store.release(key).await
        {
            self.no_key(&error); // told; the key is free when the reservation is over
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

/// A hash of what the client asked for, the same for ever (FNV-1a). Not of the bytes: a client may write the same
/// request with other spaces. Not of name and price: the catalogue may change between two tries.
fn hash(wish: &Wish) -> u64 {
    let lang = wish.lang.map_or("", Lang::code);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for field in [&wish.product.id, wish.email.as_str(), lang] {
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
    use crate::domain::Product;

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
        let wish = |id: &str, price: &str, email: &str, lang| Wish {
            product: Product::new(id, "Lápiz", price).unwrap(),
            email: email.parse().unwrap(),
            lang,
            trace: None,
        };
        let first = hash(&wish("10", "1", "ana@example.org", None));
        assert_eq!(first, 0x5378_8484_69a0_ec59, "stored hashes must stay valid over versions");
        assert_eq!(first, hash(&wish("10", "2", "ana@example.org", None)));
        for other in [
            wish("1", "1", "0ana@example.org", None),
            wish("10", "1", "eva@example.org", None),
            wish("10", "1", "ana@example.org", Some(Lang::Es)),
        ] {
            assert_ne!(first, hash(&other));
        }
    }
}
