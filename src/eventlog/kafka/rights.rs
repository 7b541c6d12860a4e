//! What our account may do, found out by asking for what changes nothing: whoever may not is told so before the rest is looked
//! at. The brokers' own list of rights is for administrators alone.

use std::time::Duration;

use rdkafka::{
    Message as _,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::Producer as _,
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    Shared,
    client::{self, ClientContext, block_on, question_error},
    options::Options,
    produce,
};
use crate::{
    domain::{Timestamp, wire::Headers},
    eventlog::{Error, NewRecord, Result},
};

/// Something that an account may do or not, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right<'a> {
    /// Know of a topic.
    Describe(&'a str),
    /// See a topic's settings.
    DescribeConfigs(&'a str),
    /// Read a topic.
    Read(&'a str),
    /// Write to a topic.
    Write(&'a str),
    /// Delete the records of a topic.
    Delete(&'a str),
    /// Know how far the first, a group, has read the second, a topic.
    Follow(&'a str, &'a str),
    /// Be a member of the first, a group, and read the second, a topic, in its name.
    Join(&'a str, &'a str),
    /// Write in transactions of which the names begin like this.
    Transact(&'a str),
    /// See the brokers' settings.
    DescribeBrokers,
}

/// Larger records are not sent just to be refused.
const PROBE_BYTES_MAX: usize = 16 << 20;
/// What a topic takes at most where it does not say so (Kafka's default).
const RECORD_BYTES: usize = 1_048_588;
/// How often it is looked whether the answer to a question is that it may not be asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No topic has a partition with this number.
const NO_PARTITION: i32 = i32::MAX;

impl Shared {
    /// Whether the account has a right on a topic that is there.
    pub(super) fn may(&self, right: Right<'_>) -> Result<bool> {
        match right {
            Right::Describe(topic) => self.may_describe(topic),
            Right::DescribeConfigs(topic) => Ok(!self.topics.settings(topic)?.is_empty()),
            Right::Read(topic) => self.may_read(topic),
            Right::Write(topic) => self.may_write(topic),
            Right::Delete(topic) => self.may_delete(topic),
            Right::Follow(group, topic) => self.may_follow(group, topic),
            Right::Join(group, topic) => self.may_join(group, topic),
            Right::Transact(prefix) => self.may_transact(prefix),
            Right::DescribeBrokers => Ok(!self.topics.broker_settings()?.is_empty()),
        }
    }

    fn may_describe(&self, topic: &str) -> Result<bool> {
        let metadata = self.topics.metadata(Some(topic))?;
        let errors = metadata.topics().iter().filter_map(|topic| topic.error().map(Code::from));
        Ok(!errors.into_iter().any(|code| code == Code::TopicAuthorizationFailed))
    }

    fn may_read(&self, topic: &str) -> Result<bool> {
        let consumer: BaseConsumer<ClientContext> =
            self.options.reading().create_with_context(self.context.clone()).map_err(client::config_error)?;
        let asked = format!("read {topic}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::End)
            .and_then(|()| consumer.assign(&list))
            .map_err(|error| question_error(&asked, &error))?;
        let ends = self.clock.monotonic() + self.options.request_timeout;
        while self.clock.monotonic() < ends {
            match consumer.poll(ends.saturating_sub(self.clock.monotonic())) {
                Some(Ok(message)) => return Ok(message.topic() == topic),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
                Some(Err(error)) if is_denied(&error) => return Ok(false),
                Some(Err(error)) => self.context.note(&error),
                None => {}
            }
        }
        Err(Error::Unavailable(format!("{asked}: no answer")))
    }

    /// By a record that is larger than the topic takes: it is refused after the account was looked at.
    fn may_write(&self, topic: &str) -> Result<bool> {
        let most = self.topics.settings(topic)?.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
        let bytes = most.unwrap_or(RECORD_BYTES) + 1;
        if bytes > PROBE_BYTES_MAX {
            return Ok(true);
        }
        let producer = produce::start(&self.options.probing(bytes), self.context.clone())?;
        let record = NewRecord {
            topic: topic.to_owned(),
            partition: Some(0),
            key: None,
            value: vec![0; bytes],
            headers: Headers::default(),
            at: Timestamp::from_millis(self.clock.now().as_millis()),
        };
        let (answer, answered) = crossbeam_channel::bounded(1);
        let done = move |result: std::result::Result<_, produce::Undelivered>| {
            let _ = answer.send(result.err().map(|undelivered| undelivered.error));
        };
        self.topics.count(topic)?;
        produce::send(&producer, &self.topics, &[record], &self.waiting, produce::Answered::Whole, done)?;
        let asked = format!("write to {topic}");
        match answered.recv_timeout(self.options.request_timeout) {
            Ok(Some(error)) if is_denied(&error) => Ok(false),
            Ok(Some(error)) if error.rdkafka_error_code().is_some_and(produce::is_too_large) => Ok(true),
            Ok(Some(error)) => Err(question_error(&asked, &error)),
            Ok(None) => Err(Error::Fatal(format!("{asked}: a record that is larger than it takes was taken"))),
            Err(_) => Err(Error::Unavailable(format!("{asked}: no answer"))),
        }
    }

    /// By deleting what is before the first offset of all.
    fn may_delete(&self, topic: &str) -> Result<bool> {
        let asked = format!("delete records of {topic}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(0)).map_err(|error| question_error(&asked, &error))?;
        let result = block_on(self.topics.admin.delete_records(&list, &self.topics.admin_options()));
        let errors = match &result {
            Err(error) => vec![error.clone()],
            Ok(list) => list.elements().iter().filter_map(|entry| entry.error().err()).collect(),
        };
        decided(&asked, errors)
    }

    /// By asking for an offset. That an account may not know of a group is told beside the answer, which does not come.
    fn may_follow(&self, group: &str, topic: &str) -> Result<bool> {
        let asked = format!("offsets of {group}");
        let consumer = self.in_name_of(group)?;
        let ends = self.clock.monotonic() + self.options.request_timeout;
        loop {
            let mut list = TopicPartitionList::new();
            list.add_partition(topic, 0);
            let Err(error) = consumer.committed_offsets(list, LOOK_EVERY) else { return Ok(true) };
            let told = std::iter::from_fn(|| consumer.poll(Duration::ZERO)).filter_map(std::result::Result::err);
            if is_denied(&error) || told.into_iter().any(|error| is_denied(&error)) {
                return Ok(false);
            }
            if self.clock.monotonic() > ends {
                return Err(question_error(&asked, &error));
            }
        }
    }

    /// By an offset for a partition that is not there.
    fn may_join(&self, group: &str, topic: &str) -> Result<bool> {
        let asked = format!("commit for {group}");
        let consumer = self.in_name_of(group)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, NO_PARTITION, Offset::Offset(0))
            .map_err(|error| question_error(&asked, &error))?;
        match consumer.commit(&list, CommitMode::Sync) {
            Err(error) if error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed) => Ok(false),
            Err(error) if client::is_connection(&error) => Err(question_error(&asked, &error)),
            _ => Ok(true),
        }
    }

    fn in_name_of(&self, group: &str) -> Result<BaseConsumer<ClientContext>> {
        let config = self.options.query_config(Some(group), "read_committed");
        config.create_with_context(self.context.clone()).map_err(client::config_error)
    }

    /// By a transactional producer under a name that no member has; it begins nothing.
    fn may_transact(&self, prefix: &str) -> Result<bool> {
        // whether the brokers take transactions that are as long as the settings say is another question
        let usual = Options { transaction_timeout: Options::default().transaction_timeout, ..self.options.clone() };
        let mut config = usual.transacting(prefix, 0);
        config.set("transactional.id", format!("{prefix}-check"));
        let producer = produce::start(&config, self.context.clone())?;
        decided("transactions", producer.init_transactions(self.options.request_timeout).err().into_iter().collect())
    }
}

fn is_denied(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
        )
    )
}

/// Denied, or another error, or neither.
fn decided(asked: &str, errors: Vec<KafkaError>) -> Result<bool> {
    if errors.iter().any(is_denied) {
        return Ok(false);
    }
    errors.first().map_or(Ok(true), |error| Err(question_error(asked, error)))
}
