use std::time::Duration;

use super::Load;
use crate::{
    domain::{Flow, Timestamp},
    role::Role,
    store::overview::{DUE_AHEAD, DUE_TOGETHER, Due},
};

/// Parts of the time in which is known when orders leave their states.
const PARTS: usize = (DUE_AHEAD.as_secs() / DUE_TOGETHER.as_secs()) as usize;

/// What the orders in flight bring in the next hour: their timers tell it exactly, as far as nobody comes between.
#[derive(Debug, Clone, PartialEq)]
pub struct InFlight {
    now: Timestamp,
    /// How many states they will have entered by the end of each part of the hour.
    entered: Vec<u64>,
    /// After how long an order that is placed now enters each state, as far as time alone moves it on.
    reached: Vec<Duration>,
    /// How many states there are.
    states: usize,
}

impl InFlight {
    /// From when orders leave their states, and how long they stay in those that follow by their flow.
    pub fn new(due: &[Due], flow: &Flow, now: Timestamp) -> Self {
        let stays: Vec<_> = flow.steps().iter().map(|step| step.dwell().map(|dwell| dwell.usual)).collect();
        let mut entered = vec![0; PARTS];
        for Due { at, step, count } in due {
            let mut at = (*at).max(now);
            for stay in stays.iter().skip(usize::from(*step)) {
                let part = (at.since(now).as_secs() / DUE_TOGETHER.as_secs()) as usize;
                let Some(entered) = entered.get_mut(part) else { break };
                *entered += count;
                let Some(stay) = stay else { break };
                at = at + *stay;
            }
        }
        let mut sum = 0;
        for part in &mut entered {
            sum += *part;
            *part = sum;
        }
        let mut after = Some(Duration::ZERO);
        let reached = stays.iter().map_while(|stay| {
            let reached = after;
            after = after.zip(*stay).map(|(after, stay)| after + stay);
            reached
        });
        Self { now, entered, reached: reached.collect(), states: stays.len() }
    }

    /// How many states they enter before a time, straight between two that are known; an hour ahead at most.
    pub fn due_before(&self, time: Timestamp) -> f64 {
        let parts = time.since(self.now).as_secs_f64() / DUE_TOGETHER.as_secs_f64();
        let at = |part: usize| part.checked_sub(1).map_or(0.0, |part| self.entered[part.min(PARTS - 1)] as f64);
        let (whole, rest) = (parts as usize, parts.fract());
        at(whole) + (at(whole + 1) - at(whole)) * rest
    }

    /// The work of a role whose work is states or mails, per second of a time, while so many new orders are placed per second
    /// from now on; nothing for a time that is not over within an hour.
    pub fn arriving(&self, load: Load, (from, to): (Timestamp, Timestamp), orders_per_s: f64) -> Option<f64> {
        if to <= from || to > self.now + DUE_AHEAD {
            return None;
        }
        let seconds = to.since(from).as_secs_f64();
        let due = (self.due_before(to) - self.due_before(from)) / seconds;
        let part = |reached: &Duration| to.since((self.now + *reached).max(from)).as_secs_f64() / seconds;
        let by_time: f64 = self.reached.iter().map(part).sum();
        // what people do with the orders that wait for them nobody knows: as much as ever
        let by_people = self.states - self.reached.len();
        let states_per_s = due + orders_per_s * (by_time + by_people as f64);
        Some(states_per_s * load.per_order / self.states as f64)
    }
}

/// What comes to a role per second of a time in which so many orders are placed per second: exactly, where the orders in flight
/// tell it.
pub fn arriving(
    role: Role,
    load: Load,
    flight: Option<&InFlight>,
    time: (Timestamp, Timestamp),
    orders_per_s: f64,
) -> f64 {
    let known = match role {
        Role::Intake | Role::Fulfilment => None,
        Role::Tracking | Role::Mail => flight.and_then(|flight| flight.arriving(load, time, orders_per_s)),
    };
    known.unwrap_or(orders_per_s * load.per_order)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_764_000_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(NOW) + Duration::from_secs(seconds)
    }

    fn due(seconds: u64, step: u8, count: u64) -> Due {
        Due { at: at(seconds), step, count }
    }

    fn states(flight: &InFlight, from: u64, to: u64, orders_per_s: f64) -> Option<f64> {
        flight.arriving(Load { per_order: 4.0, shares: None }, (at(from), at(to)), orders_per_s)
    }

    #[test]
    fn timers_tell_which_states_orders_enter_before_a_time() {
        // 60 s in each of three states, and then the last
        let flow = Flow::standard(Duration::from_mins(1));
        let flight = InFlight::new(&[due(0, 3, 5), due(20, 1, 100), due(3_590, 2, 7)], &flow, at(0));
        let before = |seconds| (flight.due_before(at(seconds)) * 10.0).round() as u32;
        assert_eq!([0, 5, 10, 20].map(before), [0, 25, 50, 50], "the last state, from which none follows");
        assert_eq!([30, 80, 90, 140, 150].map(before), [1_050, 1_050, 2_050, 2_050, 3_050], "one after the other");
        assert_eq!([3_590, 3_600, 9_999].map(before), [3_050, 3_120, 3_120], "what follows is further than an hour");
    }

    #[test]
    fn orders_to_come_add_the_states_that_they_reach_by_then() {
        let flow = Flow::standard(Duration::from_mins(1));
        let flight = InFlight::new(&[due(90, 1, 600)], &flow, at(0));
        assert_eq!(states(&flight, 0, 60, 2.0), Some(2.0), "their first");
        assert_eq!(states(&flight, 30, 90, 2.0), Some(3.0), "and the second after a minute");
        assert_eq!(states(&flight, 60, 120, 0.0), Some(10.0), "a wave of those in flight");
        assert_eq!(states(&flight, 180, 240, 2.0), Some(8.0 + 10.0), "all four, and the last of the wave");
        assert_eq!(states(&flight, 3_540, 3_660, 2.0), None, "further than is known");
        let of = |role, per_order| {
            let load = Load { per_order, shares: None };
            arriving(role, load, Some(&flight), (at(60), at(120)), 9.0).round() as u32
        };
        assert_eq!([of(Role::Mail, 0.0), of(Role::Mail, 4.0), of(Role::Fulfilment, 1.0)], [0, 28, 9]);
    }
}
