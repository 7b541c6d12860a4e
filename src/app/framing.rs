//! `log.framing = "confluent"`: records that bear the number of their schema, as the serialisers of others write them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::contract::{deployment, registry};
use crate::{
    config::{Config, Framing},
    contract,
    domain::{Timestamp, wire},
    eventlog::{
        self, BoxFuture, EventLog, GroupInfo, GroupOffset, Keeping, Lag, Member, MemberEvent, MemberMode, NewRecord,
        Outcome, Position, Reader, TopicInfo, TopicPartition, TopicSpec,
    },
    registry::Registry,
};

/// The log as services write to it. Refuses to go on without the numbers that the registry gave to our formats.
pub(super) async fn frame(config: &Config, log: Arc<dyn EventLog>) -> Result<Arc<dyn EventLog>> {
    if config.log.framing == Framing::Plain {
        return Ok(log);
    }
    let registry = Registry::new(&registry(config).context("log.framing needs registry.url")?)?;
    let mut schemas = HashMap::new();
    for (subject, schema) in contract::subjects(&deployment(config)) {
        let Some(topic) = subject.strip_suffix("-value") else { continue }; // keys stay plain
        let Some(version) = registry.registered(&subject, &schema).await? else {
            let url = registry.url();
            bail!(
                "log.framing = \"confluent\", but {url} does not have this version of {subject}: run `encargo contract publish`"
            );
        };
        schemas.insert(topic.to_owned(), version.id);
    }
    Ok(Arc::new(FramedLog { log, schemas: Arc::new(schemas) }))
}

/// The number of each topic's schema.
type Schemas = Arc<HashMap<String, u32>>;

/// Puts the numbers before JSON, and leaves alone what has one, or is none: records that are driven again are as they were.
fn framed(schemas: &Schemas, mut record: NewRecord) -> NewRecord {
    if let Some(schema) = schemas.get(&record.topic).filter(|_| record.value.starts_with(b"{")) {
        record.value = wire::frame(*schema, &record.value);
    }
    record
}

struct FramedLog {
    log: Arc<dyn EventLog>,
    schemas: Schemas,
}

struct FramedMember {
    member: Box<dyn Member>,
    schemas: Schemas,
}

impl Member for FramedMember {
    fn next(&mut self, wait: Duration) -> eventlog::Result<MemberEvent> {
        self.member.next(wait)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: u64) -> eventlog::Result<()> {
        self.member.seek(partition, offset)
    }

    fn pause(&mut self, topic: &str, paused: bool) {
        self.member.pause(topic, paused);
    }

    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        let outputs: Vec<_> = outputs.iter().map(|record| framed(&self.schemas, record.clone())).collect();
        self.member.commit(&outputs, offsets)
    }
}

impl EventLog for FramedLog {
    fn topics(&self) -> eventlog::Result<Vec<TopicInfo>> {
        self.log.topics()
    }

    fn topic(&self, name: &str) -> eventlog::Result<Option<TopicInfo>> {
        self.log.topic(name)
    }

    fn keeping(&self, topics: &[&str]) -> eventlog::Result<Vec<Keeping>> {
        self.log.keeping(topics)
    }

    fn create(&self, spec: &TopicSpec) -> eventlog::Result<()> {
        self.log.create(spec)
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<eventlog::Result<Vec<Position>>> {
        self.log.append(records.into_iter().map(|record| framed(&self.schemas, record)).collect())
    }

    fn allocate(&self, topic: &str, count: usize, at: Timestamp) -> BoxFuture<eventlog::Result<Vec<u64>>> {
        self.log.allocate(topic, count, at)
    }

    fn read(&self, partition: &TopicPartition, from: u64) -> eventlog::Result<Box<dyn Reader>> {
        self.log.read(partition, from)
    }

    fn join_alongside(
        &self,
        group: &str,
        topics: &[&str],
        alongside: &[&str],
        slot: u32,
        mode: MemberMode,
    ) -> eventlog::Result<Box<dyn Member>> {
        let member = self.log.join_alongside(group, topics, alongside, slot, mode)?;
        Ok(Box::new(FramedMember { member, schemas: self.schemas.clone() }))
    }

    fn ping(&self) -> eventlog::Result<()> {
        self.log.ping()
    }

    fn groups(&self) -> eventlog::Result<Vec<GroupInfo>> {
        self.log.groups()
    }

    fn owners(&self, group: &str) -> eventlog::Result<Vec<(TopicPartition, String)>> {
        self.log.owners(group)
    }

    fn committed(&self, group: &str, topics: &[&str]) -> eventlog::Result<Vec<GroupOffset>> {
        self.log.committed(group, topics)
    }

    fn lag(&self, group: &str, topics: &[&str]) -> eventlog::Result<Vec<Lag>> {
        self.log.lag(group, topics)
    }

    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> eventlog::Result<u64> {
        self.log.offset_at(partition, at)
    }

    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> eventlog::Result<()> {
        self.log.delete_before(partition, offset)
    }
}
