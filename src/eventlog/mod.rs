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

use std::{future::Future, pin::Pin, sync::Arc};

use crate::domain::{Timestamp, wire::Headers};

mod budget;
mod group;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
mod pace;
pub mod partitioner;
mod record;
pub mod sqlite;
mod topic;

pub use budget::Budget;
pub use group::{GroupInfo, GroupOffset, Lag, METADATA_MAX, Member, MemberEvent, MemberMode, Outcome};
use group::{check_metadata, with_companions};
pub use pace::{Pace, Progress};
pub use record::{NewRecord, Position, Record, TopicPartition};
#[cfg(feature = "kafka")]
use topic::is_name;
pub use topic::{Deletes, Keeping, PartitionRange, TopicInfo, TopicSpec};
use topic::{check_spec, place};

/// A future that can be kept behind `dyn EventLog`.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What can go wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too much waits to be written already: nothing was written, the client should come back later.
    #[error("the event log is overloaded: {0} records wait to be written")]
    Overloaded(usize),
    /// Not possible now (disk full, broker away): nothing was written, trying again can succeed.
    #[error("the event log is unavailable: {0}")]
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

/// Reads one partition from an offset on.
pub trait Reader: Send {
    /// At most `limit` records, in order; empty at the stable end, and then perhaps more at a later call.
    fn next(&mut self, limit: usize) -> Result<Vec<Record>>;
}

/// Whether a record in a partition of a topic was written by the service whose topic it is, and not by a stranger who may write
/// there, too. It asks the log, so it is for records on which much depends.
pub type Author = Arc<dyn Fn(u32, &Record) -> Result<bool> + Send + Sync>;

/// An event log. All calls block but `append`; async callers go through `spawn_blocking`.
pub trait EventLog: Send + Sync {
    /// All topics, by name.
    fn topics(&self) -> Result<Vec<TopicInfo>>;

    /// One topic, if it is there; whatever other topics are like.
    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        Ok(self.topics()?.into_iter().find(|topic| topic.name == name))
    }

    /// How topics are kept, in the order in which they are named. Costs little, however much they hold.
    fn keeping(&self, topics: &[&str]) -> Result<Vec<Keeping>>;

    /// Creates a topic; the same again is fine, another number of partitions is refused.
    fn create(&self, spec: &TopicSpec) -> Result<()>;

    /// Writes records; the positions come, in order, once all are durable. All or, on the embedded log, none.
    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<Result<Vec<Position>>>;

    /// Takes the next `count` offsets of a topic of one partition, which nobody else gets, once that is durable. On a cluster
    /// each of them is an empty record of that time; the embedded log writes none.
    fn allocate(&self, topic: &str, count: usize, at: Timestamp) -> BoxFuture<Result<Vec<u64>>> {
        let (topic, headers) = (topic.to_owned(), Headers::default());
        let empty = NewRecord { topic, partition: Some(0), key: None, value: Vec::new(), headers, at };
        let appended = self.append(vec![empty; count]);
        Box::pin(async { Ok(appended.await?.iter().map(|position| position.offset).collect()) })
    }

    /// A reader of one partition from `from` on; [`Error::Trimmed`] when that was deleted, [`Error::Fatal`] when it is
    /// beyond the end. Everything that was written before this call is decided before the reader comes to its first
    /// end: on a cluster it waits for transactions that are open now, so that a member that takes a partition over
    /// misses nothing of the one before.
    fn read(&self, partition: &TopicPartition, from: u64) -> Result<Box<dyn Reader>>;

    /// Whether there is a record from an offset on: what counts as lag on a cluster may be a transaction's marker alone.
    fn has_record(&self, partition: &TopicPartition, from: u64) -> Result<bool> {
        let reader = match self.read(partition, from) {
            Err(Error::Trimmed { start, .. }) => self.read(partition, start),
            other => other,
        };
        Ok(!reader?.next(1)?.is_empty())
    }

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

    /// What one group has committed for the partitions of some topics: cheap enough to be asked every second.
    fn committed(&self, group: &str, topics: &[&str]) -> Result<Vec<GroupOffset>> {
        let offsets = self.groups()?.into_iter().find(|info| info.name == group).map(|info| info.offsets);
        let is_asked = |offset: &GroupOffset| topics.contains(&&*offset.tp.topic);
        Ok(offsets.unwrap_or_default().into_iter().filter(is_asked).collect())
    }

    /// How far a group is behind in each partition of some topics: cheap enough to be asked every second. Where nothing but
    /// transactions' markers is left on a cluster, that is known from the second look on.
    fn lag(&self, group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
        group::lag(&self.topics()?, &self.groups()?, group, topics)
    }

    /// The first offset whose record is not older than `at` (Kafka's ListOffsets by time); the end when all are.
    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> Result<u64>;

    /// Deletes the records before an offset (Kafka's DeleteRecords, KIP-107). What may be deleted, the caller knows.
    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<()>;
}

/// The error about an offset that is not there yet; only a replaced log or a mistake leads to one.
fn beyond(tp: &TopicPartition, offset: u64, end: u64) -> Error {
    Error::Fatal(format!("offset {offset} of {tp} is beyond its end {end}: was the log replaced or restored?"))
}

/// Checks that reading may start at an offset.
fn check_from(tp: &TopicPartition, from: u64, start: u64, end: u64) -> Result<()> {
    if from < start {
        return Err(Error::Trimmed { topic: tp.topic.clone(), partition: tp.partition, from, start });
    }
    if from > end { Err(beyond(tp, from, end)) } else { Ok(()) }
}
