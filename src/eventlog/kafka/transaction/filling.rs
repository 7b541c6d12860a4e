//! A transaction's outputs and offsets on their way to the brokers, where one of these may fall meanwhile.

use std::{collections::BTreeSet, result::Result, time::Duration};

use crossbeam_channel::{Receiver, bounded, select};
use rdkafka::{
    consumer::ConsumerGroupMetadata, error::KafkaResult, producer::Producer as _,
    topic_partition_list::TopicPartitionList,
};

use super::{
    super::produce::{self, Answered, Undelivered, is_purged},
    TransactionalProducer,
    failure::Failure,
};
use crate::{
    clock::Monotonic,
    eventlog::{self, NewRecord, Position},
};

/// Another failure that tells more comes within so long of the first.
const REASON: Duration = Duration::from_millis(250);
/// Between two questions for the leaders while a broker may be gone.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// The library waits for a coordinator of the group that is gone until some connection comes or goes, as one that restarts does
/// (librdkafka #5511): where a broker may be gone, and the records are there, a new producer finds the next one sooner.
pub(super) const GONE: Duration = Duration::from_secs(1);

/// Why it was not all written, and noted.
pub(super) struct Unfilled {
    pub(super) failure: Failure,
    /// Whether all records are known to be written, or none was sent. Where it is not known of one, another producer has to go on: the
    /// library would give its number to the next record (`rd_kafka_toppar_purge_queues`, 2.12.1), in the same epoch, and a broker that
    /// has the first takes that for a repetition: it answers that it is written, and it is not.
    pub(super) is_written: bool,
}

/// What is under way.
enum Part {
    Delivered(Result<Vec<Position>, Undelivered>),
    Noted(KafkaResult<()>),
}

/// How far it has come.
struct Progress {
    positions: Option<Vec<Position>>,
    noted: bool,
    /// What tells most of why it will not come to its end.
    failure: Option<Failure>,
    end: Monotonic,
}

impl TransactionalProducer {
    /// Writes the outputs and notes the offsets. Both are under way together: what a fallen broker holds up is waited for once.
    pub(super) fn fill(
        &self,
        outputs: &[NewRecord],
        offsets: TopicPartitionList,
        fence: impl FnOnce() -> eventlog::Result<ConsumerGroupMetadata>,
    ) -> Result<Vec<Position>, Unfilled> {
        let (timeout, noted) = (self.shared.options.filling_timeout(), offsets.count() == 0);
        let end = self.shared.clock.monotonic() + timeout;
        let mut progress = Progress { positions: None, noted, failure: None, end };
        let unsent = |error| Unfilled { failure: Failure::Ours(error), is_written: true };
        let group = if noted { None } else { Some(fence().map_err(unsent)?) };
        let (tell, told) = bounded(2);
        let delivered = {
            let tell = tell.clone();
            move |result| drop(tell.send(Part::Delivered(result)))
        };
        produce::send(&self.producer, &self.shared.topics, outputs, &self.waiting, Answered::AllOrNone, delivered)
            .map_err(unsent)?;
        let offsets = |group| {
            self.begin(tell, move |producer| {
                Part::Noted(producer.send_offsets_to_transaction(&offsets, &group, timeout))
            })
        };
        // every delivery is awaited before the commit, whose own flush would sleep
        let filled = group.map_or(Ok(()), offsets).and_then(|()| self.gather(&told, &mut progress, outputs));
        match filled {
            Ok(()) => Ok(progress.positions.unwrap_or_default()),
            Err(failure) => Err(Unfilled { failure, is_written: progress.positions.is_some() }),
        }
    }

    fn gather(&self, told: &Receiver<Part>, progress: &mut Progress, outputs: &[NewRecord]) -> Result<(), Failure> {
        let (clock, doomed) = (&self.shared.clock, self.producer.context().doomed());
        while !(progress.noted && progress.positions.is_some()) {
            let left = progress.end.saturating_sub(clock.monotonic());
            select! {
                recv(told) -> part => match part {
                    Ok(part) => progress.take(part, clock.monotonic())?,
                    // all is told, but for what stands in the library's log
                    Err(_) => {
                        if let Ok(why) = doomed.try_recv() {
                            progress.fail(Failure::Doomed(why), clock.monotonic());
                        }
                        return Err(progress.failure());
                    }
                },
                recv(doomed) -> why => progress.fail(Failure::Doomed(why.unwrap_or_default()), clock.monotonic()),
                default(left.min(ASK_EVERY)) => {
                    if left.is_zero() {
                        return Err(progress.failure());
                    }
                    if self.is_shaken() && progress.positions.is_none() {
                        self.ask_for_leaders(outputs);
                    }
                }
            }
            if progress.positions.is_some() && self.is_shaken() {
                progress.end = progress.end.min(clock.monotonic() + self.patience);
            }
        }
        Ok(())
    }

    /// Whether a broker may be gone.
    fn is_shaken(&self) -> bool {
        self.producer.context().failures() > self.steady
    }

    /// By itself the library asks every second, and a record needs two answers to move on: to leave the old leader, and to find the
    /// new one.
    fn ask_for_leaders(&self, outputs: &[NewRecord]) {
        let topics: BTreeSet<&str> = outputs.iter().map(|record| &*record.topic).collect();
        for topic in topics {
            // asked, and not waited for: the library reads the answer all the same
            let _ = self.producer.client().fetch_metadata(Some(topic), Duration::ZERO);
        }
    }
}

impl Progress {
    /// Notes what was told; an error is what nothing can tell more of.
    fn take(&mut self, part: Part, now: Monotonic) -> Result<(), Failure> {
        match part {
            Part::Delivered(Ok(positions)) => self.positions = Some(positions),
            Part::Noted(Ok(())) => self.noted = true,
            Part::Delivered(Err(Undelivered { error, .. })) if !is_purged(&error) => return Err(Failure::Kafka(error)),
            Part::Delivered(Err(Undelivered { error, .. })) => {
                if self.failure.is_none() {
                    self.fail(Failure::Kafka(error), now);
                }
            }
            Part::Noted(Err(error)) if self.positions.is_some() => return Err(Failure::Kafka(error)),
            // of a record that failed the transaction did: what is wrong with it tells more
            Part::Noted(Err(error)) => self.fail(Failure::Kafka(error), now),
        }
        Ok(())
    }

    fn fail(&mut self, failure: Failure, now: Monotonic) {
        self.end = self.end.min(now + REASON);
        let is_told = matches!(&self.failure, Some(Failure::Kafka(error)) if !is_purged(error));
        if !is_told {
            self.failure = Some(failure);
        }
    }

    /// What is to be said when the time is over.
    fn failure(&mut self) -> Failure {
        let late = if self.positions.is_some() { Failure::Hangs } else { Failure::Late };
        self.failure.take().unwrap_or(late)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

    use super::*;

    /// What is told of a transaction that fails so, one after the other.
    fn told(parts: Vec<Part>) -> Failure {
        let now = Duration::ZERO;
        let mut progress = Progress { positions: None, noted: false, failure: None, end: Duration::MAX };
        for part in parts {
            if let Err(failure) = progress.take(part, now) {
                return failure;
            }
        }
        progress.failure()
    }

    fn delivered(code: Code) -> Part {
        Part::Delivered(Err(Undelivered { error: KafkaError::MessageProduction(code), partly: false }))
    }

    fn noted(code: Code) -> Part {
        Part::Noted(Err(KafkaError::ConsumerCommit(code)))
    }

    #[test]
    fn the_failure_that_tells_most_is_told() {
        let large = || delivered(Code::MessageSizeTooLarge);
        for parts in [vec![large()], vec![noted(Code::InvalidTransactionalState), large()]] {
            assert!(told(parts).is_too_large(), "a record that is too large would be tried for ever");
        }
        let (purged, fenced) = (|| delivered(Code::PurgeQueue), || noted(Code::ProducerFenced));
        for parts in [vec![fenced()], vec![purged(), fenced()], vec![fenced(), purged()]] {
            assert!(told(parts).is_usurped());
        }
        let written = || Part::Delivered(Ok(Vec::new()));
        assert!(matches!(told(vec![]), Failure::Late));
        assert!(matches!(told(vec![Part::Noted(Ok(()))]), Failure::Late));
        assert!(matches!(told(vec![written()]), Failure::Hangs), "the call still runs");
    }

    #[test]
    fn that_it_is_doomed_tells_less_than_why_and_more_than_that_it_was_purged() {
        let doomed = |progress: &mut Progress| progress.fail(Failure::Doomed("why".into()), Duration::ZERO);
        let mut progress = Progress { positions: None, noted: false, failure: None, end: Duration::MAX };
        assert!(progress.take(delivered(Code::PurgeQueue), Duration::ZERO).is_ok());
        doomed(&mut progress);
        assert!(matches!(&progress.failure, Some(Failure::Doomed(_))));
        assert!(progress.take(noted(Code::ProducerFenced), Duration::ZERO).is_ok());
        doomed(&mut progress);
        assert_eq!(progress.end, REASON, "it is not waited for much longer");
        assert!(progress.failure().is_usurped());
    }
}
