//! Topics: what is there, what should be, and where a record goes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
    metadata::{Metadata, MetadataPartition},
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    client::{self, ClientContext, block_on, is_connection, question_error},
    options::Options,
};
use crate::{
    clock::Clock,
    eventlog::{
        Error, NewRecord, PartitionRange, Result, TopicInfo, TopicPartition, TopicSpec, beyond, check_spec, is_name,
        place,
    },
};

/// How the brokers keep a topic now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How many partitions it has.
    pub partitions: usize,
    /// Copies of the partition that has the fewest.
    pub copies: usize,
    /// Copies in sync of the partition that has the fewest.
    pub in_sync: usize,
    /// Partitions without a leader, which nobody can write or read.
    pub leaderless: usize,
}

/// What is known of topics, and how to ask for more.
pub(super) struct Topics {
    pub(super) options: Options,
    pub(super) context: ClientContext,
    /// Sees whole commits only.
    pub(super) stable: BaseConsumer<ClientContext>,
    /// Sees how far the log was written, open transactions included.
    pub(super) latest: BaseConsumer<ClientContext>,
    pub(super) admin: AdminClient<ClientContext>,
    counts: RwLock<HashMap<String, u32>>,
    turn: AtomicU32,
    pub(super) clock: Clock,
}

impl Topics {
    pub(super) fn connect(options: &Options, context: &ClientContext) -> Result<Self> {
        let asking = |isolation| options.query_config(None, isolation).create_with_context(context.clone());
        Ok(Self {
            options: options.clone(),
            context: context.clone(),
            stable: asking("read_committed").map_err(client::config_error)?,
            latest: asking("read_uncommitted").map_err(client::config_error)?,
            admin: options
                .query_config(None, "read_committed")
                .create_with_context(context.clone())
                .map_err(client::config_error)?,
            counts: RwLock::default(),
            turn: AtomicU32::new(0),
            clock: client::real_clock(),
        })
    }

    pub(super) fn wait(&self) -> Duration {
        self.options.request_timeout
    }

    pub(super) fn admin_options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.wait())).operation_timeout(Some(self.wait()))
    }

    /// Nothing else takes these clients' few events.
    pub(super) fn serve(&self) {
        for client in [&self.stable, &self.latest] {
            // a line for the log is an event too, and looks like none afterwards: what waits behind it must come as well
            for _ in 0..EVENTS_MAX {
                if let Some(Err(error)) = client.poll(Duration::ZERO) {
                    self.context.note(&error);
                }
            }
        }
    }

    /// What an error of a question means; when a connection failed, in words that say what is wrong with it.
    pub(super) fn unanswered(&self, asked: &str, error: &KafkaError) -> Error {
        self.serve();
        match (question_error(asked, error), self.context.why()) {
            (Error::Unavailable(_), Some(why)) if is_connection(error) => Error::Unavailable(why),
            (error, _) => error,
        }
    }

    /// Asks for the partitions of one topic or of all, and remembers them.
    pub(super) fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        self.serve();
        let metadata = self.stable.fetch_metadata(topic, self.wait());
        let metadata = metadata.map_err(|error| self.unanswered("topics", &error))?;
        self.context.up();
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        for topic in metadata.topics() {
            // one that was there is not forgotten: while leaders change the brokers may not know it for a moment
            if topic.error().is_none() && !topic.partitions().is_empty() {
                counts.insert(topic.name().to_owned(), topic.partitions().len() as u32);
            }
        }
        drop(counts);
        Ok(metadata)
    }

    fn known(&self, topic: &str) -> Option<u32> {
        self.counts.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    /// The number of a topic's partitions, asked for when it is not known.
    pub(super) fn count(&self, topic: &str) -> Result<u32> {
        if let Some(count) = self.known(topic) {
            return Ok(count);
        }
        if !is_name(topic) {
            return Err(Error::Unknown(topic.to_owned())); // the library would wait for it
        }
        self.metadata(Some(topic))?;
        self.known(topic).ok_or_else(|| Error::Unknown(topic.to_owned()))
    }

    /// Whether [`Topics::place`] can answer without asking anybody.
    pub(super) fn knows(&self, record: &NewRecord) -> bool {
        self.known(&record.topic).is_some_and(|count| record.partition.is_none_or(|partition| partition < count))
    }

    /// Asks again about what a record needs, since a topic may be new or have grown.
    pub(super) fn learn(&self, record: &NewRecord) -> Result<()> {
        if self.knows(record) || !is_name(&record.topic) {
            return Ok(());
        }
        self.metadata(Some(&record.topic)).map(drop)
    }

    /// The partition that a record goes to.
    pub(super) fn place(&self, record: &NewRecord) -> Result<i32> {
        let count = self.known(&record.topic).ok_or_else(|| Error::Unknown(record.topic.clone()))?;
        Ok(place(record, count, || self.turn.fetch_add(1, Ordering::Relaxed))? as i32)
    }

    /// What an error about partitions means. While a leader is away the brokers, and the library, do not know even a
    /// partition that was there before.
    pub(super) fn refused(&self, asked: &str, partitions: &[TopicPartition], error: &KafkaError) -> Error {
        let is_known = |tp: &TopicPartition| self.known(&tp.topic).is_some_and(|count| tp.partition < count);
        match question_error(asked, error) {
            Error::Unknown(_) if partitions.iter().all(is_known) => {
                Error::Unavailable(format!("{asked}: no leader now ({error})"))
            }
            other => other,
        }
    }

    pub(super) fn check(&self, tp: &TopicPartition) -> Result<()> {
        if tp.partition < self.count(&tp.topic)? { Ok(()) } else { Err(Error::Unknown(tp.to_string())) }
    }

    /// All topics but the brokers' own.
    pub(super) fn list(&self) -> Result<Vec<TopicInfo>> {
        let metadata = self.metadata(None)?;
        let own = |name: &str| name.starts_with("__");
        let mut all = Vec::new();
        for topic in metadata.topics().iter().filter(|topic| !own(topic.name()) && topic.error().is_none()) {
            all.extend((0..topic.partitions().len() as u32).map(|n| part(topic.name(), n)));
        }
        let mut topics: BTreeMap<String, Vec<PartitionRange>> = BTreeMap::new();
        for (tp, range) in self.ranges(&all)? {
            topics.entry(tp.topic).or_default().push(range);
        }
        Ok(topics.into_iter().map(|(name, partitions)| TopicInfo { name, partitions }).collect())
    }

    /// One topic with what its partitions hold.
    pub(super) fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        let Some(topic) = self.found(name)? else { return Ok(None) };
        let all: Vec<_> = (0..topic.partitions as u32).map(|number| part(name, number)).collect();
        let partitions = self.ranges(&all)?.into_iter().map(|(_, range)| range).collect();
        Ok(Some(TopicInfo { name: name.to_owned(), partitions }))
    }

    /// How a topic is laid out, if it is there. The brokers are asked about it alone: what others are like, and whether we
    /// may see them, is no business of ours.
    pub(super) fn found(&self, name: &str) -> Result<Option<Layout>> {
        if !is_name(name) {
            return Ok(None); // the library would wait for it
        }
        let metadata = self.metadata(Some(name))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        match topic.error().map(Code::from) {
            None => {}
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Ok(None),
            Some(code) => return Err(question_error(&format!("topic {name}"), &KafkaError::Global(code))),
        }
        let partitions = topic.partitions();
        let fewest = |of: fn(&MetadataPartition) -> usize| partitions.iter().map(of).min().unwrap_or(0);
        Ok((!partitions.is_empty()).then_some(Layout {
            partitions: partitions.len(),
            copies: fewest(|partition| partition.replicas().len()),
            in_sync: fewest(|partition| partition.isr().len()),
            leaderless: partitions.iter().filter(|partition| partition.leader() < 0).count(),
        }))
    }

    /// Creates a topic and waits until it can be used.
    pub(super) fn create(&self, spec: &TopicSpec) -> Result<()> {
        check_spec(spec)?;
        let (min_insync, retention) =
            (self.options.min_insync_replicas.to_string(), self.retention_ms(&spec.name).to_string());
        let copies = TopicReplication::Fixed(i32::from(self.options.replication));
        let topic = NewTopic::new(&spec.name, spec.partitions as i32, copies)
            .set("min.insync.replicas", &min_insync)
            .set("retention.ms", &retention)
            .set("cleanup.policy", "delete")
            .set("message.timestamp.type", "CreateTime");
        let results = block_on(self.admin.create_topics([&topic], &self.admin_options()));
        let asked = format!("create topic {}", spec.name);
        match results.map_err(|error| question_error(&asked, &error))?.pop() {
            Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) | None => {}
            Some(Err((_, code))) => return Err(question_error(&asked, &KafkaError::Global(code))),
        }
        self.await_created(spec)
    }

    pub(super) fn await_created(&self, spec: &TopicSpec) -> Result<()> {
        let ends = self.clock.monotonic() + self.wait();
        loop {
            let metadata = self.metadata(Some(&spec.name))?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == spec.name && topic.error().is_none());
            let partitions = topic.map_or(&[][..], |topic| topic.partitions());
            if !partitions.is_empty() && partitions.len() != spec.partitions as usize {
                let (name, found, wanted) = (&spec.name, partitions.len(), spec.partitions);
                return Err(Error::Fatal(format!(
                    "the number of partitions of topic {name} is {found}, not {wanted}; that cannot be changed"
                )));
            }
            if !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0) {
                return Ok(());
            }
            if self.clock.monotonic() > ends {
                return Err(Error::Unavailable(format!("topic {} has no leader yet", spec.name)));
            }
            self.clock.park(POLL);
        }
    }

    /// Deletes topics, with all that they hold. One that is not there is gone already.
    pub(super) fn delete(&self, names: &[&str]) -> Result<()> {
        let results = block_on(self.admin.delete_topics(names, &self.admin_options()));
        for result in results.map_err(|error| question_error(&format!("delete {}", names.join(", ")), &error))? {
            match result {
                Ok(_) | Err((_, Code::UnknownTopicOrPartition)) => {}
                Err((name, code)) => {
                    return Err(question_error(&format!("delete topic {name}"), &KafkaError::Global(code)));
                }
            }
        }
        Ok(())
    }

    /// How long a topic's records are kept; −1: for ever.
    pub(super) fn retention_ms(&self, topic: &str) -> i64 {
        if self.options.kept.iter().any(|kept| kept == topic) {
            return -1;
        }
        i64::try_from(self.options.retention.as_millis()).unwrap_or(-1)
    }

    /// Deletes the records before an offset.
    pub(super) fn delete_before(&self, tp: &TopicPartition, offset: u64) -> Result<()> {
        let range = self.range(tp)?;
        if offset > range.end {
            return Err(beyond(tp, offset, range.end));
        }
        if offset <= range.start {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        let asked = format!("delete records of {tp}");
        let set = list.add_partition_offset(&tp.topic, tp.partition as i32, Offset::Offset(offset as i64));
        set.map_err(|error| question_error(&asked, &error))?;
        let result = block_on(self.admin.delete_records(&list, &self.admin_options()));
        let result = result.map_err(|error| question_error(&asked, &error))?;
        let refused = result.elements().iter().find_map(|entry| entry.error().err());
        refused.map_or(Ok(()), |error| Err(question_error(&asked, &error)))
    }
}

/// Events of a client that are taken at once.
const EVENTS_MAX: usize = 64;
/// Between two looks at whether a new topic can be used.
pub(super) const POLL: Duration = Duration::from_millis(20);
pub(super) fn part(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_leader_is_not_taken_for_an_unknown_one() {
        let topics = Topics::connect(&Options::default(), &ClientContext::default()).expect("clients");
        topics.counts.write().expect("no panic before").insert("t".to_owned(), 2);
        for code in [Code::UnknownPartition, Code::UnknownTopicOrPartition] {
            let refused = |tp| topics.refused("offsets", &[part("t", 0), tp], &KafkaError::Global(code));
            assert!(matches!(refused(part("t", 1)), Error::Unavailable(_)));
            assert!(matches!(refused(part("t", 2)), Error::Unknown(_)));
            assert!(matches!(refused(part("other", 0)), Error::Unknown(_)));
        }
    }
}
