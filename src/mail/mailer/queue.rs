//! Leased mails wait for a worker: one queue for all of them, for with one each, mails would wait behind a slow one while
//! others are idle. How many take from it follows from how much is in it: whoever leaves something wakes one more.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::store::ledger::Mail;

/// What a worker takes at once should be sent after about so long: others are there to take the rest.
const SHARE: Duration = Duration::from_millis(20);
/// A mail's time counts for this part of the mean.
const WEIGHT: u64 = 8;

#[derive(Default)]
pub(super) struct Queue {
    mails: Mutex<VecDeque<Mail>>,
    /// Somebody is to take.
    more: Notify,
    /// Nanoseconds that a mail takes; 0 before the first.
    pace: AtomicU64,
}

impl Queue {
    pub(super) fn push(&self, mails: Vec<Mail>) {
        if !mails.is_empty() {
            self.mails().extend(mails);
            self.more.notify_one();
        }
    }

    /// The share of one worker, at most so many; nothing when there is nothing.
    pub(super) fn take(&self, most: usize) -> Vec<Mail> {
        let fitting = (SHARE.as_nanos() as u64).checked_div(self.pace.load(Ordering::Relaxed)).unwrap_or(1);
        let most = most.min(fitting as usize).max(1);
        let mut mails = self.mails();
        let share = mails.len().min(most);
        let taken = mails.drain(..share).collect();
        if !mails.is_empty() {
            self.more.notify_one();
        }
        taken
    }

    /// All that nobody has taken.
    pub(super) fn take_all(&self) -> Vec<Mail> {
        self.mails().drain(..).collect()
    }

    /// Waits until there may be something to take.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// So many mails were sent in that time, one behind the other.
    pub(super) fn note(&self, mails: usize, time: Duration) {
        let each = (time.as_nanos() as u64 / mails.max(1) as u64).max(1);
        let mean = |pace: u64| if pace == 0 { each } else { (pace * (WEIGHT - 1) + each) / WEIGHT };
        let _ = self.pace.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pace| Some(mean(pace).max(1)));
    }

    fn mails(&self) -> MutexGuard<'_, VecDeque<Mail>> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner) // each change is one call
    }
}
