//! What it costs to follow demand, in virtual time: the same orders under several policies, which decide by the code of `/scale`
//! and of forecasts.
//!
//! One role is followed, fulfilment: it is the one that nobody can do without, and whose lateness customers see. Orders of five
//! minutes come evenly. Instances are paid from when they are started, work after a while, and stop the group for a moment when
//! they come and go; what cannot be done at once waits, and beyond a bound orders are refused. Nothing else goes wrong.

mod fleet;
mod policy;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::policy::Policy;
use self::{fleet::Fleet, policy::Chooser};
use crate::{
    forecast::{BUCKET, History, Special, TooShort},
    role::Role,
    scale::{Observed, Rules, Settings},
};

/// How often an autoscaler asks.
const POLL: u64 = 30;
/// Over how many seconds it is counted what comes.
const RATE_OVER: u64 = 20;
/// An order is late when it waits longer than this, in seconds.
const LATE: f64 = 1.0;

/// What is followed.
#[derive(Debug, Clone)]
pub struct Scenario<'a> {
    /// Orders by five minutes.
    pub history: &'a History,
    /// From which bucket on they are followed; those before are the past that forecasts know.
    pub from: usize,
    /// Special days, known beforehand.
    pub special: &'a Special,
    /// What one instance does per second.
    pub capacity: f64,
    /// Most instances that can share the work.
    pub partitions: u32,
    /// How it is decided, and what starting and joining take.
    pub rules: Rules,
    /// Orders that may wait; more are refused.
    pub backlog_max: f64,
}

/// How a policy did.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Hours of all instances together, from when they were started.
    pub instance_hours: f64,
    /// Orders that came.
    pub orders: f64,
    /// Orders that waited for more than a second.
    pub late: f64,
    /// Orders that were refused.
    pub refused: f64,
    /// Most orders that waited.
    pub backlog_max: f64,
    /// How often instances came or went.
    pub changes: u32,
    /// Instances that were paid, at the end of each five minutes.
    pub instances: Vec<u32>,
}

impl Scenario<'_> {
    /// Orders per second in a bucket.
    fn rate(&self, bucket: usize) -> f64 {
        self.history.orders().get(bucket).map_or(0.0, |orders| orders / BUCKET.as_secs_f64())
    }

    /// What the policies know of an instance.
    fn settings(&self) -> Settings {
        Settings { rules: self.rules, capacity: [Some(self.capacity); Role::ALL.len()], zero: Vec::new() }
    }

    /// Follows the orders second by second.
    pub fn run(&self, policy: Policy) -> Result<Outcome, TooShort> {
        let mut chooser = Chooser::new(policy, self)?;
        let mut fleet = Fleet::new(chooser.first(), self.rules.start, self.rules.pause);
        let mut outcome = Outcome {
            instance_hours: 0.0,
            orders: 0.0,
            late: 0.0,
            refused: 0.0,
            backlog_max: 0.0,
            changes: 0,
            instances: Vec::new(),
        };
        let mut waiting = 0.0;
        let seconds = ((self.history.len() - self.from) as u64) * BUCKET.as_secs();
        for second in 0..seconds {
            let now = Duration::from_secs(second);
            let bucket = self.from + (second / BUCKET.as_secs()) as usize;
            if second % POLL == 0 {
                let able = f64::from(fleet.working().max(1)) * self.capacity;
                let seen = Observed {
                    arriving: self.recent(second),
                    waiting: waiting as u64,
                    behind: Duration::try_from_secs_f64(waiting / able).unwrap_or(Duration::MAX),
                    instances: Some(fleet.working()),
                    shares: Some(self.partitions),
                };
                fleet.want(chooser.wanted(seen, bucket, now)?, now);
            }
            let able = fleet.second(now) * self.capacity;
            let came = self.rate(bucket);
            let room = (self.backlog_max + able - waiting).max(0.0);
            let refused = (came - room).max(0.0);
            waiting = (waiting + came - refused - able).max(0.0);
            // the last of those that came in this second wait until all before them are done
            let wait = fleet.pause_left(now) + waiting / (f64::from(fleet.working().max(1)) * self.capacity);
            outcome.orders += came;
            outcome.refused += refused;
            outcome.late += if wait > LATE { came - refused } else { 0.0 };
            outcome.backlog_max = outcome.backlog_max.max(waiting);
            outcome.instance_hours += f64::from(fleet.paid()) / 3_600.0;
            if (second + 1) % BUCKET.as_secs() == 0 {
                outcome.instances.push(fleet.paid());
            }
        }
        outcome.changes = fleet.changes();
        Ok(outcome)
    }

    /// Orders per second of late.
    fn recent(&self, second: u64) -> f64 {
        let over = |second: u64| self.rate(self.from + (second / BUCKET.as_secs()) as usize);
        let from = second.saturating_sub(RATE_OVER);
        if from == second { over(second) } else { (from..second).map(over).sum::<f64>() / (second - from) as f64 }
    }
}
