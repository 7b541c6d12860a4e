//! Whether a writer lets others join before it begins a transaction.

use std::time::Duration;

use crate::clock::{Clock, Monotonic};

/// Time between the beginnings of two transactions, where that brings company: an fsync is over sooner than that on many disks, and
/// each job would have one to itself.
const APART: Duration = Duration::from_millis(4);
/// After a transaction of so many jobs the next does not wait: an fsync costs each of them little, and all of them wait for it.
const ENOUGH: usize = 32;
/// Transactions without a wait after one that was in vain: so many at first, twice as many each time, at most so many.
const SKIPPED: std::ops::RangeInclusive<u32> = 2..=64;

/// What the last waits brought.
///
/// Customers who come by themselves come in each part of a wait. A few who order again once they are answered come at its
/// beginning, or not at all: waiting for more makes them slower, and saves nothing.
pub(super) struct Patience {
    clock: Clock,
    soonest: Monotonic,
    skip: u32,
    skip_next: u32,
}

impl Patience {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, soonest: Monotonic::ZERO, skip: 0, skip_next: *SKIPPED.start() }
    }

    /// Waits where that is worth it; to be called before each transaction. `last` is how many jobs the one before had, and `quiet_for`
    /// says how long ago the last one came.
    pub(super) fn wait(&mut self, last: usize, quiet_for: impl Fn() -> Duration) {
        let wait = self.soonest.saturating_sub(self.clock.monotonic());
        if !wait.is_zero() && last < ENOUGH {
            if self.skip > 0 {
                self.skip -= 1;
            } else {
                self.clock.park(wait);
                self.learn(quiet_for() < wait / 2);
            }
        }
        self.soonest = self.clock.monotonic() + APART;
    }

    fn learn(&mut self, has_paid: bool) {
        if has_paid {
            self.skip_next = *SKIPPED.start();
        } else {
            self.skip = self.skip_next;
            self.skip_next = (2 * self.skip_next).min(*SKIPPED.end());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::domain::Timestamp;

    /// How many of 1,000 transactions, one right after the other, waited, when the last one came so long before the end.
    fn waits(quiet_for: Duration) -> usize {
        let clock = Clock::manual(Timestamp::default());
        let mut patience = Patience::new(clock.clone());
        let looks = Cell::new(0);
        for _ in 0..1_000 {
            patience.wait(ENOUGH - 1, || {
                looks.set(looks.get() + 1);
                quiet_for
            });
            clock.advance(Duration::from_micros(300));
        }
        looks.get()
    }

    #[test]
    fn it_waits_for_those_who_come_by_themselves() {
        assert_eq!(waits(APART / 8), 999); // nobody is before the first one
    }

    #[test]
    fn it_hardly_ever_waits_for_nobody_or_for_those_who_wait_for_it() {
        assert!(waits(APART) < 25);
        assert!(waits(APART * 9 / 10) < 25);
    }

    #[test]
    fn it_does_not_wait_when_the_last_one_is_long_ago() {
        let clock = Clock::manual(Timestamp::default());
        let mut patience = Patience::new(clock.clone());
        for _ in 0..10 {
            patience.wait(1, || unreachable!("it is asked only while it waits"));
            clock.advance(APART + Duration::from_millis(1));
        }
    }

    #[test]
    fn it_does_not_wait_where_many_come_anyway() {
        let clock = Clock::manual(Timestamp::default());
        let mut patience = Patience::new(clock.clone());
        for _ in 0..10 {
            patience.wait(ENOUGH, || unreachable!("it is asked only while it waits"));
        }
        assert_eq!(clock.monotonic(), Monotonic::ZERO);
    }
}
