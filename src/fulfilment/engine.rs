use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use super::{
    foreign::Foreign,
    progress::{Counters, Progress},
    seal::Seal,
};
use crate::{
    clock::Monotonic,
    domain::{Flow, Order, OrderId, StateEvent, Timestamp},
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
    Adopted,
}

/// Whose orders are carried on, and for how long.
#[derive(Debug, Clone)]
pub struct Adopting {
    /// What the old service did.
    pub foreign: Arc<Foreign>,
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
    /// When its timer was due; `None` for the first state, which has none.
    pub due: Option<Monotonic>,
}

/// The orders of one partition and their timers: pure state, which knows neither a log nor a clock.
///
/// Work goes in two steps. [`accept`](Self::accept) and [`tick`](Self::tick) *stage* events; once these are durable,
/// [`settle`](Self::settle) takes their offsets and the orders wait for their next state. Until then the same staged
/// events can be committed again, and after a failed commit of unknown outcome the engine is thrown away and
/// restored from the log.
///
/// Dwell is constant per state, so the orders in one state are due in the order in which they entered it: a queue per
/// state, O(1) per event.
#[derive(Debug)]
pub struct Engine {
    flow: Arc<Flow>,
    /// `waiting[i]`: orders in the i-th state, oldest first. The last state has no queue.
    waiting: Vec<VecDeque<Waiting>>,
    staged: Vec<Staged>,
    /// Content of every order in flight or remembered.
    known: HashMap<OrderId, u64>,
    /// The latest finished orders and the offsets of their last events, oldest first.
    finished: VecDeque<(OrderId, u64)>,
    /// How many finished orders are remembered, so that a late repeat of one is recognised.
    remember: usize,
    /// The output offset that the next event will have at least.
    end: u64,
    counters: Counters,
    adopting: Option<Adopting>,
    /// What the events of this partition bear.
    seal: Option<Seal>,
    /// Orders in `waiting` whose last state an old service wrote, elsewhere.
    adopted: usize,
}

/// The offset of a state that an old service wrote on whatever partition: no watermark may hang on it.
const ELSEWHERE: u64 = u64::MAX;

#[derive(Debug)]
struct Waiting {
    order: Box<Order>,
    /// When it entered the state.
    at: Timestamp,
    due: Monotonic,
    /// Offset of the event that says so.
    offset: u64,
}

impl Engine {
    /// An engine without orders.
    pub fn new(flow: Arc<Flow>, remember: usize) -> Self {
        let waiting = flow.steps().iter().skip(1).map(|_| VecDeque::new()).collect();
        Self {
            flow,
            waiting,
            staged: Vec::new(),
            known: HashMap::new(),
            finished: VecDeque::new(),
            remember,
            end: 0,
            counters: Counters::default(),
            adopting: None,
            seal: None,
            adopted: 0,
        }
    }

    /// Takes a new order in: stages its first state.
    pub fn accept(&mut self, order: Order, now: Now) -> Accepted {
        let content = order.fingerprint();
        let known = self.known.get(&order.id).copied();
        if known == Some(content) {
            return Accepted::Repeat;
        }
        if let Some((seq, at)) = self.adopting.as_ref().and_then(|adopting| adopting.foreign.state_of(&order)) {
            // old services give ids twice; of two orders in flight with one id, one is a conflict all the same
            if known.is_some() && self.is_in_flight(order.id) {
                return Accepted::Conflict;
            }
            self.known.insert(order.id, content);
            self.counters.accepted += 1;
            self.adopt(order, seq, at, now);
            return Accepted::Adopted;
        }
        if known.is_some() {
            return Accepted::Conflict;
        }
        self.known.insert(order.id, content);
        self.counters.accepted += 1;
        self.stage(Box::new(order), 1, now.wall, None);
        Accepted::New
    }

    /// Passes an order of the input over, and says so, when an old service has done it and its states left the topic.
    pub fn was_done(&mut self, order: &Order, offset: u64) -> bool {
        let Some(Adopting { foreign, taken_before, .. }) = &self.adopting else { return false };
        let done = offset < *taken_before && foreign.may_have_forgotten(order) && !self.known.contains_key(&order.id);
        self.counters.accepted += u64::from(done);
        self.counters.finished += u64::from(done);
        done
    }

    fn adopt(&mut self, order: Order, seq: u8, at: Timestamp, now: Now) {
        if seq >= self.flow.last_seq() {
            self.counters.finished += 1;
            return;
        }
        self.adopted += 1;
        let since = now.wall.since(at);
        self.enqueue(Box::new(order), seq, at, since, ELSEWHERE, now.monotonic);
    }

    fn is_in_flight(&self, id: OrderId) -> bool {
        let waiting = self.waiting.iter().flatten().any(|waiting| waiting.order.id == id);
        waiting || self.staged.iter().any(|staged| staged.event.order.id == id && staged.event.next_at.is_some())
    }

    /// The input is taken up to `next`: once no order of an old service can come or wait any more, it is forgotten.
    pub fn taken(&mut self, next: u64) {
        if self.adopted == 0 && self.adopting.as_ref().is_some_and(|adopting| next >= adopting.until) {
            self.adopting = None;
        }
    }

    /// Counts an input record that became a dead letter.
    pub fn count_dead(&mut self) {
        self.counters.accepted += 1;
        self.counters.dead += 1;
    }

    /// Stages the next state of every order that is due, at most `limit` of them.
    pub fn tick(&mut self, now: Now, limit: usize) {
        let flow = self.flow.clone();
        for (i, step) in flow.steps().iter().enumerate().take(self.waiting.len()) {
            while self.staged.len() < limit
                && let Some(order) = self.waiting[i].pop_front_if(|order| order.due <= now.monotonic)
            {
                self.adopted -= usize::from(order.offset == ELSEWHERE);
                // by the wall clock, too, no state may look shorter than its dwell: that clock can be set back
                let at = now.wall.max(order.at + step.usual_dwell());
                self.stage(order.order, i as u8 + 2, at, Some(order.due));
            }
        }
    }

    fn stage(&mut self, order: Box<Order>, seq: u8, at: Timestamp, due: Option<Monotonic>) {
        let step = self.flow.step(seq).expect("only states of the flow are staged");
        let last = seq == self.flow.last_seq();
        self.counters.finished += u64::from(last);
        let next_at = (!last).then(|| at + step.usual_dwell());
        let event = StateEvent { order, estado: step.state.clone(), seq: Some(seq), at, next_at };
        self.staged.push(Staged { event, due });
    }

    /// The events that wait for their commit, in order.
    pub fn staged(&self) -> &[Staged] {
        &self.staged
    }

    /// What must be written with the input offset when the staged events are committed.
    pub fn progress(&self) -> Progress {
        let oldest = |queue: &VecDeque<Waiting>| queue.iter().map(|order| order.offset).find(|at| *at != ELSEWHERE);
        let waiting = self.waiting.iter().filter_map(oldest);
        let remembered = self.finished.front().map(|(_, offset)| *offset);
        let watermark = waiting.chain(remembered).min().unwrap_or(self.end);
        let adopts_until = self.adopting.as_ref().map(|adopting| adopting.until);
        Progress { watermark, counters: self.counters, adopts_until, seal: self.seal }
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
        for Staged { event, .. } in std::mem::take(&mut self.staged) {
            let offset = offsets.next().expect("a position for every staged event");
            self.end = offset + 1;
            let seq = event.seq.expect("our own events have a sequence number");
            // the dwell counts from the time that the event tells, not from the end of its commit
            let since = now.wall.since(event.at);
            self.enqueue(event.order, seq, event.at, since, offset, now.monotonic);
        }
        self.forget();
    }

    /// Puts an order whose latest event is (seq, at) at `offset` where it belongs.
    fn enqueue(&mut self, order: Box<Order>, seq: u8, at: Timestamp, since: Duration, offset: u64, now: Monotonic) {
        match self.waiting.get_mut(usize::from(seq) - 1) {
            None => self.finished.push_back((order.id, offset)),
            Some(queue) => {
                let dwell = self.flow.steps()[usize::from(seq) - 1].usual_dwell();
                let due = now + dwell.saturating_sub(since);
                let waiting = Waiting { order, at, due, offset };
                if offset == ELSEWHERE {
                    // arrives late and out of turn; the others keep their order of offsets
                    queue.insert(queue.partition_point(|other| other.due <= due), waiting);
                } else {
                    queue.push_back(waiting);
                }
            }
        }
    }

    fn forget(&mut self) {
        while self.finished.len() > self.remember
            && let Some((id, _)) = self.finished.pop_front()
        {
            self.known.remove(&id);
        }
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

/// Builds an [`Engine`] from what the log holds: feed it the output from the watermark on, in order.
#[derive(Debug)]
pub struct Restore {
    flow: Arc<Flow>,
    /// Offset of each order's latest event.
    latest: HashMap<OrderId, (u8, u64)>,
    events: Vec<Option<(u64, StateEvent)>>,
    end: u64,
    adopted: Vec<(Order, u8, Timestamp)>,
    adopting: Option<Adopting>,
}

impl Restore {
    /// Nothing read yet; `from` is the offset at which reading starts.
    pub fn new(flow: Arc<Flow>, from: u64) -> Self {
        Self { flow, latest: HashMap::new(), events: Vec::new(), end: from, adopted: Vec::new(), adopting: None }
    }

    /// Takes an order of the input that is committed, after all events: an old service may have begun it.
    pub fn adopt(&mut self, order: Order, foreign: &Foreign) {
        if let Some((seq, at)) = foreign.state_of(&order)
            && !self.latest.contains_key(&order.id)
        {
            self.adopted.push((order, seq, at));
        }
    }

    /// Orders that are still to come may be an old service's.
    pub fn adopting(&mut self, adopting: Adopting) {
        self.adopting = Some(adopting);
    }

    /// Takes the next event of the output.
    pub fn event(&mut self, offset: u64, event: StateEvent) {
        self.end = offset + 1;
        let Some(seq) = event.seq.or_else(|| self.flow.seq_of(&event.estado)) else {
            return; // a state of another flow: the projection reports it
        };
        let index = self.events.len();
        match self.latest.entry(event.order.id) {
            Entry::Occupied(known) if known.get().0 >= seq => return,
            Entry::Occupied(mut known) => {
                let (_, before) = known.insert((seq, index as u64));
                self.events[before as usize] = None;
            }
            Entry::Vacant(vacant) => drop(vacant.insert((seq, index as u64))),
        }
        self.events.push(Some((offset, event)));
    }

    /// The engine, with every timer running for what is left of its dwell: never more than one dwell from now,
    /// whatever happened to the wall clock meanwhile. `counters` are those of the last commit.
    pub fn finish(self, counters: Option<Counters>, now: Now, remember: usize) -> Result<Engine, Mismatch> {
        let mut engine = Engine::new(self.flow, remember);
        engine.end = self.end;
        let last = engine.flow.last_seq();
        let mut cut_short = 0;
        for (offset, event) in self.events.into_iter().flatten() {
            let (mut seq, _) = self.latest[&event.order.id];
            let was_last = event.seq.is_some() && event.next_at.is_none();
            if was_last || seq >= last {
                // the flow may have been changed: what was finished stays so, what has no state left is finished now
                cut_short += u64::from(event.next_at.is_some());
                seq = last;
            }
            engine.known.insert(event.order.id, event.order.fingerprint());
            let since = now.wall.since(event.at);
            engine.enqueue(event.order, seq, event.at, since, offset, now.monotonic);
        }
        let finished = engine.finished.len() as u64;
        engine.forget();
        engine.adopting = self.adopting;
        // carried on by us, and finished by the old service all the same
        let mut taken_back = 0;
        for (order, seq, at) in self.adopted {
            if engine.known.insert(order.id, order.fingerprint()).is_none() {
                taken_back += u64::from(seq >= last);
                engine.adopt(order, seq, at, now);
            }
        }
        let finished = finished + std::mem::take(&mut engine.counters).finished;
        let in_flight: u64 = engine.waiting.iter().map(|queue| queue.len() as u64).sum();
        let counters = match counters {
            Some(counters) => {
                let counters = Counters { finished: counters.finished + cut_short, ..counters };
                let short = counters.in_flight().saturating_sub(in_flight).min(taken_back);
                Counters { finished: counters.finished + short, ..counters }
            }
            None => Counters { accepted: finished, finished, dead: 0 },
        };
        if in_flight < counters.in_flight() {
            return Err(Mismatch { expected: counters.in_flight(), found: in_flight });
        }
        // more than we ever accepted: an old service took these orders in, and we carry them on
        let adopted = in_flight - counters.in_flight();
        engine.counters = Counters { accepted: counters.accepted + adopted, ..counters };
        Ok(engine)
    }
}

/// The output does not hold the orders in flight that the last commit counted: records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{expected} orders were in flight at the last commit, the output topic shows {found}: records are missing from it"
)]
pub struct Mismatch {
    /// Orders in flight by the last commit's counters.
    pub expected: u64,
    /// Orders in flight that the output shows.
    pub found: u64,
}

#[cfg(test)]
mod tests;
