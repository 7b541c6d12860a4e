//! Consumer groups: their members, what those hear and commit, and how far a group is.

use std::time::Duration;

use super::{Error, NewRecord, Position, Record, Result, TopicInfo, TopicPartition};

/// How far a group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The partition.
    pub tp: TopicPartition,
    /// The next offset to read. Unsigned, so Kafka's "invalid" (−1001), which fences nobody, cannot be written.
    pub offset: u64,
    /// The member's own words, kept with the offset; at most [`METADATA_MAX`] bytes.
    pub metadata: String,
}

/// Longest metadata with an offset, in bytes (Kafka's `offset.metadata.max.bytes`).
pub const METADATA_MAX: usize = 4_096;

/// A consumer group as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name.
    pub name: String,
    /// Number of members now; on the embedded log 0 or 1, and only the owning process knows.
    pub members: usize,
    /// What it has committed.
    pub offsets: Vec<GroupOffset>,
}

/// How far a group is behind in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub tp: TopicPartition,
    /// The next offset to read; the first one kept, while the group has committed nothing or less.
    pub next: u64,
    /// The stable end.
    pub end: u64,
}

impl Lag {
    /// Records still to be read; on a cluster its control records are among them.
    pub const fn records(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

/// How far a group is behind in each partition of some topics, by what is known of all topics and groups.
pub(super) fn lag(known: &[TopicInfo], groups: &[GroupInfo], group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
    let offsets = groups.iter().find(|info| info.name == group).map_or(&[][..], |info| &info.offsets);
    let mut lags = Vec::new();
    for name in topics {
        let topic = known.iter().find(|topic| topic.name == *name).ok_or_else(|| Error::Unknown((*name).into()))?;
        for (range, partition) in topic.partitions.iter().zip(0..) {
            let tp = TopicPartition { topic: topic.name.clone(), partition };
            let next = offsets.iter().find(|offset| offset.tp == tp).map_or(range.start, |offset| offset.offset);
            lags.push(Lag { tp, next: next.max(range.start), end: range.end });
        }
    }
    Ok(lags)
}

/// What a member will commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberMode {
    /// Records and offsets in one step.
    Outputs,
    /// Offsets alone: what happened because of them is kept elsewhere. A commit of records is refused.
    Offsets,
}

/// What a member hears next.
#[derive(Debug)]
pub enum MemberEvent {
    /// These partitions are this member's from now on, with what was committed for them; the first offset kept and
    /// empty metadata when nothing was. Reading starts there unless [`Member::seek`] says otherwise.
    Assigned(Vec<GroupOffset>),
    /// Records of one partition, in order.
    Records(TopicPartition, Vec<Record>),
    /// These partitions will be given up at the next call of `next`: the last moment to commit for them.
    Revoking(Vec<TopicPartition>),
    /// These partitions are gone already: whatever was collected for them must be dropped.
    Lost(Vec<TopicPartition>),
    /// Nothing within the time to wait.
    Idle,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Outcome {
    /// Durable and visible; the outputs' positions, in the order in which they were given.
    Committed(Vec<Position>),
    /// Nothing was written. [`Error::Unavailable`]: the same commit can be tried again. [`Error::Fenced`]: never.
    Aborted(Error),
    /// Written or not, nobody can say: leave the group, join again, rebuild from the log.
    Unknown(Error),
}

/// One member of a consumer group. It belongs to one thread, which also does the work between two calls.
///
/// It leaves the group when it is dropped, which commits nothing: a service that stops commits what it has and then
/// drops its member. So `Revoking` and `Lost` come only where other members can take over, never on the embedded log.
pub trait Member: Send {
    /// Waits at most `wait` for what comes next; wakes as soon as there are records. A batch is bounded, and partitions
    /// take turns. [`Error::Trimmed`] comes again until [`Member::seek`] leads past the gap.
    fn next(&mut self, wait: Duration) -> Result<MemberEvent>;

    /// Sets where an assigned partition is read next: [`Error::Fenced`] when it is not assigned, [`Error::Trimmed`]
    /// before the first offset kept, [`Error::Fatal`] beyond the end (the log is not the one that the offset is from).
    fn seek(&mut self, partition: &TopicPartition, offset: u64) -> Result<()>;

    /// While a topic is paused, `next` brings no records of it; everything else goes on.
    fn pause(&mut self, topic: &str, paused: bool);

    /// Writes outputs and offsets in one atomic step. Every offset must be of a partition that is assigned now, and not
    /// beyond its end.
    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome;
}

/// Partitions with those of the same number of the topics alongside.
pub(super) fn with_companions(partitions: Vec<TopicPartition>, alongside: &[String]) -> Vec<TopicPartition> {
    let companions = partitions
        .iter()
        .flat_map(|tp| alongside.iter().map(|topic| TopicPartition { topic: topic.clone(), partition: tp.partition }));
    let companions: Vec<_> = companions.collect();
    partitions.into_iter().chain(companions).collect()
}

pub(super) fn check_metadata(offset: &GroupOffset) -> Result<()> {
    let length = offset.metadata.len();
    if length > METADATA_MAX {
        let text = format!("metadata of {length} bytes for {}: at most {METADATA_MAX} are kept", offset.tp);
        return Err(Error::Fatal(text));
    }
    Ok(())
}
