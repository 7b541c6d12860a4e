//! The only place that reads the time.
//!
//! Two readings: wall time for what is written down, monotonic time for timers. A clock that tests drive by hand moves
//! both, or the wall alone (as when an operator sets a clock back).

use std::{
    pin::pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;

/// Monotonic time: passed since this clock was made.
pub type Monotonic = Duration;

/// A cheap handle to the time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { start: Instant },
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    reading: Mutex<Reading>,
    /// Wakes sleepers in the order in which they went to sleep, so that a simulation can be replayed.
    moved: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The wall time when monotonic time began: so that many short moves do not make the two drift apart.
    began: Timestamp,
    monotonic: Monotonic,
}

impl Reading {
    fn wall(self) -> Timestamp {
        self.began + self.monotonic
    }
}

/// The system's monotonic time, for what is measured and decides nothing.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
pub fn stopwatch() -> Instant {
    Instant::now()
}

impl Clock {
    /// The system's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn system() -> Self {
        Self(Source::System { start: Instant::now() })
    }

    /// A clock that stands at `wall` until it is moved.
    pub fn manual(wall: Timestamp) -> Self {
        let reading = Mutex::new(Reading { began: wall, monotonic: Duration::ZERO });
        Self(Source::Manual(Arc::new(Manual { reading, moved: Notify::new() })))
    }

    /// Wall time; may jump either way.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_millis(since_epoch.as_millis() as i64)
            }
            Source::Manual(manual) => manual.reading().wall(),
        }
    }

    /// Wall time passed since 1970, as exactly as it is known: for what is looked at and decides nothing.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn exactly(&self) -> Duration {
        match &self.0 {
            Source::System { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Source::Manual(manual) => manual.reading().wall().since(Timestamp::from_millis(0)),
        }
    }

    /// Monotonic time; never goes back.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn monotonic(&self) -> Monotonic {
        match &self.0 {
            Source::System { start } => Instant::now().duration_since(*start),
            Source::Manual(manual) => manual.reading().monotonic,
        }
    }

    /// For how long a thread may sleep by another clock before this one can be at `due`. One that is moved by hand can be
    /// there any time, so it is looked at often.
    pub fn until(&self, due: Monotonic) -> Duration {
        const LOOK: Duration = Duration::from_millis(20);
        let left = due.saturating_sub(self.monotonic());
        match &self.0 {
            Source::System { .. } => left,
            Source::Manual(_) => left.min(LOOK),
        }
    }

    /// Waits until this clock has moved on by `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.monotonic().saturating_add(duration)).await;
    }

    /// Waits until this clock is at `due`. Rounds that come at fixed times sleep by this: what is left of one is less once
    /// it has been reckoned.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits for the system clock")]
    pub async fn sleep_until(&self, due: Monotonic) {
        match &self.0 {
            Source::System { .. } => tokio::time::sleep(due.saturating_sub(self.monotonic())).await,
            Source::Manual(manual) => loop {
                // armed before the time is read, so that no move between reading and waiting is lost
                let mut moved = pin!(manual.moved.notified());
                moved.as_mut().enable();
                if manual.reading().monotonic >= due {
                    return;
                }
                moved.await;
            },
        }
    }

    /// Waits like [`Clock::sleep`], but not beyond a stop. Returns false when that came first.
    pub async fn sleep_unless(&self, stop: &CancellationToken, duration: Duration) -> bool {
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = self.sleep(duration) => true,
        }
    }

    /// Blocks the thread until this clock has moved on by `duration`. A manual clock is moved on by that itself: where
    /// one thread does everything, nobody else would.
    #[expect(clippy::disallowed_methods, reason = "the one place that blocks for the system clock")]
    pub fn park(&self, duration: Duration) {
        match &self.0 {
            Source::System { .. } => thread::park_timeout(duration),
            Source::Manual(_) => self.advance(duration),
        }
    }

    /// Blocks like [`Clock::park`], but no longer than while `condition` holds, which is asked again whenever `bell`
    /// rings.
    pub fn wait<'a, T>(
        &self,
        bell: &Condvar,
        guard: MutexGuard<'a, T>,
        duration: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        match &self.0 {
            Source::System { .. } => {
                bell.wait_timeout_while(guard, duration, condition).unwrap_or_else(PoisonError::into_inner).0
            }
            Source::Manual(_) => {
                self.advance(duration);
                guard
            }
        }
    }

    /// Moves a manual clock on, waking who waits.
    pub fn advance(&self, duration: Duration) {
        self.by_hand().set(|reading| reading.monotonic += duration);
    }

    /// Sets the wall time of a manual clock; monotonic time stays.
    pub fn set_wall(&self, wall: Timestamp) {
        self.by_hand().set(|reading| reading.began = wall - reading.monotonic);
    }

    fn by_hand(&self) -> &Manual {
        match &self.0 {
            Source::Manual(manual) => manual,
            Source::System { .. } => panic!("the system clock cannot be moved"),
        }
    }
}

impl Manual {
    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.reading());
        self.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_it_is_moved() {
        let clock = Clock::manual(Timestamp::from_millis(1_000));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(8)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(7));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.now(), Timestamp::from_millis(9_000));
        clock.set_wall(Timestamp::default());
        assert_eq!(clock.monotonic(), Duration::from_secs(8));
    }
}
