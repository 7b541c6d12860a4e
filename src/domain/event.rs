use std::sync::Arc;

use super::{Order, Timestamp};

/// An order entered a state. Its identity is (order id, seq); a reader accepts seq = last + 1 and ignores seq ≤ last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEvent {
    /// The order, whole: every event can be read without the others.
    pub order: Box<Order>,
    /// The state's name.
    pub estado: Arc<str>,
    /// The state's place in the flow, counted from 1; `None` on records of the old services.
    pub seq: Option<u8>,
    /// When the order entered the state; on records of the old services, the time of the record.
    pub at: Timestamp,
    /// When the next state is due; `None` on the last one and on records of the old services.
    pub next_at: Option<Timestamp>,
}
