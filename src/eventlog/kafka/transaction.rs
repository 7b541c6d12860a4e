//! One member's transactions. Their calls run on a thread of their own: `send_offsets_to_transaction` ignores its
//! time-out and can hang for good (librdkafka #5456, #5511). A call that hangs is left behind with its producer; the
//! next one with the same id fences it.

mod failure;
mod filling;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, atomic::AtomicUsize},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::{
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult},
    producer::Producer as _,
    topic_partition_list::TopicPartitionList,
};

use self::{failure::Failure, filling::Unfilled};
use super::{
    Shared,
    client::{self, ClientContext, question_error},
    options::transactional_id,
    produce::{self, Producer},
};
use crate::eventlog::{Error, NewRecord, Outcome, Result};

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
    /// How often a connection had failed when the last transaction began that was committed: whoever it needed was there.
    steady: usize,
    /// How long an answer on the offsets is waited for where a broker may be gone.
    patience: Duration,
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

impl TransactionalProducer {
    /// Starts a producer, which ends what an earlier one with the same id left open.
    pub(super) fn start(shared: &Arc<Shared>, group: &str, slot: u32) -> Result<Self> {
        let id = transactional_id(group, slot);
        let producer = produce::start(&shared.options.transacting(group, slot), ClientContext::default())?;
        let (jobs, queue): (Sender<Job>, Receiver<Job>) = bounded(0);
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
            steady: 0,
            patience: filling::GONE,
        };
        let timeout = shared.options.transaction_timeout + shared.options.request_timeout;
        match this.run(timeout + HANGS, move |producer| producer.init_transactions(timeout)) {
            Ok(()) => Ok(this),
            Err(_) if let Err(Error::Unavailable(why)) = shared.topics.check_internal() => Err(Error::Unavailable(why)),
            Err(Failure::Kafka(error)) => Err(question_error(&format!("start transactions as {}", this.id), &error)),
            Err(_) => Err(Error::Unavailable(format!("start transactions as {}: no answer", this.id))),
        }
    }

    /// Runs a call on the other thread, and waits no longer than this for it.
    fn run(
        &self,
        limit: Duration,
        call: impl FnOnce(&Producer) -> KafkaResult<()> + Send + 'static,
    ) -> std::result::Result<(), Failure> {
        let (tell, told) = bounded(1);
        self.begin(tell, call)?;
        told.recv_timeout(limit).map_err(|_| Failure::Hangs)?.map_err(Failure::Kafka)
    }

    /// Begins a call on the other thread, which tells what came of it.
    fn begin<T: Send + 'static>(
        &self,
        tell: Sender<T>,
        call: impl FnOnce(&Producer) -> T + Send + 'static,
    ) -> std::result::Result<(), Failure> {
        let producer = self.producer.clone();
        let job: Job = Box::new(move || drop(tell.send(call(&producer))));
        // the one before may hang: this one must not wait behind it
        self.jobs.send_timeout(job, BUSY).map_err(|_| Failure::Hangs)
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
        let failures = self.producer.context().failures();
        while self.producer.context().doomed().try_recv().is_ok() {} // what was said of the one before
        if let Err(error) = self.producer.begin_transaction() {
            return self.give_up(error.into(), "begin", false);
        }
        let positions = match self.fill(outputs, offsets, fence) {
            Ok(positions) => positions,
            Err(Unfilled { failure, is_written }) => {
                let outcome = self.give_up(failure, "write", true);
                if !is_written && self.state == State::Ready {
                    self.state = State::Lost;
                }
                return outcome;
            }
        };
        let timeout = self.timeout();
        match self.run(timeout + HANGS, move |producer| producer.commit_transaction(timeout)) {
            Ok(()) => {
                (self.steady, self.patience) = (failures, filling::GONE);
                Outcome::Committed(positions)
            }
            // refused by the brokers, so certainly not committed: the one failure here that is no doubt
            Err(Failure::Kafka(KafkaError::Transaction(error))) if error.txn_requires_abort() => {
                self.give_up(Failure::Kafka(KafkaError::Transaction(error)), "commit", true)
            }
            Err(failure) => {
                // committed or not: only a new producer with this id and the log can say
                self.state = State::Over;
                self.note_rival(&failure);
                let text = self.describe(&failure, "commit");
                Outcome::Unknown(if failure.is_fence() { Error::Fenced(text) } else { Error::Unconfirmed(text) })
            }
        }
    }

    /// Aborts. Nothing was written: the transaction was never asked to commit, or the commit was refused.
    fn give_up(&mut self, failure: Failure, step: &str, open: bool) -> Outcome {
        self.note_rival(&failure);
        let text = self.describe(&failure, step);
        let timeout = self.timeout();
        let ended = failure.is_fatal() || client::fatal(self.producer.client()).is_some();
        if ended || !open {
            self.state = State::Over;
        } else if matches!(failure, Failure::Hangs) {
            self.state = State::Lost;
        } else if let Err(aborting) = self.run(timeout + HANGS, move |producer| producer.abort_transaction(timeout)) {
            self.state = State::Lost;
            let why = self.describe(&aborting, "abort");
            tracing::warn!(transactional_id = self.id, why, "a transaction is left to its time-out");
        }
        Outcome::Aborted(match failure {
            Failure::Ours(error) => error,
            failure if failure.is_too_large() => Error::TooLarge(text),
            failure if failure.is_refused() => Error::Fatal(text),
            failure if self.state == State::Over || failure.is_fence() => Error::Fenced(text),
            _ => Error::Unavailable(text),
        })
    }

    fn describe(&self, failure: &Failure, step: &str) -> String {
        format!("transaction of {}, {step}: {failure}", self.id)
    }

    /// An abort that is fenced is no sign of a rival: the brokers were sooner.
    fn note_rival(&self, failure: &Failure) {
        if failure.is_usurped() {
            self.shared.slots.fenced(&self.id);
        }
    }

    /// Leaves the producer behind. The new one ends what is open, which is an abort, and looks for the coordinators anew. It
    /// waits longer for them, or one after the other would be left behind where answers are slow.
    fn replace(&mut self) -> Result<()> {
        let patience = (self.patience * 2).min(self.shared.options.filling_timeout());
        *self = Self { patience, ..Self::start(&self.shared, &self.group, self.slot)? };
        Ok(())
    }
}

/// A call that comes to its end does so this soon after the transaction was given up.
const BUSY: Duration = Duration::from_millis(500);
/// A call that is not back this long after its own time-out hangs.
const HANGS: Duration = Duration::from_secs(5);
