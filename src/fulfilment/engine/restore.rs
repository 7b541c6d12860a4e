use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{Engine, Now, TakeOver};
#[cfg(test)]
use crate::planted::{Defect, is_planted};
use crate::{
    domain::{Flow, Order, OrderId, StateEvent, Timestamp},
    flows::topic::Versions,
    fulfilment::{legacy::Legacy, progress::Counters},
};

/// Builds an [`Engine`] from what the log holds: feed it the output from the watermark on, in order.
#[derive(Debug)]
pub struct Restore {
    flow: Arc<Flow>,
    versions: Versions,
    /// Offset of each order's latest event.
    latest: HashMap<OrderId, (u8, u64)>,
    events: Vec<Option<(u64, StateEvent)>>,
    end: u64,
    taken_over: Vec<(Order, u8, Timestamp)>,
    taking_over: Option<TakeOver>,
}

impl Restore {
    /// Nothing read yet; `from` is the offset at which reading starts. Orders go on under the version of the flow that they
    /// began with; those of version 1 of the records name none, and go on under the flow of new orders.
    pub fn new(flow: Arc<Flow>, versions: Versions, from: u64) -> Self {
        Self {
            flow,
            versions,
            latest: HashMap::new(),
            events: Vec::new(),
            end: from,
            taken_over: Vec::new(),
            taking_over: None,
        }
    }

    /// Takes an order of the input that is committed, after all events: an old service may have begun it.
    pub fn take_over(&mut self, order: Order, legacy: &Legacy) {
        if let Some((seq, at)) = legacy.state_of(&order)
            && !self.latest.contains_key(&order.id)
        {
            self.taken_over.push((order, seq, at));
        }
    }

    /// Orders that are still to come may be an old service's.
    pub fn taking_over(&mut self, taking_over: TakeOver) {
        self.taking_over = Some(taking_over);
    }

    /// Takes the next event of the output.
    pub fn event(&mut self, offset: u64, event: StateEvent) {
        self.end = offset + 1;
        let seq = event.seq;
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
        let flow_of = |event: &StateEvent| event.flow.as_ref().and_then(|id| self.versions.get(id)).cloned();
        let mut cut_short = 0;
        for (offset, event) in self.events.into_iter().flatten() {
            // the flow may have been changed: what was over stays so, what has no state left is finished now
            let flow = flow_of(&event).unwrap_or_else(|| engine.flow.clone());
            #[cfg(test)]
            let flow = if is_planted(Defect::VersionForgotten) { engine.flow.clone() } else { flow };
            if event.closes().is_some() || event.step >= flow.last_seq() {
                cut_short += u64::from(event.closes().is_none());
                engine.ends(&event, offset);
            } else {
                #[cfg(test)]
                if is_planted(Defect::RestoredTwice) {
                    engine.carry_on(event.clone(), &flow, Some(offset), now);
                }
                engine.carry_on(event, &flow, Some(offset), now);
            }
        }
        let finished = engine.ended.len() as u64;
        engine.forget();
        engine.taking_over = self.taking_over;
        // carried on by us, and finished by the old service all the same
        let mut taken_back = 0;
        for (order, seq, at) in self.taken_over {
            if engine.live.find(order.id).is_none() && !engine.over.contains_key(&order.id) {
                taken_back += u64::from(seq >= last);
                engine.take_over(order, seq, at, now);
            }
        }
        let finished = finished + std::mem::take(&mut engine.counters).finished;
        let in_flight = engine.live.len() as u64;
        let counters = match counters {
            Some(counters) => {
                let counters = Counters { finished: counters.finished + cut_short, ..counters };
                let short = counters.in_flight().saturating_sub(in_flight).min(taken_back);
                Counters { finished: counters.finished + short, ..counters }
            }
            None => Counters { accepted: finished, finished, ..Counters::default() },
        };
        if in_flight < counters.in_flight() {
            return Err(Mismatch { expected: counters.in_flight(), found: in_flight });
        }
        // more than we ever accepted: an old service took these orders in, and we carry them on
        let taken_over = in_flight - counters.in_flight();
        engine.counters = Counters { accepted: counters.accepted + taken_over, ..counters };
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
