//! Records on their way to the brokers: one producer with a thread of its own, and an answer for each batch once all of
//! it is safe.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::{
    ClientConfig, Message, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, ProducerContext, ThreadedProducer},
};

use super::{
    client::{self, ClientContext},
    topics::Topics,
};
use crate::eventlog::{Error, NewRecord, Position, Result};

/// The producer of this module.
pub(super) type Producer = ThreadedProducer<Deliveries>;

/// What hears of deliveries, and of transactions that can only be aborted.
pub(super) struct Deliveries {
    client: ClientContext,
    /// Why the transaction can only be aborted. No call of the library asks for that: it is said in its log alone, and what is
    /// under way is neither delivered nor failed until it runs out of time (2.12.1: records that wait to be sent again behind
    /// OUT_OF_ORDER_SEQUENCE_NUMBER).
    doomed: (Sender<String>, Receiver<String>),
    failures: AtomicUsize,
}

impl Deliveries {
    /// How often the library told of an error, as of a connection that failed: where that has changed, a broker may be gone.
    pub(super) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }

    /// Gives the reason once it is there.
    pub(super) fn doomed(&self) -> &Receiver<String> {
        &self.doomed.1
    }
}

impl rdkafka::ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "TXNERR" {
            let _ = self.doomed.0.try_send(message.to_owned()); // the first reason is the one to tell
        }
        self.client.log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.client.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let result = match result {
            Ok(message) => {
                self.client.up();
                Ok(Position { partition: message.partition() as u32, offset: message.offset() as u64 })
            }
            Err((error, _)) => Err(error.clone()),
        };
        ticket.batch.delivered(ticket.index, result);
    }
}

/// Where a record belongs in its batch.
pub(super) struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

/// Records that were given together.
struct Batch {
    waiting: Arc<AtomicUsize>,
    answered: Answered,
    state: Mutex<State>,
}

struct State {
    positions: Vec<Position>,
    missing: usize,
    written: usize,
    failed: Option<KafkaError>,
    answer: Option<Answer>,
}

/// When a batch is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// Once the fate of each record is known.
    Whole,
    /// The same, or at the first failure that tells why: what else was written counts for nothing.
    AllOrNone,
}

type Answer = Box<dyn FnOnce(std::result::Result<Vec<Position>, Undelivered>) + Send>;

/// Why a batch is not there, or not whole.
#[derive(Debug, Clone)]
pub(super) struct Undelivered {
    /// What the first failure was that tells why.
    pub(super) error: KafkaError,
    /// Whether another part of the batch was written.
    pub(super) partly: bool,
}

impl Batch {
    fn delivered(&self, index: usize, result: std::result::Result<Position, KafkaError>) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(position) => {
                state.positions[index] = position;
                state.written += 1;
            }
            // what fails for a reason takes with it what waits behind, and that may be told first
            Err(error) => {
                if state.failed.as_ref().is_none_or(is_purged) {
                    state.failed = Some(error);
                }
            }
        }
        state.missing -= 1;
        let told = state.failed.as_ref().is_some_and(|error| !is_purged(error));
        if state.missing > 0 && !(told && self.answered == Answered::AllOrNone) {
            return;
        }
        let Some(answer) = state.answer.take() else { return };
        let result = match state.failed.take() {
            None => Ok(std::mem::take(&mut state.positions)),
            Some(error) => Err(Undelivered { error, partly: state.written > 0 }),
        };
        drop(state);
        answer(result);
    }
}

/// Starts a producer.
pub(super) fn start(config: &ClientConfig, context: ClientContext) -> Result<Producer> {
    config
        .create_with_context(Deliveries { client: context, doomed: bounded(1), failures: AtomicUsize::new(0) })
        .map_err(client::config_error)
}

/// Hands records over; `answer` is called once, by a thread of the library or at once. `waiting` counts the records whose fate
/// is not known.
pub(super) fn send(
    producer: &Producer,
    topics: &Topics,
    records: &[NewRecord],
    waiting: &Arc<AtomicUsize>,
    answered: Answered,
    answer: impl FnOnce(std::result::Result<Vec<Position>, Undelivered>) + Send + 'static,
) -> Result<()> {
    let places = records.iter().map(|record| topics.place(record)).collect::<Result<Vec<_>>>()?;
    if records.is_empty() {
        answer(Ok(Vec::new()));
        return Ok(());
    }
    waiting.fetch_add(records.len(), Ordering::Relaxed);
    let nowhere = Position { partition: 0, offset: 0 };
    let batch = Arc::new(Batch {
        waiting: waiting.clone(),
        answered,
        state: Mutex::new(State {
            positions: vec![nowhere; records.len()],
            missing: records.len(),
            written: 0,
            failed: None,
            answer: Some(Box::new(answer)),
        }),
    });
    let mut refused = None;
    for (index, (record, partition)) in records.iter().zip(places).enumerate() {
        let ticket = Box::new(Ticket { batch: batch.clone(), index });
        // once one is refused the others stay here too: what follows must not overtake it
        match refused.clone() {
            None => {
                if let Err((error, _)) = producer.send(prepared(record, partition, ticket)) {
                    batch.delivered(index, Err(error.clone()));
                    refused = Some(error);
                }
            }
            Some(error) => batch.delivered(index, Err(error)),
        }
    }
    Ok(())
}

fn prepared(record: &NewRecord, partition: i32, ticket: Box<Ticket>) -> BaseRecord<'_, [u8], [u8], Box<Ticket>> {
    // zero would mean the present time there
    let at = record.at.as_millis().max(1);
    let mut to = BaseRecord::with_opaque_to(&record.topic, ticket).partition(partition).timestamp(at);
    to = to.payload(&record.value[..]);
    if let Some(key) = &record.key {
        to = to.key(&key[..]);
    }
    if record.headers.is_empty() {
        return to;
    }
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    to.headers(
        record.headers.iter().fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) })),
    )
}

impl Undelivered {
    /// What it means for an append.
    pub(super) fn into_error(self) -> Error {
        let code = self.error.rdkafka_error_code();
        let text = self.error.to_string();
        match code {
            _ if self.partly => Error::Unconfirmed(format!("only a part was written: {text}")),
            Some(Code::QueueFull) => Error::Overloaded(0),
            // these never left us
            Some(Code::PurgeQueue) => Error::Unavailable(text),
            Some(code) if is_refusal(code) => Error::Fatal(format!("the brokers refuse the record: {text}")),
            _ => Error::Unconfirmed(text),
        }
    }
}

/// It stayed here since another one failed.
pub(super) fn is_purged(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(Code::PurgeQueue)
}

/// A record, or the batch that it is in, is beyond a limit of the topic or the client.
pub(super) fn is_too_large(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::MessageBatchTooLarge)
}

/// What no repetition would change; nothing was written.
pub(super) fn is_refusal(code: Code) -> bool {
    is_too_large(code)
        || matches!(
            code,
            Code::InvalidMessageSize
                | Code::InvalidMessage
                | Code::InvalidTimestamp
                | Code::InvalidTopic
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::PolicyViolation
                | Code::InvalidRecord
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: KafkaError = KafkaError::MessageProduction(Code::MessageTimedOut);
    const PURGED: KafkaError = KafkaError::MessageProduction(Code::PurgeQueue);

    /// After how many deliveries of three records the batch is answered, and with what.
    fn answered(when: Answered, deliveries: [Option<KafkaError>; 3]) -> (usize, Option<KafkaError>) {
        let (reply, answers) = bounded(2);
        let position = Position { partition: 0, offset: 0 };
        let state = State {
            positions: vec![position; 3],
            missing: 3,
            written: 0,
            failed: None,
            answer: Some(Box::new(move |result| {
                reply.send(result.err().map(|undelivered| undelivered.error)).expect("room");
            })),
        };
        let batch = Batch { waiting: Arc::new(AtomicUsize::new(3)), answered: when, state: Mutex::new(state) };
        let mut first = None;
        for (index, error) in deliveries.into_iter().enumerate() {
            batch.delivered(index, error.map_or(Ok(position), Err));
            let answer = answers.try_recv().ok();
            assert!(first.is_none() || answer.is_none(), "it is answered once");
            first = first.or(answer.map(|answer| (index + 1, answer)));
        }
        assert_eq!(batch.waiting.load(Ordering::Relaxed), 0);
        first.expect("an answer")
    }

    #[test]
    fn a_batch_is_answered_once_and_with_what_tells_why() {
        use Answered::{AllOrNone, Whole};
        for when in [Whole, AllOrNone] {
            assert_eq!(answered(when, [None, None, None]), (3, None));
            assert_eq!(answered(when, [Some(PURGED), None, Some(FAILED)]), (3, Some(FAILED)));
            assert_eq!(answered(when, [Some(PURGED), None, Some(PURGED)]), (3, Some(PURGED)));
        }
        assert_eq!(answered(Whole, [Some(FAILED), Some(PURGED), None]), (3, Some(FAILED)));
        assert_eq!(answered(AllOrNone, [Some(FAILED), Some(PURGED), None]), (1, Some(FAILED)));
        assert_eq!(answered(AllOrNone, [Some(PURGED), Some(FAILED), None]), (2, Some(FAILED)));
    }
}
