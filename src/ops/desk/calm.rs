//! Since when nothing has needed attention, as far as this process has looked.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{clock::Monotonic, domain::Timestamp};

/// How often is looked while nobody has a page open: what needs attention for less than this may be missed.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// Whoever has not looked for so long (a machine that slept) does not know what was meanwhile.
const UNSEEN_MAX: Duration = Duration::from_mins(2);
/// Below this it goes without saying.
const WORTH_SAYING: Duration = Duration::from_mins(1);

/// What the looks told so far.
#[derive(Default)]
pub(super) struct Calm(Mutex<Option<Seen>>);

struct Seen {
    /// The first look of those that found all well, one after the other.
    since: Timestamp,
    looked: Monotonic,
}

impl Calm {
    /// Notes what a look found.
    pub(super) fn note(&self, is_well: bool, at: Timestamp, now: Monotonic) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.take().filter(|seen| now.saturating_sub(seen.looked) <= UNSEEN_MAX);
        *seen = is_well.then(|| Seen { since: before.map_or(at, |seen| seen.since), looked: now });
    }

    /// Since when all has been well, once that is worth saying.
    pub(super) fn since(&self, at: Timestamp) -> Option<Timestamp> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(|seen| seen.since).filter(|since| at.since(*since) >= WORTH_SAYING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_well_since_the_first_look_that_found_it_so() {
        let calm = Calm::default();
        let at = |seconds: i64| (Timestamp::from_millis(seconds * 1_000), Duration::from_secs(seconds.unsigned_abs()));
        let note = |is_well, seconds| {
            let (time, now) = at(seconds);
            calm.note(is_well, time, now);
            calm.since(time)
        };
        assert_eq!(note(true, 0), None);
        assert_eq!(note(true, 30), None, "that goes without saying");
        assert_eq!(note(true, 60), Some(at(0).0));
        assert_eq!(note(true, 180), Some(at(0).0));
        assert_eq!(note(false, 181), None);
        assert_eq!(note(true, 182), None);
        assert_eq!(note(true, 242), Some(at(182).0));
        assert_eq!(note(true, 363), None, "nobody looked for more than two minutes");
        assert_eq!(note(true, 423), Some(at(363).0));
    }
}
