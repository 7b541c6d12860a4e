use std::time::Duration;

use super::{BUCKET, DAY};
use crate::{domain::Timestamp, store::overview::Minute};

/// Longest past that is read from a file.
const DAYS_MAX: usize = 3_660;

/// A file with a past cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A line is wrong.
    #[error("line {0}: {1}; lines are a time and a number of orders, like 2026-01-31T12:00:00Z,17")]
    Line(u64, String),
    /// There is none.
    #[error("it has no lines")]
    Empty,
    /// A time is wrong, in all likelihood: the past has room for every five minutes in between.
    #[error("its times are {0} days apart; ten years at most")]
    TooLong(usize),
}

/// Orders by five minutes, without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    first: i64,
    orders: Vec<f64>,
}

impl History {
    /// From counts in the order of their buckets, the first of which begins at a time.
    pub fn new(first: Timestamp, orders: Vec<f64>) -> Self {
        Self { first: number(first), orders }
    }

    /// From the minutes of a store, up to the five minutes that are under way at `now`. Minutes without orders are absent there,
    /// so the past begins with the first order, or where the store forgets.
    pub fn of_minutes(minutes: &[Minute], now: Timestamp) -> Self {
        Self::of(minutes.iter().map(|minute| (minute.at, minute.placed as f64)), number(now))
    }

    /// From lines of a time and a count, in any order, with or without a header. Counts of the same five minutes add up.
    pub fn of_csv(text: &str) -> Result<Self, ReadError> {
        let mut counts = Vec::new();
        // spreadsheets begin a file with the mark of its byte order
        for (line, index) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            let bad = |what: &str| ReadError::Line(index, what.to_owned());
            let (at, orders) = line.split_once(',').unwrap_or((line, ""));
            let at = match at.trim().parse::<Timestamp>() {
                Ok(at) => at,
                Err(_) if line.trim().is_empty() || index == 1 => continue,
                Err(error) => return Err(bad(&error.to_string())),
            };
            let orders = orders.trim().parse().ok().filter(|orders: &f64| orders.is_finite() && *orders >= 0.0);
            counts.push((at, orders.ok_or_else(|| bad("no number of orders"))?));
        }
        let numbers = || counts.iter().map(|(at, _)| number(*at));
        let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { return Err(ReadError::Empty) };
        let days = (last - first) as usize / DAY;
        if days > DAYS_MAX {
            return Err(ReadError::TooLong(days));
        }
        Ok(Self::of(counts.into_iter(), last + 1))
    }

    fn of(counts: impl Iterator<Item = (Timestamp, f64)>, end: i64) -> Self {
        let counts: Vec<_> = counts.map(|(at, orders)| (number(at), orders)).filter(|(at, _)| *at < end).collect();
        let first = counts.iter().map(|(at, _)| *at).min().unwrap_or(end);
        let mut orders = vec![0.0; (end - first) as usize];
        for (at, count) in counts {
            orders[(at - first) as usize] += count;
        }
        Self { first, orders }
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// When a bucket begins; it may be one after the end.
    pub fn at(&self, index: usize) -> Timestamp {
        Timestamp::from_millis((self.first + index as i64) * BUCKET.as_millis() as i64)
    }

    /// The orders of each bucket.
    pub fn orders(&self) -> &[f64] {
        &self.orders
    }

    /// Its last days, up to so many buckets from its beginning.
    #[must_use]
    pub fn window(&self, end: usize, most: Duration) -> Self {
        let most = (most.as_secs() / BUCKET.as_secs()) as usize;
        let from = end.saturating_sub(most);
        Self { first: self.first + from as i64, orders: self.orders[from..end].to_vec() }
    }
}

fn number(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(BUCKET.as_millis() as i64)
}
