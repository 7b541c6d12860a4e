//! What time it is for each broker. None of their answers says so, but they write down when they appended a record to a topic
//! that wants to know.

use rdkafka::{
    admin::{NewTopic, TopicReplication},
    error::KafkaError,
};

use super::{
    KafkaLog,
    client::{block_on, question_error},
    topics::part,
};
use crate::{
    clock::Clock,
    domain::{Timestamp, wire::Headers},
    eventlog::{Error, EventLog as _, NewRecord, Result, TopicPartition, TopicSpec},
};

/// Records for each broker: the first waits for what the client does not know yet.
const TRIES: u32 = 3;

/// A broker's clock beside ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerClock {
    /// The broker's address.
    pub broker: String,
    /// By how many milliseconds it is ahead of ours; negative: behind.
    pub ahead_ms: i64,
    /// By how many milliseconds it may be more or less than that.
    pub within_ms: i64,
}

impl KafkaLog {
    /// Compares the brokers' clocks with this one, by a topic with a partition on each broker, which is made for that and deleted.
    pub fn clocks(&self, clock: &Clock) -> Result<Vec<BrokerClock>> {
        let topics = &self.0.topics;
        let metadata = topics.metadata(None)?;
        let brokers = metadata.brokers();
        let name = format!("encargo_clocks_{}", fastrand::u64(..));
        let places: Vec<_> = brokers.iter().map(|broker| [broker.id()]).collect();
        let places: Vec<&[i32]> = places.iter().map(<[i32; 1]>::as_slice).collect();
        let topic = NewTopic::new(&name, places.len() as i32, TopicReplication::Variable(&places))
            .set("message.timestamp.type", "LogAppendTime")
            .set("min.insync.replicas", "1");
        let asked = "create a topic for the brokers' clocks";
        let made = block_on(topics.admin.create_topics([&topic], &topics.admin_options()));
        for result in made.map_err(|error| question_error(asked, &error))? {
            result.map_err(|(_, code)| question_error(asked, &KafkaError::Global(code)))?;
        }
        let looked = topics.await_created(&TopicSpec { name: name.clone(), partitions: places.len() as u32 });
        let clocks = looked.and_then(|()| {
            let clocks = (0..).zip(brokers).map(|(partition, broker)| {
                let tries =
                    (0..TRIES).map(|_| self.look(&part(&name, partition), clock)).collect::<Result<Vec<_>>>()?;
                let (ahead_ms, within_ms) = tries.into_iter().min_by_key(|(_, within)| *within).unwrap_or_default();
                Ok(BrokerClock { broker: format!("{}:{}", broker.host(), broker.port()), ahead_ms, within_ms })
            });
            clocks.collect()
        });
        topics.delete(&[&name])?;
        clocks
    }

    /// By how much the clock of a partition's leader is ahead, and by how much that may be wrong.
    fn look(&self, tp: &TopicPartition, clock: &Clock) -> Result<(i64, i64)> {
        let record = NewRecord {
            topic: tp.topic.clone(),
            partition: Some(tp.partition),
            key: None,
            value: Vec::new(),
            headers: Headers::default(),
            at: Timestamp::from_millis(1),
        };
        let asked = clock.now();
        let places = block_on(self.append(vec![record]))?;
        let answered = clock.now();
        let offset = places.first().map_or(0, |place| place.offset);
        let appended = self.read(tp, offset)?.next(1)?;
        let at = appended.first().ok_or_else(|| Error::Unavailable(format!("{tp} does not hold what was written")))?.at;
        let [asked, answered] = [asked, answered].map(Timestamp::as_millis);
        Ok((at.as_millis() - i64::midpoint(asked, answered), (answered - asked) / 2 + 1))
    }
}
