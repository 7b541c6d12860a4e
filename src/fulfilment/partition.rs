use tracing::{debug, warn};

use super::{Accepted, Engine, Now, Staged, metrics::Metrics};
use crate::{
    domain::{DeadLetter, Invalid, Order, Source, wire},
    eventlog::{GroupOffset, NewRecord, Record, TopicPartition},
};

/// A partition that is ours: its engine, how far its input is taken, and what waits for the next commit.
pub(super) struct Partition {
    pub(super) engine: Engine,
    of: TopicPartition,
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
        Self { engine, of, next: offset, committed: offset, dead: Vec::new(), dead_bytes: 0 }
    }

    /// Takes records of the input, in order; those that were taken before are passed over.
    pub(super) fn take(&mut self, records: Vec<Record>, dead: &str, now: Now, metrics: &Metrics) {
        for record in records {
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
                self.dead_bytes += letter.value.len();
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
        self.engine.staged().iter().map(move |staged| event_record(topic, self.of.partition, staged, now))
    }

    pub(super) fn dead(&self) -> &[NewRecord] {
        &self.dead
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

fn event_record(topic: &str, partition: u32, staged: &Staged, now: Now) -> NewRecord {
    NewRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        key: Some(wire::key(staged.event.order.id)),
        value: wire::encode_event(&staged.event),
        headers: wire::event_headers(&staged.event),
        at: now.wall,
    }
}

/// A dead letter goes to the first partition, whoever finds it: what fences it is the input offset in the same commit.
fn dead_letter(topic: &str, of: &TopicPartition, record: Record, reason: Invalid, now: Now) -> NewRecord {
    let mut letter = DeadLetter {
        source: Source { topic: of.topic.clone(), partition: of.partition, offset: record.offset },
        reason: reason.to_string(),
        attempts: wire::attempts(&record.headers),
        at: now.wall,
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    wire::fit_dead_letter(&mut letter);
    let headers = wire::dead_letter_headers(&letter);
    let DeadLetter { key, value, .. } = letter;
    NewRecord { topic: topic.to_owned(), partition: Some(0), key, value, headers, at: now.wall }
}
