//! Reads one partition to its stable end.
//!
//! The library says "end of partition" when a fetch finds nothing more that is decided; "until the last offset" would
//! never come true where control records fill the end. Whether there is more after that end is asked by its offset.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
    message::Message,
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    Shared,
    client::{self, ClientContext, question_error},
    offsets::beside,
    record,
};
use crate::{
    clock::Monotonic,
    eventlog::{Error, Reader, Record, Result, TopicPartition, check_from},
};

/// Consumers kept for the next reader: connecting costs more than reading a small partition.
const IDLE_MAX: usize = 16;
/// Consumers that are made before somebody reads.
const WARM: usize = 4;
/// Between two looks at whether an open transaction was decided.
const POLL: Duration = Duration::from_millis(5);

/// Consumers that nobody reads with.
#[derive(Default)]
pub(super) struct Readers(Mutex<Vec<BaseConsumer<ClientContext>>>);

impl Readers {
    fn take(&self, shared: &Shared) -> Result<BaseConsumer<ClientContext>> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| create(shared), Ok)
    }

    /// Connects consumers to those who lead these topics, unless there are some: readers that come with partitions which move
    /// have no time for that.
    pub(super) fn warm(&self, shared: &Shared, topics: &[&str]) {
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return;
        }
        thread::scope(|scope| {
            for _ in 0..WARM {
                scope.spawn(|| {
                    // where this cannot be done, whoever reads says so
                    if let (Ok(consumer), Ok(partitions)) = (create(shared), shared.partitions(topics)) {
                        let _ = connect(&consumer, &partitions, shared.options.filling_timeout());
                        self.put(consumer);
                    }
                });
            }
        });
    }

    fn put(&self, consumer: BaseConsumer<ClientContext>) {
        if consumer.unassign().is_err() {
            return;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(consumer);
        }
    }
}

fn create(shared: &Shared) -> Result<BaseConsumer<ClientContext>> {
    shared.options.reading().create_with_context(ClientContext::default()).map_err(client::config_error)
}

/// Asks each leader something, by the connection by which records come later.
fn connect(consumer: &BaseConsumer<ClientContext>, partitions: &[TopicPartition], wait: Duration) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for tp in partitions {
        list.add_partition(&tp.topic, tp.partition as i32).set_offset(Offset::End)?;
    }
    consumer.offsets_for_times(list, wait).map(drop)
}

/// A reader of one partition.
pub(super) struct KafkaReader {
    shared: Arc<Shared>,
    tp: TopicPartition,
    position: u64,
    consumer: Option<BaseConsumer<ClientContext>>,
    /// The stable end when reading towards it began.
    seen: u64,
    /// What was written when the reader was made must be decided before the first end is believed.
    must_reach: u64,
    /// Where the library's end was not the stable end that is known. Markers of transactions lie in between, or it was
    /// wrong: under load 8 of 10 records were read once. A second look from the same offset decides.
    suspect_eof: Option<u64>,
    reading: bool,
}

impl KafkaReader {
    pub(super) fn open(shared: Arc<Shared>, tp: &TopicPartition, from: u64) -> Result<Self> {
        let (range, written) = beside(|| shared.topics.range(tp), || shared.topics.written(tp));
        let (range, written) = (range?, written?);
        check_from(tp, from, range.start, written)?;
        let mut reader = Self {
            shared,
            tp: tp.clone(),
            position: from,
            consumer: None,
            seen: range.end,
            must_reach: written,
            suspect_eof: None,
            reading: false,
        };
        if from < written {
            reader.start()?;
        }
        Ok(reader)
    }

    fn start(&mut self) -> Result<()> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.shared.readers.take(&self.shared)?,
        };
        let mut list = TopicPartitionList::new();
        let at = Offset::Offset(client::signed(self.position)?);
        list.add_partition_offset(&self.tp.topic, self.tp.partition as i32, at)
            .and_then(|()| consumer.assign(&list))
            .map_err(|error| question_error(&self.tp.to_string(), &error))?;
        self.consumer = Some(consumer);
        self.reading = true;
        Ok(())
    }

    /// At the end. Returns whether there is more by now.
    fn look(&mut self, ends: Monotonic) -> Result<bool> {
        loop {
            let end = self.shared.topics.ends(std::slice::from_ref(&self.tp))?[0];
            if end >= self.must_reach {
                let more = end > self.seen;
                self.seen = end;
                return Ok(more);
            }
            if self.shared.clock.monotonic() > ends {
                let text = format!("{}: a transaction is open since before offset {}", self.tp, self.must_reach);
                return Err(Error::Unavailable(text));
            }
            self.shared.clock.park(POLL);
        }
    }

    fn failed(&mut self, error: &KafkaError) -> Result<()> {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                let range = self.shared.topics.range(&self.tp)?;
                check_from(&self.tp, self.position, range.start, self.shared.topics.written(&self.tp)?)?;
                // it was asked for the consumer's last reader, and has stopped ours
                self.start()
            }
            Some(
                Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::UnknownTopic
                | Code::TopicAuthorizationFailed,
            ) => Err(self.shared.topics.refused(&self.tp.to_string(), std::slice::from_ref(&self.tp), error)),
            _ => Ok(()), // it goes on by itself
        }
    }

    /// How long an open transaction can stay so, with the brokers' own interval of looking for it.
    fn patience(&self) -> Duration {
        self.shared.options.transaction_timeout + self.shared.options.request_timeout * 2
    }
}

impl Reader for KafkaReader {
    fn next(&mut self, limit: usize) -> Result<Vec<Record>> {
        let clock = self.shared.clock.clone();
        let timeout = self.shared.options.request_timeout;
        let patience = clock.monotonic() + self.patience();
        if !self.reading {
            if !self.look(patience)? {
                return Ok(Vec::new());
            }
            self.start()?;
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut ends = clock.monotonic() + timeout;
        while records.len() < limit && bytes < self.shared.options.batch_bytes_max {
            let consumer = self.consumer.as_ref().expect("there is one while reading");
            let wait = if records.is_empty() { ends.saturating_sub(clock.monotonic()) } else { Duration::ZERO };
            match consumer.poll(wait) {
                Some(Ok(message)) => {
                    // what was fetched for the consumer's last reader is not ours
                    if record::is_of(&message, &self.tp) && message.offset() as u64 >= self.position {
                        let record = record::owned(&message);
                        self.position = record.offset + 1;
                        bytes += record.size();
                        records.push(record);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    if self.position < self.seen && self.suspect_eof.replace(self.position) != Some(self.position) {
                        self.start()?;
                        continue;
                    }
                    self.reading = false;
                    if !records.is_empty() || self.seen >= self.must_reach || !self.look(patience)? {
                        break;
                    }
                    self.start()?;
                    ends = clock.monotonic() + timeout;
                }
                Some(Err(error)) => {
                    consumer.context().note(&error);
                    self.failed(&error)?;
                }
                None if !records.is_empty() => break,
                None if clock.monotonic() < ends => {}
                None => return Err(Error::Unavailable(format!("{} cannot be read: no answer", self.tp))),
            }
        }
        Ok(records)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            self.shared.readers.put(consumer);
        }
    }
}
