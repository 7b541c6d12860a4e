//! A log in memory that behaves as a cluster does: groups of several members, rebalances, fencing, gaps in the offsets.
//! It is for simulations and tests, and cannot be chosen as `log.url`, since nothing of it outlives the process.
//!
//! It starts no thread and reads no time but that of its [`Clock`], and everything it holds is ordered: the same calls in
//! the same order have the same answers, so that one thread with a seeded choice of calls can be replayed. Only a call of
//! [`Member::next`] that may wait, and finds nothing, waits by [`Clock::park`].
//!
//! Each handle stands for a process. Cut off ([`MemoryLog::cut`]) it reaches the log no more, as one that was killed or
//! has lost its network: what it asked for is not done, and its members lose their partitions when their session ends.

mod group;
mod member;
mod partition;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use self::{
    group::{Group, MemberId},
    member::{MemoryMember, Subscribed},
    partition::{Limit, Partition, Topic},
};
use super::{
    BoxFuture, Deletes, Error, EventLog, GroupInfo, Keeping, Lag, Member, MemberMode, NewRecord, Position, Reader,
    Record, Result, TopicInfo, TopicPartition, TopicSpec, check_spec,
};
use crate::{clock::Clock, domain::Timestamp};

/// The bounds of a log in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// After this time without a call of [`Member::next`] a member loses its partitions.
    pub session_timeout: Duration,
    /// Most records that a member gets at once.
    pub batch_records_max: usize,
    /// Most bytes that a member or reader gets at once, but at least one record.
    pub batch_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { session_timeout: Duration::from_secs(6), batch_records_max: 1_024, batch_bytes_max: 4 << 20 }
    }
}

/// A process's handle to a log in memory.
pub struct MemoryLog {
    shared: Arc<Shared>,
    link: Link,
}

/// Whether a process reaches the log.
#[derive(Clone)]
struct Link(Arc<AtomicBool>);

/// What all processes share.
struct Shared {
    state: Mutex<State>,
    /// Rung whenever a member may find something.
    bell: Condvar,
    clock: Clock,
    options: Options,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Topic>,
    groups: BTreeMap<String, Group>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(clock: Clock, options: Options) -> Self {
        let (state, bell) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { state, bell, clock, options }), link: Link::up() }
    }

    /// The same log for another process.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { shared: self.shared.clone(), link: Link::up() }
    }

    /// Cuts this process off from the log, or lets it reach the log again.
    pub fn cut(&self, is_cut: bool) {
        self.link.0.store(!is_cut, Ordering::Release);
    }

    /// The log's state, where this process reaches it.
    fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.link.check()?;
        Ok(self.shared.lock())
    }
}

impl Link {
    fn up() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    fn is_up(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn check(&self) -> Result<()> {
        if self.is_up() { Ok(()) } else { Err(Error::Unavailable("this process is cut off from the log".into())) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self) -> Limit {
        Limit { records: self.options.batch_records_max, bytes: self.options.batch_bytes_max }
    }
}

impl State {
    fn topic(&self, name: &str) -> Result<&Topic> {
        self.topics.get(name).ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    fn partition(&self, tp: &TopicPartition) -> Result<&Partition> {
        let partition = self.topic(&tp.topic)?.partitions.get(tp.partition as usize);
        partition.ok_or_else(|| Error::Unknown(tp.to_string()))
    }

    /// All partitions of some topics, each once.
    fn partitions(&self, topics: &[&str]) -> Result<Vec<TopicPartition>> {
        let mut all = Vec::new();
        for name in topics {
            let count = self.topic(name)?.partitions.len() as u32;
            all.extend((0..count).map(|partition| TopicPartition { topic: (*name).to_owned(), partition }));
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Writes all records, or none when the place of one is unknown.
    fn write(&mut self, records: Vec<NewRecord>) -> Result<Vec<Position>> {
        let mut places = Vec::with_capacity(records.len());
        for record in &records {
            let topic = self.topics.get_mut(&record.topic).ok_or_else(|| Error::Unknown(record.topic.clone()))?;
            places.push(topic.place(record)?);
        }
        let place = |(record, partition): (NewRecord, u32)| {
            let topic = self.topics.get_mut(&record.topic).expect("it was there for the place");
            Position { partition, offset: topic.partitions[partition as usize].push(record) }
        };
        Ok(records.into_iter().zip(places).map(place).collect())
    }

    /// The group, in which members that were silent for too long are no more.
    fn group(&mut self, name: &str, clock: &Clock, session: Duration) -> &mut Group {
        let group = self.groups.entry(name.to_owned()).or_default();
        group.evict(clock.monotonic(), session);
        group
    }
}

impl EventLog for MemoryLog {
    fn topics(&self) -> Result<Vec<TopicInfo>> {
        let state = self.state()?;
        let info = |(name, topic): (&String, &Topic)| {
            let partitions = topic.partitions.iter().map(Partition::range).collect();
            TopicInfo { name: name.clone(), partitions }
        };
        Ok(state.topics.iter().map(info).collect())
    }

    fn keeping(&self, topics: &[&str]) -> Result<Vec<Keeping>> {
        let state = self.state()?;
        let keeping = |name: &&str| {
            let topic = state.topics.get(*name).ok_or_else(|| Error::Unknown((*name).to_owned()))?;
            Ok(Keeping { bytes: Some(topic.partitions.iter().map(Partition::bytes).sum()), deletes: Deletes::AsTold })
        };
        topics.iter().map(keeping).collect()
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        check_spec(spec)?;
        let mut state = self.state()?;
        let topic = state.topics.entry(spec.name.clone()).or_insert_with(|| Topic::new(spec.partitions));
        let (name, wanted, is) = (&spec.name, spec.partitions, topic.partitions.len());
        if is != wanted as usize {
            let text =
                format!("the number of partitions of topic {name} is {is}, not {wanted}; that cannot be changed");
            return Err(Error::Fatal(text));
        }
        Ok(())
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<Result<Vec<Position>>> {
        let written = self.state().and_then(|mut state| state.write(records));
        self.shared.bell.notify_all();
        Box::pin(std::future::ready(written))
    }

    fn read(&self, partition: &TopicPartition, from: u64) -> Result<Box<dyn Reader>> {
        self.state()?.partition(partition)?.check(partition, from)?;
        let (shared, link) = (self.shared.clone(), self.link.clone());
        Ok(Box::new(MemoryReader { shared, link, partition: partition.clone(), position: from }))
    }

    fn join_alongside(
        &self,
        group: &str,
        topics: &[&str],
        alongside: &[&str],
        slot: u32,
        mode: MemberMode,
    ) -> Result<Box<dyn Member>> {
        let mut state = self.state()?;
        let partitions = state.partitions(topics)?;
        state.partitions(alongside)?;
        let Shared { clock, options, .. } = &*self.shared;
        let joined = state.group(group, clock, options.session_timeout);
        let id = joined.join(group, slot, self.link.clone(), partitions.clone(), clock.monotonic())?;
        self.shared.bell.notify_all();
        let (shared, link) = (self.shared.clone(), self.link.clone());
        let alongside = alongside.iter().map(|&topic| topic.to_owned()).collect();
        let subscribed = Subscribed { partitions, alongside };
        Ok(Box::new(MemoryMember::new(shared, link, group, subscribed, slot, mode, id)))
    }

    fn groups(&self) -> Result<Vec<GroupInfo>> {
        let mut state = self.state()?;
        let mut groups = Vec::new();
        for (name, group) in &mut state.groups {
            group.evict(self.shared.clock.monotonic(), self.shared.options.session_timeout);
            let (name, members, offsets) = (name.clone(), group.size(), group.committed());
            if members > 0 || !offsets.is_empty() {
                groups.push(GroupInfo { name, members, offsets });
            }
        }
        Ok(groups)
    }

    fn owners(&self, group: &str) -> Result<Vec<(TopicPartition, String)>> {
        Ok(self.state()?.groups.get(group).map(Group::owners).unwrap_or_default())
    }

    fn lag(&self, group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
        let mut lags = super::group::lag(&self.topics()?, &self.groups()?, group, topics)?;
        for lag in lags.iter_mut().filter(|lag| lag.records() > 0) {
            if !self.has_record(&lag.tp, lag.next)? {
                lag.next = lag.end;
            }
        }
        Ok(lags)
    }

    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> Result<u64> {
        Ok(self.state()?.partition(partition)?.offset_at(at))
    }

    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let mut state = self.state()?;
        state.partition(partition)?; // known, so that it can be looked up below
        let topic = state.topics.get_mut(&partition.topic).expect("it was just found");
        topic.partitions[partition.partition as usize].delete_before(partition, offset)
    }
}

/// Reads one partition.
struct MemoryReader {
    shared: Arc<Shared>,
    link: Link,
    partition: TopicPartition,
    position: u64,
}

impl Reader for MemoryReader {
    fn next(&mut self, limit: usize) -> Result<Vec<Record>> {
        self.link.check()?;
        let limit = Limit { records: limit, ..self.shared.batch() };
        let records = self.shared.lock().partition(&self.partition)?.read(&self.partition, self.position, limit)?;
        self.position = records.last().map_or(self.position, |last| last.offset + 1);
        Ok(records)
    }
}
