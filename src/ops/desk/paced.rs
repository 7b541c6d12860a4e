//! What is looked at again and again, by many, and takes its time.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use crate::{
    clock::{Clock, Monotonic},
    store,
};

/// How old what was seen may be, where nothing else is said.
const FRESH: Duration = Duration::from_secs(1);
/// What part of the time looking takes, so that orders hardly notice: what takes long is looked at less often,
const PART: u32 = 100;
/// but every so often
const OLD: Duration = Duration::from_secs(10);
/// unless that took more than this part of the time;
const PART_MAX: u32 = 20;
/// and so often whatever it takes: nobody decides by what was long ago.
const OLD_MAX: Duration = Duration::from_secs(30);

/// The last look, shared by all who ask; a cheap handle.
pub(super) struct Paced<T> {
    last: Arc<Mutex<Option<Look<T>>>>,
    fresh: Duration,
}

struct Look<T> {
    ended: Monotonic,
    took: Duration,
    /// For how long it is good.
    lasts: Duration,
    seen: store::Result<T>,
}

impl<T> Default for Paced<T> {
    fn default() -> Self {
        Self::every(FRESH)
    }
}

impl<T> Paced<T> {
    /// What was seen may be so old.
    pub(super) fn every(fresh: Duration) -> Self {
        Self { last: Arc::default(), fresh }
    }
}

/// How long what was seen is good after a look that took so long.
fn pause_after(took: Duration) -> Duration {
    (took * PART).min(OLD.max(took * PART_MAX)).min(OLD_MAX)
}

impl<T: Clone + Send + 'static> Paced<T> {
    /// What was seen last, or what `look` sees now if that is too old: older than it may be, and than a multiple of the time that it took.
    /// A look that was begun is finished and counts, also when nobody waits for it any more.
    pub(super) async fn look(
        &self,
        pace: &Clock,
        look: impl Future<Output = store::Result<T>> + Send + 'static,
    ) -> store::Result<T> {
        let (last, fresh, pace) = (self.last.clone(), self.fresh, pace.clone());
        let looking = tokio::spawn(async move {
            let mut last = last.lock().await;
            if let Some(look) = &*last
                && pace.monotonic().saturating_sub(look.ended) < look.lasts
            {
                return look.seen.clone();
            }
            let begun = pace.monotonic();
            let seen = look.await;
            let ended = pace.monotonic();
            let took = ended.saturating_sub(begun);
            // one that took longer than the one before says more of the machine just then than of what there is to see
            let costs = last.as_ref().map_or(took, |before| before.took.min(took));
            // a store that is back is seen soon
            let lasts = if seen.is_ok() { fresh.max(pause_after(costs)) } else { FRESH };
            *last = Some(Look { ended, took, lasts, seen: seen.clone() });
            seen
        });
        looking.await.unwrap_or_else(|error| Err(store::Error::Unavailable(error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicU32, Ordering},
        task::Poll,
    };

    use super::*;
    use crate::domain::Timestamp;

    #[tokio::test]
    async fn a_look_that_nobody_waits_for_counts() {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let (paced, looks) = (Paced::default(), Arc::new(AtomicU32::new(0)));
        let look = || {
            let (time, looks) = (clock.clone(), looks.clone());
            paced.look(&clock, async move {
                let number = looks.fetch_add(1, Ordering::SeqCst);
                time.sleep(Duration::from_secs(6)).await;
                Ok(number)
            })
        };
        for _ in 0..3 {
            let mut asked = Box::pin(look());
            assert!(poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await);
            drop(asked); // who asked has gone
            while looks.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        }
        clock.advance(Duration::from_secs(6));
        assert_eq!(look().await.unwrap(), 0);
        clock.advance(OLD_MAX.saturating_sub(FRESH));
        assert_eq!(look().await.unwrap(), 0, "it took six seconds, so it is good for half a minute");
        assert_eq!(looks.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_machine_that_stood_still_once_is_looked_at_again_soon() {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let (paced, looks) = (Paced::default(), Arc::new(AtomicU32::new(0)));
        let look = |takes: u64| {
            let (time, looks) = (clock.clone(), looks.clone());
            paced.look(&clock, async move {
                time.advance(Duration::from_millis(takes));
                Ok(looks.fetch_add(1, Ordering::SeqCst))
            })
        };
        for (takes, pause) in [(5, FRESH), (8_000, FRESH), (5, FRESH), (20_000, FRESH), (20_000, OLD_MAX), (5, FRESH)] {
            let number = look(takes).await.unwrap();
            clock.advance(pause.saturating_sub(Duration::from_millis(1)));
            assert_eq!(look(5).await.unwrap(), number, "{takes} ms");
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(looks.load(Ordering::SeqCst), 6);
    }

    #[test]
    fn what_takes_long_is_looked_at_less_often() {
        for (took_ms, pause_ms) in
            [(5, 500), (40, 4_000), (100, 10_000), (400, 10_000), (1_000, 20_000), (10_000, 30_000)]
        {
            assert_eq!(pause_after(Duration::from_millis(took_ms)), Duration::from_millis(pause_ms));
        }
    }

    #[tokio::test]
    async fn a_look_that_fails_is_not_tried_again_by_each_who_waited() {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let (paced, looks) = (Paced::<()>::default(), Arc::new(AtomicU32::new(0)));
        let look = || {
            let looks = looks.clone();
            paced.look(&clock, async move {
                looks.fetch_add(1, Ordering::SeqCst);
                Err(store::Error::Unavailable("away".into()))
            })
        };
        for _ in 0..3 {
            look().await.unwrap_err();
        }
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        clock.advance(FRESH);
        look().await.unwrap_err();
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }
}
