//! Where partitions begin and end.

use std::{collections::BTreeSet, thread, time::Duration};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    client::ClientContext,
    topics::{POLL, Topics},
};
use crate::{
    domain::Timestamp,
    eventlog::{Error, PartitionRange, Result, TopicPartition},
};

/// How long a question waits for a partition's next leader.
const LEADERLESS: Duration = Duration::from_secs(2);

impl Topics {
    /// First offset and stable end of each partition, in the order asked, by two requests to each leader, side by side: timers
    /// wait for these when partitions move.
    pub(super) fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, PartitionRange)>> {
        let (starts, ends) = beside(|| self.starts(partitions), || self.ends(partitions));
        let (starts, ends) = (starts?, ends?);
        let ranges = partitions.iter().zip(starts).zip(ends);
        Ok(ranges.map(|((tp, start), end)| (tp.clone(), PartitionRange { start, end: end.max(start) })).collect())
    }

    /// The stable end of each partition.
    pub(super) fn ends(&self, partitions: &[TopicPartition]) -> Result<Vec<u64>> {
        self.offsets(&self.stable, partitions, Offset::End)
    }

    /// The first offset kept of each partition.
    pub(super) fn starts(&self, partitions: &[TopicPartition]) -> Result<Vec<u64>> {
        self.offsets(&self.stable, partitions, Offset::Beginning)
    }

    /// One past the last record, decided or not.
    pub(super) fn written(&self, tp: &TopicPartition) -> Result<u64> {
        Ok(self.offsets(&self.latest, std::slice::from_ref(tp), Offset::End)?[0])
    }

    /// First offset and stable end of one partition, checked.
    pub(super) fn range(&self, tp: &TopicPartition) -> Result<PartitionRange> {
        self.check(tp)?;
        Ok(self.ranges(std::slice::from_ref(tp))?[0].1)
    }

    fn offsets(
        &self,
        client: &BaseConsumer<ClientContext>,
        partitions: &[TopicPartition],
        at: Offset,
    ) -> Result<Vec<u64>> {
        Ok(self.ask(client, partitions, at)?.into_iter().map(|offset| offset.unwrap_or(0)).collect())
    }

    /// One request to each leader. `at` is a time, or one of Kafka's two words for the ends.
    fn ask(
        &self,
        client: &BaseConsumer<ClientContext>,
        partitions: &[TopicPartition],
        at: Offset,
    ) -> Result<Vec<Option<u64>>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let ends = self.clock.monotonic() + self.wait().min(LEADERLESS);
        loop {
            match self.ask_once(client, partitions, at) {
                Ok(offsets) => {
                    self.context.up();
                    return Ok(offsets);
                }
                Err((blamed, error)) => match self.refused(&names(&blamed), &blamed, &error) {
                    Error::Unavailable(_) if is_passing(&error) && self.clock.monotonic() < ends => {
                        self.look_again(client, &blamed);
                    }
                    error => return Err(error),
                },
            }
        }
    }

    /// An error names the partitions that it is about.
    fn ask_once(
        &self,
        client: &BaseConsumer<ClientContext>,
        partitions: &[TopicPartition],
        at: Offset,
    ) -> std::result::Result<Vec<Option<u64>>, (Vec<TopicPartition>, KafkaError)> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for tp in partitions {
            let set = list.add_partition(&tp.topic, tp.partition as i32).set_offset(at);
            set.map_err(|error| (vec![tp.clone()], error))?;
        }
        let answer = client.offsets_for_times(list, self.wait()).map_err(|error| (partitions.to_vec(), error))?;
        let entries = answer.elements();
        let found = partitions.iter().zip(&entries).map(|(tp, entry)| {
            debug_assert_eq!((&*tp.topic, tp.partition as i32), (entry.topic(), entry.partition()));
            entry.error().map_err(|error| (vec![tp.clone()], error))?;
            match entry.offset() {
                Offset::Offset(offset) => Ok(Some(offset as u64)),
                _ => Ok(None), // by time: no record is that young
            }
        });
        found.collect()
    }

    /// The library keeps it in mind that a partition had no leader, for minutes, and would ask nobody.
    fn look_again(&self, client: &BaseConsumer<ClientContext>, partitions: &[TopicPartition]) {
        self.clock.park(POLL);
        let topics: BTreeSet<_> = partitions.iter().map(|tp| &*tp.topic).collect();
        for topic in topics {
            // if it cannot be had, the next question says so
            let _ = client.fetch_metadata(Some(topic), LEADERLESS);
        }
    }

    /// The first offset whose record is not older than `at`, else the end.
    pub(super) fn offset_at(&self, tp: &TopicPartition, at: Timestamp) -> Result<u64> {
        self.check(tp)?;
        let at = Offset::Offset(at.as_millis().max(0));
        match self.ask(&self.stable, std::slice::from_ref(tp), at)?[0] {
            Some(offset) => Ok(offset),
            None => Ok(self.ends(std::slice::from_ref(tp))?[0]),
        }
    }
}

/// Asks two things at the same time.
pub(super) fn beside<A: Send, B>(ask: impl FnOnce() -> A + Send, also: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let asked = scope.spawn(ask);
        let also = also();
        (asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), also)
    })
}

/// The first few, for a message.
fn names(partitions: &[TopicPartition]) -> String {
    partitions.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", ")
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
