//! How fast counts grow that only grow: mails that were sent, orders that were turned away.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Monotonic;

const MINUTE: Duration = Duration::from_mins(1);
/// How far back looks are kept.
const KEPT: Duration = Duration::from_hours(1);
/// How far apart they are at least, but for the last.
const APART: Duration = Duration::from_secs(10);
/// Why intake turns orders away that were fine (`encargo_orders_refused`).
const TURNED_AWAY: [&str; 3] = ["overloaded", "limited", "unavailable"];

/// A count over the last hour.
#[derive(Default)]
pub(super) struct Growth(VecDeque<(Monotonic, u64)>);

impl Growth {
    /// Notes what the count is.
    pub(super) fn note(&mut self, count: u64, now: Monotonic) {
        let is_close = |(at, _): &(Monotonic, u64)| now.saturating_sub(*at) < APART;
        if self.0.iter().nth_back(1).is_some_and(is_close) {
            self.0.pop_back();
        }
        self.0.push_back((now, count));
        // one look older than the hour is kept, from which it counts
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) > KEPT) {
            self.0.pop_front();
        }
    }

    /// By how much it has grown in the last hour, or since the first look; nothing without any.
    pub(super) fn in_hour(&self) -> Option<u64> {
        let ((_, first), (_, last)) = (self.0.front()?, self.0.back()?);
        Some(last.saturating_sub(*first))
    }

    /// By how much it has grown in each of the last minutes, oldest first; of minutes that began before the first look,
    /// nothing.
    pub(super) fn by_minute(&self, minutes: u32) -> Vec<u64> {
        let Some((now, _)) = self.0.back() else { return Vec::new() };
        let of_minute = |ago: u32| {
            let end = now.checked_sub(MINUTE * ago)?;
            let grown = self.at(end)? - self.at(end.checked_sub(MINUTE)?)?;
            Some(grown.max(0.0).round() as u64)
        };
        (0..minutes).rev().filter_map(of_minute).collect()
    }

    /// What it was, straight between two looks; nothing before the first.
    fn at(&self, time: Monotonic) -> Option<f64> {
        let after = self.0.partition_point(|(at, _)| *at <= time);
        let (from, count) = self.0.get(after.checked_sub(1)?)?;
        let Some((to, next)) = self.0.get(after) else { return Some(*count as f64) };
        let part = time.saturating_sub(*from).as_secs_f64() / to.saturating_sub(*from).as_secs_f64();
        Some(*count as f64 + (*next as f64 - *count as f64) * part)
    }
}

/// How many orders were turned away, in the text format of metrics; nothing where none are taken.
pub(super) fn turned_away(metrics: &str) -> Option<u64> {
    let of_reason = |line: &str| {
        let (reason, count) = line.strip_prefix("encargo_orders_refused_total{reason=\"")?.split_once("\"} ")?;
        TURNED_AWAY.contains(&reason).then(|| count.parse::<u64>().ok()).flatten()
    };
    metrics.lines().filter_map(of_reason).reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_by_the_minute_from_the_first_look_on() {
        let mut growth = Growth::default();
        assert_eq!((growth.in_hour(), growth.by_minute(3)), (None, vec![]));
        for second in 0..=150 {
            growth.note(100 + 2 * second, Monotonic::from_secs(second));
        }
        assert!(growth.0.len() < 20, "{}", growth.0.len());
        assert_eq!((growth.in_hour(), growth.by_minute(3)), (Some(300), vec![120, 120]));
        // nobody looked for two minutes, in which it grew evenly
        growth.note(400, Monotonic::from_secs(270));
        assert_eq!(growth.by_minute(4), [120, 120, 0, 0]);
        growth.note(430, Monotonic::from_secs(330));
        assert_eq!(growth.by_minute(1), [30]);
        growth.note(430, Monotonic::from_secs(331) + KEPT);
        assert_eq!(growth.in_hour(), Some(0));
    }

    #[test]
    fn what_was_wrong_with_a_request_turns_no_order_away() {
        let line = |reason, n: u64| format!("encargo_orders_refused_total{{reason=\"{reason}\"}} {n}\n");
        let metrics = [line("invalid", 9), line("overloaded", 2), line("limited", 3), line("unconfirmed", 9)].concat();
        assert_eq!((turned_away(&metrics), turned_away("# EOF")), (Some(5), None));
    }
}
