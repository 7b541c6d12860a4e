//! Simulation: one seed decides what happens, and happens again.
//!
//! Several instances of the real services work on a log and a store in memory, in one thread and in a time that nobody waits
//! for. A seeded schedule picks who goes on next, and strikes: crashes, stalls, cut networks, rebalances, refused and lost
//! answers, jumps of the wall clock, a mail server that misbehaves, repeated and conflicting orders, records of strangers.
//!
//! ```text
//! seed ──▶ schedule ──▶ world: customers, shop, instances ──▶ log, store ──▶ model (at every step), auditor (at the end)
//! ```
//!
//! After every step a `model` that shares no code with the services reads what was committed and objects to the first record
//! that must not be there. At the end all faults are over, the world runs until nothing is left to do, and the auditor judges.
//! What is found is told with the command that replays it to the letter.
//!
//! Not simulated: listeners, the SMTP client, brokers and databases themselves; their suites and `scripts/faults` strike those.

mod commands;
mod customers;
mod instance;
mod line;
mod mailer;
mod model;
mod peer;
mod races;
mod rest;
mod setup;
mod strikes;
mod trace;
mod trouble;
mod verdict;
mod world;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use self::world::World;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// How often the schedule picks something; then the world comes to rest.
    pub steps: u32,
    /// Whether every step is kept in words.
    pub trace: bool,
    /// Whether each order is cancelled around its last timer, instead of all sorts of commands.
    pub races: bool,
}

/// A simulation in which all promises were kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Distinct orders in the log.
    pub orders: u64,
    /// State events in the log.
    pub events: u64,
    /// Orders that were cancelled.
    pub cancelled: u64,
    /// Mails that arrived.
    pub mails: u64,
    /// Input records that became dead letters.
    pub dead: u64,
    /// Cancellations that raced the last timer of their order and came in time.
    pub in_time: u64,
    /// Those that came too late.
    pub too_late: u64,
    /// The time that passed in it.
    pub passed: Duration,
    /// A hash of all that happened: the same for a seed, on every machine.
    pub hash: u64,
    /// What happened, if it was to be kept.
    pub trace: Vec<String>,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What was simulated.
    pub options: Options,
    /// At which step it was noticed; the number of steps when that was at the end.
    pub step: u32,
    /// What is wrong.
    pub objections: Vec<String>,
    /// What happened before, if it was to be kept.
    pub trace: Vec<String>,
}

/// Simulates one seed.
pub fn run(options: Options) -> Result<Report, Box<Failure>> {
    let mut world = World::new(options);
    // what panics is found, too, and must say by which seed
    let result = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(vec![format!("panics: {}", text.unwrap_or("see above"))])
    });
    let failure = |objections| Failure { options, step: world.step(), objections, trace: world.trace().to_vec() };
    result.map_err(|objections| Box::new(failure(objections)))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, steps, races, .. } = self.options;
        writeln!(f, "seed {seed}, step {} of {steps}:", self.step)?;
        for objection in &self.objections {
            writeln!(f, "  {objection}")?;
        }
        let races = if races { " --races 1" } else { "" };
        write!(f, "replay it: encargo-sim --seed {seed} --steps {steps}{races} --trace")
    }
}

#[cfg(test)]
mod tests;
