//! A member of a group.
//!
//! The library hands a change of the assignment over as an event and then waits for `incremental_assign` or
//! `incremental_unassign`, however long that takes (until `max.poll.interval.ms`). So the event is only noted in the
//! callback; [`Member::next`] tells of it, and its *following* call answers the library. In between, the owner commits
//! what it has for partitions that it gives up, or seeks in those that it got.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::Message,
    topic_partition_list::{Offset, TopicPartitionList},
    types::RDKafkaRespErr,
};

use super::{
    Shared,
    client::{self, Plain, question_error},
    groups, options, record,
    topics::{beyond, check_from, part},
    transaction::Transactor,
};
use crate::eventlog::{
    Commits, Error, GroupOffset, Input, METADATA_MAX, Member, NewRecord, Outcome, Record, Result, TopicPartition,
};

/// Records taken out of the library ahead of the owner.
const AHEAD_MAX: usize = 4_096;
/// How long questions may take in which the assignment depends; then `next` gives up and asks again.
const ASK: Duration = Duration::from_secs(2);
/// How long a seek may find its partition not started yet.
const SEEK: Duration = Duration::from_secs(5);

/// Notes changes of the assignment.
pub(super) struct Watch {
    plain: Plain,
    turns: Mutex<VecDeque<Turn>>,
    /// From now on changes are answered at once, since nobody asks any more.
    closing: AtomicBool,
}

/// A change of the assignment that waits for its answer.
enum Turn {
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
}

impl Watch {
    fn turns(&self) -> std::sync::MutexGuard<'_, VecDeque<Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.plain.log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.plain.error(error, reason);
    }
}

impl ConsumerContext for Watch {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            let answer = if assign { consumer.incremental_assign(list) } else { consumer.incremental_unassign(list) };
            if let Err(error) = answer {
                self.plain.note(&error);
            }
            return;
        }
        let of = list.elements().iter().map(|entry| part(entry.topic(), entry.partition() as u32)).collect();
        self.turns().push_back(if assign { Turn::Assign(of) } else { Turn::Revoke(of) });
    }
}

/// A partition that is ours.
struct Lane {
    of: TopicPartition,
    /// The next offset to hand out.
    position: u64,
    /// Handed out next.
    ahead: VecDeque<Record>,
    /// The partition reaches at least so far.
    reaches: u64,
    /// The last commit that is known.
    committed: Option<GroupOffset>,
    /// The first offset kept, when that is behind our position.
    trimmed: Option<u64>,
    /// The library may have given up fetching, since an offset was not there: a seek alone does not start it again.
    stopped: bool,
}

impl Lane {
    /// The offset that the library is to fetch next.
    fn wanted(&self) -> u64 {
        self.ahead.back().map_or(self.position, |last| last.offset + 1)
    }
}

/// A member.
pub(super) struct KafkaMember {
    shared: Arc<Shared>,
    group: String,
    slot: u32,
    /// Before the consumer, so that it ends first: nothing is open when the partitions go.
    transactor: Option<Transactor>,
    consumer: BaseConsumer<Watch>,
    lanes: Vec<Lane>,
    turn: usize,
    /// Told to the owner, and to be answered at the next call.
    assigning: Option<Vec<TopicPartition>>,
    revoking: Option<Vec<TopicPartition>>,
    paused: bool,
    was_assigned: bool,
}

impl KafkaMember {
    pub(super) fn join(
        shared: &Arc<Shared>,
        group: &str,
        topics: &[&str],
        slot: u32,
        commits: Commits,
    ) -> Result<Self> {
        for topic in topics {
            shared.topics.metadata(Some(topic))?;
            shared.topics.count(topic)?;
        }
        shared.await_free(group, slot)?;
        let transactor = match commits {
            Commits::Offsets => None,
            Commits::Outputs => {
                shared.slots.check(&options::transactional_id(group, slot), group, slot)?;
                Some(Transactor::start(shared, group, slot)?)
            }
        };
        let watch = Watch { plain: Plain::default(), turns: Mutex::default(), closing: AtomicBool::new(false) };
        let config = shared.options.member(group, slot);
        let consumer: BaseConsumer<Watch> = config.create_with_context(watch).map_err(client::config_error)?;
        let mut topics = topics.to_vec();
        topics.sort_unstable();
        topics.dedup();
        consumer.subscribe(&topics).map_err(|error| question_error(&format!("join {group}"), &error))?;
        Ok(Self {
            shared: shared.clone(),
            group: group.to_owned(),
            slot,
            transactor,
            consumer,
            lanes: Vec::new(),
            turn: 0,
            assigning: None,
            revoking: None,
            paused: false,
            was_assigned: false,
        })
    }

    fn list(&self, of: &[TopicPartition]) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(of.len());
        for of in of {
            let mut entry = list.add_partition(&of.topic, of.partition as i32);
            if let Some(lane) = self.lanes.iter().find(|lane| lane.of == *of) {
                let at = Offset::Offset(client::signed(lane.position)?);
                entry.set_offset(at).map_err(|error| question_error(&of.to_string(), &error))?;
            }
        }
        Ok(list)
    }

    /// Tells the library that the owner knows.
    fn answer(&mut self) -> Result<()> {
        if let Some(gone) = self.revoking.take() {
            let list = self.list(&gone)?;
            self.lanes.retain(|lane| !gone.contains(&lane.of));
            self.consumer.incremental_unassign(&list).map_err(|error| self.cannot("give partitions up", &error))?;
        }
        if let Some(new) = self.assigning.take() {
            let list = self.list(&new)?;
            self.consumer.incremental_assign(&list).map_err(|error| self.cannot("take partitions", &error))?;
            if self.paused {
                self.consumer.pause(&list).map_err(|error| self.cannot("pause", &error))?;
            }
        }
        Ok(())
    }

    fn cannot(&self, what: &str, error: &KafkaError) -> Error {
        Error::Unavailable(format!("member {} of {} cannot {what}: {error}", self.slot, self.group))
    }

    /// Prepares a change of the assignment for the owner. `None`: there is nothing to tell.
    fn change(&mut self, turn: Turn) -> Result<Option<Input>> {
        match turn {
            Turn::Assign(new) => {
                let offsets = match self.lookup(&new) {
                    Ok(offsets) => offsets,
                    Err(error) => {
                        // asked again by the next call; the group waits meanwhile
                        self.consumer.context().turns().push_front(Turn::Assign(new));
                        return Err(error);
                    }
                };
                self.assigning = Some(new);
                let first = !std::mem::replace(&mut self.was_assigned, true);
                Ok((first || !offsets.is_empty()).then_some(Input::Assigned(offsets)))
            }
            Turn::Revoke(gone) => {
                let lost = self.consumer.assignment_lost();
                let gone: Vec<_> =
                    gone.into_iter().filter(|of| lost || self.lanes.iter().any(|lane| lane.of == *of)).collect();
                self.revoking = Some(gone.clone());
                if lost {
                    self.answer()?;
                    return Ok(Some(Input::Lost(gone)));
                }
                Ok((!gone.is_empty()).then_some(Input::Revoking(gone)))
            }
        }
    }

    /// Where the group is in these partitions; they become lanes.
    fn lookup(&mut self, new: &[TopicPartition]) -> Result<Vec<GroupOffset>> {
        let committed = groups::committed(&self.consumer, &self.group, new, ASK)?;
        let ranges = self.shared.topics.ranges(new)?;
        let mut offsets = Vec::new();
        for (of, range) in ranges {
            let committed = committed.iter().find(|offset| offset.of == of).cloned();
            let next = committed.clone().unwrap_or(GroupOffset { of, offset: range.start, metadata: String::new() });
            self.lanes.retain(|lane| lane.of != next.of);
            self.lanes.push(Lane {
                of: next.of.clone(),
                position: next.offset,
                ahead: VecDeque::new(),
                reaches: range.end,
                committed,
                trimmed: (next.offset < range.start).then_some(range.start),
                stopped: false,
            });
            offsets.push(next);
        }
        self.lanes.sort_by(|a, b| a.of.cmp(&b.of));
        Ok(offsets)
    }

    /// Takes what the library has, and at most `wait` for something to come.
    fn fetch(&mut self, wait: Duration) -> Result<()> {
        let mut ahead: usize = self.lanes.iter().map(|lane| lane.ahead.len()).sum();
        let mut wait = wait;
        while ahead < AHEAD_MAX {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let lane = self.lanes.iter_mut().find(|lane| record::is_of(&message, &lane.of));
                    if let Some(lane) = lane
                        && message.offset() as u64 >= lane.wanted()
                    {
                        lane.ahead.push_back(record::owned(&message));
                        ahead += 1;
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
        if let Some(why) = client::fatal(self.consumer.client()) {
            let (group, slot) = (&self.group, self.slot);
            return Err(Error::Fatal(format!("member {slot} of {group} has ended, is the slot used twice? {why}")));
        }
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.find_gaps(),
            Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) => {
                Err(question_error(&format!("read as {}", self.group), error))
            }
            _ => {
                self.consumer.context().plain.note(error);
                Ok(())
            }
        }
    }

    /// The library does not say which partition's offset was not there, nor whether it asked for it before a seek; in
    /// both cases it fetches no more there.
    fn find_gaps(&mut self) -> Result<()> {
        let all: Vec<_> = self.lanes.iter().map(|lane| lane.of.clone()).collect();
        for (lane, (_, range)) in self.lanes.iter_mut().zip(self.shared.topics.ranges(&all)?) {
            let next = lane.wanted();
            lane.trimmed = (next < range.start).then_some(range.start);
            lane.stopped = true;
            if next > range.end && next > self.shared.topics.written(&lane.of)? {
                return Err(beyond(&lane.of, next, range.end));
            }
        }
        Ok(())
    }

    /// Records of the next partition in turn that has some.
    fn take(&mut self) -> Result<Option<Input>> {
        let count = self.lanes.len();
        let options = &self.shared.options;
        for step in 0..count {
            let turn = (self.turn + step) % count;
            let lane = &mut self.lanes[turn];
            if let (Some(start), true) = (lane.trimmed, lane.ahead.is_empty()) {
                check_from(&lane.of, lane.position, start, u64::MAX)?;
            }
            let (mut records, mut bytes) = (Vec::new(), 0);
            while records.len() < options.batch_records_max
                && bytes < options.batch_bytes_max
                && let Some(record) = lane.ahead.pop_front()
            {
                bytes += record.value.len();
                lane.position = record.offset + 1;
                records.push(record);
            }
            if !records.is_empty() {
                self.turn = turn + 1;
                lane.reaches = lane.reaches.max(lane.position);
                return Ok(Some(Input::Records(lane.of.clone(), records)));
            }
        }
        Ok(None)
    }

    fn lane(&mut self, of: &TopicPartition) -> Result<&mut Lane> {
        let lane = self.lanes.iter_mut().find(|lane| lane.of == *of);
        lane.ok_or_else(|| Error::Fenced(format!("{of} is not assigned to this member of {}", self.group)))
    }

    /// Ownership is checked here: the coordinator knows generations only, and would take the offsets of a partition
    /// that is somebody else's.
    fn check(&mut self, offset: &GroupOffset) -> Result<()> {
        let length = offset.metadata.len();
        if length > METADATA_MAX {
            let text = format!("metadata of {length} bytes for {}: at most {METADATA_MAX} are kept", offset.of);
            return Err(Error::Fatal(text));
        }
        if offset.offset > self.lane(&offset.of)?.reaches {
            let written = self.shared.topics.written(&offset.of)?;
            if offset.offset > written {
                return Err(beyond(&offset.of, offset.offset, written));
            }
            self.lane(&offset.of)?.reaches = written;
        }
        Ok(())
    }

    fn commit_offsets(&self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        if !outputs.is_empty() {
            return Outcome::Aborted(Error::Fatal(format!("this member of {} commits offsets only", self.group)));
        }
        if offsets.is_empty() {
            return Outcome::Committed(Vec::new());
        }
        let list = match groups::list_of(offsets) {
            Ok(list) => list,
            Err(error) => return Outcome::Aborted(error),
        };
        match self.consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => Outcome::Committed(Vec::new()),
            Err(error) => {
                let text = format!("offsets of {}: {error}", self.group);
                match error.rdkafka_error_code() {
                    Some(
                        Code::IllegalGeneration
                        | Code::UnknownMemberId
                        | Code::FencedInstanceId
                        | Code::RebalanceInProgress
                        | Code::AssignmentLost,
                    ) => Outcome::Aborted(Error::Fenced(text)),
                    Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed) => {
                        Outcome::Aborted(Error::Fatal(text))
                    }
                    // the same offsets again do no harm, whether these were taken or not
                    _ => Outcome::Aborted(Error::Unavailable(text)),
                }
            }
        }
    }

    fn transact(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        // outputs alone would be fenced by nothing: one offset goes with them, as it was
        let standing: Vec<GroupOffset>;
        let sent = if offsets.is_empty() {
            standing = self.lanes.iter().find_map(|lane| lane.committed.clone()).into_iter().collect();
            &standing[..]
        } else {
            offsets
        };
        let list = match groups::list_of(sent) {
            Ok(list) => list,
            Err(error) => return Outcome::Aborted(error),
        };
        let Some(transactor) = &mut self.transactor else { return self.commit_offsets(outputs, offsets) };
        let consumer = &self.consumer;
        let fence = || {
            let group = consumer.group_metadata();
            // once the member is put out, the library's generation is −1, which the brokers let pass: the flag is set
            // in the same step, so it is looked at after the generation was taken
            if consumer.assignment_lost() {
                return Err(Error::Fenced("the group has put this member out".into()));
            }
            group.ok_or_else(|| Error::Fenced("no member of a group".into()))
        };
        let outcome = transactor.commit(outputs, list, fence);
        if let Outcome::Committed(_) = outcome {
            for offset in offsets {
                if let Ok(lane) = self.lane(&offset.of) {
                    lane.committed = Some(offset.clone());
                }
            }
        }
        outcome
    }

    /// Gives a partition back to the library and takes it again at an offset. Not while the assignment changes: the
    /// library would take it for our answer to that. Returns whether the partition was taken, and no change came.
    fn start_again(&mut self, of: &TopicPartition, offset: u64) -> Result<bool> {
        self.fetch(Duration::ZERO)?;
        if self.consumer.context().turns().is_empty() {
            let list = self.list(std::slice::from_ref(of))?;
            self.consumer.incremental_unassign(&list).map_err(|error| self.cannot("start again", &error))?;
            let mut list = TopicPartitionList::new();
            let at = Offset::Offset(client::signed(offset)?);
            list.add_partition_offset(&of.topic, of.partition as i32, at)
                .and_then(|()| self.consumer.incremental_assign(&list))
                .map_err(|error| self.cannot("start again", &error))?;
            self.fetch(Duration::ZERO)?;
        }
        Ok(self.consumer.context().turns().is_empty())
    }

    /// Starts what has stopped though nothing is missing there.
    fn restart(&mut self) -> Result<()> {
        while let Some(lane) = self.lanes.iter_mut().find(|lane| lane.stopped && lane.trimmed.is_none()) {
            lane.stopped = false;
            let (of, wanted) = (lane.of.clone(), lane.wanted());
            if !self.start_again(&of, wanted)? {
                self.lane(&of)?.stopped = true;
                break;
            }
        }
        Ok(())
    }

    fn seek_now(&self, of: &TopicPartition, offset: u64) -> Result<()> {
        let ends = self.shared.clock.monotonic() + SEEK;
        loop {
            let mut list = TopicPartitionList::new();
            let at = Offset::Offset(client::signed(offset)?);
            let added = list.add_partition_offset(&of.topic, of.partition as i32, at);
            let result = added.and_then(|()| self.consumer.seek_partitions(list, ASK));
            let refused = result.and_then(|list| list.elements()[0].error());
            match refused {
                Ok(()) => return Ok(()),
                Err(error) if self.shared.clock.monotonic() > ends => return Err(self.cannot("seek", &error)),
                // its fetcher starts just now
                Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            }
        }
    }
}

impl Member for KafkaMember {
    fn next(&mut self, wait: Duration) -> Result<Input> {
        let ends = self.shared.clock.monotonic() + wait;
        loop {
            self.answer()?;
            let turn = self.consumer.context().turns().pop_front();
            if let Some(turn) = turn {
                match self.change(turn) {
                    Ok(Some(input)) => return Ok(input),
                    Ok(None) => continue,
                    Err(Error::Unavailable(why)) => {
                        tracing::warn!(group = self.group, why, "the group's offsets cannot be had yet");
                        return Ok(Input::Idle);
                    }
                    Err(error) => return Err(error),
                }
            }
            self.fetch(Duration::ZERO)?;
            self.restart()?;
            if !self.consumer.context().turns().is_empty() {
                continue;
            }
            if !self.paused
                && let Some(input) = self.take()?
            {
                return Ok(input);
            }
            let left = ends.saturating_sub(self.shared.clock.monotonic());
            if left.is_zero() {
                return Ok(Input::Idle);
            }
            self.fetch(left)?;
        }
    }

    fn seek(&mut self, partition: &TopicPartition, offset: u64) -> Result<()> {
        self.lane(partition)?;
        let range = self.shared.topics.range(partition)?;
        let end = if offset > range.end { self.shared.topics.written(partition)? } else { range.end };
        check_from(partition, offset, range.start, end)?;
        if !self.assigning.as_ref().is_some_and(|new| new.contains(partition)) {
            if self.lane(partition)?.stopped || self.lane(partition)?.trimmed.is_some() {
                if !self.start_again(partition, offset)? {
                    return Err(Error::Unavailable(format!("the assignment of {} changes", self.group)));
                }
            } else {
                self.seek_now(partition, offset)?;
            }
        }
        let lane = self.lane(partition)?;
        lane.stopped = false;
        lane.position = offset;
        lane.ahead.clear();
        lane.trimmed = None;
        Ok(())
    }

    fn pause(&mut self, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) == paused {
            return;
        }
        let new = self.assigning.clone().unwrap_or_default();
        let of: Vec<_> = self.lanes.iter().map(|lane| lane.of.clone()).filter(|of| !new.contains(of)).collect();
        let done =
            self.list(&of).map(|list| if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) });
        if let Ok(Err(error)) = done {
            self.consumer.context().plain.note(&error);
        }
    }

    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        if let Err(error) = offsets.iter().try_for_each(|offset| self.check(offset)) {
            return Outcome::Aborted(error);
        }
        if self.consumer.context().turns().iter().any(|turn| matches!(turn, Turn::Revoke(_))) {
            return Outcome::Aborted(Error::Unavailable(format!("the assignment of {} changes", self.group)));
        }
        self.transact(outputs, offsets)
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.transactor = None;
        let watch = self.consumer.context().clone();
        watch.closing.store(true, Ordering::Relaxed);
        // the library waits for answers before it leaves
        if let Err(error) = self.answer() {
            tracing::debug!(%error, "while leaving");
        }
        let turns: Vec<Turn> = watch.turns().drain(..).collect();
        for turn in turns {
            match turn {
                Turn::Assign(new) => self.assigning = Some(new),
                Turn::Revoke(gone) => self.revoking = Some(gone),
            }
            if let Err(error) = self.answer() {
                tracing::debug!(%error, "while leaving");
            }
        }
    }
}
