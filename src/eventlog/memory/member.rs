//! A member of a group.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Link, MemberId, Shared, State, group::Change};
use crate::{
    clock::Monotonic,
    eventlog::{
        Error, GroupOffset, Member, MemberEvent, MemberMode, NewRecord, Outcome, Position, Result, TopicPartition,
        check_metadata, with_companions,
    },
};

/// A member. A change is told by one call of `next` and takes effect with the following one, so that the owner can
/// commit for what it gives up.
pub(super) struct MemoryMember {
    shared: Arc<Shared>,
    link: Link,
    group: String,
    subscribed: Subscribed,
    slot: u32,
    mode: MemberMode,
    id: MemberId,
    cursors: Vec<PartitionCursor>,
    /// Whose turn it is to be read.
    turn: usize,
    /// Told, and given up at the next call.
    revoking: Vec<TopicPartition>,
    /// Topics.
    paused: BTreeSet<String>,
}

/// What a member reads.
pub(super) struct Subscribed {
    /// What the group distributes.
    pub(super) partitions: Vec<TopicPartition>,
    /// Topics whose partitions come with those.
    pub(super) alongside: Vec<String>,
}

/// A partition that is ours, and where it is read next.
struct PartitionCursor {
    tp: TopicPartition,
    position: u64,
}

impl MemoryMember {
    pub(super) fn new(
        shared: Arc<Shared>,
        link: Link,
        group: &str,
        subscribed: Subscribed,
        slot: u32,
        mode: MemberMode,
        id: MemberId,
    ) -> Self {
        let (group, cursors, revoking, paused) = (group.to_owned(), Vec::new(), Vec::new(), BTreeSet::new());
        Self { shared, link, group, subscribed, slot, mode, id, cursors, turn: 0, revoking, paused }
    }

    /// What there is to be told, without waiting.
    fn poll(&mut self, state: &mut State) -> Result<Option<MemberEvent>> {
        let now = self.shared.clock.monotonic();
        let group = state.group(&self.group, &self.shared.clock, self.shared.options.session_timeout);
        if !self.revoking.is_empty() {
            let gone = std::mem::take(&mut self.revoking);
            self.cursors.retain(|cursor| !gone.contains(&cursor.tp));
            group.release(self.id, &gone);
            self.shared.bell.notify_all();
        }
        let Some(member) = group.member(self.id) else { return self.join_again(state) };
        member.silent_since = Some(now);
        match member.changes.pop_front() {
            Some(Change::Assign(new)) => self.take(state, new).map(Some),
            Some(Change::Revoke(gone)) => {
                let gone = with_companions(gone, &self.subscribed.alongside);
                self.revoking.clone_from(&gone);
                Ok(Some(MemberEvent::Revoking(gone)))
            }
            None => self.fetch(state),
        }
    }

    /// Evicted from the group: it joins again as a new member.
    fn join_again(&mut self, state: &mut State) -> Result<Option<MemberEvent>> {
        let Shared { clock, options, .. } = &*self.shared;
        let group = state.group(&self.group, clock, options.session_timeout);
        let (link, subscribed) = (self.link.clone(), self.subscribed.partitions.clone());
        self.id = group.join(&self.group, self.slot, link, subscribed, clock.monotonic())?;
        self.shared.bell.notify_all();
        let lost: Vec<_> = self.cursors.drain(..).map(|cursor| cursor.tp).collect();
        if lost.is_empty() { self.poll(state) } else { Ok(Some(MemberEvent::Lost(lost))) }
    }

    fn take(&mut self, state: &mut State, new: Vec<TopicPartition>) -> Result<MemberEvent> {
        let mut offsets = Vec::with_capacity(new.len());
        for tp in with_companions(new, &self.subscribed.alongside) {
            let start = state.partition(&tp)?.range().start;
            let group = state.groups.get(&self.group).expect("a member's group is there");
            let none = || GroupOffset { tp: tp.clone(), offset: start, metadata: String::new() };
            let offset = group.committed_for(&tp).cloned().unwrap_or_else(none);
            self.cursors.push(PartitionCursor { tp, position: offset.offset });
            offsets.push(offset);
        }
        self.cursors.sort_by(|a, b| a.tp.cmp(&b.tp));
        Ok(MemberEvent::Assigned(offsets))
    }

    /// Records of the next partition in turn that has some.
    fn fetch(&mut self, state: &State) -> Result<Option<MemberEvent>> {
        let count = self.cursors.len();
        for step in 0..count {
            let turn = (self.turn + step) % count;
            let PartitionCursor { tp, position } = &mut self.cursors[turn];
            if self.paused.contains(&tp.topic) {
                continue;
            }
            let records = state.partition(tp)?.read(tp, *position, self.shared.batch())?;
            if let Some(last) = records.last() {
                *position = last.offset + 1;
                self.turn = turn + 1;
                return Ok(Some(MemberEvent::Records(tp.clone(), records)));
            }
        }
        Ok(None)
    }

    /// Whether `poll` would find something.
    fn has_news(&self, state: &mut State) -> bool {
        let group = state.groups.get_mut(&self.group).and_then(|group| group.member(self.id));
        if group.is_none_or(|member| !member.changes.is_empty()) {
            return true;
        }
        let has_more = |cursor: &PartitionCursor| {
            let partition = state.partition(&cursor.tp);
            !self.paused.contains(&cursor.tp.topic) && partition.is_ok_and(|it| it.has_more(cursor.position))
        };
        self.cursors.iter().any(has_more)
    }

    fn set_silent_since(&self, state: &mut State, since: Option<Monotonic>) {
        if let Some(member) = state.groups.get_mut(&self.group).and_then(|group| group.member(self.id)) {
            member.silent_since = since;
        }
    }

    fn cursor(&mut self, tp: &TopicPartition) -> Result<&mut PartitionCursor> {
        let cursor = self.cursors.iter_mut().find(|cursor| cursor.tp == *tp);
        cursor.ok_or_else(|| Error::Fenced(format!("{tp} is not assigned to this member of {}", self.group)))
    }

    fn try_commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Result<Vec<Position>> {
        self.link.check()?;
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let group = state.group(&self.group, &shared.clock, shared.options.session_timeout);
        let Some(member) = group.member(self.id) else {
            return Err(Error::Fenced(format!("this member was evicted from the group {}", self.group)));
        };
        if member.changes.iter().any(|change| matches!(change, Change::Revoke(_))) {
            return Err(Error::Unavailable(format!("the assignment of {} is changing", self.group)));
        }
        if self.mode == MemberMode::Offsets && !outputs.is_empty() {
            return Err(Error::Fatal(format!("this member of {} can commit offsets only", self.group)));
        }
        for offset in offsets {
            check_metadata(offset)?;
            self.cursor(&offset.tp)?;
            let partition = state.partition(&offset.tp)?;
            partition.check(&offset.tp, offset.offset.max(partition.range().start))?;
        }
        let positions = state.write(outputs.to_vec())?;
        state.end_transaction(outputs, &positions);
        let group = state.groups.get_mut(&self.group).expect("a member's group is there");
        for offset in offsets {
            group.commit(offset.clone());
        }
        shared.bell.notify_all();
        Ok(positions)
    }
}

impl State {
    /// Each partition that a transaction wrote to gets a record of its end.
    fn end_transaction(&mut self, outputs: &[NewRecord], positions: &[Position]) {
        let mut touched: Vec<_> = outputs.iter().zip(positions).map(|(to, at)| (&to.topic, at.partition)).collect();
        touched.sort_unstable();
        touched.dedup();
        for (topic, partition) in touched {
            let topic = self.topics.get_mut(topic).expect("it was just written to");
            topic.partitions[partition as usize].push_control();
        }
    }
}

impl Member for MemoryMember {
    fn next(&mut self, wait: Duration) -> Result<MemberEvent> {
        let shared = self.shared.clone();
        if !self.link.is_up() {
            shared.clock.park(wait);
            return Ok(MemberEvent::Idle);
        }
        let mut state = shared.lock();
        if let Some(input) = self.poll(&mut state)? {
            return Ok(input);
        }
        if wait.is_zero() {
            return Ok(MemberEvent::Idle);
        }
        self.set_silent_since(&mut state, None);
        let mut state = shared.clock.wait(&shared.bell, state, wait, |state| !self.has_news(state));
        self.set_silent_since(&mut state, Some(shared.clock.monotonic()));
        if !self.link.is_up() {
            return Ok(MemberEvent::Idle);
        }
        Ok(self.poll(&mut state)?.unwrap_or(MemberEvent::Idle))
    }

    fn seek(&mut self, partition: &TopicPartition, offset: u64) -> Result<()> {
        self.link.check()?;
        let shared = self.shared.clone();
        self.cursor(partition)?;
        shared.lock().partition(partition)?.check(partition, offset)?;
        self.cursor(partition)?.position = offset;
        Ok(())
    }

    fn pause(&mut self, topic: &str, paused: bool) {
        if paused {
            self.paused.insert(topic.to_owned());
        } else {
            self.paused.remove(topic);
        }
    }

    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        self.try_commit(outputs, offsets).map_or_else(Outcome::Aborted, Outcome::Committed)
    }
}

impl Drop for MemoryMember {
    fn drop(&mut self) {
        if !self.link.is_up() {
            return; // nobody hears that it leaves
        }
        if let Some(group) = self.shared.lock().groups.get_mut(&self.group) {
            group.leave(self.id);
        }
        self.shared.bell.notify_all();
    }
}
