//! How many sessions a server is asked for at once: a few until it has taken mails, one more with each that it takes, and for a
//! while no more than it had when it refused one. Limits of servers are seldom known before they are met.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::OwnedNotified};
use tracing::info;

use super::handshake::ConnectError;
use crate::clock::Monotonic;

/// So many before a mail is taken: a login that fails, or a server that has just come back, meets no crowd.
const FIRST: usize = 4;
/// So long after a refusal one more session is tried.
const GROW_AFTER: Duration = Duration::from_mins(1);

pub(super) struct Seats(Arc<Inner>);

struct Inner {
    max: usize,
    state: Mutex<State>,
    /// Somebody has left, or a session is idle.
    freed: Arc<Notify>,
}

struct State {
    taken: usize,
    /// How many may be taken.
    limit: usize,
    /// How many the server takes, as far as is known, and since when.
    known: (usize, Monotonic),
    /// How often no session could be had at all, and why it was the last time.
    failures: (u64, Option<ConnectError>),
}

/// The place of one session, until this is dropped.
pub(super) struct Seat(Arc<Inner>);

impl Seats {
    pub(super) fn new(max: usize) -> Self {
        let state = State { taken: 0, limit: max.min(FIRST), known: (max, Monotonic::ZERO), failures: (0, None) };
        Self(Arc::new(Inner { max, state: Mutex::new(state), freed: Arc::default() }))
    }

    /// A place for one more session, if there is one.
    pub(super) fn take(&self, now: Monotonic) -> Option<Seat> {
        let mut state = self.0.state();
        let (known, since) = state.known;
        if known < self.0.max && now.saturating_sub(since) >= GROW_AFTER {
            state.known = (known + 1, now);
        }
        if state.taken >= state.limit {
            return None;
        }
        state.taken += 1;
        Some(Seat(self.0.clone()))
    }

    /// A place beyond the limit, for a look at the server.
    pub(super) fn extra(&self) -> Seat {
        self.0.state().taken += 1;
        Seat(self.0.clone())
    }

    /// The server refused one more session than are taken now. Returns whether there are any, which will come free.
    pub(super) fn shrink(&self, now: Monotonic) -> bool {
        let mut state = self.0.state();
        if state.taken == 0 {
            return false;
        }
        if state.taken < state.known.0 {
            info!(sessions = state.taken, "the mail server takes no more sessions at once");
        }
        state.known = (state.known.0.min(state.taken), now);
        state.limit = state.limit.min(state.known.0);
        true
    }

    /// A mail was taken.
    pub(super) fn grow(&self) {
        let mut state = self.0.state();
        state.limit = (state.limit + 1).min(state.known.0);
    }

    /// No session can be had: whoever waits for one hears of it, and does not try in turn.
    pub(super) fn fail(&self, error: &ConnectError) {
        let mut state = self.0.state();
        state.limit = state.known.0.min(FIRST);
        state.failures = (state.failures.0 + 1, Some(error.clone()));
        drop(state);
        self.0.freed.notify_waiters();
    }

    /// How often that was so.
    pub(super) fn failures(&self) -> u64 {
        self.0.state().failures.0
    }

    /// Why it was so the last time, if that was after so many times.
    pub(super) fn failure_since(&self, failures: u64) -> Option<ConnectError> {
        let (now, why) = &self.0.state().failures;
        why.clone().filter(|_| *now > failures)
    }

    /// Waits until somebody has left or is idle.
    pub(super) fn freed(&self) -> OwnedNotified {
        self.0.freed.clone().notified_owned()
    }

    /// A session is idle.
    pub(super) fn free_one(&self) {
        self.0.freed.notify_one();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // three numbers
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.state().taken -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(second: u64) -> Monotonic {
        Duration::from_secs(second)
    }

    fn take(seats: &Seats, second: u64) -> Vec<Seat> {
        std::iter::from_fn(|| seats.take(at(second))).collect()
    }

    #[test]
    fn sessions_grow_with_what_is_taken_and_start_anew_after_an_outage() {
        let seats = Seats::new(6);
        assert_eq!(take(&seats, 0).len(), FIRST);
        seats.grow();
        assert_eq!(take(&seats, 0).len(), FIRST + 1);
        (0..9).for_each(|_| seats.grow());
        assert_eq!(take(&seats, 0).len(), 6, "the bound");
        let before = seats.failures();
        seats.fail(&ConnectError::Denied("535".into()));
        assert!(seats.failure_since(before).is_some() && seats.failure_since(before + 1).is_none());
        assert_eq!(take(&seats, 0).len(), FIRST);
        assert_eq!(take(&Seats::new(2), 0).len(), 2);
    }

    #[test]
    fn a_server_that_refuses_one_more_is_asked_for_it_a_minute_later() {
        let seats = Seats::new(4);
        let mut taken = take(&seats, 0);
        taken.truncate(2);
        assert!(seats.shrink(at(10)));
        seats.grow();
        assert_eq!(take(&seats, 69).len(), 0);
        assert_eq!(take(&seats, 70).len(), 0, "it may have one more, once it has taken a mail again");
        seats.grow();
        assert_eq!(take(&seats, 71).len(), 1);
        drop(taken);
        assert!(!seats.shrink(at(80)), "nobody comes free: the server takes nobody");
    }
}
