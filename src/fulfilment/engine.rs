mod live;
mod restore;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use self::live::{Key, Live};
pub use self::restore::{Mismatch, Restore};
use super::{
    legacy::Legacy,
    progress::{Counters, Progress},
    seal::Seal,
};
#[cfg(test)]
use crate::planted::{Defect, is_planted};
use crate::{
    clock::Monotonic,
    domain::{
        Cause, Closing, Command, CommandCopy, CommandOutcome, Flow, Order, OrderId, StateEvent, Timestamp, Waits,
        command::{OrderStatus, Refusal, Verdict},
        lifecycle,
    },
};

/// Both readings of the clock at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// What is written down.
    pub wall: Timestamp,
    /// What timers go by.
    pub monotonic: Monotonic,
}

/// What became of an order from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It enters the first state with the next commit.
    New,
    /// The identical order is there already; nothing happens.
    Repeat,
    /// Another order has this id; this one is a dead letter.
    Conflict,
    /// An old service worked on it: it is finished, or waits for its next state.
    TakenOver,
}

/// Whose orders are carried on, and for how long.
#[derive(Debug, Clone)]
pub struct TakeOver {
    /// What the old service did.
    pub legacy: Arc<Legacy>,
    /// Input records before this offset may be its orders.
    pub until: u64,
    /// Input records before this offset it has taken, by what its group committed.
    pub taken_before: u64,
}

/// An event that waits for its commit.
#[derive(Debug)]
pub struct Staged {
    /// The event.
    pub event: StateEvent,
    /// When its timer was due; `None` when it came by none.
    pub due: Option<Monotonic>,
    /// The order.
    key: Key,
}

/// The orders of one partition and their timers: pure state, which knows neither a log nor a clock.
///
/// Work goes in two steps. [`accept`](Self::accept) and [`tick`](Self::tick) *stage* events; once these are durable,
/// [`settle`](Self::settle) takes their offsets and the orders wait for their next state. Until then the same staged
/// events can be committed again, and after a failed commit of unknown outcome the engine is thrown away and
/// restored from the log.
#[derive(Debug)]
pub struct Engine {
    /// The flow of new orders.
    flow: Arc<Flow>,
    live: Live,
    staged: Vec<Staged>,
    /// Content of the orders whose life is over and that are remembered.
    over: HashMap<OrderId, u64>,
    /// Those of them that a command ended, how, and its fingerprint.
    ended_by: HashMap<OrderId, (Closing, u64)>,
    /// The latest of them and the offsets of their last events, oldest first.
    ended: VecDeque<(OrderId, u64)>,
    /// How many of them are remembered, so that a late repeat of one is recognised.
    remember: usize,
    /// The output offset that the next event will have at least.
    end: u64,
    counters: Counters,
    taking_over: Option<TakeOver>,
    /// What the events of this partition bear.
    seal: Option<Seal>,
}

impl Engine {
    /// An engine without orders.
    pub fn new(flow: Arc<Flow>, remember: usize) -> Self {
        Self {
            flow,
            live: Live::default(),
            staged: Vec::new(),
            over: HashMap::new(),
            ended_by: HashMap::new(),
            ended: VecDeque::new(),
            remember,
            end: 0,
            counters: Counters::default(),
            taking_over: None,
            seal: None,
        }
    }

    /// New orders begin under this version of the flow, if it is a newer one.
    pub fn begin_under(&mut self, flow: &Arc<Flow>) {
        if flow.name() == self.flow.name() && flow.version() > self.flow.version() {
            self.flow = flow.clone();
        }
    }

    /// Takes a new order in: stages its first state.
    pub fn accept(&mut self, order: Order, now: Now) -> Accepted {
        let content = order.fingerprint();
        let live = self.live.find(order.id).map(|key| self.live.order(key).fingerprint());
        let known = live.or_else(|| self.over.get(&order.id).copied());
        if known == Some(content) {
            return Accepted::Repeat;
        }
        if let Some((seq, at)) = self.taking_over.as_ref().and_then(|taking_over| taking_over.legacy.state_of(&order)) {
            // old services give ids twice; of two orders in flight with one id, one is a conflict all the same
            if live.is_some() {
                return Accepted::Conflict;
            }
            self.counters.accepted += 1;
            self.take_over(order, seq, at, now);
            return Accepted::TakenOver;
        }
        if known.is_some() {
            return Accepted::Conflict;
        }
        self.counters.accepted += 1;
        let event = lifecycle::place(Arc::new(order), &self.flow, now.wall);
        self.stage(None, event, &self.flow.clone(), None);
        Accepted::New
    }

    /// Passes an order of the input over, and says so, when an old service has done it and its states left the topic.
    pub fn was_done(&mut self, order: &Order, offset: u64) -> bool {
        let Some(TakeOver { legacy, taken_before, .. }) = &self.taking_over else { return false };
        let done = offset < *taken_before && legacy.may_have_forgotten(order) && !self.knows(order.id);
        self.counters.accepted += u64::from(done);
        self.counters.finished += u64::from(done);
        done
    }

    /// Whether an order is in flight, or over and remembered.
    fn knows(&self, id: OrderId) -> bool {
        self.over.contains_key(&id) || self.live.find(id).is_some()
    }

    fn take_over(&mut self, order: Order, seq: u8, at: Timestamp, now: Now) {
        if seq >= self.flow.last_seq() {
            self.over.insert(order.id, order.fingerprint());
            self.counters.finished += 1;
            return;
        }
        let estado = self.flow.step(seq).map_or_else(|| "".into(), |step| step.state.clone());
        let event = StateEvent { waits: Waits::Untold, ..StateEvent::of_version_1(order, seq, estado, at, None) };
        let key = self.carry_on(event, &self.flow.clone(), None);
        self.live.plan(key, now);
    }

    /// Takes an order where its latest event left it; its timer does not run yet.
    fn carry_on(&mut self, mut event: StateEvent, flow: &Arc<Flow>, offset: Option<u64>) -> Key {
        if event.waits == Waits::Untold {
            event.waits = lifecycle::waits(flow, event.step, &event.order.product, event.at);
        }
        self.live.restore(&event, flow, offset)
    }

    /// Stages what a command does to its order, and says what that is, or why it does nothing.
    pub fn command(&mut self, command: &Command, copy: CommandCopy, now: Now) -> CommandOutcome {
        let (verdict, status) = match self.live.find(command.order) {
            Some(key) => self.decide(key, command, now),
            None => (self.of_the_past(command), None),
        };
        let (id, order, copy) = (command.id.clone(), command.order, Some(copy));
        CommandOutcome { command: id, order, copy, verdict, status, at: now.wall }
    }

    fn decide(&mut self, key: Key, command: &Command, now: Now) -> (Verdict, Option<OrderStatus>) {
        let state = self.live.state(key);
        #[cfg(test)]
        let state = match state.waits {
            Waits::Closed(_) if is_planted(Defect::CancelledAfterTheEnd) => {
                lifecycle::OrderState { waits: Waits::Until(now.wall), ..state }
            }
            _ => state,
        };
        let verdict = match lifecycle::decide(&state, command, now.wall) {
            Ok(Some(event)) => {
                let status = lifecycle::status(&lifecycle::OrderState::after(&event, &state.flow));
                self.stage(Some(key), event, &state.flow, None);
                return (Verdict::Done, Some(status));
            }
            Ok(None) => Verdict::Repeated,
            Err(refusal) => refusal.into(),
        };
        (verdict, Some(lifecycle::status(&state)))
    }

    /// A command about an order that is not in flight.
    fn of_the_past(&self, command: &Command) -> Verdict {
        match (self.over.contains_key(&command.order), self.ended_by.get(&command.order)) {
            (false, _) => Verdict::Unknown,
            (true, Some((_, by))) if *by == command.id.fingerprint() => Verdict::Repeated,
            (true, Some((closing, _))) => Refusal::Closed(*closing).into(),
            (true, None) => Refusal::Closed(Closing::Finished).into(),
        }
    }

    /// The input is taken up to `next`: once no order of an old service can come or wait any more, it is forgotten.
    pub fn taken(&mut self, next: u64) {
        if self.live.elsewhere() == 0 && self.taking_over.as_ref().is_some_and(|taking_over| next >= taking_over.until)
        {
            self.taking_over = None;
        }
    }

    /// Counts an input record that became a dead letter.
    pub fn count_dead(&mut self) {
        self.counters.accepted += 1;
        self.counters.dead += 1;
    }

    /// Stages the next state of every order that is due, at most `limit` of them.
    pub fn tick(&mut self, now: Now, limit: usize) {
        #[cfg(debug_assertions)]
        let now = Now { monotonic: now.monotonic + crate::flaws::haste(), ..now };
        while self.staged.len() < limit
            && let Some((key, due)) = self.live.next_due(now.monotonic)
        {
            let state = self.live.state(key);
            if let Some(event) = lifecycle::time_is_over(&state, now.wall) {
                self.stage(Some(key), event, &state.flow, Some(due));
            }
        }
    }

    fn stage(&mut self, key: Option<Key>, event: StateEvent, flow: &Arc<Flow>, due: Option<Monotonic>) {
        match event.closes() {
            None => {}
            Some(Closing::Finished) => self.counters.finished += 1,
            Some(Closing::Cancelled | Closing::Refused) => self.counters.cancelled += 1,
        }
        let key = self.live.happens(key, &event, flow);
        self.staged.push(Staged { event, due, key });
    }

    /// The events that wait for their commit, in order.
    pub fn staged(&self) -> &[Staged] {
        &self.staged
    }

    /// What must be written with the input offset when the staged events are committed.
    pub fn progress(&self) -> Progress {
        let remembered = self.ended.front().map(|(_, offset)| *offset);
        let watermark = self.live.first_offset().into_iter().chain(remembered).min().unwrap_or(self.end);
        let takes_over_until = self.taking_over.as_ref().map(|taking_over| taking_over.until);
        Progress { watermark, counters: self.counters, takes_over_until, seal: self.seal }
    }

    /// Has every event bear this seal from now on.
    #[must_use]
    pub fn sealed(self, seal: Seal) -> Self {
        Self { seal: Some(seal), ..self }
    }

    /// The seal of this partition's events.
    pub fn seal(&self) -> Option<Seal> {
        self.seal
    }

    /// The staged events are durable at these offsets: their orders' timers start.
    pub fn settle(&mut self, offsets: impl IntoIterator<Item = u64>, now: Now) {
        let mut offsets = offsets.into_iter();
        #[cfg(test)]
        let mut offsets = settled_in_some_order(&mut offsets).into_iter();
        for Staged { event, key, .. } in std::mem::take(&mut self.staged) {
            let offset = offsets.next().expect("a position for every staged event");
            self.end = offset + 1;
            if event.closes().is_some() {
                self.live.remove(key);
                self.ends(&event, offset);
            } else {
                self.live.settle(key, event.seq, offset, now);
            }
        }
        self.forget();
    }

    fn ends(&mut self, event: &StateEvent, offset: u64) {
        self.is_over(&event.order, offset);
        if let (Some(closing), Cause::Command { id: by, .. }) = (event.closes(), &event.cause) {
            self.ended_by.insert(event.order.id, (closing, by.fingerprint()));
        }
    }

    fn is_over(&mut self, order: &Order, offset: u64) {
        self.over.insert(order.id, order.fingerprint());
        self.ended.push_back((order.id, offset));
    }

    fn forget(&mut self) {
        while self.ended.len() > self.remember
            && let Some((id, _)) = self.ended.pop_front()
        {
            self.over.remove(&id);
            self.ended_by.remove(&id);
        }
    }

    /// When there may be a timer to look at, on the clock that timers go by.
    pub fn first_due(&self) -> Option<Monotonic> {
        self.live.first_due()
    }

    /// Orders in flight, staged ones included.
    pub fn in_flight(&self) -> u64 {
        self.counters.in_flight()
    }

    /// The counters since the partition's first order.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
fn settled_in_some_order(offsets: &mut dyn Iterator<Item = u64>) -> Vec<u64> {
    let mut offsets: Vec<u64> = offsets.collect();
    if is_planted(Defect::SettledInWrongOrder) {
        offsets.reverse();
    }
    offsets
}

#[cfg(test)]
mod tests;
