//! Whether all orders are accounted for: what fulfilment has counted against what the store holds.

use std::time::Duration;

use crate::{clock::Monotonic, store::orders::OrderCounts};

/// Two looks further apart say nothing of the time between them.
const APART: Duration = Duration::from_mins(5);

/// Orders as fulfilment accounts for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Taken from the log.
    pub accepted: u64,
    /// Those of them that are finished, cancelled or refused.
    pub ended: u64,
    /// Records that became dead letters instead.
    pub dead: u64,
}

/// Reads accounts from what fulfilment commits with its offsets.
pub type ReadAccounts = fn(&str) -> Option<Accounts>;

impl Accounts {
    pub(super) const fn and(self, other: Self) -> Self {
        Self { accepted: self.accepted + other.accepted, ended: self.ended + other.ended, dead: self.dead + other.dead }
    }

    /// Orders that were accepted, and that the store does not hold.
    fn not_held(self, counts: &OrderCounts) -> u64 {
        self.accepted.saturating_sub(self.dead + counts.total)
    }
}

/// How the orders add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// What fulfilment had counted.
    pub accounts: Accounts,
    /// Orders that are on their way to the store.
    pub on_the_way: u64,
    /// Orders that were counted and never come to the store: an old service had done them, or they came again when they were
    /// no longer remembered.
    pub elsewhere: u64,
}

/// What only time tells of it.
#[derive(Debug, Default)]
pub(super) struct Books {
    elsewhere: u64,
    /// Orders that are missing, since when, and when that was seen last.
    odd: Option<(u64, Monotonic, Monotonic)>,
}

impl Books {
    /// Notes what fulfilment had counted before and after the store counted, and whether the store had been told everything by
    /// then that there was before.
    pub(super) fn note(
        &mut self,
        (before, after): (Accounts, Accounts),
        counts: &OrderCounts,
        is_told: bool,
        now: Monotonic,
    ) -> Sum {
        let not_held = before.not_held(counts);
        if is_told {
            let missing = missing(before, after, counts);
            let since =
                self.odd.filter(|(.., seen)| now.saturating_sub(*seen) <= APART).map_or(now, |(_, since, _)| since);
            self.odd = (missing > 0).then_some((missing, since, now));
            if before == after {
                self.elsewhere = not_held.saturating_sub(missing);
            }
        }
        let elsewhere = self.elsewhere.min(not_held);
        Sum { accounts: before, on_the_way: not_held - elsewhere, elsewhere }
    }

    /// How many orders are missing, and for how long they have been. What cannot be told now is as it was.
    pub(super) fn odd(&self, now: Monotonic) -> Option<(u64, Duration)> {
        let (missing, since, seen) = self.odd.filter(|(.., seen)| now.saturating_sub(*seen) <= APART)?;
        Some((missing, seen.saturating_sub(since)))
    }
}

/// Orders that are in flight for fulfilment and not for the store, at least. What happened while the store counted is taken to
/// its advantage: it may hold an order that came meanwhile, and have ended one that had not ended before.
fn missing(before: Accounts, after: Accounts, counts: &OrderCounts) -> u64 {
    let ours = before.accepted.saturating_sub(before.dead + after.ended);
    ours.saturating_sub(counts.total - counts.finished - counts.cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(accepted: u64, ended: u64, dead: u64) -> Accounts {
        Accounts { accepted, ended, dead }
    }

    fn counts(total: u64, finished: u64, cancelled: u64) -> OrderCounts {
        OrderCounts { total, finished, cancelled, ..OrderCounts::default() }
    }

    #[test]
    fn only_an_order_that_the_store_does_not_hold_is_missing() {
        let (quiet, before) = (|accounts| (accounts, accounts), accounts(10, 4, 1));
        for (accounts, counts, expected) in [
            (quiet(before), counts(9, 3, 1), 0),
            (quiet(before), counts(8, 3, 1), 1),
            // an old service had done three
            (quiet(accounts(13, 7, 1)), counts(9, 3, 1), 0),
            // one came again when it was forgotten, and ended again
            (quiet(accounts(11, 5, 1)), counts(9, 3, 1), 0),
            // meanwhile one ended, and one came
            ((before, accounts(11, 5, 1)), counts(10, 4, 1), 0),
            ((before, accounts(11, 5, 1)), counts(9, 4, 1), 0),
        ] {
            assert_eq!(missing(accounts.0, accounts.1, &counts), expected, "{accounts:?} {counts:?}");
        }
    }

    #[test]
    fn what_is_not_held_is_on_the_way_or_elsewhere() {
        let (mut books, second) = (Books::default(), |n| Monotonic::from_secs(n));
        let quiet = |accounts| (accounts, accounts);
        let shares = |sum: Sum| (sum.on_the_way, sum.elsewhere);
        // an old service had done two of five: known once the store was told everything
        assert_eq!(shares(books.note(quiet(accounts(5, 2, 0)), &counts(1, 0, 0), false, second(1))), (4, 0));
        assert_eq!(shares(books.note(quiet(accounts(5, 2, 0)), &counts(3, 0, 0), true, second(2))), (0, 2));
        assert_eq!(shares(books.note(quiet(accounts(6, 2, 0)), &counts(3, 0, 0), false, second(3))), (1, 2));
        assert_eq!(books.odd(second(3)), None);
        assert_eq!(shares(books.note(quiet(accounts(6, 2, 0)), &counts(3, 0, 0), true, second(4))), (1, 2), "missing");
        assert_eq!(books.odd(second(4)), Some((1, Duration::ZERO)));
    }

    #[test]
    fn orders_are_missing_for_as_long_as_that_was_seen() {
        let (mut books, second) = (Books::default(), |n| Monotonic::from_secs(n));
        let note = |books: &mut Books, held: u64, is_told: bool, at: u64| {
            let accounts = accounts(2, 0, 0);
            books.note((accounts, accounts), &counts(held, 0, 0), is_told, second(at));
            books.odd(second(at))
        };
        let odd = |seconds| Some((1, Duration::from_secs(seconds)));
        assert_eq!(note(&mut books, 1, true, 100), odd(0));
        assert_eq!(note(&mut books, 1, true, 105), odd(5));
        assert_eq!(note(&mut books, 1, false, 110), odd(5), "cannot be told");
        assert_eq!(note(&mut books, 1, true, 112), odd(12), "and is as it was");
        assert_eq!(note(&mut books, 1, true, 3_712), odd(0), "an hour later");
        assert_eq!(books.odd(second(3_713)), odd(0));
        assert_eq!(books.odd(second(9_000)), None);
        assert_eq!(note(&mut books, 2, true, 9_001), None);
    }
}
