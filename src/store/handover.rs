//! What passes from the projection to the mailer of the same process: mails that were leased for it as they were made, and
//! the word that there may be more in the ledger.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use super::ledger::{Leasing, Mail};
use crate::clock::{Clock, Monotonic};

/// One for each process; a cheap handle.
#[derive(Clone, Default)]
pub struct Handover(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    /// Whether there is a mailer that takes mails.
    is_open: bool,
    /// How many it can take.
    room: usize,
    /// How many of these are asked for already.
    granted: usize,
    lease: Duration,
    handed: Vec<Handed>,
    is_called: bool,
}

/// Mails that may be leased for the mailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// How many, and until when.
    pub leasing: Leasing,
    /// The end of the leases on the clock that does not jump.
    pub expires: Monotonic,
}

/// Mails that were.
#[derive(Debug)]
pub struct Handed {
    /// Which.
    pub mails: Vec<Mail>,
    /// Until when.
    pub grant: Grant,
}

impl Handover {
    /// There may be mails in the ledger that are due: the mailer looks.
    pub fn call(&self) {
        self.state().is_called = true;
        self.0.bell.notify_one();
    }

    /// How many mails may be leased for the mailer, and from now on until when; `None` when it has to find them itself. A
    /// grant that was not used is void with the next one.
    pub fn grant(&self, clock: &Clock) -> Option<Grant> {
        let mut state = self.state();
        let limit = state.room + state.granted;
        if !state.is_open || limit == 0 {
            return None;
        }
        (state.room, state.granted) = (0, limit);
        let leasing = Leasing { until: clock.now() + state.lease, limit };
        Some(Grant { leasing, expires: clock.monotonic() + state.lease })
    }

    /// Hands over what was leased by a grant. As many as were granted means that there may be more.
    pub fn hand(&self, grant: Grant, mails: Vec<Mail>) {
        let mut state = self.state();
        state.granted = 0;
        state.room += grant.leasing.limit.saturating_sub(mails.len());
        state.is_called |= mails.len() >= grant.leasing.limit;
        if !mails.is_empty() {
            state.handed.push(Handed { mails, grant });
        }
        if !state.handed.is_empty() || !state.is_open {
            self.0.bell.notify_one();
        }
    }

    /// The mailer can take so many mails, counting those that are granted, and wants them for so long.
    pub fn offer(&self, room: usize, lease: Duration) {
        let mut state = self.state();
        state.room = room.saturating_sub(state.granted);
        (state.lease, state.is_open) = (lease, true);
    }

    /// What was handed over, and whether the mailer was called to look into the ledger.
    pub fn take(&self) -> (Vec<Handed>, bool) {
        let mut state = self.state();
        (std::mem::take(&mut state.handed), std::mem::take(&mut state.is_called))
    }

    /// Waits until there is something to take.
    pub fn rung(&self) -> Notified<'_> {
        self.0.bell.notified()
    }

    /// Nothing more is granted; waits until what was has been handed over.
    pub async fn close(&self) {
        self.state().is_open = false;
        loop {
            let rung = self.rung();
            if self.state().granted == 0 {
                return;
            }
            rung.await;
        }
    }

    /// The mailer is gone: the leases of what it has not taken run out.
    pub fn abandon(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner) // numbers and lists, changed by single calls
    }
}

#[cfg(test)]
pub(crate) mod tests;
