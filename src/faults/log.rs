//! The event log with faults.

use std::{sync::Arc, time::Duration};

use super::{Call, Fault, Faults};
use crate::{
    clock::Clock,
    domain::Timestamp,
    eventlog::{
        BoxFuture, Error, EventLog, GroupInfo, GroupOffset, Keeping, Lag, Member, MemberEvent, MemberMode, NewRecord,
        Outcome, Position, Reader, Record, Result, TopicInfo, TopicPartition, TopicSpec,
    },
};

/// A log whose calls, and those of its members and readers, go wrong as a plan says.
pub struct FaultyLog {
    log: Arc<dyn EventLog>,
    plan: Plan,
}

/// The plan, and the time by which calls are late.
#[derive(Clone)]
struct Plan {
    faults: Arc<dyn Faults<Error>>,
    clock: Clock,
}

impl Plan {
    fn next(&self, name: &'static str, of: &str) -> Option<Fault<Error>> {
        self.faults.next(Call { name, of })
    }

    /// A call whose answer tells whether it was done.
    fn call<T>(&self, name: &'static str, of: &str, done: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.next(name, of) {
            None => done(),
            Some(Fault::Refused(error)) => Err(error),
            Some(Fault::Unanswered(error)) => done().and(Err(error)),
            Some(Fault::Late(time)) => {
                self.clock.park(time);
                done()
            }
            Some(Fault::Slow(time)) => {
                let answer = done();
                self.clock.park(time);
                answer
            }
        }
    }

    /// An append to a topic, whatever is appended.
    fn write<T: Send + 'static>(
        &self,
        topic: &str,
        begin: impl FnOnce() -> BoxFuture<Result<T>> + Send + 'static,
    ) -> BoxFuture<Result<T>> {
        let clock = self.clock.clone();
        match self.next("append", topic) {
            None => begin(),
            Some(Fault::Refused(error)) => Box::pin(async { Err(error) }),
            Some(Fault::Unanswered(error)) => {
                let written = begin();
                Box::pin(async { written.await.and(Err(error)) })
            }
            Some(Fault::Late(time)) => Box::pin(async move {
                clock.sleep(time).await;
                begin().await
            }),
            Some(Fault::Slow(time)) => {
                let written = begin();
                Box::pin(async move {
                    clock.sleep(time).await;
                    written.await
                })
            }
        }
    }

    /// A call that changes what the caller gets next: without an answer it is not made at all, or something would be lost
    /// on its way that no real log loses.
    fn poll<T>(&self, name: &'static str, of: &str, done: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.next(name, of) {
            Some(Fault::Refused(error) | Fault::Unanswered(error)) => Err(error),
            Some(Fault::Late(time) | Fault::Slow(time)) => {
                self.clock.park(time);
                done()
            }
            None => done(),
        }
    }
}

impl FaultyLog {
    /// The log behind the plan. Calls are late by `clock`.
    pub fn new(log: Arc<dyn EventLog>, faults: Arc<dyn Faults<Error>>, clock: Clock) -> Self {
        Self { log, plan: Plan { faults, clock } }
    }
}

impl EventLog for FaultyLog {
    fn topics(&self) -> Result<Vec<TopicInfo>> {
        self.plan.call("topics", "", || self.log.topics())
    }

    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        self.plan.call("topic", name, || self.log.topic(name))
    }

    fn keeping(&self, topics: &[&str]) -> Result<Vec<Keeping>> {
        self.plan.call("keeping", "", || self.log.keeping(topics))
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        self.plan.call("create", &spec.name, || self.log.create(spec))
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<Result<Vec<Position>>> {
        let topic = records.first().map_or(String::new(), |record| record.topic.clone());
        let log = self.log.clone();
        self.plan.write(&topic, move || log.append(records))
    }

    fn allocate(&self, topic: &str, count: usize, at: Timestamp) -> BoxFuture<Result<Vec<u64>>> {
        let (log, own) = (self.log.clone(), topic.to_owned());
        self.plan.write(topic, move || log.allocate(&own, count, at))
    }

    fn read(&self, partition: &TopicPartition, from: u64) -> Result<Box<dyn Reader>> {
        let reader = self.plan.call("read", &partition.topic, || self.log.read(partition, from))?;
        Ok(Box::new(FaultyReader { reader, topic: partition.topic.clone(), plan: self.plan.clone() }))
    }

    fn join_alongside(
        &self,
        group: &str,
        topics: &[&str],
        alongside: &[&str],
        slot: u32,
        mode: MemberMode,
    ) -> Result<Box<dyn Member>> {
        let member = self.plan.call("join", group, || self.log.join_alongside(group, topics, alongside, slot, mode))?;
        Ok(Box::new(FaultyMember { member, group: group.to_owned(), plan: self.plan.clone() }))
    }

    fn ping(&self) -> Result<()> {
        self.plan.call("ping", "", || self.log.ping())
    }

    fn groups(&self) -> Result<Vec<GroupInfo>> {
        self.plan.call("groups", "", || self.log.groups())
    }

    fn owners(&self, group: &str) -> Result<Vec<(TopicPartition, String)>> {
        self.plan.call("owners", group, || self.log.owners(group))
    }

    fn committed(&self, group: &str, topics: &[&str]) -> Result<Vec<GroupOffset>> {
        self.plan.call("committed", group, || self.log.committed(group, topics))
    }

    fn lag(&self, group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
        self.plan.call("lag", group, || self.log.lag(group, topics))
    }

    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> Result<u64> {
        self.plan.call("offset_at", &partition.topic, || self.log.offset_at(partition, at))
    }

    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        self.plan.call("delete_before", &partition.topic, || self.log.delete_before(partition, offset))
    }
}

struct FaultyReader {
    reader: Box<dyn Reader>,
    topic: String,
    plan: Plan,
}

impl Reader for FaultyReader {
    fn next(&mut self, limit: usize) -> Result<Vec<Record>> {
        self.plan.poll("read_next", &self.topic, || self.reader.next(limit))
    }
}

struct FaultyMember {
    member: Box<dyn Member>,
    group: String,
    plan: Plan,
}

impl Member for FaultyMember {
    fn next(&mut self, wait: Duration) -> Result<MemberEvent> {
        self.plan.poll("next", &self.group, || self.member.next(wait))
    }

    fn seek(&mut self, partition: &TopicPartition, offset: u64) -> Result<()> {
        self.plan.call("seek", &self.group, || self.member.seek(partition, offset))
    }

    fn pause(&mut self, topic: &str, paused: bool) {
        self.member.pause(topic, paused);
    }

    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        let mut commit = || self.member.commit(outputs, offsets);
        let clock = &self.plan.clock;
        match self.plan.next("commit", &self.group) {
            None => commit(),
            Some(Fault::Refused(error @ Error::Unconfirmed(_))) => Outcome::Unknown(error),
            Some(Fault::Refused(error)) => Outcome::Aborted(error),
            Some(Fault::Unanswered(error)) => match commit() {
                Outcome::Committed(_) => Outcome::Unknown(error),
                other => other,
            },
            Some(Fault::Late(time)) => {
                clock.park(time);
                commit()
            }
            Some(Fault::Slow(time)) => {
                let outcome = commit();
                clock.park(time);
                outcome
            }
        }
    }
}
