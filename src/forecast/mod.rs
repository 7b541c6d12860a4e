//! How many orders will come, from how many came.
//!
//! Pure: it reads no clock and no store. Orders are counted by five minutes. Two models are tried on the past by turns, as if
//! nothing after each turn were known, and the one with the smaller error is used:
//!
//! - *naive*: what came at the same time last week;
//! - *profile*: the median of the last weeks at that time of the week, each by its own level, times the level of now
//!   ([`Profile`]).
//!
//! What the orders in flight bring in the next hour is told by their timers ([`InFlight`]).
//!
//! The bands are what the past errors of that model were, for times as busy as the one that is told. With less than two weeks
//! nothing is told: one to learn from, and one to try it on.

mod backtest;
mod flight;
mod history;
mod plan;
mod profile;
pub mod shop;
mod special;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{
    backtest::{Backtest, Model},
    flight::{InFlight, arriving},
    history::{History, ReadError},
    plan::{Load, Planned, Start, plan, starts},
    profile::Profile,
    special::{Special, SpecialError},
};
use crate::domain::Timestamp;

/// The time in which orders are counted together.
pub const BUCKET: Duration = Duration::from_mins(5);
/// Buckets in a week.
pub(crate) const WEEK: usize = 7 * 24 * 12;
/// Buckets in a day.
pub(crate) const DAY: usize = 24 * 12;
/// The least past that tells anything, in buckets.
const LEAST: usize = 2 * WEEK;
/// The same in days.
pub const DAYS_LEAST: usize = LEAST / DAY;
/// The past that a forecast is made of: as much as the store keeps.
pub const PAST: Duration = Duration::from_hours(24 * 35);

/// The past is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the orders of {days} days are too few for a forecast: {} days are needed, one week to learn from and one to try it on",
    DAYS_LEAST
)]
pub struct TooShort {
    /// Whole days that are known.
    pub days: usize,
}

/// What is expected of five minutes, in orders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// When they begin.
    pub at: Timestamp,
    /// As many or fewer come in 10 % of the cases.
    pub p10: f64,
    /// In half of them.
    pub p50: f64,
    /// In 90 %.
    pub p90: f64,
    /// In 99 %.
    pub p99: f64,
}

/// A model that was chosen by its past.
#[derive(Debug, Clone)]
pub struct Forecast {
    profile: Profile,
    backtest: Backtest,
}

impl Forecast {
    /// Tries the models on the past, and takes the better one.
    pub fn new(history: &History, special: &Special) -> Result<Self, TooShort> {
        if history.len() < LEAST {
            return Err(TooShort { days: history.len() / DAY });
        }
        Ok(Self { profile: Profile::new(history, special), backtest: Backtest::new(history, special) })
    }

    /// The same model with what came since; its errors stay those that were found.
    #[must_use]
    pub fn moved_on(&self, history: &History, special: &Special) -> Self {
        Self { profile: Profile::new(history, special), backtest: self.backtest.clone() }
    }

    /// What is expected of the five minutes that begin so many buckets after the end of the past.
    pub fn expected(&self, ahead: usize) -> Expected {
        let middle = match self.backtest.chosen() {
            Model::Profile => self.profile.expected(ahead),
            Model::Naive => self.profile.last_week(ahead),
        };
        let [p10, p50, p90, p99] = self.backtest.bands(middle);
        Expected { at: self.profile.at(ahead), p10, p50, p90, p99 }
    }

    /// How it did in the past.
    pub fn backtest(&self) -> &Backtest {
        &self.backtest
    }
}
