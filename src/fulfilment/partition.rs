use std::collections::VecDeque;

use tracing::{debug, warn};

use super::{Accepted, Engine, Now, Seal, Staged, letters::dead_letter, metrics::Metrics};
use crate::{
    domain::{Invalid, Order, wire},
    eventlog::{GroupOffset, NewRecord, Record, TopicPartition},
};

/// A partition that is ours: its engine, how far its input is taken, and what waits for a commit.
pub(super) struct Partition {
    pub(super) engine: Engine,
    of: TopicPartition,
    /// Input that was heard and waits for room in a commit.
    inbox: VecDeque<Record>,
    inbox_bytes: usize,
    /// The next input offset to take.
    next: u64,
    /// The input offset of the last commit.
    committed: u64,
    /// Poison found since the last commit.
    dead: Vec<NewRecord>,
    dead_bytes: usize,
}

impl Partition {
    pub(super) fn new(engine: Engine, assigned: GroupOffset) -> Self {
        let GroupOffset { of, offset, .. } = assigned;
        Self {
            engine,
            of,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            next: offset,
            committed: offset,
            dead: Vec::new(),
            dead_bytes: 0,
        }
    }

    /// Hears records of the input, in order.
    pub(super) fn hear(&mut self, records: Vec<Record>) {
        self.inbox_bytes += records.iter().map(Record::size).sum::<usize>();
        self.inbox.extend(records);
    }

    /// Stages what is due, at most so many events.
    pub(super) fn tick(&mut self, now: Now, room: usize) {
        self.engine.tick(now, self.engine.staged().len() + room);
    }

    /// Takes what was heard, at most so many records, and dead letters up to so many bytes; records that were taken
    /// before are passed over.
    pub(super) fn take(&mut self, room: Room, dead: &str, now: Now, metrics: &Metrics) {
        let (full, bytes_full) = (self.collected() + room.records, self.dead_bytes + room.dead_bytes);
        while self.collected() < full
            && self.dead_bytes < bytes_full
            && let Some(record) = self.inbox.pop_front()
        {
            self.inbox_bytes -= record.size();
            if record.offset < self.next {
                continue;
            }
            self.next = record.offset + 1;
            let refused = match wire::decode_order(&record.value, &record.headers, record.at) {
                Ok(order) if self.engine.was_done(&order, record.offset) => {
                    debug!(order.id = %order.id, "an old service has done it, its states are gone");
                    None
                }
                Ok(order) => self.accept(order, now, metrics),
                Err(reason) => Some(reason),
            };
            if let Some(reason) = refused {
                let (topic, partition) = (&self.of.topic, self.of.partition);
                warn!(topic, partition, offset = record.offset, %reason, "dead letter");
                self.engine.count_dead();
                let letter = dead_letter(dead, &self.of, record, reason, now);
                self.dead_bytes += letter.size();
                self.dead.push(letter);
            }
        }
        self.engine.taken(self.next);
    }

    fn accept(&mut self, order: Order, now: Now, metrics: &Metrics) -> Option<Invalid> {
        let id = order.id;
        match self.engine.accept(order, now) {
            Accepted::New => None,
            Accepted::Adopted => {
                debug!(order.id = %id, "an old service worked on it");
                None
            }
            Accepted::Repeat => {
                debug!(order.id = %id, "repeat ignored");
                metrics.repeat_ignored();
                None
            }
            Accepted::Conflict => Some(Invalid(format!("order {id} is there already with other content").into())),
        }
    }

    /// Records that were heard and not taken.
    pub(super) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Bytes of these.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.inbox_bytes
    }

    /// Whether there is nothing to commit.
    pub(super) fn is_clean(&self) -> bool {
        self.engine.staged().is_empty() && self.next == self.committed
    }

    /// Events and dead letters that wait for their commit.
    pub(super) fn collected(&self) -> usize {
        self.engine.staged().len() + self.dead.len()
    }

    /// Bytes of the dead letters that wait.
    pub(super) const fn dead_bytes(&self) -> usize {
        self.dead_bytes
    }

    /// The records of the staged events. They go to the partition with the input's number.
    pub(super) fn events(&self, topic: &str, now: Now) -> impl Iterator<Item = NewRecord> {
        let seal = self.engine.seal();
        self.engine.staged().iter().map(move |staged| event_record(topic, self.of.partition, staged, seal, now))
    }

    pub(super) fn dead(&self) -> &[NewRecord] {
        &self.dead
    }

    /// Whether dead letters wait.
    pub(super) const fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// The dead letters, which somebody else writes now, or gives back.
    pub(super) fn swap_dead(&mut self, dead: Vec<NewRecord>) -> Vec<NewRecord> {
        self.dead_bytes = dead.iter().map(NewRecord::size).sum();
        std::mem::replace(&mut self.dead, dead)
    }

    /// How far the input is taken, with what a restore needs.
    pub(super) fn offset(&mut self) -> GroupOffset {
        self.engine.taken(self.next);
        GroupOffset { of: self.of.clone(), offset: self.next, metadata: self.engine.progress().to_string() }
    }

    /// What waited is durable; the events have these offsets.
    pub(super) fn settle(&mut self, offsets: impl IntoIterator<Item = u64>, now: Now) {
        self.committed = self.next;
        self.dead.clear();
        self.dead_bytes = 0;
        self.engine.settle(offsets, now);
    }
}

/// How much more goes into a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Events and dead letters.
    pub(super) records: usize,
    /// Bytes of dead letters; the last one may pass it.
    pub(super) dead_bytes: usize,
}

fn event_record(topic: &str, partition: u32, staged: &Staged, seal: Option<Seal>, now: Now) -> NewRecord {
    let value = wire::encode_event(&staged.event);
    let mut headers = wire::event_headers(&staged.event);
    headers.extend(seal.map(|seal| (wire::SEAL.to_owned(), seal.of(&value))));
    NewRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        key: Some(wire::key(staged.event.order.id)),
        value,
        headers,
        at: now.wall,
    }
}
