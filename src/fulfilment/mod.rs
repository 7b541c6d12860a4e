//! Fulfilment walks every order through its states on time.
//!
//! Reads `compra_detalle`, writes `compra_confirmada` and the dead-letter topic. An order's events go to the output
//! partition whose number its order came from, together with the input offset, in one atomic commit; so each state
//! happens once, and the output is all the state there is: a restart reads it from the watermark on. Commands about an order
//! are read by whoever owns its partition, decided between its timers, and told what became of them, in the same commits.
//!
//! What is decided and what is done are apart: the `machine` is a pure function of what happened, the `processor` a thread
//! that does what it says.
//!
//! On a cluster several instances share the partitions. What is given up is committed once before; what comes is restored
//! on other threads while the rest goes on. Records of other writers may have no key, no headers, and stand anywhere: an
//! order belongs to the partition on which its input record stands, and the same order on two partitions is two there
//! (the projection knows one). States of an old service are carried on (see `legacy`); of those with a key, only the ones
//! that bear our seal are ours (see `seal`). Dead letters of all partitions go to one; what fences them is the input
//! offset of the same commit. A commit whose dead letters are too large for their topic is repeated without them, once
//! they were written apart. Records that a restore needs and that retention deleted end fulfilment loudly, once it has asked again from where to restore.
//!
//! Refused on purpose: a database of timers (a second truth that can disagree with the log), and a timer per order
//! in the runtime (a million of them, lost at every crash).

mod engine;
mod feed;
mod legacy;
mod letters;
mod machine;
mod metrics;
mod partition;
mod plan;
mod processor;
mod progress;
mod restore;
pub mod retention;
mod scan;
mod seal;
mod span;
mod translation;

pub use engine::{Accepted, Engine, Mismatch, Now, Restore, Staged, TakeOver};
pub use legacy::Legacy;
pub use metrics::Metrics;
pub use plan::Broken;
pub use processor::{CommandTopics, Deps, Options, Processor};
pub use progress::{Counters, Progress, Unreadable};
pub use seal::{Seal, author};

pub(crate) use machine::Limits;
pub(crate) use processor::Stepped;
pub(crate) use restore::Job;

use crate::{domain::wire, eventlog};

/// The consumer group.
pub const GROUP: &str = "encargo-fulfilment";

/// Why fulfilment ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log refused for good.
    #[error("fulfilment cannot go on: the event log failed")]
    Log(#[from] eventlog::Error),
    /// The topics do not fit each other.
    #[error("topics {orders} and {other} must have the same number of partitions; they have {orders_n} and {other_n}")]
    Partitions {
        /// Input topic.
        orders: String,
        /// A topic whose partitions go with those of the input.
        other: String,
        /// Partitions of the input.
        orders_n: usize,
        /// Partitions of the other.
        other_n: usize,
    },
    /// A newer version committed here.
    #[error(
        "fulfilment cannot go on in partition {partition} of {topic}: a newer version of Encargo worked there; use that version"
    )]
    Newer {
        /// Input topic.
        topic: String,
        /// Partition.
        partition: u32,
        /// What cannot be read.
        source: Unreadable,
    },
    /// A newer version wrote events here.
    #[error("fulfilment cannot go on with offset {offset} of {topic}/{partition}; use the version that wrote it")]
    NewerEvent {
        /// Output topic.
        topic: String,
        /// Partition.
        partition: u32,
        /// Offset.
        offset: u64,
        /// What cannot be read.
        source: wire::Unreadable,
    },
    /// The versions of the flow cannot be used.
    #[error("fulfilment cannot go on without the versions of its flow")]
    Flows(#[source] crate::flows::topic::Error),
    /// A commit did not end as it was planned.
    #[error("fulfilment's state no longer matches the log; restart it to rebuild from the log")]
    Commit(#[from] Broken),
    /// The output lacks records that the last commit counted on.
    #[error("fulfilment cannot restore partition {partition}; was {topic} trimmed or replaced?")]
    Restore {
        /// Output topic.
        topic: String,
        /// Partition.
        partition: u32,
        /// What is missing.
        source: Mismatch,
    },
}
