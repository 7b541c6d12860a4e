//! A log whose topics and groups have a prefix that nobody sees, so that the checks can share one cluster.

use encargo::{
    domain::Timestamp,
    eventlog::{BoxFuture, GroupInfo, Keeping, Lag, Reader, Result, TopicInfo},
};

use super::*;

/// The log with the prefix.
pub struct Named<L> {
    pub log: L,
    pub prefix: String,
    /// Whether what cannot be asked now is asked again, as a check wants that is about something else. A service under test
    /// has to do that itself.
    pub patient: bool,
}

#[derive(Clone)]
struct Prefix(String);

struct NamedMember {
    member: Box<dyn Member>,
    prefix: Prefix,
}

struct NamedReader {
    reader: Box<dyn Reader>,
    prefix: Prefix,
}

impl Prefix {
    /// Names that no log takes stay as they are, to be refused.
    fn on(&self, name: &str) -> String {
        if matches!(name, "" | "." | "..") { name.to_owned() } else { format!("{}{name}", self.0) }
    }

    fn off(&self, name: &str) -> String {
        name.strip_prefix(&self.0).unwrap_or(name).to_owned()
    }

    fn part_on(&self, tp: &TopicPartition) -> TopicPartition {
        part(&self.on(&tp.topic), tp.partition)
    }

    fn part_off(&self, tp: TopicPartition) -> TopicPartition {
        part(&self.off(&tp.topic), tp.partition)
    }

    fn offset_on(&self, offset: &GroupOffset) -> GroupOffset {
        GroupOffset { tp: self.part_on(&offset.tp), ..offset.clone() }
    }

    fn offset_off(&self, offset: GroupOffset) -> GroupOffset {
        GroupOffset { tp: self.part_off(offset.tp), ..offset }
    }

    fn records_on(&self, records: &[NewRecord]) -> Vec<NewRecord> {
        records.iter().map(|record| NewRecord { topic: self.on(&record.topic), ..record.clone() }).collect()
    }

    fn error(&self, error: Error) -> Error {
        let off = |text: String| text.replace(&self.0, "");
        match error {
            Error::Unavailable(text) => Error::Unavailable(off(text)),
            Error::Unconfirmed(text) => Error::Unconfirmed(off(text)),
            Error::Fenced(text) => Error::Fenced(off(text)),
            Error::Unknown(text) => Error::Unknown(off(text)),
            Error::Fatal(text) => Error::Fatal(off(text)),
            Error::TooLarge(text) => Error::TooLarge(off(text)),
            Error::Trimmed { topic, partition, from, start } => {
                Error::Trimmed { topic: self.off(&topic), partition, from, start }
            }
            other @ Error::Overloaded(_) => other,
        }
    }
}

impl<L: EventLog> Named<L> {
    fn prefix(&self) -> Prefix {
        Prefix(self.prefix.clone())
    }

    fn ours<T>(&self, ask: impl Fn() -> Result<T>) -> Result<T> {
        let clock = crate::harness::real_clock();
        let ends = clock.monotonic() + PATIENCE;
        loop {
            // brokers that were out of touch for a moment do not count as copies
            let passes = |error: &Error| match error {
                Error::Unavailable(_) => true,
                Error::Fatal(text) => text.contains("InvalidReplicationFactor"),
                _ => false,
            };
            match ask() {
                Err(error) if self.patient && passes(&error) && clock.monotonic() < ends => {
                    crate::harness::real_clock().park(Duration::from_millis(50));
                }
                result => return result.map_err(|error| self.prefix().error(error)),
            }
        }
    }
}

impl<L: EventLog> EventLog for Named<L> {
    fn topics(&self) -> Result<Vec<TopicInfo>> {
        let topics = self.ours(|| self.log.topics())?.into_iter().filter(|topic| topic.name.starts_with(&self.prefix));
        Ok(topics.map(|topic| TopicInfo { name: self.prefix().off(&topic.name), ..topic }).collect())
    }

    fn keeping(&self, topics: &[&str]) -> Result<Vec<Keeping>> {
        let topics: Vec<_> = topics.iter().map(|topic| self.prefix().on(topic)).collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        self.ours(|| self.log.keeping(&topics))
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        let spec = TopicSpec { name: self.prefix().on(&spec.name), ..spec.clone() };
        self.ours(|| self.log.create(&spec))
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<Result<Vec<Position>>> {
        let prefix = self.prefix();
        let written = self.log.append(prefix.records_on(&records));
        Box::pin(async move { written.await.map_err(|error| prefix.error(error)) })
    }

    fn read(&self, partition: &TopicPartition, from: u64) -> Result<Box<dyn Reader>> {
        let partition = self.prefix().part_on(partition);
        let reader = self.ours(|| self.log.read(&partition, from))?;
        Ok(Box::new(NamedReader { reader, prefix: self.prefix() }))
    }

    fn join_alongside(
        &self,
        group: &str,
        topics: &[&str],
        alongside: &[&str],
        slot: u32,
        mode: MemberMode,
    ) -> Result<Box<dyn Member>> {
        let named = |topics: &[&str]| topics.iter().map(|topic| self.prefix().on(topic)).collect::<Vec<_>>();
        let (topics, alongside) = (named(topics), named(alongside));
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let alongside: Vec<&str> = alongside.iter().map(String::as_str).collect();
        let group = self.prefix().on(group);
        let member = self.ours(|| self.log.join_alongside(&group, &topics, &alongside, slot, mode))?;
        Ok(Box::new(NamedMember { member, prefix: self.prefix() }))
    }

    fn groups(&self) -> Result<Vec<GroupInfo>> {
        let groups = self.ours(|| self.log.groups())?.into_iter().filter(|group| group.name.starts_with(&self.prefix));
        let ours = |offset: &GroupOffset| offset.tp.topic.starts_with(&self.prefix);
        Ok(groups
            .map(|group| GroupInfo {
                name: self.prefix().off(&group.name),
                offsets: group.offsets.into_iter().filter(ours).map(|at| self.prefix().offset_off(at)).collect(),
                ..group
            })
            .collect())
    }

    fn committed(&self, group: &str, topics: &[&str]) -> Result<Vec<GroupOffset>> {
        let topics: Vec<String> = topics.iter().map(|topic| self.prefix().on(topic)).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let group = self.prefix().on(group);
        let offsets = self.ours(|| self.log.committed(&group, &topics))?;
        Ok(offsets.into_iter().map(|at| self.prefix().offset_off(at)).collect())
    }

    fn lag(&self, group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
        let topics: Vec<String> = topics.iter().map(|topic| self.prefix().on(topic)).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let group = self.prefix().on(group);
        let lags = self.ours(|| self.log.lag(&group, &topics))?;
        Ok(lags.into_iter().map(|lag| Lag { tp: self.prefix().part_off(lag.tp), ..lag }).collect())
    }

    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> Result<u64> {
        let partition = self.prefix().part_on(partition);
        self.ours(|| self.log.offset_at(&partition, at))
    }

    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let partition = self.prefix().part_on(partition);
        self.ours(|| self.log.delete_before(&partition, offset))
    }
}

impl Member for NamedMember {
    fn next(&mut self, wait: Duration) -> Result<MemberEvent> {
        let off = |partitions: Vec<TopicPartition>| partitions.into_iter().map(|tp| self.prefix.part_off(tp)).collect();
        Ok(match self.member.next(wait).map_err(|error| self.prefix.error(error))? {
            MemberEvent::Assigned(offsets) => {
                MemberEvent::Assigned(offsets.into_iter().map(|offset| self.prefix.offset_off(offset)).collect())
            }
            MemberEvent::Records(tp, records) => MemberEvent::Records(self.prefix.part_off(tp), records),
            MemberEvent::Revoking(gone) => MemberEvent::Revoking(off(gone)),
            MemberEvent::Lost(gone) => MemberEvent::Lost(off(gone)),
            MemberEvent::Idle => MemberEvent::Idle,
        })
    }

    fn seek(&mut self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let result = self.member.seek(&self.prefix.part_on(partition), offset);
        result.map_err(|error| self.prefix.error(error))
    }

    fn pause(&mut self, topic: &str, paused: bool) {
        self.member.pause(&self.prefix.on(topic), paused);
    }

    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        let offsets: Vec<_> = offsets.iter().map(|offset| self.prefix.offset_on(offset)).collect();
        match self.member.commit(&self.prefix.records_on(outputs), &offsets) {
            Outcome::Aborted(error) => Outcome::Aborted(self.prefix.error(error)),
            Outcome::Unknown(error) => Outcome::Unknown(self.prefix.error(error)),
            committed @ Outcome::Committed(_) => committed,
        }
    }
}

impl Reader for NamedReader {
    fn next(&mut self, limit: usize) -> Result<Vec<Record>> {
        self.reader.next(limit).map_err(|error| self.prefix.error(error))
    }
}
