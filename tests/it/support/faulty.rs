//! The embedded log, with appends to one topic that fail or wait when a test says so.

use std::sync::{Arc, Mutex};

use encargo::{
    domain::Timestamp,
    eventlog::{
        Commits, Error, EventLog, Future1, GroupInfo, Lag, Member, NewRecord, Position, Reader, Result, TopicInfo,
        TopicPartition, TopicSpec, sqlite::SqliteLog,
    },
};
use tokio::sync::Semaphore;

/// What happens to an append.
pub enum Fault {
    /// Nothing is written, and this is said.
    Refuse(Error),
    /// It is written, and this is said.
    WriteAndSay(Error),
    /// It is written once the semaphore has a permit.
    Hold(Arc<Semaphore>),
}

pub struct FaultyLog {
    pub log: SqliteLog,
    topic: &'static str,
    /// Taken one by one, first the first; none left, and all is well.
    faults: Mutex<Vec<Fault>>,
}

impl FaultyLog {
    pub fn new(log: SqliteLog, topic: &'static str) -> Self {
        Self { log, topic, faults: Mutex::default() }
    }

    pub fn next(&self, fault: Fault) {
        self.faults.lock().unwrap().push(fault);
    }

    fn fault(&self, records: &[NewRecord]) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        (records[0].topic == self.topic && !faults.is_empty()).then(|| faults.remove(0))
    }
}

impl EventLog for FaultyLog {
    fn append(&self, records: Vec<NewRecord>) -> Future1<Result<Vec<Position>>> {
        match self.fault(&records) {
            None => self.log.append(records),
            Some(Fault::Refuse(error)) => Box::pin(async { Err(error) }),
            Some(Fault::WriteAndSay(error)) => {
                let written = self.log.append(records);
                Box::pin(async {
                    written.await?;
                    Err(error)
                })
            }
            Some(Fault::Hold(gate)) => {
                let written = self.log.append(records);
                Box::pin(async move {
                    let _permit = gate.acquire().await;
                    written.await
                })
            }
        }
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        self.log.topics()
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        self.log.create(spec)
    }

    fn read(&self, partition: &TopicPartition, from: u64) -> Result<Box<dyn Reader>> {
        self.log.read(partition, from)
    }

    fn join(&self, group: &str, topics: &[&str], slot: u32, commits: Commits) -> Result<Box<dyn Member>> {
        self.log.join(group, topics, slot, commits)
    }

    fn groups(&self) -> Result<Vec<GroupInfo>> {
        self.log.groups()
    }

    fn lag(&self, group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
        self.log.lag(group, topics)
    }

    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> Result<u64> {
        self.log.offset_at(partition, at)
    }

    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        self.log.delete_before(partition, offset)
    }
}
