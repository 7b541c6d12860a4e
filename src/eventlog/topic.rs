//! Topics, and which partition takes a record.

use std::time::Duration;

use super::{Error, NewRecord, Result, partitioner};

/// What a topic should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name: letters, digits, `.`, `_` and `-`, at most 249 (Kafka's rule).
    pub name: String,
    /// Number of partitions, from 1.
    pub partitions: u32,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionRange>,
}

/// The offsets that a partition holds: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRange {
    /// The first offset that is kept.
    pub start: u64,
    /// The stable end: one past the last record that readers may see.
    pub end: u64,
}

/// How a topic is kept, as far as its log can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// About how many bytes its records have in all partitions, each counted once however many copies there are.
    pub bytes: Option<u64>,
    /// Which of them the log deletes.
    pub deletes: Deletes,
}

/// Which records a log deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletes {
    /// It does not say.
    Unknown,
    /// Those that it is told to ([`EventLog::delete_before`](super::EventLog::delete_before)).
    AsTold,
    /// Those that are older, and the oldest of a partition with more bytes; none where neither is bounded.
    Beyond {
        /// How old they become (`retention.ms`).
        age: Option<Duration>,
        /// How much a partition holds (`retention.bytes`).
        bytes: Option<u64>,
    },
}

/// Most partitions of a topic: a slip of the finger should not make a million.
const PARTITIONS_MAX: u32 = 10_000;

/// Kafka's rules for a topic's name, kept by every log, so that it can be moved to a cluster.
pub(super) fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    !name.is_empty() && name.len() <= 249 && plain && name != "." && name != ".."
}

pub(super) fn check_spec(spec: &TopicSpec) -> Result<()> {
    let name = &spec.name;
    if !is_name(name) {
        let text = format!("topic {name:?}: a name has 1 to 249 letters, digits, '.', '_' and '-'");
        return Err(Error::Fatal(text));
    }
    if !(1..=PARTITIONS_MAX).contains(&spec.partitions) {
        return Err(Error::Fatal(format!("topic {name}: must have 1 to {PARTITIONS_MAX} partitions")));
    }
    Ok(())
}

/// Which of a topic's partitions takes a record; `turn` counts those without a key.
pub(super) fn place(record: &NewRecord, partitions: u32, turn: impl FnOnce() -> u32) -> Result<u32> {
    match (record.partition, &record.key) {
        (Some(partition), _) if partition < partitions => Ok(partition),
        (Some(partition), _) => Err(Error::Unknown(format!("{}/{partition}", record.topic))),
        (None, Some(key)) => Ok(partitioner::partition_of(key, partitions)),
        (None, None) => Ok(turn() % partitions),
    }
}
