use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::clock::{Clock, Monotonic};

/// Spaces mails evenly, over all connections, for a relay that takes only so many a second.
pub(super) struct Rate {
    clock: Clock,
    gap: Duration,
    next: Mutex<Monotonic>,
}

impl Rate {
    pub(super) fn new(per_second: NonZeroU32, clock: Clock) -> Self {
        Self { clock, gap: Duration::from_secs(1) / per_second.get(), next: Mutex::default() }
    }

    /// Waits for this mail's turn. Time in which nothing was sent is not made up for.
    pub(super) async fn turn(&self) {
        let now = self.clock.monotonic();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner); // it is assigned whole
            let turn = (*next).max(now);
            *next = turn + self.gap;
            turn
        };
        if turn > now {
            self.clock.sleep(turn.saturating_sub(now)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[tokio::test]
    async fn turns_are_evenly_spaced_and_not_saved_up() {
        let clock = Clock::manual(Timestamp::default());
        let rate = Rate::new(NonZeroU32::new(10).unwrap(), clock.clone());
        clock.advance(Duration::from_mins(1));
        rate.turn().await; // at once
        for _ in 0..3 {
            let turn = rate.turn();
            tokio::pin!(turn);
            let waits = tokio::select! { biased; () = &mut turn => false, () = std::future::ready(()) => true };
            assert!(waits, "no turn before its time");
            clock.advance(Duration::from_millis(100));
            turn.await;
        }
    }
}
