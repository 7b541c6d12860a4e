use std::time::Duration;

use super::{BUCKET, Expected, Forecast, InFlight, arriving};
use crate::{
    domain::Timestamp,
    role::Role,
    scale::{Observed, Scaler, Settings},
};

/// What orders mean for a role.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Units of its work that an order brings: orders, orders, states, mails.
    pub per_order: f64,
    /// How many instances can share the work, where that has a bound.
    pub shares: Option<u32>,
}

/// Five minutes with the instances that are wanted in them, in the order of [`Role::ALL`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    /// What is expected.
    pub expected: Expected,
    /// How many instances of each role.
    pub instances: [u32; Role::ALL.len()],
    /// How many are needed for what comes then: fewer, while the others are not sent away yet.
    pub needed: [u32; Role::ALL.len()],
    /// How many would be needed where more could share the work.
    pub beyond: [Option<u32>; Role::ALL.len()],
}

/// Instances that are to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// When, so that they work in time.
    pub at: Timestamp,
    /// Of what.
    pub role: Role,
    /// How many there are before.
    pub from: u32,
    /// How many there are to be.
    pub to: u32,
}

/// The instances for what is not exceeded in 90 % of the cases, over so many buckets from the end of the past; decided as
/// `/scale` does. What becomes of the orders `in_flight` is known for the next hour.
pub fn plan(
    forecast: &Forecast,
    buckets: usize,
    settings: &Settings,
    loads: &[Load; Role::ALL.len()],
    in_flight: Option<&InFlight>,
) -> Vec<Planned> {
    let mut scalers = Role::ALL.map(|role| Scaler::new(role, settings));
    let planned = |ahead: usize| {
        let expected = forecast.expected(ahead);
        let decisions = Role::ALL.map(|role| {
            let (load, time) = (loads[role as usize], (expected.at, expected.at + BUCKET));
            let arriving = arriving(role, load, in_flight, time, expected.p90 / BUCKET.as_secs_f64());
            let seen = Observed { arriving, shares: load.shares, ..Observed::default() };
            scalers[role as usize].decide(seen, BUCKET * ahead as u32)
        });
        Planned {
            expected,
            instances: decisions.map(|decision| decision.wanted),
            needed: decisions.map(|decision| decision.need.instances),
            beyond: decisions.map(|decision| decision.need.beyond),
        }
    };
    (0..buckets).map(planned).collect()
}

/// When more instances are to be started than ran before, `ahead` of when they are needed.
pub fn starts(plan: &[Planned], ahead: Duration) -> Vec<Start> {
    let mut starts = Vec::new();
    for pair in plan.windows(2) {
        for role in Role::ALL {
            let [from, to] = [pair[0], pair[1]].map(|planned| planned.instances[role as usize]);
            if to > from {
                starts.push(Start { at: pair[1].expected.at - ahead, role, from, to });
            }
        }
    }
    starts
}
