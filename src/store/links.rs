//! The mail with the link to an order, for whoever has lost it.
//!
//! It is a mail of the ledger like any other, under the number 0, which no event has. It waits for no other mail of its order
//! and none waits for it, and the end of the order does not drop it. There is at most one of an order: who asks again asks for
//! the same row.

use async_trait::async_trait;

use super::{Result, ledger::MailId};
use crate::domain::{EmailAddress, OrderId, Timestamp};

/// What stands in the place of a state, and the name of the template.
pub const LINK: &str = "enlace";

/// Somebody asks for the link to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRequest {
    /// The number that they gave.
    pub order: OrderId,
    /// The address that they gave.
    pub email: EmailAddress,
    /// When they ask.
    pub at: Timestamp,
    /// No mail is made if the last one was asked for after then.
    pub unless_since: Timestamp,
}

impl MailId {
    /// The mail with the link to an order.
    pub const fn link(order: OrderId) -> Self {
        Self { order, seq: 0 }
    }

    /// Whether it is the mail with the link, and not about an event.
    pub const fn is_link(self) -> bool {
        self.seq == 0
    }
}

/// What tracking has of the ledger.
#[async_trait]
pub trait Links: Send + Sync {
    /// Makes the mail with the link to an order, if the order is there and its mails go to that address (ASCII letters in either
    /// case), unless there is one that is not settled or was asked for too recently. Returns whether it was made.
    async fn ask_link(&self, request: LinkRequest) -> Result<bool>;
}
