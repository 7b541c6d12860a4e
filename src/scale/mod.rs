//! How many instances of each role are wanted: a number to scale by, and why it is that.
//!
//! Pure: it is told what was seen, and reads neither clock nor log. `/scale` and simulations decide by the same code.
//!
//! - Up at once, and down only after fewer have been enough for a while, step by step ([`Steady`]).
//! - Never more than can share the work; never none of a role whose work cannot wait.
//! - What an instance does is learned from what instances did ([`Learned`]), unless it is set.
//! - Changing the number costs a pause in which nobody of a group works. What is done before new instances would have
//!   helped is left to those that are there.

mod learned;
mod need;
mod scaler;
mod steady;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::need::need;
pub use self::{
    learned::{Learned, Pace},
    need::{Need, Why},
    scaler::{Decision, Scaler, Source},
    steady::Steady,
};
use crate::role::Role;

/// What is seen of a role at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Observed {
    /// Work that comes, in its units per second: orders for intake and fulfilment, states for tracking, mails for mail.
    pub arriving: f64,
    /// Work that waits for an instance. What is dead, expired, or waits for a time of its own is none.
    pub waiting: u64,
    /// For how long the oldest of it has waited.
    pub behind: Duration,
    /// Instances at work, where that is known.
    pub instances: Option<u32>,
    /// How many instances can share the work, where that has a bound: one for each partition.
    pub shares: Option<u32>,
}

/// How it is decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// To which part of its capacity an instance is loaded by what comes, above 0 and up to 1.
    pub load: f64,
    /// How long it takes until an instance that is started works.
    pub start: Duration,
    /// How long a group pauses when an instance comes or goes.
    pub pause: Duration,
    /// In what time a backlog is to be gone.
    pub drain: Duration,
    /// How long fewer instances must have been enough before fewer are wanted.
    pub down_after: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            load: 0.7,
            start: Duration::from_secs(30),
            pause: Duration::from_secs(3),
            drain: Duration::from_mins(1),
            down_after: Duration::from_mins(10),
        }
    }
}

/// What is set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// How it is decided.
    pub rules: Rules,
    /// What an instance of a role does per second, in the order of [`Role::ALL`]; nothing where that is learned.
    pub capacity: [Option<f64>; Role::ALL.len()],
    /// Roles of which there may be none while there is nothing to do; counts for those whose work can wait.
    pub zero: Vec<Role>,
}

impl Settings {
    /// What an instance of a role does per second: as it is set, or cautiously.
    pub fn capacity_of(&self, role: Role) -> f64 {
        self.capacity[role as usize].unwrap_or_else(|| cautious(role))
    }
}

/// What an instance of a role does per second as long as nothing was learned or set: less than one with a core to itself does
/// (`docs/benchmarks.md`), so that there are rather too many instances at first.
pub const fn cautious(role: Role) -> f64 {
    match role {
        Role::Intake | Role::Fulfilment => 300.0,
        Role::Tracking => 1_000.0,
        Role::Mail => 200.0,
    }
}
