//! Whether a writer lets others join before it begins a transaction.

use std::time::Duration;

use crate::clock::{Clock, Monotonic};

/// Time between the beginnings of two transactions, where that brings company: an fsync is over sooner than that on many disks, and
/// each job would have one to itself.
const APART: Duration = Duration::from_millis(4);
/// So many do not wait for more: an fsync costs each of them little, and all of them wait for it.
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

    /// Waits where that is worth it; to be called before each transaction. `at_hand` is how many jobs it has already, and `gather`
    /// waits for so many more, or for so long, and says how long ago the last one came.
    pub(super) fn wait(&mut self, at_hand: usize, gather: impl FnOnce(usize, Duration) -> Duration) {
        let wait = self.soonest.saturating_sub(self.clock.monotonic());
        if !wait.is_zero() && at_hand < ENOUGH {
            if self.skip > 0 {
                self.skip -= 1;
            } else {
                let quiet_for = gather(ENOUGH - at_hand, wait);
                self.learn(quiet_for < wait / 2);
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
    use super::*;
    use crate::domain::Timestamp;

    /// How many of 1,000 transactions, one right after the other, waited, when the last one came so long before the end.
    fn waits(quiet_for: Duration) -> usize {
        let clock = Clock::manual(Timestamp::default());
        let mut patience = Patience::new(clock.clone());
        let mut waits = 0;
        for _ in 0..1_000 {
            patience.wait(1, |_, wait| {
                clock.advance(wait);
                waits += 1;
                quiet_for
            });
            clock.advance(Duration::from_micros(300));
        }
        waits
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
            patience.wait(1, |_, _| unreachable!("nobody came so soon"));
            clock.advance(APART + Duration::from_millis(1));
        }
    }

    #[test]
    fn it_waits_until_there_are_enough() {
        let mut patience = Patience::new(Clock::manual(Timestamp::default()));
        patience.wait(1, |_, _| unreachable!("nobody was before the first one"));
        for at_hand in [ENOUGH, 2 * ENOUGH] {
            patience.wait(at_hand, |_, _| unreachable!("they are enough"));
        }
        for at_hand in [1, ENOUGH - 1] {
            let mut wanted = 0;
            patience.wait(at_hand, |count, _| {
                wanted = count;
                Duration::ZERO
            });
            assert_eq!(at_hand + wanted, ENOUGH);
        }
    }
}
