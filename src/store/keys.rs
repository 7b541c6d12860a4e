//! Idempotency keys of clients, and the deployment's secrets.

use async_trait::async_trait;

use super::Result;
use crate::domain::{OrderId, Timestamp};

/// A request that carries an idempotency key, before its order is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The client's key.
    pub key: String,
    /// A hash of the request: the same key with another request is refused.
    pub request: u64,
    /// The id that the order will have.
    pub order: OrderId,
    /// The whole `compra_detalle` value, so that a retry after a crash appends the same bytes whatever the catalogue
    /// says by then.
    pub value: Vec<u8>,
    /// Where tracking is, as the answer will say: a repeated answer says the same, whatever the settings say by then.
    pub track: String,
    /// Now.
    pub at: Timestamp,
    /// Until then nobody else takes the reservation over.
    pub until: Timestamp,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// New, or taken over from one who gave up: append this order, then [`Keys::confirm`]. After a takeover `order`
    /// and `value` are the earlier ones, and the order may be in the log already.
    Run {
        /// The order's id.
        order: OrderId,
        /// The record's value.
        value: Vec<u8>,
        /// Where tracking is, as the first request was going to say; unknown of keys that an older version reserved.
        track: Option<String>,
        /// Whether an earlier request got this far.
        again: bool,
    },
    /// Done: the answer is about this order.
    Done {
        /// The order's id.
        order: OrderId,
        /// Where tracking is, as the first answer said; unknown of keys that an older version reserved.
        track: Option<String>,
    },
    /// An earlier request with this key still runs.
    Running,
    /// The key belongs to another request.
    Mismatch {
        /// Whether that one is done.
        is_done: bool,
    },
}

/// The intake's side of the store.
#[async_trait]
pub trait Keys: Send + Sync {
    /// What a key stands for, without taking anything; `Run` when [`Keys::resume`] may take it over, `None` when it is new.
    async fn held(&self, key: &str, request: u64, at: Timestamp) -> Result<Option<Reserved>>;

    /// Takes a reservation over that its owner left behind, until then; otherwise says what the key stands for, or that
    /// it is new.
    async fn resume(&self, key: &str, request: u64, at: Timestamp, until: Timestamp) -> Result<Option<Reserved>>;

    /// Reserves a key, or says what it stands for already.
    async fn reserve(&self, reservation: Reservation) -> Result<Reserved>;

    /// Notes that the order of a key is durable in the log. [`Keys::resume`] finds it noted from now on; [`Keys::held`], and
    /// whoever comes after a crash, may find the reservation for a moment longer.
    async fn confirm(&self, key: &str) -> Result<()>;

    /// Lets go of a reservation whose order was *certainly* not appended by this request; a retry then runs at once.
    /// After a takeover the key keeps its order and value, for an earlier request may have appended it.
    async fn release(&self, key: &str) -> Result<()>;

    /// The secret of that name; `fresh` becomes it when there is none yet.
    async fn secret(&self, name: &str, fresh: [u8; 16]) -> Result<[u8; 16]>;
}
