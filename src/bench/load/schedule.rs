//! When orders are to be placed, whatever becomes of the earlier ones.

use std::time::Duration;

use fastrand::Rng;

/// How many orders per second, over time: pieces of a line, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile(Vec<Piece>);

/// A piece of a profile, from one rate to another; orders per second and seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    seconds: f64,
    from: f64,
    to: f64,
}

/// How the times between orders are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    Even,
    /// As customers come who know nothing of each other (a Poisson process), by a seed.
    Poisson(u64),
}

/// What happens when the share of quiet hours is this much of the busiest.
const QUIET: f64 = 0.2;

impl Profile {
    /// The same rate all the time.
    pub fn constant(rate: f64, duration: Duration) -> Self {
        Self::shaped(rate, duration, &[(1.0, 1.0, 1.0)])
    }

    /// From nothing to the rate.
    pub fn ramp(rate: f64, duration: Duration) -> Self {
        Self::shaped(rate, duration, &[(1.0, 0.0, 1.0)])
    }

    /// A lunch rush: a fifth of the time each for quiet, the rise, the rush, the fall, and quiet again.
    pub fn peak(rate: f64, duration: Duration) -> Self {
        let shape = [(0.2, QUIET, QUIET), (0.2, QUIET, 1.0), (0.2, 1.0, 1.0), (0.2, 1.0, QUIET), (0.2, QUIET, QUIET)];
        Self::shaped(rate, duration, &shape)
    }

    /// Quiet, with two bursts of a tenth of the time that begin and end at once.
    pub fn burst(rate: f64, duration: Duration) -> Self {
        let shape = [(0.3, QUIET, QUIET), (0.1, 1.0, 1.0), (0.25, QUIET, QUIET), (0.1, 1.0, 1.0), (0.25, QUIET, QUIET)];
        Self::shaped(rate, duration, &shape)
    }

    /// Through these rates, each at its time, straight in between.
    pub fn through(points: &[(Duration, f64)]) -> Self {
        let piece = |two: &[(Duration, f64)]| Piece {
            seconds: two[1].0.saturating_sub(two[0].0).as_secs_f64(),
            from: two[0].1,
            to: two[1].1,
        };
        Self(points.windows(2).map(piece).collect())
    }

    /// Shares of the duration, and of the rate at the beginning and end of each.
    fn shaped(rate: f64, duration: Duration, shape: &[(f64, f64, f64)]) -> Self {
        let piece = |&(share, from, to): &(f64, f64, f64)| Piece {
            seconds: share * duration.as_secs_f64(),
            from: from * rate,
            to: to * rate,
        };
        Self(shape.iter().map(piece).collect())
    }

    /// How long it takes.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.0.iter().map(|piece| piece.seconds).sum())
    }

    /// The orders per second that are asked for at a time.
    pub fn rate_at(&self, at: Duration) -> f64 {
        let mut left = at.as_secs_f64();
        for piece in &self.0 {
            if left < piece.seconds {
                return piece.from + (piece.to - piece.from) * left / piece.seconds;
            }
            left -= piece.seconds;
        }
        0.0
    }

    /// When the expected number of orders reaches `count`; `None` when it never does.
    fn time_of(&self, count: f64) -> Option<f64> {
        let (mut before, mut left) = (0.0, count);
        for piece in &self.0 {
            let orders = f64::midpoint(piece.from, piece.to) * piece.seconds;
            if left < orders {
                // the root of from × t + slope × t² / 2 = left that does not divide by a slope near zero
                let slope = (piece.to - piece.from) / piece.seconds;
                let root = (piece.from * piece.from + 2.0 * slope * left).max(0.0).sqrt();
                return Some(before + if left > 0.0 { 2.0 * left / (piece.from + root) } else { 0.0 });
            }
            left -= orders;
            before += piece.seconds;
        }
        None
    }
}

/// The times at which orders are due, counted from the beginning, in order.
#[derive(Debug, Clone)]
pub struct Schedule {
    profile: Profile,
    random: Option<Rng>,
    /// Orders that the profile asks for until the next one is due.
    expected: f64,
}

impl Schedule {
    /// By a profile and a spread.
    pub fn new(profile: Profile, arrivals: Arrivals) -> Self {
        let random = match arrivals {
            Arrivals::Even => None,
            Arrivals::Poisson(seed) => Some(Rng::with_seed(seed)),
        };
        let mut schedule = Self { profile, random, expected: 0.0 };
        if schedule.random.is_some() {
            schedule.expected = schedule.gap();
        }
        schedule
    }

    /// In units of expected orders the gaps are one each, or exponential with mean one.
    fn gap(&mut self) -> f64 {
        self.random.as_mut().map_or(1.0, |random| -(1.0 - random.f64()).ln())
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let at = self.profile.time_of(self.expected)?;
        self.expected += self.gap();
        Some(Duration::from_secs_f64(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn count(profile: Profile, arrivals: Arrivals) -> usize {
        Schedule::new(profile, arrivals).count()
    }

    #[test]
    fn even_orders_come_evenly() {
        let times: Vec<_> = Schedule::new(Profile::constant(4.0, Duration::from_secs(1)), Arrivals::Even).collect();
        assert_eq!(times, [0, 250, 500, 750].map(Duration::from_millis));
    }

    #[test]
    fn each_profile_asks_for_its_orders() {
        for (profile, orders) in [
            (Profile::constant(100.0, TEN), 1_000),
            (Profile::ramp(100.0, TEN), 500),
            (Profile::peak(100.0, TEN), 520), // of 1000: 0.2 × (0.2 + 0.6 + 1 + 0.6 + 0.2)
            (Profile::burst(100.0, TEN), 360),
            (Profile::through(&[(Duration::ZERO, 20.0), (TEN / 2, 100.0), (TEN, 60.0)]), 700),
        ] {
            assert_eq!(profile.duration(), TEN);
            let even = count(profile.clone(), Arrivals::Even);
            assert!(even.abs_diff(orders) <= 1, "{even} instead of {orders}: {profile:?}");
            let poisson = count(profile.clone(), Arrivals::Poisson(7));
            assert!(poisson.abs_diff(orders) < 150, "{poisson} instead of {orders}: {profile:?}"); // six standard deviations
            let times: Vec<_> = Schedule::new(profile, Arrivals::Poisson(7)).collect();
            assert!(times.is_sorted() && times[times.len() - 1] < TEN);
        }
    }

    #[test]
    fn customers_do_not_come_evenly() {
        let gaps = |arrivals| {
            let times: Vec<_> = Schedule::new(Profile::constant(1_000.0, TEN), arrivals).collect();
            let gaps: Vec<_> = times.windows(2).map(|two| two[1].as_secs_f64() - two[0].as_secs_f64()).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            variance.sqrt() / mean // 1 for a Poisson process
        };
        assert!((gaps(Arrivals::Poisson(1)) - 1.0).abs() < 0.05 && gaps(Arrivals::Even) < 0.01);
    }

    #[test]
    fn a_rush_is_seen_in_the_rate() {
        let profile = Profile::peak(100.0, TEN);
        let rates = [0, 3, 5, 9, 10].map(|second| profile.rate_at(Duration::from_secs(second)).round() as u32);
        assert_eq!(rates, [20, 60, 100, 20, 0]);
    }
}
