//! The event log: topics, partitions, offsets, consumer groups. It carries bytes and knows no orders.
//!
//! The words and the rules are Apache Kafka's, so that the embedded log and a cluster mean the same:
//!
//! - a record is durable once `append` or `commit` returned its position, and not before;
//! - offsets within a partition only grow; they may have gaps (a cluster puts control records there);
//! - a member's `commit` makes outputs and input offsets visible in one atomic step, or neither;
//! - readers see whole commits only, up to the *stable end*.
//!
//! Deliberately absent: seeking by anything but offset, compaction, reading what is not yet committed.

use std::{future::Future, pin::Pin, time::Duration};

use crate::domain::{self, Timestamp, wire::Headers};

mod budget;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod partitioner;
pub mod sqlite;

pub use budget::Budget;

/// A future that can be kept behind `dyn EventLog`.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What can go wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too much waits to be written already: nothing was written, the client should come back later.
    #[error("the event log is overloaded: {0} records wait to be written")]
    Overloaded(usize),
    /// Not possible now (disk full, broker away): nothing was written, trying again can succeed.
    #[error("the event log cannot do that now: {0}")]
    Unavailable(String),
    /// No answer in time: the records may be there or not.
    #[error("the event log did not confirm in time: {0}")]
    Unconfirmed(String),
    /// The member no longer owns what it wanted to commit: nothing was written.
    #[error("fenced: {0}")]
    Fenced(String),
    /// A record is larger than its topic takes: nothing was written.
    #[error("a record is too large for its topic: {0}")]
    TooLarge(String),
    /// No such topic or partition.
    #[error("no topic or partition {0} in the event log")]
    Unknown(String),
    /// The records asked for were deleted by retention.
    #[error("offset {from} of {topic}/{partition} was deleted, the first one kept is {start}")]
    Trimmed {
        /// Topic name.
        topic: String,
        /// Partition.
        partition: u32,
        /// The offset asked for.
        from: u64,
        /// The first offset that is still there.
        start: u64,
    },
    /// It will not get better by itself (damaged file, wrong version, locked by another process, refused name).
    #[error("{0}")]
    Fatal(String),
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;

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

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Topic name.
    pub topic: String,
    /// Partition; `None` lets the key decide (see [`partitioner`]), and without a key any will do.
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

/// What a record costs beside its bytes, and each of its headers: bounds by size hold for empty ones, too.
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
    let headers: usize = headers.iter().map(|(name, value)| COST + name.len() + value.len()).sum();
    COST + key.map_or(0, <[u8]>::len) + value.len() + headers
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

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// How far a group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The partition.
    pub of: TopicPartition,
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
    pub of: TopicPartition,
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

/// Reads one partition from an offset on.
pub trait Reader: Send {
    /// At most `limit` records, in order; empty at the stable end, and then perhaps more at a later call.
    fn next(&mut self, limit: usize) -> Result<Vec<Record>>;
}

/// An event log. All calls block but `append`; async callers go through `spawn_blocking`.
pub trait EventLog: Send + Sync {
    /// All topics, by name.
    fn topics(&self) -> Result<Vec<TopicInfo>>;

    /// One topic, if it is there; whatever other topics are like.
    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        Ok(self.topics()?.into_iter().find(|topic| topic.name == name))
    }

    /// Creates a topic; the same again is fine, another number of partitions is refused.
    fn create(&self, spec: &TopicSpec) -> Result<()>;

    /// Writes records; the positions come, in order, once all are durable. All or, on the embedded log, none.
    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<Result<Vec<Position>>>;

    /// A reader of one partition from `from` on; [`Error::Trimmed`] when that was deleted, [`Error::Fatal`] when it is
    /// beyond the end. Everything that was written before this call is decided before the reader comes to its first
    /// end: on a cluster it waits for transactions that are open now, so that a member that takes a partition over
    /// misses nothing of the one before.
    fn read(&self, partition: &TopicPartition, from: u64) -> Result<Box<dyn Reader>>;

    /// Joins a group. `slot` tells the instances of one group apart and stays the same over restarts. On the embedded log
    /// a group has one member: [`Error::Fenced`] while another one lives.
    /// `mode` says what the member is for.
    fn join(&self, group: &str, topics: &[&str], slot: u32, mode: MemberMode) -> Result<Box<dyn Member>> {
        self.join_alongside(group, topics, &[], slot, mode)
    }

    /// The same with topics that the group does not distribute: with each partition of one of `topics`, the member gets those
    /// of the same number of `alongside`, and gives them up with it. What is about the same things is then read in the same
    /// place, however the group's partitions move.
    fn join_alongside(
        &self,
        group: &str,
        topics: &[&str],
        alongside: &[&str],
        slot: u32,
        mode: MemberMode,
    ) -> Result<Box<dyn Member>>;

    /// Answers when the log does; for `/readyz`.
    fn ping(&self) -> Result<()> {
        self.topics().map(drop)
    }

    /// All groups that have committed something or have members, by name.
    fn groups(&self) -> Result<Vec<GroupInfo>>;

    /// Which member owns a partition now, by a name that tells instances apart; none are known on the embedded log.
    fn owners(&self, _group: &str) -> Result<Vec<(TopicPartition, String)>> {
        Ok(Vec::new())
    }

    /// How far a group is behind in each partition of some topics: cheap enough to be asked every second.
    fn lag(&self, group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
        let (known, groups) = (self.topics()?, self.groups()?);
        let offsets = groups.iter().find(|info| info.name == group).map_or(&[][..], |info| &info.offsets);
        let mut lags = Vec::new();
        for name in topics {
            let topic = known.iter().find(|topic| topic.name == *name).ok_or_else(|| Error::Unknown((*name).into()))?;
            for (range, partition) in topic.partitions.iter().zip(0..) {
                let of = TopicPartition { topic: topic.name.clone(), partition };
                let next = offsets.iter().find(|offset| offset.of == of).map_or(range.start, |offset| offset.offset);
                lags.push(Lag { of, next: next.max(range.start), end: range.end });
            }
        }
        Ok(lags)
    }

    /// The first offset whose record is not older than `at` (Kafka's ListOffsets by time); the end when all are.
    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> Result<u64>;

    /// Deletes the records before an offset (Kafka's DeleteRecords, KIP-107). What may be deleted, the caller knows.
    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<()>;
}

/// Most partitions of a topic: a slip of the finger should not make a million.
const PARTITIONS_MAX: u32 = 10_000;

/// Kafka's rules for a topic's name, kept by every log, so that it can be moved to a cluster.
fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    !name.is_empty() && name.len() <= 249 && plain && name != "." && name != ".."
}

fn check_spec(spec: &TopicSpec) -> Result<()> {
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

/// The error about an offset that is not there yet; only a replaced log or a mistake leads to one.
fn beyond(of: &TopicPartition, offset: u64, end: u64) -> Error {
    Error::Fatal(format!("offset {offset} of {of} is beyond its end {end}: was the log replaced or restored?"))
}

/// Partitions with those of the same number of the topics alongside.
fn with_companions(partitions: Vec<TopicPartition>, alongside: &[String]) -> Vec<TopicPartition> {
    let companions = partitions
        .iter()
        .flat_map(|tp| alongside.iter().map(|topic| TopicPartition { topic: topic.clone(), partition: tp.partition }));
    let companions: Vec<_> = companions.collect();
    partitions.into_iter().chain(companions).collect()
}

/// Checks that reading may start at an offset.
fn check_from(of: &TopicPartition, from: u64, start: u64, end: u64) -> Result<()> {
    if from < start {
        return Err(Error::Trimmed { topic: of.topic.clone(), partition: of.partition, from, start });
    }
    if from > end { Err(beyond(of, from, end)) } else { Ok(()) }
}

fn check_metadata(offset: &GroupOffset) -> Result<()> {
    let length = offset.metadata.len();
    if length > METADATA_MAX {
        let text = format!("metadata of {length} bytes for {}: at most {METADATA_MAX} are kept", offset.of);
        return Err(Error::Fatal(text));
    }
    Ok(())
}

/// Which of a topic's partitions takes a record; `turn` counts those without a key.
fn place(record: &NewRecord, partitions: u32, turn: impl FnOnce() -> u32) -> Result<u32> {
    match (record.partition, &record.key) {
        (Some(partition), _) if partition < partitions => Ok(partition),
        (Some(partition), _) => Err(Error::Unknown(format!("{}/{partition}", record.topic))),
        (None, Some(key)) => Ok(partitioner::partition_of(key, partitions)),
        (None, None) => Ok(turn() % partitions),
    }
}
