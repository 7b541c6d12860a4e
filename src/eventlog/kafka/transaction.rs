//! One member's transactions. Their calls run on a thread of their own: `send_offsets_to_transaction` ignores its
//! time-out and can hang for good (librdkafka #5456, #5511). A call that hangs is left behind with its producer; the
//! next one with the same id fences it.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::{
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
    producer::Producer as _,
    topic_partition_list::TopicPartitionList,
};

use super::{
    Shared,
    client::{self, ClientContext, question_error},
    options::transactional_id,
    produce::{self, Producer, is_refusal, is_too_large},
};
use crate::eventlog::{Error, NewRecord, Outcome, Position, Result};

/// The transactional producer of a member.
pub(super) struct TransactionalProducer {
    shared: Arc<Shared>,
    group: String,
    slot: u32,
    id: String,
    producer: Arc<Producer>,
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// The producer is of no use any more, and what it had open can only be aborted: a new one takes its place.
    Lost,
    /// It can do no more; the member must be left.
    Over,
}

type Job = Box<dyn FnOnce() + Send>;

/// Why a transaction did not come to its end.
enum Failure {
    /// An error of the library.
    Kafka(KafkaError),
    /// No answer in time.
    Hangs,
    /// Known without asking.
    Ours(Error),
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

impl TransactionalProducer {
    /// Starts a producer, which ends what an earlier one with the same id left open.
    pub(super) fn start(shared: &Arc<Shared>, group: &str, slot: u32) -> Result<Self> {
        let id = transactional_id(group, slot);
        let producer = produce::start(&shared.options.transacting(group, slot), ClientContext::default())?;
        let (jobs, queue): (Sender<Job>, Receiver<Job>) = bounded(1);
        let work = move || queue.iter().for_each(|job| job());
        thread::Builder::new()
            .name(format!("txn-{slot}"))
            .spawn(work)
            .map_err(|error| Error::Fatal(format!("cannot start a thread: {error}")))?;
        let this = Self {
            shared: shared.clone(),
            group: group.to_owned(),
            slot,
            id,
            producer: Arc::new(producer),
            jobs,
            waiting: Arc::default(),
            state: State::Ready,
        };
        let timeout = shared.options.transaction_timeout + shared.options.request_timeout;
        match this.run(timeout + HANGS, move |producer| producer.init_transactions(timeout)) {
            Ok(()) => Ok(this),
            Err(_) if let Err(Error::Unavailable(why)) = shared.topics.check_internal() => Err(Error::Unavailable(why)),
            Err(Failure::Kafka(error)) => Err(question_error(&format!("start transactions as {}", this.id), &error)),
            Err(Failure::Hangs | Failure::Ours(_)) => {
                Err(Error::Unavailable(format!("start transactions as {}: no answer", this.id)))
            }
        }
    }

    /// Runs a call on the other thread, and waits no longer than this for it.
    fn run(
        &self,
        limit: Duration,
        call: impl FnOnce(&Producer) -> KafkaResult<()> + Send + 'static,
    ) -> std::result::Result<(), Failure> {
        let (reply, answer) = bounded(1);
        let producer = self.producer.clone();
        let job: Job = Box::new(move || drop(reply.send(call(&producer))));
        // the one before may hang: this one must not wait behind it
        self.jobs.send_timeout(job, Duration::ZERO).map_err(|_| Failure::Hangs)?;
        answer.recv_timeout(limit).map_err(|_| Failure::Hangs)?.map_err(Failure::Kafka)
    }

    fn timeout(&self) -> Duration {
        self.shared.options.transaction_timeout
    }

    /// One transaction. `offsets` are checked by the caller: none may be invalid, and at least one fences.
    pub(super) fn commit(
        &mut self,
        outputs: &[NewRecord],
        offsets: TopicPartitionList,
        fence: impl FnOnce() -> Result<ConsumerGroupMetadata>,
    ) -> Outcome {
        match self.state {
            State::Ready => {}
            State::Lost => {
                if let Err(error) = self.replace() {
                    return Outcome::Aborted(error);
                }
            }
            State::Over => return Outcome::Aborted(Error::Fenced("the transactional producer has ended".into())),
        }
        if let Err(error) = self.producer.begin_transaction() {
            return self.give_up(error.into(), "begin", false);
        }
        let positions = match self.fill(outputs, offsets, fence) {
            Ok(positions) => positions,
            Err(failure) => return self.give_up(failure, "write", true),
        };
        let timeout = self.timeout();
        match self.run(timeout + HANGS, move |producer| producer.commit_transaction(timeout)) {
            Ok(()) => Outcome::Committed(positions),
            // refused by the brokers, so certainly not committed: the one failure here that is no doubt
            Err(Failure::Kafka(KafkaError::Transaction(error))) if error.txn_requires_abort() => {
                self.give_up(Failure::Kafka(KafkaError::Transaction(error)), "commit", true)
            }
            Err(failure) => {
                // committed or not: only a new producer with this id and the log can say
                self.state = State::Over;
                let text = self.describe(&failure, "commit");
                self.note_fence(&failure);
                Outcome::Unknown(if is_fence(&failure) { Error::Fenced(text) } else { Error::Unconfirmed(text) })
            }
        }
    }

    fn fill(
        &self,
        outputs: &[NewRecord],
        offsets: TopicPartitionList,
        fence: impl FnOnce() -> Result<ConsumerGroupMetadata>,
    ) -> std::result::Result<Vec<Position>, Failure> {
        let (reply, answer) = bounded(1);
        let done = move |result| drop(reply.send(result));
        produce::send(&self.producer, &self.shared.topics, outputs, &self.waiting, done).map_err(Failure::Ours)?;
        // every delivery is awaited before the commit, whose own flush would sleep
        let limit = self.shared.options.step_timeout() + HANGS;
        let delivered = answer.recv_timeout(limit).map_err(|_| Failure::Hangs)?;
        let positions = delivered.map_err(|undelivered| Failure::Kafka(undelivered.error))?;
        if offsets.count() > 0 {
            let group = fence().map_err(Failure::Ours)?;
            // The library waits for the group's coordinator that it knows to come back, and asks for another one only
            // when some connection comes or goes (`rd_kafka_coord_req_fsm`): a broker that is restarted would hold
            // this up for as long.
            let timeout = self.shared.options.step_timeout();
            self.run(timeout, move |producer| producer.send_offsets_to_transaction(&offsets, &group, timeout))?;
        }
        Ok(positions)
    }

    /// Aborts. Nothing was written: the transaction was never asked to commit, or the commit was refused.
    fn give_up(&mut self, failure: Failure, step: &str, open: bool) -> Outcome {
        let text = self.describe(&failure, step);
        self.note_fence(&failure);
        let timeout = self.timeout();
        let ended = is_fatal(&failure) || client::fatal(self.producer.client()).is_some();
        if ended || !open {
            self.state = State::Over;
        } else if matches!(failure, Failure::Hangs) {
            self.state = State::Lost;
        } else if let Err(aborting) = self.run(timeout + HANGS, move |producer| producer.abort_transaction(timeout)) {
            self.state = State::Lost;
            let why = self.describe(&aborting, "abort");
            tracing::warn!(transactional_id = self.id, why, "a transaction is left to its time-out");
        } else if is_refused(&failure) {
            // the library purges what comes next as well: seen with 2.12.1, at each transaction after a refused record
            self.state = State::Lost;
        }
        Outcome::Aborted(match failure {
            Failure::Ours(error) => error,
            Failure::Kafka(error) if error.rdkafka_error_code().is_some_and(is_too_large) => Error::TooLarge(text),
            failure if is_refused(&failure) => Error::Fatal(text),
            failure if self.state == State::Over || is_fence(&failure) => Error::Fenced(text),
            _ => Error::Unavailable(text),
        })
    }

    /// Leaves the producer behind. The new one ends what is open, which is an abort, and looks for the coordinators anew.
    fn replace(&mut self) -> Result<()> {
        *self = Self::start(&self.shared, &self.group, self.slot)?;
        Ok(())
    }

    fn note_fence(&self, failure: &Failure) {
        if let Failure::Kafka(error) = failure
            && matches!(
                error.rdkafka_error_code(),
                Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
            )
        {
            self.shared.slots.fenced(&self.id);
        }
    }

    fn describe(&self, failure: &Failure, step: &str) -> String {
        let why = match failure {
            Failure::Kafka(KafkaError::Transaction(error)) => error.string(),
            Failure::Kafka(error) => error.to_string(),
            Failure::Hangs => "no answer in time".to_owned(),
            Failure::Ours(error) => error.to_string(),
        };
        format!("transaction of {}, {step}: {why}", self.id)
    }
}

/// A call that is not back this long after its own time-out hangs.
const HANGS: Duration = Duration::from_secs(5);

fn is_fatal(failure: &Failure) -> bool {
    match failure {
        Failure::Kafka(KafkaError::Transaction(error)) => error.is_fatal(),
        Failure::Kafka(error) => error.rdkafka_error_code() == Some(Code::Fatal),
        _ => false,
    }
}

/// A record that the brokers take in no repetition.
fn is_refused(failure: &Failure) -> bool {
    matches!(failure, Failure::Kafka(error) if error.rdkafka_error_code().is_some_and(is_refusal))
}

/// Somebody else is in our place: in the group, or under our id. An old generation is no such thing: partitions moved
/// between two looks, the member hears of it at its next call, and what it still owns can be committed then.
fn is_fence(failure: &Failure) -> bool {
    let Failure::Kafka(error) = failure else { return false };
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::Fenced
                | Code::ProducerFenced
                | Code::InvalidProducerEpoch
                | Code::UnknownMemberId
                | Code::FencedInstanceId
        )
    )
}
