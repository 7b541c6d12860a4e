use std::time::Duration;

use super::{EventLog, Lag, Result};
use crate::clock::Monotonic;

/// The time over which it is measured how fast groups read.
const SMOOTH: Duration = Duration::from_secs(3);
/// Between looks that are further apart too much may have happened for them to tell a speed.
const APART_MAX: Duration = Duration::from_secs(15);

/// How far a group has read a topic, over all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The next offsets to read, added up.
    pub next: u64,
    /// The ends.
    pub end: u64,
}

impl Progress {
    /// As the log says it.
    pub fn of(log: &dyn EventLog, group: &str, topic: &str) -> Result<Self> {
        let lags = log.lag(group, &[topic])?;
        let sum = |part: fn(&Lag) -> u64| lags.iter().map(part).sum();
        Ok(Self { next: sum(|lag| lag.next), end: sum(|lag| lag.end) })
    }

    /// Records that are still to be read.
    pub const fn waiting(self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

/// How fast groups read what waits for them, from one look to the next.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    looked: Option<Monotonic>,
    /// Records per second, where that is known.
    groups: Vec<(Progress, Option<f64>)>,
}

impl Pace {
    /// Notes what was seen of some groups, always the same ones in the same order.
    pub fn note(&mut self, now: Monotonic, seen: &[Progress]) {
        let passed = self.looked.map(|then| now.saturating_sub(then)).filter(|passed| *passed <= APART_MAX);
        let before = std::mem::take(&mut self.groups);
        let measured = |(index, progress): (usize, &Progress)| {
            let (then, rate) = before.get(index)?;
            let passed = passed?.as_secs_f64();
            let read = progress.next.saturating_sub(then.next) as f64;
            let speed = if passed > 0.0 { read / passed } else { return *rate };
            let weight = 1.0 - (-passed / SMOOTH.as_secs_f64()).exp();
            Some(rate.map_or(speed, |rate| rate + (speed - rate) * weight))
        };
        self.groups = seen.iter().enumerate().map(|(index, seen)| (*seen, measured((index, seen)))).collect();
        self.looked = Some(now);
    }

    /// The groups as they were last seen, each with the records that it reads per second, where that is known.
    pub fn groups(&self) -> &[(Progress, Option<f64>)] {
        &self.groups
    }

    /// The one that has most to read.
    pub fn slowest(&self) -> Option<(Progress, Option<f64>)> {
        self.groups.iter().copied().max_by_key(|(progress, _)| progress.waiting())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_speed_is_what_is_read_from_one_look_to_the_next() {
        let mut pace = Pace::default();
        let mut look = |second: u32, next| {
            pace.note(SECOND * second, &[Progress { next, end: 10_000 }]);
            pace.slowest().unwrap().1
        };
        assert_eq!(look(1, 0), None);
        assert_eq!(look(2, 500), Some(500.0));
        assert_eq!(look(2, 500), Some(500.0), "no time has passed");
        let slower = look(5, 500).unwrap();
        assert!((150.0..250.0).contains(&slower), "nothing was read for as long as counts most: {slower}");
        assert_eq!(look(60, 900), None, "that was too long ago");
    }
}
