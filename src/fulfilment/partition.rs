use tracing::{debug, warn};

use super::{
    Accepted, Engine, Now, Options, Staged,
    feed::Feed,
    letters::{Refused, dead_letter, written},
    metrics::Metrics,
    plan::{Broken, Part, Ticket},
};
use crate::{
    domain::{CommandCopy, CommandOutcome, DeadLetter, Misfit, Order, TraceParent, wire},
    eventlog::{Budget, GroupOffset, NewRecord, Position},
};

/// A partition that is ours: its engine, how far its inputs are taken, and what waits for a commit.
pub(super) struct Partition {
    pub(super) ticket: Ticket,
    pub(super) engine: Engine,
    orders: Feed,
    commands: Option<Feed>,
    /// The records of the events that the engine has staged. A plan takes them away, and gives them back when it came to
    /// nothing.
    events: Vec<NewRecord>,
    /// What became of commands since the last commit, likewise.
    outcomes: Vec<NewRecord>,
    /// Poison found since the last commit, likewise.
    letters: Vec<NewRecord>,
    /// Where the last event stands that was settled.
    last_event: Option<u64>,
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
    /// A partition whose engine is there.
    pub(super) fn new(ticket: Ticket, engine: Engine, orders: Feed, commands: Option<Feed>) -> Self {
        Self {
            ticket,
            engine,
            orders,
            commands,
            events: Vec::new(),
            outcomes: Vec::new(),
            letters: Vec::new(),
            last_event: None,
        }
    }

    /// The input of that topic.
    pub(super) fn feed(&mut self, topic: &str) -> Option<&mut Feed> {
        [Some(&mut self.orders), self.commands.as_mut()].into_iter().flatten().find(|feed| feed.tp.topic == topic)
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

    /// Takes orders that were heard, as far as there is room.
    pub(super) fn take(&mut self, options: &Options, room: &mut Room, now: Now, metrics: &Metrics) {
        while room.is_left()
            && let Some(heard) = self.orders.take()
        {
            let in_flight = self.engine.in_flight();
            let record = &heard.record;
            let order = heard.value().and_then(|value| wire::decode_order(value, &record.headers, record.at));
            let refused = match order {
                Ok(order) if self.engine.was_done(&order, record.offset) => {
                    debug!(order.id = %order.id, "already processed by an old service whose states are deleted");
                    None
                }
                Ok(order) => self.accept(order, now, metrics),
                Err(misfit) => Some(misfit),
            };
            if let Some(misfit) = refused {
                self.engine.count_dead();
                let refused = Refused { record: heard.record, format: "order", misfit };
                let whole = refuse(&mut self.orders, refused, now, metrics);
                bury(&mut self.letters, options, whole, &mut room.budget, now);
            }
            room.orders = room.orders.saturating_sub(self.engine.in_flight().saturating_sub(in_flight));
            self.encode(options, &mut room.budget, now);
        }
        self.engine.taken(self.orders.next());
        self.letters.extend(self.orders.flood.letters().into_iter().map(|run| written(&options.dead, run, now)));
    }

    /// Decides commands that were heard, as far as there is room, and no more than so many. What cannot be one is a dead letter, and no order.
    pub(super) fn obey(
        &mut self,
        options: &Options,
        budget: &mut Budget,
        most: &mut usize,
        now: Now,
        metrics: &Metrics,
    ) {
        // one makes two records: what happened, and that it did
        while *most > 0
            && budget.has_room(2)
            && let Some(commands) = &mut self.commands
            && let Some(heard) = commands.take()
        {
            *most -= 1;
            match heard.value().and_then(|value| wire::decode_command(value, &heard.record.headers)) {
                Ok(command) => {
                    let copy = CommandCopy { partition: commands.tp.partition, offset: heard.record.offset };
                    let outcome = self.engine.command(&command, copy, now);
                    let (id, order, by) = (command.id, command.order, command.by);
                    debug!(%order, command = %id, by, result = outcome.verdict.name(), "command");
                    metrics.command(&outcome.verdict);
                    let record = self.outcome(options, &outcome, now);
                    budget.spend(record.size());
                    self.outcomes.push(record);
                }
                Err(misfit) => {
                    let refused = Refused { record: heard.record, format: "command", misfit };
                    let whole = refuse(commands, refused, now, metrics);
                    bury(&mut self.letters, options, whole, budget, now);
                }
            }
            self.encode(options, budget, now);
        }
        let runs = self.commands.iter_mut().flat_map(|commands| commands.flood.letters());
        self.letters.extend(runs.map(|run| written(&options.dead, run, now)));
    }

    fn outcome(&self, options: &Options, outcome: &CommandOutcome, now: Now) -> NewRecord {
        let topics = options.commands.as_ref().expect("a command came from its topic");
        NewRecord {
            topic: topics.outcomes.clone(),
            partition: Some(self.orders.tp.partition),
            key: Some(wire::key(outcome.order)),
            value: wire::encode_outcome(outcome),
            headers: wire::outcome_headers(outcome),
            at: now.wall,
        }
    }

    fn accept(&mut self, order: Order, now: Now, metrics: &Metrics) -> Option<Misfit> {
        let id = order.id;
        match self.engine.accept(order, now) {
            Accepted::New => None,
            Accepted::TakenOver => {
                debug!(order.id = %id, "an old service worked on it");
                None
            }
            Accepted::Repeat => {
                debug!(order.id = %id, "repeat ignored");
                metrics.repeat_ignored();
                None
            }
            Accepted::Conflict => Some(Misfit::conflict(format!("order {id} is there already with other content"))),
        }
    }

    /// Encodes what was staged since the last time. They go to the partition with the input's number. Returns whether there
    /// was something.
    fn encode(&mut self, options: &Options, budget: &mut Budget, now: Now) -> bool {
        let seal = self.engine.seal();
        let staged = &self.engine.staged()[self.events.len()..];
        for Staged { event, .. } in staged {
            let trace_id = || event.order.trace.map(TraceParent::trace_id);
            debug!(order.id = %event.order.id, estado = %event.estado, trace_id = trace_id(), "state entered");
            let value = wire::encode_event(event);
            let mut headers = wire::event_headers(event);
            headers.extend(seal.map(|seal| (wire::SEAL, seal.of(&value))));
            let key = Some(wire::key(event.order.id));
            let (topic, partition) = (options.states.clone(), Some(self.orders.tp.partition));
            let record = NewRecord { topic, partition, key, value, headers, at: now.wall };
            budget.spend(record.size());
            self.events.push(record);
        }
        !staged.is_empty()
    }

    /// Orders that were heard and not taken.
    pub(super) const fn orders(&self) -> &Feed {
        &self.orders
    }

    /// Commands that were heard and not taken.
    pub(super) const fn commands(&self) -> Option<&Feed> {
        self.commands.as_ref()
    }

    /// Whether there is nothing to commit.
    pub(super) fn is_clean(&self) -> bool {
        let are_committed = self.orders.is_committed() && self.commands.as_ref().is_none_or(Feed::is_committed);
        self.collected().next().is_none() && are_committed
    }

    /// Whether there is nothing to commit, and nothing was heard that could be.
    pub(super) fn is_idle(&self) -> bool {
        let inboxes = [Some(&self.orders), self.commands.as_ref()];
        self.is_clean() && inboxes.into_iter().flatten().all(|feed| feed.inbox().is_empty())
    }

    /// What waits for a plan.
    pub(super) fn collected(&self) -> impl Iterator<Item = &NewRecord> {
        self.events.iter().chain(&self.outcomes).chain(&self.letters)
    }

    /// What goes into a plan, with how far the inputs are taken and what a restore needs.
    pub(super) fn part(&mut self) -> Part {
        self.engine.taken(self.orders.next());
        let mut offsets = vec![self.orders.offset(self.engine.progress().to_string())];
        offsets.extend(self.commands.iter().filter(|feed| !feed.is_committed()).map(|feed| feed.offset(String::new())));
        Part {
            ticket: self.ticket,
            events: std::mem::take(&mut self.events),
            outcomes: std::mem::take(&mut self.outcomes),
            letters: self.take_letters(),
            offsets,
        }
    }

    /// The dead letters alone.
    pub(super) fn take_letters(&mut self) -> Vec<NewRecord> {
        std::mem::take(&mut self.letters)
    }

    /// Takes back what was in a plan that came to nothing.
    pub(super) fn take_back(&mut self, part: Part) {
        self.events.splice(..0, part.events);
        self.outcomes.splice(..0, part.outcomes);
        self.letters.splice(..0, part.letters);
    }

    /// These events of ours are durable, and the inputs before these offsets are passed: the orders' timers start. The log's answer
    /// is for these events only if it names the orders that wait for it, behind all that it named before.
    pub(super) fn settle(
        &mut self,
        events: &[NewRecord],
        positions: &[Position],
        offsets: &[GroupOffset],
        now: Now,
    ) -> Result<(), Broken> {
        let waiting = self.engine.staged().iter().map(|staged| Some(staged.event.order.id.get()));
        let named = events.iter().map(|event| std::str::from_utf8(event.key.as_deref()?).ok()?.parse().ok());
        if !waiting.eq(named) {
            return Err(Broken::Events(self.orders.tp.partition));
        }
        if positions.first().is_some_and(|first| self.last_event.is_some_and(|last| first.offset <= last)) {
            return Err(Broken::Order);
        }
        self.last_event = positions.last().map(|last| last.offset).or(self.last_event);
        for offset in offsets {
            self.orders.settle(offset);
            if let Some(commands) = &mut self.commands {
                commands.settle(offset);
            }
        }
        self.engine.settle(positions.iter().map(|position| position.offset), now);
        Ok(())
    }
}

/// The dead letter of a record that cannot be used, if it is kept whole; in a flood one letter will stand for many.
fn refuse(feed: &mut Feed, refused: Refused, now: Now, metrics: &Metrics) -> Option<DeadLetter> {
    let (tp, misfit, offset) = (&feed.tp, &refused.misfit, refused.record.offset);
    let (topic, partition, pointer) = (&tp.topic, tp.partition, misfit.pointer.as_deref());
    metrics.refused(topic, wire::producer(&refused.record.value, &refused.record.headers), misfit.fault);
    if feed.flood.keeps_whole(now.monotonic) {
        warn!(topic, partition, offset, pointer, reason = %misfit, "dead letter");
        return Some(dead_letter(tp, refused, now));
    }
    let misfit = refused.misfit.clone();
    if feed.flood.add(&misfit, offset, || dead_letter(tp, refused, now)) {
        warn!(topic, partition, offset, reason = %misfit, "a flood of dead letters: from here on one stands for many");
    }
    None
}

/// Takes a letter into the commit. One that stands for many comes when all are known.
fn bury(letters: &mut Vec<NewRecord>, options: &Options, whole: Option<DeadLetter>, budget: &mut Budget, now: Now) {
    let letter = whole.map(|letter| written(&options.dead, letter, now));
    budget.spend(letter.as_ref().map_or(0, NewRecord::size));
    letters.extend(letter);
}
