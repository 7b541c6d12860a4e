use std::sync::Arc;

use super::{Engine, Now, TakeOver};
#[cfg(test)]
use crate::planted::{Defect, is_planted};
use crate::{
    domain::{Flow, Order, StateEvent, Timestamp},
    flows::topic::Versions,
    fulfilment::{legacy::Legacy, progress::Counters},
};

/// Builds an [`Engine`] from what the log holds: feed it the output from the watermark on, in order.
#[derive(Debug)]
pub struct Restore {
    engine: Engine,
    versions: Versions,
    taken_over: Vec<(Order, u8, Timestamp)>,
}

impl Restore {
    /// Nothing read yet; `from` is the offset at which reading starts. Orders go on under the version of the flow that they
    /// began with; those of version 1 of the records name none, and go on under the flow of new orders.
    pub fn new(flow: Arc<Flow>, versions: Versions, from: u64) -> Self {
        let engine = Engine { end: from, ..Engine::new(flow, 0) };
        Self { engine, versions, taken_over: Vec::new() }
    }

    /// So many orders in flight are to be expected.
    pub fn expect(&mut self, in_flight: usize) {
        self.engine.live.reserve(in_flight);
    }

    /// Takes an order of the input that is committed, after all events: an old service may have begun it.
    pub fn take_over(&mut self, order: Order, legacy: &Legacy) {
        if let Some((seq, at)) = legacy.state_of(&order)
            && !self.engine.knows(order.id)
        {
            self.taken_over.push((order, seq, at));
        }
    }

    /// Orders that are still to come may be an old service's.
    pub fn taking_over(&mut self, taking_over: TakeOver) {
        self.engine.taking_over = Some(taking_over);
    }

    /// Whether the version that an event names is known, if it names one.
    pub fn knows_flow(&self, event: &StateEvent) -> bool {
        event.flow.as_ref().is_none_or(|id| self.versions.get(id).is_some())
    }

    /// Takes the versions of now.
    pub fn learn(&mut self, versions: Versions) {
        self.versions = versions;
    }

    /// Takes the next event of the output.
    pub fn event(&mut self, offset: u64, event: StateEvent) {
        let engine = &mut self.engine;
        engine.end = offset + 1;
        let known = engine.live.find(event.order.id);
        if engine.over.contains_key(&event.order.id) || known.is_some_and(|key| engine.live.seq(key) >= event.seq) {
            return;
        }
        if let Some(key) = known {
            engine.live.remove(key);
        }
        if event.closes().is_some() {
            engine.ends(&event, offset);
            return;
        }
        let flow = event.flow.as_ref().and_then(|id| self.versions.get(id)).unwrap_or(&engine.flow).clone();
        #[cfg(test)]
        let flow = if is_planted(Defect::VersionForgotten) { engine.flow.clone() } else { flow };
        #[cfg(test)]
        if is_planted(Defect::RestoredTwice) {
            engine.carry_on(event.clone(), &flow, Some(offset));
        }
        engine.carry_on(event, &flow, Some(offset));
    }

    /// The engine, with every timer running for what is left of its dwell: never more than one dwell from now,
    /// whatever happened to the wall clock meanwhile. `counters` are those of the last commit.
    pub fn finish(self, counters: Option<Counters>, now: Now, remember: usize) -> Result<Engine, Mismatch> {
        let mut engine = Engine { remember, ..self.engine };
        // the flow may have been changed: what was over stays so, what has no state left is finished now
        let cut_short = engine.live.take_those_at_the_end();
        let was_cut_short = cut_short.len() as u64;
        for (order, offset) in cut_short {
            engine.is_over(&order, offset);
        }
        engine.ended.make_contiguous().sort_by_key(|(_, offset)| *offset);
        let finished = engine.ended.len() as u64;
        engine.forget();
        engine.live.plan_all(now);
        // carried on by us, and finished by the old service all the same
        let (last, mut taken_back) = (engine.flow.last_seq(), 0);
        for (order, seq, at) in self.taken_over {
            if !engine.knows(order.id) {
                taken_back += u64::from(seq >= last);
                engine.take_over(order, seq, at, now);
            }
        }
        let finished = finished + std::mem::take(&mut engine.counters).finished;
        let in_flight = engine.live.len() as u64;
        let counters = match counters {
            Some(counters) => {
                let counters = Counters { finished: counters.finished + was_cut_short, ..counters };
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
