//! The store: the read model of orders, the mail ledger, dead letters, idempotency keys, and the projection's own
//! offsets, changed together in one transaction.
//!
//! One trait per user of it; a back end implements all nine. Every call is one transaction, durable when it returns.

use async_trait::async_trait;

use crate::domain::Timestamp;

pub mod capacities;
mod columns;
pub mod dead;
pub mod handover;
pub mod keys;
pub mod ledger;
pub mod links;
pub mod mails;
pub mod marks;
pub mod memory;
pub mod orders;
pub mod overview;
pub mod postgres;
pub mod sqlite;

pub use capacities::Capacities;
pub use dead::DeadLetters;
pub use handover::Handover;
pub use keys::Keys;
pub use ledger::Ledger;
pub use links::Links;
pub use mails::Mails;
pub use marks::Marks;
pub use orders::Orders;
pub use overview::Overview;

/// What can go wrong with the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Too much waits to be written already: nothing was written.
    #[error("the store is overloaded: {0} writes wait")]
    Overloaded(usize),
    /// Not possible now (disk full, database away): nothing was written, trying again can succeed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Another instance has moved the offsets on: nothing was written, start again from [`Orders::offsets`].
    #[error("another instance has projected {0} already")]
    Fenced(String),
    /// It will not get better by itself.
    #[error("{0}")]
    Fatal(String),
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;

/// What is past its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Idempotency keys reserved before then, and outcomes of commands that were decided before then.
    pub keys: Timestamp,
    /// Ledger rows that were sent or dropped, with the last attempt before then. The history of the order keeps the
    /// state, its time and the mail's status; reply, attempts and their times go.
    pub mails: Timestamp,
    /// Counts of the orders of minutes before then.
    pub minutes: Timestamp,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Idempotency keys.
    pub keys: u64,
    /// Outcomes of commands.
    pub outcomes: u64,
    /// Ledger rows that were compacted.
    pub mails: u64,
}

/// A store.
#[async_trait]
pub trait Store: Orders + Ledger + Links + Mails + DeadLetters + Keys + Marks + Overview + Capacities {
    /// Deletes what is past its time.
    async fn prune(&self, past: Past) -> Result<Pruned>;

    /// Answers when the store does; for `/readyz`.
    async fn ping(&self) -> Result<()>;
}
