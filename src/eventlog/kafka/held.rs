//! Where a transaction that nobody has decided holds up the readers of a partition.

use rdkafka::{
    Message as _,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    Shared,
    client::{self, ClientContext, question_error},
};
use crate::{
    domain::Timestamp,
    eventlog::{Error, Result, TopicPartition},
};

/// A partition whose readers come no further for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The partition.
    pub tp: TopicPartition,
    /// Its stable end, where the oldest open transaction begins.
    pub offset: u64,
    /// When the record there was written, as its writer says.
    pub at: Timestamp,
}

impl Shared {
    /// The partitions of a topic in which a transaction is open now; of a topic in use that is one or the other for moments.
    pub(super) fn held(&self, topic: &str) -> Result<Vec<Held>> {
        let mut held = Vec::new();
        for tp in self.partitions(&[topic])? {
            let stable = self.topics.ends(std::slice::from_ref(&tp))?[0];
            if stable < self.topics.written(&tp)?
                && let Some(at) = self.undecided_at(&tp, stable)?
            {
                held.push(Held { tp, offset: stable, at });
            }
        }
        Ok(held)
    }

    /// When the record at an offset was written, decided or not; none when only a transaction's marker is there.
    fn undecided_at(&self, tp: &TopicPartition, offset: u64) -> Result<Option<Timestamp>> {
        let mut config = self.options.reading();
        config.set("isolation.level", "read_uncommitted");
        let consumer: BaseConsumer<ClientContext> =
            config.create_with_context(self.context.clone()).map_err(client::config_error)?;
        let asked = format!("the record at {tp}/{offset}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&tp.topic, tp.partition as i32, Offset::Offset(client::signed(offset)?))
            .and_then(|()| consumer.assign(&list))
            .map_err(|error| question_error(&asked, &error))?;
        let ends = self.clock.monotonic() + self.options.request_timeout;
        while self.clock.monotonic() < ends {
            match consumer.poll(ends.saturating_sub(self.clock.monotonic())) {
                Some(Ok(message)) => {
                    let at = message.timestamp().to_millis().unwrap_or_default();
                    return Ok((message.offset() as u64 == offset).then(|| Timestamp::from_millis(at)));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) => self.context.note(&error),
                None => {}
            }
        }
        Err(Error::Unavailable(format!("{asked}: no answer")))
    }
}
