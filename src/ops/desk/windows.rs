//! Histograms over the last minutes: the difference of what they say now and what they said then.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Monotonic;

/// How far back a window goes.
const KEPT: Duration = Duration::from_mins(5);
/// The histograms that are watched.
const NAMES: [&str; 2] = ["encargo_transition_lateness_seconds", "encargo_intake_request_seconds"];

/// How many were counted up to each bound, the last of which is infinite.
type Counts = Vec<(f64, u64)>;

/// The past of the histograms.
#[derive(Default)]
pub(super) struct Windows(VecDeque<(Monotonic, [Counts; NAMES.len()])>);

/// A histogram over the last minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The upper bounds of the buckets in seconds, the last of which is infinite, and how many are in each.
    pub buckets: Vec<(f64, u64)>,
    /// How many in all.
    pub count: u64,
}

impl Windows {
    /// Notes what is measured, in the text format of metrics.
    pub(super) fn note(&mut self, metrics: &str, now: Monotonic) {
        self.0.push_back((now, NAMES.map(|name| counts(metrics, name))));
        // one look older than the window is kept, from which it counts
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) > KEPT) {
            self.0.pop_front();
        }
    }

    /// The window of a histogram; nothing when nothing was counted in it, or since the start when that is not long ago.
    pub(super) fn of(&self, name: &str) -> Option<Window> {
        let place = NAMES.iter().position(|known| *known == name)?;
        let ((from, first), (to, last)) = (self.0.front()?, self.0.back()?);
        let (first, last) = (&first[place], &last[place]);
        let is_all_recent = to.saturating_sub(*from) <= KEPT;
        let before = |index: usize| first.get(index).filter(|_| !is_all_recent).map_or(0, |(_, count)| *count);
        let mut below = 0;
        let mut buckets = Vec::with_capacity(last.len());
        for (index, (bound, count)) in last.iter().enumerate() {
            let up_to = count.saturating_sub(before(index));
            buckets.push((*bound, up_to.saturating_sub(below)));
            below = up_to;
        }
        (below > 0).then_some(Window { buckets, count: below })
    }
}

/// The cumulated buckets of a histogram, all label sets together.
fn counts(metrics: &str, name: &str) -> Counts {
    let mut counts: Counts = Vec::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix("_bucket{")) else { continue };
        let Some((labels, value)) = rest.split_once("} ") else { continue };
        let Some(bound) = labels.split("le=\"").nth(1).and_then(|bound| bound.split('"').next()) else { continue };
        let bound = bound.parse().unwrap_or(f64::INFINITY);
        let count = value.split(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        match counts.iter_mut().find(|(other, _)| other.to_bits() == bound.to_bits()) {
            Some((_, sum)) => *sum += count,
            None => counts.push((bound, count)),
        }
    }
    counts
}

impl Window {
    /// The value in seconds below which a part of all is, straight between the bounds; the last finite bound where it is
    /// beyond that.
    pub(super) fn quantile(&self, part: f64) -> f64 {
        let wanted = part * self.count as f64;
        let (mut below, mut from) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            let count = *count as f64;
            if below + count >= wanted && count > 0.0 {
                return if bound.is_finite() { from + (bound - from) * ((wanted - below) / count) } else { from };
            }
            below += count;
            from = if bound.is_finite() { *bound } else { from };
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(counts: [u64; 3]) -> String {
        let name = NAMES[0];
        format!(
            "# TYPE {name} histogram\n{name}_bucket{{le=\"0.01\"}} {}\n{name}_bucket{{le=\"0.1\"}} {} # {{trace=\"x\"}} 1\n\
             {name}_bucket{{le=\"+Inf\"}} {}\n{name}_count 9\n",
            counts[0], counts[1], counts[2]
        )
    }

    #[test]
    fn a_window_forgets_what_was_before() {
        let mut windows = Windows::default();
        assert_eq!(windows.of(NAMES[0]), None);
        windows.note(&metrics([100, 100, 100]), Monotonic::from_secs(0));
        assert_eq!(windows.of(NAMES[0]).unwrap().count, 100, "all of it is recent");
        windows.note(&metrics([100, 104, 104]), Monotonic::from_mins(1));
        let window = windows.of(NAMES[0]).unwrap();
        let buckets = vec![(0.01, 100), (0.1, 4), (f64::INFINITY, 0)];
        assert_eq!((window.count, &window.buckets), (104, &buckets), "it still is");
        assert!((window.quantile(0.5) - 0.0052).abs() < 1e-9, "{}", window.quantile(0.5));
        windows.note(&metrics([100, 104, 105]), Monotonic::from_secs(400));
        let window = windows.of(NAMES[0]).unwrap();
        assert_eq!((window.count, window.quantile(0.99)), (1, 0.1), "it is beyond the last bound");
        windows.note(&metrics([100, 104, 105]), Monotonic::from_secs(800));
        assert_eq!((windows.of(NAMES[0]), windows.of(NAMES[1])), (None, None));
    }
}
