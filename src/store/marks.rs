//! What the store has seen of the log, by which it notices that it is run with another one.

use async_trait::async_trait;

use super::Result;
use crate::eventlog::TopicPartition;

/// The group under which order numbers that were given out are counted.
pub(super) const INTAKE: &str = "encargo-intake";

/// How far the store has seen a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The partition.
    pub tp: TopicPartition,
    /// One past the last record that was seen.
    pub offset: u64,
    /// That record's [`fingerprint`](crate::eventlog::Record::fingerprint), where it was noted.
    pub print: Option<u64>,
}

/// What a start compares log and store by.
#[async_trait]
pub trait Marks: Send + Sync {
    /// Every partition that was projected, and how far order numbers were given out.
    async fn marks(&self) -> Result<Vec<Mark>>;

    /// Notes that the partition of order numbers reached `end`; less than is known already changes nothing.
    async fn note_ids(&self, tp: &TopicPartition, end: u64) -> Result<()>;

    /// Forgets partitions: what the log has of them is projected from its first record on.
    async fn forget(&self, partitions: Vec<TopicPartition>) -> Result<()>;
}
