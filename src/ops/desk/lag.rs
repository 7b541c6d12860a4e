//! How far the log is read, in records and in seconds: a record is as old as the look at which its partition had grown so
//! far.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    clock::Monotonic,
    eventlog::{Lag, TopicPartition},
};

/// How long the past is kept.
const KEPT: Duration = Duration::from_mins(10);
/// The parts of it that are shown.
pub(super) const POINTS: usize = 40;
/// A partition is behind when it has been for this long, by more than that.
const BEHIND_FOR: Duration = Duration::from_secs(10);
const BEHIND_BY: Duration = Duration::from_secs(1);

/// How far a group has read a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The group, as the key of its name in words.
    pub group: &'static str,
    /// In records.
    pub lag: Lag,
    /// Who reads it, where that is known.
    pub owner: Option<String>,
    /// Whether nobody does.
    pub is_unread: bool,
    /// How old the oldest record is that was not read, at least.
    pub behind: Duration,
    /// Whether that has been too much for a while.
    pub is_behind: bool,
    /// When it will have caught up as things go; nothing when it does not come nearer.
    pub caught_up_in: Option<Duration>,
    /// How far behind it was over the last ten minutes, in seconds.
    pub past: Vec<f64>,
}

impl Default for Reading {
    fn default() -> Self {
        let tp = TopicPartition { topic: String::new(), partition: 0 };
        Self {
            group: "",
            lag: Lag { tp, next: 0, end: 0 },
            owner: None,
            is_unread: false,
            behind: Duration::ZERO,
            is_behind: false,
            caught_up_in: None,
            past: Vec::new(),
        }
    }
}

/// One look at a partition.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Monotonic,
    next: u64,
    end: u64,
    behind: Duration,
}

/// The time over which rates are counted, where there is as much past.
const RATE_OVER: Duration = Duration::from_secs(20);

/// What came to a topic and what a group read of it, of late.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Flow {
    /// Records per second that came, and that were read; nothing while there is not enough past.
    pub rates: Option<(f64, f64)>,
    /// Records that wait to be read.
    pub waiting: u64,
    /// How old the oldest of them is, at least.
    pub behind: Duration,
    /// Whether in each partition something waited all the time: nobody of the group can have done nothing.
    pub was_full: bool,
}

/// The past of all partitions.
#[derive(Default)]
pub(super) struct Lags(BTreeMap<(&'static str, TopicPartition), VecDeque<Look>>);

impl Lags {
    /// Notes a look.
    pub(super) fn note(&mut self, readings: &[Reading], now: Monotonic) {
        for Reading { group, lag, .. } in readings {
            let looks = self.0.entry((group, lag.tp.clone())).or_default();
            let behind = behind(looks, lag, now);
            looks.push_back(Look { at: now, next: lag.next, end: lag.end, behind });
            while looks.front().is_some_and(|first| now.saturating_sub(first.at) > KEPT) {
                looks.pop_front();
            }
        }
    }

    /// The partitions of a topic together, as a group reads it; nothing when they were never looked at.
    pub(super) fn flow(&self, group: &str, topic: &str) -> Option<Flow> {
        let is_asked = |(of, tp): &(&str, TopicPartition)| *of == group && tp.topic == topic;
        let looks: Vec<_> = self.0.iter().filter(|(key, _)| is_asked(key)).map(|(_, looks)| looks).collect();
        let mut flow = Flow { rates: Some((0.0, 0.0)), was_full: true, ..Flow::default() };
        for looks in &looks {
            let last = looks.back()?;
            flow.waiting += last.end.saturating_sub(last.next);
            flow.behind = flow.behind.max(last.behind);
            let first = looks.iter().rfind(|look| last.at.saturating_sub(look.at) >= RATE_OVER).or(looks.front())?;
            let seconds = last.at.saturating_sub(first.at).as_secs_f64();
            let done = last.next.saturating_sub(first.next);
            // a look may be taken before what came since the last one can have been read
            flow.rates = flow.rates.filter(|_| seconds >= 5.0).map(|(came, read)| {
                (came + last.end.saturating_sub(first.end) as f64 / seconds, read + done as f64 / seconds)
            });
            flow.was_full &= first.end.saturating_sub(first.next) > done && last.end > last.next;
        }
        (!looks.is_empty()).then_some(flow)
    }

    /// The same readings with what the past tells of them.
    pub(super) fn told(&self, readings: Vec<Reading>, now: Monotonic) -> Vec<Reading> {
        let told = |reading: Reading| {
            let none = VecDeque::new();
            let looks = self.0.get(&(reading.group, reading.lag.tp.clone())).unwrap_or(&none);
            let late = looks.iter().rev().take_while(|look| look.behind > BEHIND_BY).last();
            Reading {
                behind: looks.back().map_or(Duration::ZERO, |look| look.behind),
                is_behind: late.is_some_and(|first| now.saturating_sub(first.at) >= BEHIND_FOR),
                caught_up_in: caught_up_in(looks),
                past: past(looks, now),
                ..reading
            }
        };
        readings.into_iter().map(told).collect()
    }
}

/// How long ago the partition was seen to have grown beyond what was read.
fn behind(looks: &VecDeque<Look>, lag: &Lag, now: Monotonic) -> Duration {
    if lag.records() == 0 {
        return Duration::ZERO;
    }
    let first = looks.iter().find(|look| look.end > lag.next);
    first.map_or(Duration::ZERO, |first| now.saturating_sub(first.at))
}

/// By how much nearer it has come to the end since a while ago.
fn caught_up_in(looks: &VecDeque<Look>) -> Option<Duration> {
    let last = looks.back().filter(|last| last.end > last.next)?;
    let before = looks.iter().rev().find(|look| last.at.saturating_sub(look.at) >= BEHIND_FOR)?;
    let left = |look: &Look| look.end.saturating_sub(look.next) as f64;
    let nearer = left(before) - left(last);
    let passed = last.at.saturating_sub(before.at).as_secs_f64();
    (nearer > 0.0).then(|| Duration::from_secs_f64((left(last) * passed / nearer).min(1e6)))
}

/// The worst of each part of the last ten minutes; parts in which nobody looked are like those before.
fn past(looks: &VecDeque<Look>, now: Monotonic) -> Vec<f64> {
    let mut points = vec![None; POINTS];
    for look in looks {
        let ago = now.saturating_sub(look.at).as_secs_f64() / KEPT.as_secs_f64();
        let place = ((1.0 - ago) * POINTS as f64) as usize;
        let point: &mut Option<f64> = &mut points[place.min(POINTS - 1)];
        *point = Some(point.unwrap_or(0.0).max(look.behind.as_secs_f64()));
    }
    let mut last = 0.0;
    points
        .into_iter()
        .map(|point| {
            last = point.unwrap_or(last);
            last
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(next: u64, end: u64) -> Vec<Reading> {
        let tp = TopicPartition { topic: "t".into(), partition: 0 };
        vec![Reading { group: "g", lag: Lag { tp, next, end }, ..Reading::default() }]
    }

    #[test]
    fn rates_are_those_of_the_last_seconds_and_of_all_partitions() {
        let mut lags = Lags::default();
        assert_eq!(lags.flow("g", "t"), None);
        let both = |next, end| {
            let [one, mut other] = [reading(next, end), reading(0, 0)].map(|mut of| of.remove(0));
            other.lag.tp.partition = 1;
            [one, other]
        };
        lags.note(&both(0, 1_000), Monotonic::from_secs(100));
        assert_eq!(lags.flow("g", "t").unwrap(), Flow { rates: None, waiting: 1_000, ..Flow::default() });
        for (now, next, end) in [(110, 100, 1_000), (120, 500, 1_200), (130, 900, 1_400)] {
            lags.note(&both(next, end), Monotonic::from_secs(now));
        }
        let flow = lags.flow("g", "t").unwrap();
        assert_eq!((flow.rates, flow.waiting, flow.was_full), (Some((20.0, 40.0)), 500, false), "of one nothing waits");
        assert_eq!(flow.behind, Duration::from_secs(30));
        assert_eq!(lags.flow("g", "other"), None);
    }

    #[test]
    fn a_record_is_as_old_as_the_look_that_saw_it_first() {
        let second = |n| Monotonic::from_secs(n);
        let mut lags = Lags::default();
        for (now, next, end) in [(100, 5, 5), (110, 5, 9), (120, 6, 20)] {
            lags.note(&reading(next, end), second(now));
        }
        let told = &lags.told(reading(6, 20), second(120))[0];
        assert_eq!((told.behind, told.is_behind, told.caught_up_in), (Duration::from_secs(10), false, None));
        lags.note(&reading(16, 20), second(130));
        let told = &lags.told(reading(16, 20), second(130))[0];
        assert_eq!((told.behind, told.is_behind), (Duration::from_secs(10), true));
        assert_eq!(told.caught_up_in, Some(Duration::from_secs(4)), "10 of 14 in ten seconds");
        lags.note(&reading(20, 20), second(160));
        let told = &lags.told(reading(20, 20), second(160))[0];
        assert_eq!((told.behind, told.is_behind, told.caught_up_in), (Duration::ZERO, false, None));
        assert_eq!(told.past.len(), POINTS);
        assert!(told.past.iter().any(|seconds| *seconds > 9.9) && told.past[POINTS - 1] < 0.1, "{:?}", told.past);
        // what is older than ten minutes is forgotten
        lags.note(&reading(20, 20), second(1_000));
        assert_eq!(lags.0.values().map(VecDeque::len).sum::<usize>(), 1);
    }
}
