//! The event log on Apache Kafka, by librdkafka. No type of that library leaves this folder.
//!
//! - Appends go through one idempotent producer and answer after the delivery reports of all copies.
//! - A member is a consumer of the classic protocol with `cooperative-sticky` assignment. Members that write outputs
//!   have a transactional producer, whose id is made of group and slot; each commit is one transaction, fenced by the
//!   group's generation.
//! - Readers see decided records only, and come to an end only when all that was written before is decided.
//!
//! Refused: `enable.auto.commit` and its kin (offsets are committed with their effects), retrying an uncertain commit
//! in place (the library has no KIP-890 part 2: a new producer and the log say how it ended), and the library's own
//! reset of offsets (a gap must be seen).

mod client;
mod clocks;
mod groups;
mod held;
mod internal;
mod markers;
mod member;
mod membership;
mod offsets;
mod options;
mod produce;
mod reach;
mod read;
mod record;
mod rights;
mod setup;
mod slots;
mod topics;
mod transaction;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{consumer::BaseConsumer, producer::Producer as _, util::get_rdkafka_version};
use tokio::sync::oneshot;

use self::{
    client::ClientContext,
    markers::Gaps,
    member::KafkaMember,
    produce::Producer,
    read::{KafkaReader, Readers},
    slots::Slots,
    topics::Topics,
};
pub use self::{
    clocks::BrokerClock,
    held::Held,
    membership::{GroupMember, Membership},
    options::{HELPERS, Options},
    rights::Right,
    setup::Difference,
    topics::Layout,
};
use super::{
    BoxFuture, Error, EventLog, GroupInfo, GroupOffset, Keeping, Lag, Member, MemberMode, NewRecord, Position, Reader,
    Result, TopicInfo, TopicPartition, TopicSpec,
};
use crate::{clock::Clock, domain::Timestamp};

/// The oldest library that was tried: 2.6, as a hexadecimal number.
const LIBRARY_MIN: i32 = 0x0206_00ff;
/// Between two looks at whether a broker is back.
const PROBE_EVERY: Duration = Duration::from_millis(300);

/// An event log on a cluster.
pub struct KafkaLog(Arc<Shared>);

/// What log, readers and members share.
struct Shared {
    options: Options,
    clock: Clock,
    context: ClientContext,
    topics: Topics,
    producer: RwLock<Arc<Producer>>,
    waiting: Arc<AtomicUsize>,
    readers: Readers,
    groups: Mutex<HashMap<String, Arc<BaseConsumer<ClientContext>>>>,
    slots: Slots,
    gaps: Gaps,
    probing: AtomicBool,
}

impl KafkaLog {
    /// Connects. [`Error::Unavailable`] while no broker answers; [`Error::Fatal`] when properties are refused, or
    /// brokers or library are too old.
    pub fn open(options: Options) -> Result<Self> {
        options.check()?;
        check_library()?;
        let context = ClientContext::default();
        let topics = Topics::connect(&options, &context)?;
        if let Err(error) = topics.check_brokers() {
            topics.serve();
            return Err(match context.refused() {
                Some(why) => Error::Fatal(format!("cannot connect to Kafka: {why}")),
                None => error,
            });
        }
        Self::connected(options, context, topics)
    }

    fn connected(options: Options, context: ClientContext, topics: Topics) -> Result<Self> {
        // asks for its producer id at once, so that the first append need not wait for one
        let producer = produce::start(&options.producer_config(), context.clone())?;
        producer
            .client()
            .fetch_metadata(None, options.request_timeout)
            .map_err(|error| topics.unanswered("metadata", &error))?;
        Ok(Self(Arc::new(Shared {
            options,
            clock: client::real_clock(),
            context,
            topics,
            producer: RwLock::new(Arc::new(producer)),
            waiting: Arc::default(),
            readers: Readers::default(),
            groups: Mutex::default(),
            slots: Slots::default(),
            gaps: Gaps::default(),
            probing: AtomicBool::new(false),
        })))
    }

    /// How the topics differ from what they should be; empty when nothing does.
    pub fn differences(&self, wanted: &[TopicSpec]) -> Result<Vec<Difference>> {
        self.0.topics.differences(wanted)
    }

    /// Whether the brokers can keep groups and transactions; [`Error::Unavailable`] says why not.
    pub fn check_brokers_own(&self) -> Result<()> {
        self.0.topics.check_internal()
    }

    /// How the brokers keep a topic, if it is there.
    pub fn layout(&self, topic: &str) -> Result<Option<Layout>> {
        self.0.topics.found(topic)
    }

    /// A topic's settings, by Kafka's names; empty when we may not see them.
    pub fn settings(&self, topic: &str) -> Result<HashMap<String, String>> {
        self.0.topics.settings(topic)
    }

    /// The settings of one broker, by Kafka's names; empty when we may not see them.
    pub fn broker_settings(&self) -> Result<HashMap<String, String>> {
        self.0.topics.broker_settings()
    }

    /// The partitions of a topic whose readers wait for an open transaction; while a topic is in use they do for moments.
    pub fn held(&self, topic: &str) -> Result<Vec<Held>> {
        self.0.held(topic)
    }

    /// Whether our account has a right; about topics, on one that is there. Nothing is changed by asking.
    pub fn may(&self, right: Right<'_>) -> Result<bool> {
        self.0.may(right)
    }

    /// The groups that have members now.
    pub fn memberships(&self) -> Result<Vec<Membership>> {
        self.0.memberships()
    }

    /// How many partitions a topic has, if it is there.
    pub fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        Ok(self.layout(topic)?.map(|layout| layout.partitions as u32))
    }

    /// The names of the cluster's topics, whoever they are for.
    pub fn names(&self) -> Result<Vec<String>> {
        let metadata = self.0.topics.metadata(None)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// Deletes topics, with all that they hold: for whoever made them for a trial. One that is not there is gone already.
    pub fn delete_topics(&self, names: &[&str]) -> Result<()> {
        self.0.topics.delete(names)
    }

    /// Records that wait for their confirmation.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

fn check_library() -> Result<()> {
    let (number, text) = get_rdkafka_version();
    if number < LIBRARY_MIN {
        return Err(Error::Fatal(format!("librdkafka {text} is too old: 2.6 or newer is needed")));
    }
    Ok(())
}

impl Shared {
    /// The producer of appends; a new one when the last met an error that it cannot get over.
    fn producer(&self) -> Result<Arc<Producer>> {
        let producer = self.producer.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(why) = client::fatal(producer.client()) else { return Ok(producer) };
        let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if client::fatal(current.client()).is_some() {
            tracing::warn!(why, "the producer of appends is replaced");
            *current = Arc::new(produce::start(&self.options.producer_config(), self.context.clone())?);
        }
        Ok(current.clone())
    }

    fn start_append(self: &Arc<Self>, records: &[NewRecord], reply: oneshot::Sender<Result<Vec<Position>>>) {
        let answer = |result: Result<Vec<Position>>, reply: oneshot::Sender<_>| drop(reply.send(result));
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting >= self.options.waiting_max {
            return answer(Err(Error::Overloaded(waiting)), reply);
        }
        if self.context.is_down() {
            // nothing was handed to the library, so it is certain that nothing is written
            self.probe();
            return answer(Err(Error::Unavailable("no broker can be reached".into())), reply);
        }
        if let Some(unknown) = records.iter().find_map(|record| self.topics.place(record).err()) {
            return answer(Err(unknown), reply);
        }
        let producer = match self.producer() {
            Ok(producer) => producer,
            Err(error) => return answer(Err(error), reply),
        };
        let done = move |result: std::result::Result<_, produce::Undelivered>| {
            drop(reply.send(result.map_err(produce::Undelivered::into_error)));
        };
        if let Err(error) =
            produce::send(&producer, &self.topics, records, &self.waiting, produce::Answered::Whole, done)
        {
            tracing::warn!(%error, "a topic vanished while records were appended");
        }
    }

    /// Looks for a broker until one answers; at most one thread does.
    fn probe(self: &Arc<Self>) {
        if self.probing.swap(true, Ordering::Relaxed) {
            return;
        }
        let weak = Arc::downgrade(self);
        let look = move || {
            while let Some(shared) = weak.upgrade() {
                if !shared.context.is_down() || shared.topics.metadata(None).is_ok() {
                    shared.probing.store(false, Ordering::Relaxed);
                    return;
                }
                let clock = shared.clock.clone();
                drop(shared); // nobody waits for this thread
                clock.park(PROBE_EVERY);
            }
        };
        if thread::Builder::new().name("log-probe".into()).spawn(look).is_err() {
            self.probing.store(false, Ordering::Relaxed);
        }
    }
}

impl EventLog for KafkaLog {
    fn topics(&self) -> Result<Vec<TopicInfo>> {
        self.0.topics.list()
    }

    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        self.0.topics.topic(name)
    }

    fn keeping(&self, topics: &[&str]) -> Result<Vec<Keeping>> {
        self.0.topics.keeping(topics)
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        self.0.topics.create(spec)
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<Result<Vec<Position>>> {
        let (reply, answer) = oneshot::channel();
        let shared = self.0.clone();
        if records.iter().all(|record| shared.topics.knows(record)) {
            shared.start_append(&records, reply);
        } else {
            // asking for a topic blocks; it happens once for each
            thread::spawn(move || match records.iter().try_for_each(|record| shared.topics.learn(record)) {
                Ok(()) => shared.start_append(&records, reply),
                Err(error) => drop(reply.send(Err(error))),
            });
        }
        let gone = |_| Err(Error::Unconfirmed("the event log was closed".into()));
        Box::pin(async move { answer.await.unwrap_or_else(gone) })
    }

    fn read(&self, partition: &TopicPartition, from: u64) -> Result<Box<dyn Reader>> {
        Ok(Box::new(KafkaReader::open(self.0.clone(), partition, from)?))
    }

    fn join_alongside(
        &self,
        group: &str,
        topics: &[&str],
        alongside: &[&str],
        slot: u32,
        mode: MemberMode,
    ) -> Result<Box<dyn Member>> {
        Ok(Box::new(KafkaMember::join(&self.0, group, topics, alongside, slot, mode)?))
    }

    fn ping(&self) -> Result<()> {
        self.0.topics.metadata(None).map(drop)
    }

    fn groups(&self) -> Result<Vec<GroupInfo>> {
        self.0.list_groups()
    }

    fn owners(&self, group: &str) -> Result<Vec<(TopicPartition, String)>> {
        self.0.group_owners(group)
    }

    fn committed(&self, group: &str, topics: &[&str]) -> Result<Vec<GroupOffset>> {
        self.0.committed(group, &self.0.partitions(topics)?)
    }

    fn lag(&self, group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
        let mut lags = self.0.group_lag(group, topics)?;
        for lag in lags.iter_mut().filter(|lag| lag.records() > 0) {
            // a reader would wait for an open transaction, up to its time-out; its end moves the partition's
            let is_open = || Ok::<_, Error>(self.0.topics.written(&lag.tp)? > lag.end);
            if self.0.gaps.is_empty(group, lag, || Ok(is_open()? || self.has_record(&lag.tp, lag.next)?)) {
                lag.next = lag.end;
            }
        }
        Ok(lags)
    }

    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> Result<u64> {
        self.0.topics.offset_at(partition, at)
    }

    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        self.0.topics.delete_before(partition, offset)
    }
}
