//! A member of a group.
//!
//! The library hands a change of the assignment over as an event and then waits for `incremental_assign` or
//! `incremental_unassign`, however long that takes (until `max.poll.interval.ms`). So the event is only noted in the
//! callback; [`Member::next`] tells of it, and its *following* call answers the library. In between, the owner commits
//! what it has for partitions that it gives up, or seeks in those that it got.

mod commit;
mod cursor;
mod fetch;
mod listener;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    topic_partition_list::{Offset, TopicPartitionList},
};

use self::{
    cursor::PartitionCursor,
    listener::{Rebalance, RebalanceListener},
};
use super::{
    Shared,
    client::{self, question_error},
    groups, options,
    transaction::TransactionalProducer,
};
use crate::eventlog::{
    Error, GroupOffset, Member, MemberEvent, MemberMode, NewRecord, Outcome, Result, TopicPartition, check_from,
};

/// How long questions may take in which the assignment depends; then `next` gives up and asks again.
const ASK: Duration = Duration::from_secs(2);

/// A member.
pub(super) struct KafkaMember {
    shared: Arc<Shared>,
    group: String,
    slot: u32,
    /// Before the producer, so that it leaves first: others wait for the partitions, and an end of the producer would change
    /// nothing about what it has open.
    consumer: BaseConsumer<RebalanceListener>,
    producer: Option<TransactionalProducer>,
    cursors: Vec<PartitionCursor>,
    turn: usize,
    /// Told to the owner, and to be answered at the next call.
    assigning: Option<Vec<TopicPartition>>,
    revoking: Option<Vec<TopicPartition>>,
    /// Topics of which no records are wanted; partitions that come later are paused as well.
    paused: BTreeSet<String>,
    was_assigned: bool,
}

impl KafkaMember {
    pub(super) fn join(
        shared: &Arc<Shared>,
        group: &str,
        topics: &[&str],
        alongside: &[&str],
        slot: u32,
        mode: MemberMode,
    ) -> Result<Self> {
        for topic in topics.iter().chain(alongside) {
            shared.topics.metadata(Some(topic))?;
            shared.topics.count(topic)?;
        }
        shared.await_free(group, slot)?;
        shared.slots.check(&options::instance_id(group, slot), group, slot)?;
        // before the consumer: starting it ends a transaction that an earlier run left open, for which a look at the
        // group's offsets would wait
        let producer = match mode {
            MemberMode::Offsets => None,
            MemberMode::Outputs => {
                shared.readers.warm(shared, topics);
                shared.slots.check(&options::transactional_id(group, slot), group, slot)?;
                Some(TransactionalProducer::start(shared, group, slot)?)
            }
        };
        let config = shared.options.member(group, slot);
        let listener = RebalanceListener::new(alongside);
        let consumer: BaseConsumer<RebalanceListener> =
            config.create_with_context(listener).map_err(client::config_error)?;
        let mut topics = topics.to_vec();
        topics.sort_unstable();
        topics.dedup();
        consumer.subscribe(&topics).map_err(|error| question_error(&format!("join {group}"), &error))?;
        Ok(Self {
            shared: shared.clone(),
            group: group.to_owned(),
            slot,
            producer,
            consumer,
            cursors: Vec::new(),
            turn: 0,
            assigning: None,
            revoking: None,
            paused: BTreeSet::new(),
            was_assigned: false,
        })
    }

    fn list(&self, partitions: &[TopicPartition]) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for tp in partitions {
            let mut entry = list.add_partition(&tp.topic, tp.partition as i32);
            if let Some(cursor) = self.cursors.iter().find(|cursor| cursor.tp == *tp) {
                let at = Offset::Offset(client::signed(cursor.position)?);
                entry.set_offset(at).map_err(|error| question_error(&tp.to_string(), &error))?;
            }
        }
        Ok(list)
    }

    /// Tells the library that the owner knows.
    fn answer(&mut self) -> Result<()> {
        if let Some(gone) = self.revoking.take() {
            let list = self.list(&gone)?;
            self.cursors.retain(|cursor| !gone.contains(&cursor.tp));
            self.consumer.incremental_unassign(&list).map_err(|error| self.cannot("give partitions up", &error))?;
        }
        if let Some(new) = self.assigning.take() {
            let list = self.list(&new)?;
            self.consumer.incremental_assign(&list).map_err(|error| self.cannot("take partitions", &error))?;
            // the library remembers that a partition was paused when it was last ours
            for cursor in self.cursors.iter().filter(|cursor| new.contains(&cursor.tp)) {
                let list = self.list(std::slice::from_ref(&cursor.tp))?;
                let told = if cursor.paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
                told.map_err(|error| self.cannot("pause or go on", &error))?;
            }
        }
        Ok(())
    }

    fn cannot(&self, what: &str, error: &KafkaError) -> Error {
        Error::Unavailable(format!("member {} of {} cannot {what}: {error}", self.slot, self.group))
    }

    /// Prepares a change of the assignment for the owner. `None`: there is nothing to tell.
    fn change(&mut self, turn: Rebalance) -> Result<Option<MemberEvent>> {
        match turn {
            Rebalance::Assign(new) => {
                let offsets = match self.lookup(&new) {
                    Ok(offsets) => offsets,
                    Err(error) => {
                        // asked again by the next call; the group waits meanwhile
                        self.consumer.context().rebalances().push_front(Rebalance::Assign(new));
                        return Err(error);
                    }
                };
                self.assigning = Some(new);
                // the first is told even if it is empty: the owner is then a member, with nothing to wait for
                let first = !std::mem::replace(&mut self.was_assigned, true);
                Ok((first || !offsets.is_empty()).then_some(MemberEvent::Assigned(offsets)))
            }
            Rebalance::Revoke(gone) => {
                let lost = self.consumer.assignment_lost();
                let gone: Vec<_> =
                    gone.into_iter().filter(|tp| lost || self.cursors.iter().any(|cursor| cursor.tp == *tp)).collect();
                self.revoking = Some(gone.clone());
                if lost {
                    // nothing can be committed for them any more, so there is no last commit to wait for
                    self.answer()?;
                    return Ok(Some(MemberEvent::Lost(gone)));
                }
                Ok((!gone.is_empty()).then_some(MemberEvent::Revoking(gone)))
            }
        }
    }

    /// Where the group is in these partitions; they become cursors.
    fn lookup(&mut self, new: &[TopicPartition]) -> Result<Vec<GroupOffset>> {
        let committed = groups::committed(&self.consumer, &self.group, new, ASK)?;
        // only where the group has never been must be asked where to begin: timers wait for this
        let fresh: Vec<_> = new.iter().filter(|tp| committed.iter().all(|offset| offset.tp != **tp)).cloned().collect();
        let ranges = self.shared.topics.ranges(&fresh)?;
        let mut offsets = Vec::new();
        for tp in new {
            let committed = committed.iter().find(|offset| offset.tp == *tp).cloned();
            let range = ranges.iter().find(|(fresh, _)| fresh == tp).map(|(_, range)| *range);
            let start = range.map_or(0, |range| range.start);
            let next =
                committed.clone().unwrap_or(GroupOffset { tp: tp.clone(), offset: start, metadata: String::new() });
            self.cursors.retain(|cursor| cursor.tp != next.tp);
            self.cursors.push(PartitionCursor {
                tp: next.tp.clone(),
                position: next.offset,
                prefetched: VecDeque::new(),
                known_end: range.map_or(next.offset, |range| range.end),
                committed,
                // what was trimmed of a partition that it has been in, the first fetch tells
                trimmed: None,
                stopped: false,
                paused: self.paused.contains(&next.tp.topic),
            });
            offsets.push(next);
        }
        self.cursors.sort_by(|a, b| a.tp.cmp(&b.tp));
        Ok(offsets)
    }

    fn cursor(&mut self, tp: &TopicPartition) -> Result<&mut PartitionCursor> {
        let cursor = self.cursors.iter_mut().find(|cursor| cursor.tp == *tp);
        cursor.ok_or_else(|| Error::Fenced(format!("{tp} is not assigned to this member of {}", self.group)))
    }
}

impl Member for KafkaMember {
    fn next(&mut self, wait: Duration) -> Result<MemberEvent> {
        let ends = self.shared.clock.monotonic() + wait;
        loop {
            self.answer()?;
            let turn = self.consumer.context().rebalances().pop_front();
            if let Some(turn) = turn {
                match self.change(turn) {
                    Ok(Some(input)) => return Ok(input),
                    Ok(None) => continue,
                    Err(Error::Unavailable(why)) => {
                        tracing::warn!(group = self.group, why, "cannot fetch the group's offsets yet");
                        return Ok(MemberEvent::Idle);
                    }
                    Err(error) => return Err(error),
                }
            }
            self.fetch(Duration::ZERO)?;
            self.restart()?;
            if !self.consumer.context().rebalances().is_empty() {
                continue; // before records: the whole group may wait for our answer
            }
            if let Some(input) = self.take()? {
                return Ok(input);
            }
            let left = ends.saturating_sub(self.shared.clock.monotonic());
            if left.is_zero() {
                return Ok(MemberEvent::Idle);
            }
            self.fetch(left)?;
        }
    }

    fn seek(&mut self, partition: &TopicPartition, offset: u64) -> Result<()> {
        self.cursor(partition)?;
        let range = self.shared.topics.range(partition)?;
        let end = if offset > range.end { self.shared.topics.written(partition)? } else { range.end };
        check_from(partition, offset, range.start, end)?;
        // what is not answered yet is taken from its cursor's position on, and the library cannot seek there before
        if !self.assigning.as_ref().is_some_and(|new| new.contains(partition)) {
            if self.cursor(partition)?.stopped || self.cursor(partition)?.trimmed.is_some() {
                if !self.start_again(partition, offset)? {
                    return Err(Error::Unavailable(format!("the assignment of {} is changing", self.group)));
                }
            } else {
                self.seek_now(partition, offset)?;
            }
        }
        self.cursor(partition)?.go_to(offset);
        Ok(())
    }

    fn pause(&mut self, topic: &str, paused: bool) {
        let changed = if paused { self.paused.insert(topic.to_owned()) } else { self.paused.remove(topic) };
        if !changed {
            return;
        }
        let new = self.assigning.clone().unwrap_or_default();
        let mut partitions = Vec::new();
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.tp.topic == topic) {
            cursor.paused = paused;
            partitions.extend(Some(cursor.tp.clone()).filter(|tp| !new.contains(tp)));
        }
        let done = self
            .list(&partitions)
            .map(|list| if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) });
        if let Ok(Err(error)) = done {
            // then too much is fetched, up to its bound; `take` hands out nothing of what is paused
            self.consumer.context().context.note(&error);
        }
    }

    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        if let Err(error) = offsets.iter().try_for_each(|offset| self.check(offset)) {
            return Outcome::Aborted(error);
        }
        if self.consumer.context().rebalances().iter().any(|turn| matches!(turn, Rebalance::Revoke(_))) {
            return Outcome::Aborted(Error::Unavailable(format!("the assignment of {} is changing", self.group)));
        }
        self.transact(outputs, offsets)
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        let listener = self.consumer.context().clone();
        listener.close();
        // the library waits for answers before it leaves
        if let Err(error) = self.answer() {
            tracing::debug!(%error, "error while leaving the group");
        }
        let rebalances: Vec<Rebalance> = listener.rebalances().drain(..).collect();
        for turn in rebalances {
            match turn {
                Rebalance::Assign(new) => self.assigning = Some(new),
                Rebalance::Revoke(gone) => self.revoking = Some(gone),
            }
            if let Err(error) = self.answer() {
                tracing::debug!(%error, "error while leaving the group");
            }
        }
    }
}
