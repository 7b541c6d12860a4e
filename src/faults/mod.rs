//! Faults for simulations and tests: a log and a store before which a plan decides, call by call, what goes wrong.
//!
//! Any call can be refused, be done without an answer, be done late, or be answered late. The plan is given from outside:
//! a list, a closure, or [`Chance`], which is replayed by its seed.

mod log;
mod store;

use std::time::Duration;

pub use self::{log::FaultyLog, store::FaultyStore};
use crate::{env::Random, eventlog, store as store_interface};

/// A call on its way to the log or the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// The name of the method.
    pub name: &'static str,
    /// The topic or group that it is about; empty where it is about neither.
    pub of: &'a str,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault<E> {
    /// Nothing is done, and the caller is told this.
    Refused(E),
    /// It is done, and the caller is told this.
    Unanswered(E),
    /// It is done after this time.
    Late(Duration),
    /// It is done at once, and answered after this time.
    Slow(Duration),
}

/// Decides what goes wrong with each call.
pub trait Faults<E>: Send + Sync {
    /// `None`: nothing does.
    fn next(&self, call: Call<'_>) -> Option<Fault<E>>;
}

impl<E, F: Fn(Call<'_>) -> Option<Fault<E>> + Send + Sync> Faults<E> for F {
    fn next(&self, call: Call<'_>) -> Option<Fault<E>> {
        self(call)
    }
}

/// Faults by chance.
pub struct Chance {
    /// Where chance comes from.
    pub random: Random,
    /// Of 1,000 calls, so many go wrong.
    pub of_thousand: u64,
    /// What is late or slow, is so by at most this time.
    pub late_max: Duration,
}

impl Chance {
    fn draw<E>(&self, refused: impl FnOnce() -> E, unsure: impl Fn() -> E) -> Option<Fault<E>> {
        let number = self.random.u64().unwrap_or(u64::MAX);
        if number % 1_000 >= self.of_thousand {
            return None;
        }
        let time = || self.random.spread(self.late_max);
        Some(match number / 1_000 % 5 {
            0 => Fault::Refused(refused()),
            1 => Fault::Refused(unsure()),
            2 => Fault::Unanswered(unsure()),
            3 => Fault::Late(time()),
            _ => Fault::Slow(time()),
        })
    }
}

impl Faults<eventlog::Error> for Chance {
    fn next(&self, call: Call<'_>) -> Option<Fault<eventlog::Error>> {
        let refused = || eventlog::Error::Unavailable(format!("{} is refused by chance", call.name));
        // only what writes can be done without the caller's knowing; a question is simply not answered
        match call.name {
            "append" | "commit" => {
                self.draw(refused, || eventlog::Error::Unconfirmed(format!("{} has no answer by chance", call.name)))
            }
            _ => self.draw(refused, refused),
        }
    }
}

impl Faults<store_interface::Error> for Chance {
    fn next(&self, call: Call<'_>) -> Option<Fault<store_interface::Error>> {
        let refused = || store_interface::Error::Unavailable(format!("{} is refused by chance", call.name));
        self.draw(refused, refused) // every write of a store can be repeated, whether it was done or not
    }
}
