//! What a service takes from the world beside its log, its store and its network: time and chance. Both are given to it,
//! so that a simulation can replay them.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::clock::Clock;

/// The world of a service; a cheap handle.
#[derive(Debug, Clone)]
pub struct Env {
    /// The time that orders and mails live by.
    pub clock: Clock,
    /// The time that work is paced by: rounds, pauses between tries, how long something took. It goes on where a test
    /// drives `clock` by hand; in a simulation both are the same.
    pub pace: Clock,
    /// Chance.
    pub random: Random,
}

impl Env {
    /// The world as it is, but for the time of orders and mails.
    #[expect(clippy::disallowed_methods, reason = "one of the two worlds that there are")]
    pub fn real(clock: Clock) -> Self {
        Self { clock, pace: Clock::system(), random: Random::system() }
    }

    /// A world in which nothing happens but what its driver does.
    pub fn simulated(clock: Clock, seed: u64) -> Self {
        Self { pace: clock.clone(), clock, random: Random::seeded(seed) }
    }
}

/// A source of random numbers; a cheap handle, whose clones draw from the same source.
#[derive(Debug, Clone)]
pub struct Random(Option<Arc<Mutex<fastrand::Rng>>>);

impl Random {
    /// That of the operating system, fit for secrets.
    pub fn system() -> Self {
        Self(None)
    }

    /// Always the same numbers for a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)))))
    }

    /// Fills `bytes`. The system's source can fail only where a process may not ask it.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for chance")]
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        match &self.0 {
            None => getrandom::fill(bytes),
            Some(seeded) => {
                seeded.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
                Ok(())
            }
        }
    }

    /// Any number.
    pub fn u64(&self) -> Result<u64, getrandom::Error> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Any time up to `most`, to spread what would happen together; none of it where there are no random numbers.
    pub fn spread(&self, most: Duration) -> Duration {
        most.mul_f64(self.u64().unwrap_or(0) as f64 / u64::MAX as f64)
    }
}

/// Pauses between tries, each twice as long as the one before, within bounds.
#[derive(Debug, Clone)]
pub struct Backoff {
    bounds: Range<Duration>,
    next: Duration,
}

impl Backoff {
    /// From the shortest pause to the longest.
    pub const fn new(bounds: Range<Duration>) -> Self {
        Self { next: bounds.start, bounds }
    }

    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.bounds.end);
        pause
    }

    /// What worked is tried again soon.
    pub fn reset(&mut self) {
        self.next = self.bounds.start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same() {
        let draw = |seed| {
            let random = Random::seeded(seed);
            (0..8).map(|_| random.u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let most = Duration::from_secs(9);
        let spread: Vec<_> = (0..50).map(|_| Random::system().spread(most)).collect();
        assert!(spread.iter().all(|pause| *pause <= most) && spread.iter().any(|pause| *pause != spread[0]));
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let mut backoff = Backoff::new(Duration::from_secs(1)..Duration::from_secs(5));
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::from_secs(1));
    }
}
