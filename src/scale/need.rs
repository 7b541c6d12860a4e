use std::time::Duration;

use super::{Observed, Rules};

/// A backlog is what has waited longer than this; anything else is on its way.
pub(super) const BEHIND: Duration = Duration::from_secs(1);

/// How many instances of a role are needed now, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Need {
    /// How many.
    pub instances: u32,
    /// Why so many.
    pub why: Why,
    /// How many would be needed if more could share the work.
    pub beyond: Option<u32>,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing comes and nothing waits.
    Idle,
    /// What comes.
    Arriving,
    /// What waits, and would wait for too long.
    Backlog,
    /// What waits, which those that are there are done with before others could help.
    CatchingUp,
}

/// How many instances of a role are needed, each of which does `capacity` per second. `may_be_none`: whether there need be none while there is nothing to do.
pub(super) fn need(seen: &Observed, capacity: f64, may_be_none: bool, rules: &Rules) -> Need {
    let for_arriving = whole(seen.arriving / (capacity * rules.load));
    let (wanted, why) = if seen.behind > BEHIND && seen.waiting > 0 {
        let there = seen.instances.unwrap_or(1);
        let for_backlog =
            whole((seen.arriving + left(seen, capacity, there, rules) / rules.drain.as_secs_f64()) / capacity);
        // nobody is sent away while there is more to do than they manage
        let enough = for_arriving.max(there);
        if for_backlog > enough { (for_backlog, Why::Backlog) } else { (enough, Why::CatchingUp) }
    } else if seen.waiting == 0 && for_arriving == 0 {
        (0, Why::Idle)
    } else {
        (for_arriving, Why::Arriving)
    };
    let wanted = wanted.max(u32::from(!may_be_none || why != Why::Idle));
    let most = seen.shares.unwrap_or(u32::MAX).max(1);
    Need { instances: wanted.min(most), why, beyond: (wanted > most).then_some(wanted) }
}

/// What waits once another instance works: those that are there go on until it joins, then all of the group pause.
fn left(seen: &Observed, capacity: f64, there: u32, rules: &Rules) -> f64 {
    let (start, pause) = (rules.start.as_secs_f64(), rules.pause.as_secs_f64());
    let done = f64::from(there) * capacity * start;
    (seen.waiting as f64 + seen.arriving * (start + pause) - done).max(0.0)
}

/// Instances are whole; a rate that is not a number, or too large for one, is bounded.
fn whole(instances: f64) -> u32 {
    // a hair over a whole number is rounding, no reason for one more
    (instances - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX / 2)) as u32
}
