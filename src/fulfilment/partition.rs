use std::collections::VecDeque;

use tracing::{debug, warn};

use super::{
    Accepted, Engine, Now, Options, Staged,
    letters::dead_letter,
    metrics::Metrics,
    plan::{Broken, Part, Ticket},
};
use crate::{
    domain::{Invalid, Order, wire},
    eventlog::{Budget, GroupOffset, NewRecord, Position, Record, TopicPartition},
};

/// A partition that is ours: its engine, how far its input is taken, and what waits for a commit.
pub(super) struct Partition {
    pub(super) ticket: Ticket,
    pub(super) engine: Engine,
    tp: TopicPartition,
    inbox: Inbox,
    /// The next input offset to take.
    next: u64,
    /// The input offset of the last commit.
    committed: u64,
    /// The records of the events that the engine has staged. A plan takes them away, and gives them back when it came to
    /// nothing.
    events: Vec<NewRecord>,
    /// Poison found since the last commit, likewise.
    letters: Vec<NewRecord>,
    /// Where the last event stands that was settled.
    last_event: Option<u64>,
}

/// Input that was heard and not taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    records: VecDeque<Record>,
    bytes: usize,
}

impl Inbox {
    pub(super) fn extend(&mut self, records: Vec<Record>) {
        self.bytes += records.iter().map(Record::size).sum::<usize>();
        self.records.extend(records);
    }

    fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.bytes -= record.size();
        Some(record)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How much more input goes into a commit.
pub(super) struct Room {
    pub(super) budget: Budget,
    /// New orders, before there are too many in flight.
    pub(super) orders: u64,
}

impl Room {
    const fn is_left(&self) -> bool {
        !self.budget.is_spent() && self.orders > 0
    }
}

impl Partition {
    /// A partition whose engine is there, with what its input brought meanwhile.
    pub(super) fn new(ticket: Ticket, engine: Engine, assigned: GroupOffset, inbox: Inbox) -> Self {
        let GroupOffset { of: tp, offset, .. } = assigned;
        Self {
            ticket,
            engine,
            tp,
            inbox,
            next: offset,
            committed: offset,
            events: Vec::new(),
            letters: Vec::new(),
            last_event: None,
        }
    }

    /// Hears records of the input, in order.
    pub(super) fn hear(&mut self, records: Vec<Record>) {
        self.inbox.extend(records);
    }

    /// Stages what is due, as far as there is room; one by one, since its size is known only then.
    pub(super) fn tick(&mut self, options: &Options, budget: &mut Budget, now: Now) {
        while !budget.is_spent() {
            self.engine.tick(now, self.engine.staged().len() + 1);
            if !self.encode(options, budget, now) {
                return;
            }
        }
    }

    /// Takes what was heard, as far as there is room; records that were taken before are passed over.
    pub(super) fn take(&mut self, options: &Options, room: &mut Room, now: Now, metrics: &Metrics) {
        while room.is_left()
            && let Some(record) = self.inbox.pop()
        {
            if record.offset < self.next {
                continue;
            }
            self.next = record.offset + 1;
            let in_flight = self.engine.in_flight();
            let refused = match wire::decode_order(&record.value, &record.headers, record.at) {
                Ok(order) if self.engine.was_done(&order, record.offset) => {
                    debug!(order.id = %order.id, "an old service has done it, its states are gone");
                    None
                }
                Ok(order) => self.accept(order, now, metrics),
                Err(reason) => Some(reason),
            };
            if let Some(reason) = refused {
                let (topic, partition) = (&self.tp.topic, self.tp.partition);
                warn!(topic, partition, offset = record.offset, %reason, "dead letter");
                self.engine.count_dead();
                let letter = dead_letter(&options.dead, &self.tp, record, reason, now);
                room.budget.spend(letter.size());
                self.letters.push(letter);
            }
            room.orders = room.orders.saturating_sub(self.engine.in_flight().saturating_sub(in_flight));
            self.encode(options, &mut room.budget, now);
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

    /// Encodes what was staged since the last time. They go to the partition with the input's number. Returns whether there
    /// was something.
    fn encode(&mut self, options: &Options, budget: &mut Budget, now: Now) -> bool {
        let seal = self.engine.seal();
        let staged = &self.engine.staged()[self.events.len()..];
        for Staged { event, .. } in staged {
            let value = wire::encode_event(event);
            let mut headers = wire::event_headers(event);
            headers.extend(seal.map(|seal| (wire::SEAL.to_owned(), seal.of(&value))));
            let key = Some(wire::key(event.order.id));
            let (topic, partition) = (options.states.clone(), Some(self.tp.partition));
            let record = NewRecord { topic, partition, key, value, headers, at: now.wall };
            budget.spend(record.size());
            self.events.push(record);
        }
        !staged.is_empty()
    }

    /// What was heard and not taken.
    pub(super) const fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Whether there is nothing to commit.
    pub(super) fn is_clean(&self) -> bool {
        self.collected().next().is_none() && self.next == self.committed
    }

    /// Events and dead letters that wait for a plan.
    pub(super) fn collected(&self) -> impl Iterator<Item = &NewRecord> {
        self.events.iter().chain(&self.letters)
    }

    /// What goes into a plan, with how far the input is taken and what a restore needs.
    pub(super) fn part(&mut self) -> Part {
        self.engine.taken(self.next);
        let metadata = self.engine.progress().to_string();
        Part {
            ticket: self.ticket,
            events: std::mem::take(&mut self.events),
            letters: self.take_letters(),
            offset: Some(GroupOffset { of: self.tp.clone(), offset: self.next, metadata }),
        }
    }

    /// The dead letters alone.
    pub(super) fn take_letters(&mut self) -> Vec<NewRecord> {
        std::mem::take(&mut self.letters)
    }

    /// Takes back what was in a plan that came to nothing.
    pub(super) fn take_back(&mut self, part: Part) {
        self.events.splice(..0, part.events);
        self.letters.splice(..0, part.letters);
    }

    /// These events of ours are durable, and the input before `next` is passed: the orders' timers start. The log's answer
    /// is for these events only if it names the orders that wait for it, behind all that it named before.
    pub(super) fn settle(
        &mut self,
        events: &[NewRecord],
        positions: &[Position],
        next: Option<u64>,
        now: Now,
    ) -> Result<(), Broken> {
        let waiting = self.engine.staged().iter().map(|staged| Some(staged.event.order.id.get()));
        let named = events.iter().map(|event| std::str::from_utf8(event.key.as_deref()?).ok()?.parse().ok());
        if !waiting.eq(named) {
            return Err(Broken::Events(self.tp.partition));
        }
        if positions.first().is_some_and(|first| self.last_event.is_some_and(|last| first.offset <= last)) {
            return Err(Broken::Order);
        }
        self.last_event = positions.last().map(|last| last.offset).or(self.last_event);
        self.committed = next.unwrap_or(self.committed);
        self.engine.settle(positions.iter().map(|position| position.offset), now);
        Ok(())
    }
}
