//! Topics: what is there, what should be, and where a record goes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
    metadata::Metadata,
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    client::{self, Plain, block_on, question_error},
    options::Options,
};
use crate::{
    clock::Clock,
    domain::Timestamp,
    eventlog::{
        Error, NewRecord, PartitionRange, Result, TopicInfo, TopicPartition, TopicSpec, check_spec, is_name,
        partitioner,
    },
};

/// What is known of topics, and how to ask for more.
pub(super) struct Topics {
    options: Options,
    plain: Plain,
    /// Sees whole commits only.
    stable: BaseConsumer<Plain>,
    /// Sees how far the log was written, open transactions included.
    latest: BaseConsumer<Plain>,
    admin: AdminClient<Plain>,
    counts: RwLock<HashMap<String, u32>>,
    turn: AtomicU32,
    clock: Clock,
}

/// What a topic should be, as `encargo log init` would make it, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// What differs: `missing`, or a setting's name.
    pub what: String,
    /// What is wanted.
    pub wanted: String,
    /// What is there; empty when the topic is missing.
    pub found: String,
    /// Whether Encargo cannot run like that. `create` mends missing topics; the rest is the operator's.
    pub refuses: bool,
}

impl Topics {
    pub(super) fn connect(options: &Options, plain: &Plain) -> Result<Self> {
        let asking = |isolation| options.asking(None, isolation).create_with_context(plain.clone());
        Ok(Self {
            options: options.clone(),
            plain: plain.clone(),
            stable: asking("read_committed").map_err(client::config_error)?,
            latest: asking("read_uncommitted").map_err(client::config_error)?,
            admin: options
                .asking(None, "read_committed")
                .create_with_context(plain.clone())
                .map_err(client::config_error)?,
            counts: RwLock::default(),
            turn: AtomicU32::new(0),
            clock: Clock::system(),
        })
    }

    fn wait(&self) -> Duration {
        self.options.request_timeout
    }

    fn admin_options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.wait())).operation_timeout(Some(self.wait()))
    }

    /// Nothing else takes these clients' few events.
    pub(super) fn serve(&self) {
        for client in [&self.stable, &self.latest] {
            while let Some(Err(error)) = client.poll(Duration::ZERO) {
                self.plain.note(&error);
            }
        }
    }

    /// Asks for the partitions of one topic or of all, and remembers them.
    pub(super) fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        self.serve();
        let metadata = self.stable.fetch_metadata(topic, self.wait());
        let metadata = metadata.map_err(|error| question_error("topics", &error))?;
        self.plain.up();
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
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partitioner::partition_of(key, count),
            (None, None) => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        };
        if partition >= count {
            return Err(Error::Unknown(format!("{}/{partition}", record.topic)));
        }
        Ok(partition as i32)
    }

    /// What an error about partitions means. While a leader is away the brokers, and the library, do not know even a
    /// partition that was there before.
    pub(super) fn refused(&self, asked: &str, of: &[TopicPartition], error: &KafkaError) -> Error {
        let is_known = |of: &TopicPartition| self.known(&of.topic).is_some_and(|count| of.partition < count);
        match question_error(asked, error) {
            Error::Unknown(_) if of.iter().all(is_known) => {
                Error::Unavailable(format!("{asked}: no leader now ({error})"))
            }
            other => other,
        }
    }

    fn check(&self, of: &TopicPartition) -> Result<()> {
        if of.partition < self.count(&of.topic)? { Ok(()) } else { Err(Error::Unknown(of.to_string())) }
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
        for (of, range) in self.ranges(&all)? {
            topics.entry(of.topic).or_default().push(range);
        }
        Ok(topics.into_iter().map(|(name, partitions)| TopicInfo { name, partitions }).collect())
    }

    /// First offset and stable end of each partition, in the order asked, by two requests to each leader.
    pub(super) fn ranges(&self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, PartitionRange)>> {
        let starts = self.offsets(&self.stable, of, Offset::Beginning)?;
        let ends = self.offsets(&self.stable, of, Offset::End)?;
        let ranges = of.iter().zip(starts).zip(ends);
        Ok(ranges.map(|((of, start), end)| (of.clone(), PartitionRange { start, end: end.max(start) })).collect())
    }

    /// The stable end of each partition.
    pub(super) fn ends(&self, of: &[TopicPartition]) -> Result<Vec<u64>> {
        self.offsets(&self.stable, of, Offset::End)
    }

    /// The first offset kept of each partition.
    pub(super) fn starts(&self, of: &[TopicPartition]) -> Result<Vec<u64>> {
        self.offsets(&self.stable, of, Offset::Beginning)
    }

    /// One past the last record, decided or not.
    pub(super) fn written(&self, of: &TopicPartition) -> Result<u64> {
        Ok(self.offsets(&self.latest, std::slice::from_ref(of), Offset::End)?[0])
    }

    /// First offset and stable end of one partition, checked.
    pub(super) fn range(&self, of: &TopicPartition) -> Result<PartitionRange> {
        self.check(of)?;
        Ok(self.ranges(std::slice::from_ref(of))?[0].1)
    }

    fn offsets(&self, client: &BaseConsumer<Plain>, of: &[TopicPartition], at: Offset) -> Result<Vec<u64>> {
        Ok(self.ask(client, of, at)?.into_iter().map(|offset| offset.unwrap_or(0)).collect())
    }

    /// One request to each leader. `at` is a time, or one of Kafka's two words for the ends.
    fn ask(&self, client: &BaseConsumer<Plain>, of: &[TopicPartition], at: Offset) -> Result<Vec<Option<u64>>> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let ends = self.clock.monotonic() + self.wait().min(LEADERLESS);
        loop {
            match self.ask_once(client, of, at) {
                Ok(offsets) => {
                    self.plain.up();
                    return Ok(offsets);
                }
                Err((of, error)) => match self.refused(&names(&of), &of, &error) {
                    Error::Unavailable(_) if is_passing(&error) && self.clock.monotonic() < ends => {
                        Self::look_again(client, &of);
                    }
                    error => return Err(error),
                },
            }
        }
    }

    /// An error names the partitions that it is about.
    fn ask_once(
        &self,
        client: &BaseConsumer<Plain>,
        of: &[TopicPartition],
        at: Offset,
    ) -> std::result::Result<Vec<Option<u64>>, (Vec<TopicPartition>, KafkaError)> {
        let mut list = TopicPartitionList::with_capacity(of.len());
        for of in of {
            let set = list.add_partition(&of.topic, of.partition as i32).set_offset(at);
            set.map_err(|error| (vec![of.clone()], error))?;
        }
        let answer = client.offsets_for_times(list, self.wait()).map_err(|error| (of.to_vec(), error))?;
        let entries = answer.elements();
        let found = of.iter().zip(&entries).map(|(of, entry)| {
            debug_assert_eq!((&*of.topic, of.partition as i32), (entry.topic(), entry.partition()));
            entry.error().map_err(|error| (vec![of.clone()], error))?;
            match entry.offset() {
                Offset::Offset(offset) => Ok(Some(offset as u64)),
                _ => Ok(None), // by time: no record is that young
            }
        });
        found.collect()
    }

    /// The library keeps it in mind that a partition had no leader, for minutes, and would ask nobody.
    fn look_again(client: &BaseConsumer<Plain>, of: &[TopicPartition]) {
        std::thread::park_timeout(POLL);
        let topics: BTreeSet<_> = of.iter().map(|of| &*of.topic).collect();
        for topic in topics {
            // if it cannot be had, the next question says so
            let _ = client.fetch_metadata(Some(topic), LEADERLESS);
        }
    }

    /// The first offset whose record is not older than `at`, else the end.
    pub(super) fn offset_at(&self, of: &TopicPartition, at: Timestamp) -> Result<u64> {
        self.check(of)?;
        let at = Offset::Offset(at.as_millis().max(0));
        match self.ask(&self.stable, std::slice::from_ref(of), at)?[0] {
            Some(offset) => Ok(offset),
            None => Ok(self.ends(std::slice::from_ref(of))?[0]),
        }
    }

    /// Creates a topic and waits until it can be used.
    pub(super) fn create(&self, spec: &TopicSpec) -> Result<()> {
        check_spec(spec)?;
        let (min_insync, retention) = (self.options.min_insync_replicas.to_string(), self.retention_ms().to_string());
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

    fn await_created(&self, spec: &TopicSpec) -> Result<()> {
        let ends = self.clock.monotonic() + self.wait();
        loop {
            let metadata = self.metadata(Some(&spec.name))?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == spec.name && topic.error().is_none());
            let partitions = topic.map_or(&[][..], |topic| topic.partitions());
            if !partitions.is_empty() && partitions.len() != spec.partitions as usize {
                let (name, found, wanted) = (&spec.name, partitions.len(), spec.partitions);
                return Err(Error::Fatal(format!("topic {name} has {found} partitions, {wanted} were asked for")));
            }
            if !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0) {
                return Ok(());
            }
            if self.clock.monotonic() > ends {
                return Err(Error::Unavailable(format!("topic {} has no leader yet", spec.name)));
            }
            std::thread::park_timeout(POLL);
        }
    }

    fn retention_ms(&self) -> i64 {
        i64::try_from(self.options.retention.as_millis()).unwrap_or(-1)
    }

    /// Deletes the records before an offset.
    pub(super) fn delete_before(&self, of: &TopicPartition, offset: u64) -> Result<()> {
        let range = self.range(of)?;
        if offset > range.end {
            return Err(beyond(of, offset, range.end));
        }
        if offset <= range.start {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        let asked = format!("delete records of {of}");
        let set = list.add_partition_offset(&of.topic, of.partition as i32, Offset::Offset(offset as i64));
        set.map_err(|error| question_error(&asked, &error))?;
        let result = block_on(self.admin.delete_records(&list, &self.admin_options()));
        let result = result.map_err(|error| question_error(&asked, &error))?;
        let refused = result.elements().iter().find_map(|entry| entry.error().err());
        refused.map_or(Ok(()), |error| Err(question_error(&asked, &error)))
    }

    /// How the topics differ from what they should be. Partitions and their number must fit; copies and retention are
    /// the operator's business and only told.
    pub(super) fn differences(&self, wanted: &[TopicSpec]) -> Result<Vec<Difference>> {
        let metadata = self.metadata(None)?;
        let mut differences = Vec::new();
        for spec in wanted {
            let difference = |what: &str, wanted: String, found: String, refuses| Difference {
                topic: spec.name.clone(),
                what: what.into(),
                wanted,
                found,
                refuses,
            };
            let topic = metadata.topics().iter().find(|topic| topic.name() == spec.name && topic.error().is_none());
            let Some(topic) = topic else {
                let wanted = format!(
                    "{} partitions, {} copies, min.insync.replicas {}, retention.ms {}",
                    spec.partitions,
                    self.options.replication,
                    self.options.min_insync_replicas,
                    self.retention_ms()
                );
                differences.push(difference("missing", wanted, String::new(), true));
                continue;
            };
            let partitions = topic.partitions();
            let copies = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
            let settings = self.settings(&spec.name)?;
            let setting = |name: &str| settings.get(name).cloned().unwrap_or_default();
            for (what, wanted, found, refuses) in [
                ("partitions", spec.partitions.to_string(), partitions.len().to_string(), true),
                ("replication", self.options.replication.to_string(), copies.to_string(), false),
                (
                    "min.insync.replicas",
                    self.options.min_insync_replicas.to_string(),
                    setting("min.insync.replicas"),
                    false,
                ),
                ("retention.ms", self.retention_ms().to_string(), setting("retention.ms"), false),
                ("cleanup.policy", "delete".into(), setting("cleanup.policy"), true),
            ] {
                if wanted != found && !found.is_empty() {
                    differences.push(difference(what, wanted, found, refuses));
                }
            }
        }
        Ok(differences)
    }

    /// A topic's settings; empty when we may not see them.
    fn settings(&self, topic: &str) -> Result<HashMap<String, String>> {
        self.describe(ResourceSpecifier::Topic(topic))
    }

    fn describe(&self, what: ResourceSpecifier<'_>) -> Result<HashMap<String, String>> {
        let asked = "describe settings";
        let results = block_on(self.admin.describe_configs([&what], &self.admin_options()));
        match results.map_err(|error| question_error(asked, &error))?.pop() {
            Some(Ok(resource)) => {
                let entries = resource.entries.into_iter();
                Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
            }
            Some(Err(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) | None => Ok(HashMap::new()),
            Some(Err(code)) => Err(question_error(asked, &KafkaError::Global(code))),
        }
    }

    /// Refuses brokers that are too old for what we promise. From 4.0 on they no longer say a protocol version, and all
    /// of those will do.
    pub(super) fn check_brokers(&self) -> Result<()> {
        let metadata = self.metadata(None)?;
        let Some(broker) = metadata.brokers().first() else {
            return Err(Error::Unavailable("the cluster shows no broker".into()));
        };
        let settings = self.describe(ResourceSpecifier::Broker(broker.id()))?;
        let Some(version) = settings.get("inter.broker.protocol.version") else { return Ok(()) };
        if protocol_version(version).is_some_and(|version| version < BROKER_MIN) {
            let (major, minor) = BROKER_MIN;
            let text = format!(
                "broker {} ({}:{}) speaks the protocol of Kafka {version}; transactions that are fenced by the group's \
                 generation need {major}.{minor} or newer (KIP-447)",
                broker.id(),
                broker.host(),
                broker.port()
            );
            return Err(Error::Fatal(text));
        }
        Ok(())
    }
}

/// The oldest brokers whose transactions are fenced by a group's generation.
const BROKER_MIN: (u32, u32) = (2, 5);
/// Between two looks at whether a new topic can be used.
const POLL: Duration = Duration::from_millis(20);
/// How long a question waits for a partition's next leader.
const LEADERLESS: Duration = Duration::from_secs(2);

/// The first few, for a message.
fn names(of: &[TopicPartition]) -> String {
    of.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a known partition answers, or the library for it, while its leader moves, or when it is new.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::OffsetNotAvailable
                | Code::ReplicaNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
        )
    )
}

fn protocol_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn part(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub(super) fn beyond(of: &TopicPartition, offset: u64, end: u64) -> Error {
    Error::Fatal(format!("offset {offset} of {of} is beyond its end {end}: the log is not the one the offset is from"))
}

/// Checks that reading may start at an offset.
pub(super) fn check_from(of: &TopicPartition, from: u64, start: u64, end: u64) -> Result<()> {
    if from < start {
        return Err(Error::Trimmed { topic: of.topic.clone(), partition: of.partition, from, start });
    }
    if from > end { Err(beyond(of, from, end)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_brokers_are_told_by_their_protocol() {
        for (text, version) in [("3.7-IV4", (3, 7)), ("2.4", (2, 4)), ("2.5-IV0", (2, 5)), ("0.10.2", (0, 10))] {
            assert_eq!(protocol_version(text), Some(version), "{text}");
        }
        assert_eq!(protocol_version("4"), None);
    }

    #[test]
    fn a_partition_without_a_leader_is_not_taken_for_an_unknown_one() {
        let topics = Topics::connect(&Options::default(), &Plain::default()).expect("clients");
        topics.counts.write().expect("no panic before").insert("t".to_owned(), 2);
        for code in [Code::UnknownPartition, Code::UnknownTopicOrPartition] {
            let refused = |of| topics.refused("offsets", &[part("t", 0), of], &KafkaError::Global(code));
            assert!(matches!(refused(part("t", 1)), Error::Unavailable(_)));
            assert!(matches!(refused(part("t", 2)), Error::Unknown(_)));
            assert!(matches!(refused(part("other", 0)), Error::Unknown(_)));
        }
    }
}
