use super::{Timestamp, wire::Headers};

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

/// A record that cannot be processed, kept whole with the reason, so that it can be looked at and driven again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it was first read.
    pub source: Source,
    /// Why it was refused, in words for an operator.
    pub reason: String,
    /// How often it was driven again so far.
    pub attempts: u32,
    /// When it was refused.
    pub at: Timestamp,
    /// Its key, unchanged.
    pub key: Option<Vec<u8>>,
    /// Its value, unchanged.
    pub value: Vec<u8>,
    /// Its headers, unchanged but for those of the dead letter itself.
    pub headers: Headers,
}
