//! Tracking knows where every order is.
//!
//! The projection reads `compra_confirmada` and the dead-letter topic and applies each batch to the store in one
//! transaction: orders, history, mail ledger, dead letters, and the input offsets themselves. So nothing takes
//! effect twice, whatever the log delivers twice. The listener on :5000 answers from the store, as JSON and as pages
//! that follow an order live, and writes what customers and
//! shop want of an order to the topic of commands; what became of that comes back with the projection.

mod answer;
mod api;
mod feed;
mod metrics;
mod pages;
mod projection;
mod redrive;
mod waiting;

pub use answer::{HistoryJson, LineJson, OrderJson, StepJson};
pub use api::{Api, Deps as ApiDeps, Options as ApiOptions, openapi};
pub use feed::Feed;
pub use metrics::Metrics;
pub use projection::{Deps, Options, Projection};
pub use redrive::redrive;

use crate::{domain::wire, eventlog, store};

/// The consumer group.
pub const GROUP: &str = "encargo-tracking";

/// Why tracking ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log refused for good.
    #[error("tracking cannot go on: the event log failed")]
    Log(#[from] eventlog::Error),
    /// A newer version wrote events here.
    #[error("tracking cannot go on with offset {offset} of {topic}/{partition}; use the version that wrote it")]
    Newer {
        /// Topic.
        topic: String,
        /// Partition.
        partition: u32,
        /// Offset.
        offset: u64,
        /// What cannot be read.
        source: wire::Unreadable,
    },
    /// The store refused for good.
    #[error("tracking cannot go on: the store failed")]
    Store(#[from] store::Error),
}
