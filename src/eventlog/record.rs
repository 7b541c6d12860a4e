//! Records, and where they stand.

use std::fmt;

use crate::domain::{self, Timestamp, wire::Headers};

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Topic name.
    pub topic: String,
    /// Partition; `None` lets the key decide (see [`partitioner`](super::partitioner)), and without a key any will do.
    pub partition: Option<u32>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Vec<u8>,
    /// Headers.
    pub headers: Headers,
    /// The record's time.
    pub at: Timestamp,
}

/// What a record costs beside its bytes: bounds by size hold for empty ones, too.
const COST: usize = 64;

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset within the partition.
    pub offset: u64,
    /// Key; records of other writers may have none.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Vec<u8>,
    /// Headers.
    pub headers: Headers,
    /// The record's time.
    pub at: Timestamp,
}

impl Record {
    /// Tells it from any other record at the same offset of another log.
    pub fn fingerprint(&self) -> u64 {
        let at = self.at.as_millis().to_le_bytes();
        domain::fingerprint(&[self.key.as_deref().unwrap_or_default(), &self.value, &at])
    }

    /// About how much memory it takes: whoever collects records goes by this, since anybody can write ones with large keys
    /// or many headers.
    pub fn size(&self) -> usize {
        size(self.key.as_deref(), &self.value, &self.headers)
    }
}

impl NewRecord {
    /// About how much memory it takes.
    pub fn size(&self) -> usize {
        size(self.key.as_deref(), &self.value, &self.headers)
    }
}

fn size(key: Option<&[u8]>, value: &[u8], headers: &Headers) -> usize {
    COST + key.map_or(0, <[u8]>::len) + value.len() + headers.as_bytes().len()
}

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: String,
    /// Partition.
    pub partition: u32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
