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
const SHARE: Duration = Duration::from_millis(2);
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

    /// The share of one worker that sends them one behind the other, at most so many; nothing when there is nothing.
    pub(super) fn take(&self, most: usize) -> Vec<Mail> {
        let fitting = (SHARE.as_nanos() as u64).checked_div(self.pace.load(Ordering::Relaxed)).unwrap_or(1);
        self.take_most(most.min(fitting as usize).max(1))
    }

    /// As many as there are, up to this bound. What is sent together takes as long in smaller shares, each of them.
    pub(super) fn take_most(&self, most: usize) -> Vec<Mail> {
        let mut mails = self.mails();
        let share = mails.len().min(most);
        let taken = mails.drain(..share).collect();
        if !mails.is_empty() {
            self.more.notify_one();
        }
        taken
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::handover::tests::mail;

    fn queue(mails: u8) -> Queue {
        let queue = Queue::default();
        queue.push((1..=mails).map(mail).collect());
        queue
    }

    fn taken(queue: &Queue, most: usize) -> Vec<u8> {
        queue.take(most).iter().map(|mail| mail.id.seq).collect()
    }

    #[test]
    fn a_share_is_what_is_sent_in_a_moment_and_never_more_than_a_session_takes() {
        let queue = queue(9);
        assert_eq!(taken(&queue, 5), [1], "nobody knows yet how long one takes");
        queue.note(2, SHARE);
        assert_eq!(taken(&queue, 5), [2, 3]);
        assert_eq!(taken(&queue, 1), [4]);
        queue.note(1, SHARE * 100);
        assert_eq!(taken(&queue, 5), [5], "however slow they are, one is taken");
        let together = |most| queue.take_most(most).iter().map(|mail| mail.id.seq).collect::<Vec<_>>();
        assert_eq!(together(3), [6, 7, 8], "it takes as long for one");
        assert_eq!((together(3), taken(&queue, 5)), (vec![9], vec![]));
    }

    #[test]
    fn the_pace_follows_what_was_seen_last() {
        let queue = queue(1);
        queue.note(0, Duration::ZERO);
        assert_eq!(queue.pace.load(Ordering::Relaxed), 1, "0 is for none");
        (0..100).for_each(|_| queue.note(4, Duration::from_millis(8)));
        let pace = Duration::from_nanos(queue.pace.load(Ordering::Relaxed));
        assert!(pace > Duration::from_micros(1_990) && pace <= Duration::from_millis(2), "{pace:?}");
    }

    /// Whoever leaves something wakes one more; with nothing left nobody is woken.
    #[tokio::test]
    async fn as_many_workers_are_woken_as_there_are_shares() {
        let queue = queue(2);
        for expected in [[1], [2]] {
            queue.more().await;
            assert_eq!(taken(&queue, 5), expected);
        }
        assert!(!is_ready(queue.more()));
        queue.push(Vec::new());
        assert!(!is_ready(queue.more()), "nothing came");
    }

    fn is_ready(future: impl Future) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(future).poll(&mut context).is_ready()
    }
}
