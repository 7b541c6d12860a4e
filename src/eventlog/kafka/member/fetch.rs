//! Takes records out of the library, and starts it again where it stopped.

use std::time::Duration;

use rdkafka::{
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::Message,
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{ASK, KafkaMember, cursor::PartitionCursor};
use crate::eventlog::{
    Error, MemberEvent, Result, TopicPartition, beyond, check_from,
    kafka::{
        client::{self, question_error},
        options::instance_id,
        record,
    },
};

/// Records taken out of the library ahead of the owner.
const PREFETCHED_MAX: usize = 4_096;
/// Bytes taken out of the library ahead of the owner.
const PREFETCHED_BYTES_MAX: usize = 16 << 20;
/// How long a seek may find its partition not started yet.
const SEEK: Duration = Duration::from_secs(5);

impl KafkaMember {
    /// Takes what the library has, and at most `wait` for something to come.
    pub(super) fn fetch(&mut self, wait: Duration) -> Result<()> {
        // what waits in a paused partition must not keep others from being heard; no more comes there
        let heard = || self.cursors.iter().filter(|cursor| !cursor.paused);
        let mut prefetched: usize = heard().map(|cursor| cursor.prefetched.len()).sum();
        let mut bytes: usize = heard().map(PartitionCursor::prefetched_bytes).sum();
        let mut wait = wait;
        while prefetched < PREFETCHED_MAX && bytes < PREFETCHED_BYTES_MAX {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let cursor = self.cursors.iter_mut().find(|cursor| record::is_of(&message, &cursor.tp));
                    if let Some(cursor) = cursor
                        && message.offset() as u64 >= cursor.wanted()
                    {
                        let record = record::owned(&message);
                        bytes += record.size();
                        cursor.prefetched.push_back(record);
                        prefetched += 1;
                    }
                }
                Some(Err(error)) => self.failed(&error)?,
                None => return Ok(()),
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn failed(&mut self, error: &KafkaError) -> Result<()> {
        if let Some((code, why)) = self.consumer.client().fatal_error() {
            let (group, slot) = (&self.group, self.slot);
            let text = format!("member {slot} of {group} has ended: {why}");
            // A static member whose session ran out joins as a new one, and what it still had on its way as the old one
            // is refused: the library takes that for a rival. Joining again tells them apart.
            if code == Code::FencedInstanceId {
                self.shared.slots.fenced(&instance_id(group, slot));
                return Err(Error::Unavailable(text));
            }
            return Err(Error::Fatal(text));
        }
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.find_gaps(),
            Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) => {
                Err(question_error(&format!("read as {}", self.group), error))
            }
            _ => {
                self.consumer.context().context.note(error);
                Ok(())
            }
        }
    }

    /// The library does not say which partition's offset was not there, nor whether it asked for it before a seek; in
    /// both cases it fetches no more there.
    fn find_gaps(&mut self) -> Result<()> {
        let all: Vec<_> = self.cursors.iter().map(|cursor| cursor.tp.clone()).collect();
        for (cursor, (_, range)) in self.cursors.iter_mut().zip(self.shared.topics.ranges(&all)?) {
            let next = cursor.wanted();
            cursor.trimmed = (next < range.start).then_some(range.start);
            cursor.stopped = true;
            if next > range.end && next > self.shared.topics.written(&cursor.tp)? {
                return Err(beyond(&cursor.tp, next, range.end));
            }
        }
        Ok(())
    }

    /// Records of the next partition in turn that has some.
    pub(super) fn take(&mut self) -> Result<Option<MemberEvent>> {
        let count = self.cursors.len();
        let options = &self.shared.options;
        for step in 0..count {
            let turn = (self.turn + step) % count;
            let cursor = &mut self.cursors[turn];
            if cursor.paused {
                continue;
            }
            if let (Some(start), true) = (cursor.trimmed, cursor.prefetched.is_empty()) {
                check_from(&cursor.tp, cursor.position, start, u64::MAX)?;
            }
            let records = cursor.take(options.batch_records_max, options.batch_bytes_max);
            if !records.is_empty() {
                self.turn = turn + 1;
                return Ok(Some(MemberEvent::Records(cursor.tp.clone(), records)));
            }
        }
        Ok(None)
    }

    /// Gives a partition back to the library and takes it again at an offset. Not while the assignment changes: the
    /// library would take it for our answer to that. Returns whether the partition was taken, and no change came.
    pub(super) fn start_again(&mut self, tp: &TopicPartition, offset: u64) -> Result<bool> {
        self.fetch(Duration::ZERO)?;
        if self.consumer.context().rebalances().is_empty() {
            let list = self.list(std::slice::from_ref(tp))?;
            self.consumer.incremental_unassign(&list).map_err(|error| self.cannot("start again", &error))?;
            let mut list = TopicPartitionList::new();
            let at = Offset::Offset(client::signed(offset)?);
            list.add_partition_offset(&tp.topic, tp.partition as i32, at)
                .and_then(|()| self.consumer.incremental_assign(&list))
                .map_err(|error| self.cannot("start again", &error))?;
            self.fetch(Duration::ZERO)?;
        }
        Ok(self.consumer.context().rebalances().is_empty())
    }

    /// Starts what has stopped though nothing is missing there.
    pub(super) fn restart(&mut self) -> Result<()> {
        while let Some(cursor) = self.cursors.iter_mut().find(|cursor| cursor.stopped && cursor.trimmed.is_none()) {
            cursor.stopped = false;
            let (tp, wanted) = (cursor.tp.clone(), cursor.wanted());
            if !self.start_again(&tp, wanted)? {
                self.cursor(&tp)?.stopped = true;
                break;
            }
        }
        Ok(())
    }

    pub(super) fn seek_now(&self, tp: &TopicPartition, offset: u64) -> Result<()> {
        let ends = self.shared.clock.monotonic() + SEEK;
        loop {
            let mut list = TopicPartitionList::new();
            let at = Offset::Offset(client::signed(offset)?);
            let added = list.add_partition_offset(&tp.topic, tp.partition as i32, at);
            let result = added.and_then(|()| self.consumer.seek_partitions(list, ASK));
            let refused = result.and_then(|list| list.elements()[0].error());
            match refused {
                Ok(()) => return Ok(()),
                Err(error) if self.shared.clock.monotonic() > ends => return Err(self.cannot("seek", &error)),
                // its fetcher starts just now
                Err(_) => self.shared.clock.park(Duration::from_millis(5)),
            }
        }
    }
}
