//! What waits for a writer, and for its answers. Both sleep at once when there is nothing: a writer has work so seldom, and an
//! fsync takes so long, that looking again and again before that, as channels do, costs more than the sleep.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::clock::stopwatch;

/// Items for one taker, who takes all there are.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    pushed: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    /// When the last one came.
    pushed_at: Instant,
    /// Those that wait for others.
    patient: Vec<T>,
    /// Whether the taker sleeps: a bell that nobody hears costs a system call all the same.
    is_awaited: bool,
    is_closed: bool,
}

impl<T> State<T> {
    fn take(&mut self) -> VecDeque<T> {
        let mut items = std::mem::take(&mut self.items);
        for patient in self.patient.drain(..).rev() {
            items.push_front(patient);
        }
        items
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let state = State {
            items: VecDeque::new(),
            pushed_at: stopwatch(),
            patient: Vec::new(),
            is_awaited: false,
            is_closed: false,
        };
        Self { state: Mutex::new(state), pushed: Condvar::new() }
    }
}

impl<T> Queue<T> {
    /// `false` when nobody takes it any more.
    pub(super) fn push(&self, item: T) -> bool {
        let mut state = self.state();
        if !state.is_closed {
            state.items.push_back(item);
            state.pushed_at = stopwatch();
            if std::mem::take(&mut state.is_awaited) {
                self.pushed.notify_one();
            }
        }
        !state.is_closed
    }

    /// The same for one that waits until there are others, and goes before them.
    pub(super) fn push_patient(&self, item: T) -> bool {
        let mut state = self.state();
        if !state.is_closed {
            state.patient.push(item);
        }
        !state.is_closed
    }

    /// Waits until there is something, and takes it all; nothing once the queue is closed and empty.
    pub(super) fn take(&self) -> VecDeque<T> {
        let mut state = self.state();
        while state.items.is_empty() && !state.is_closed {
            state.is_awaited = true;
            state = self.pushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_awaited = false;
        state.take()
    }

    /// The same without waiting: nothing when nobody is there but those who wait for others.
    pub(super) fn try_take(&self) -> VecDeque<T> {
        let mut state = self.state();
        if state.items.is_empty() { VecDeque::new() } else { state.take() }
    }

    /// How long ago the last one came, those apart that wait for others.
    pub(super) fn quiet_for(&self) -> Duration {
        self.state().pushed_at.elapsed()
    }

    /// Takes no more. What is there can still be taken.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.pushed.notify_one();
    }

    /// Forgets what is there.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        let (items, patient) = (std::mem::take(&mut state.items), std::mem::take(&mut state.patient));
        drop(state);
        drop((items, patient)); // whoever waits for one hears of it
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // each change is one call
    }
}

/// An answer that a thread waits for.
pub fn answer<T>() -> (Reply<T>, Answer<T>) {
    let shared = Arc::new((Mutex::new(Given::Nothing), Condvar::new()));
    (Reply(shared.clone()), Answer(shared))
}

type Shared<T> = Arc<(Mutex<Given<T>>, Condvar)>;

enum Given<T> {
    Nothing,
    Answer(T),
    Gone,
}

/// Gives the answer.
pub struct Reply<T>(Shared<T>);

/// Waits for it.
pub struct Answer<T>(Shared<T>);

impl<T> Reply<T> {
    /// Gives it; nobody may wait for it any more.
    pub fn send(self, answer: T) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Given::Answer(answer);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut given = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Given::Nothing = *given {
            *given = Given::Gone;
        }
        self.0.1.notify_one();
    }
}

impl<T> Answer<T> {
    /// The answer; `None` when there will be none.
    pub fn wait(self) -> Option<T> {
        let (given, changed) = &*self.0;
        let given = given.lock().unwrap_or_else(PoisonError::into_inner);
        let is_waiting = |given: &mut Given<T>| matches!(given, Given::Nothing);
        let mut given = changed.wait_while(given, is_waiting).unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *given, Given::Gone) {
            Given::Answer(answer) => Some(answer),
            Given::Nothing | Given::Gone => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_others_goes_before_them_and_wakes_nobody() {
        let queue = Queue::default();
        assert!(queue.push_patient(1));
        assert!(queue.try_take().is_empty());
        assert!(queue.push(2) && queue.push(3));
        assert_eq!(queue.take(), [1, 2, 3]);
        assert!(queue.push_patient(1) && queue.push(2));
        assert_eq!(queue.try_take(), [1, 2], "whoever was to call it to join is not taken without it");
        assert!(queue.push_patient(4));
        queue.close();
        assert!(!queue.push(5) && !queue.push_patient(6));
        assert_eq!(queue.take(), [4]);
        assert!(queue.take().is_empty());
    }

    #[test]
    fn a_taker_that_sleeps_is_woken_each_time() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            for item in 0..100 {
                let taken = scope.spawn(|| queue.take());
                assert!(queue.push(item));
                assert_eq!(taken.join().unwrap(), [item]);
            }
            let taken = scope.spawn(|| queue.take());
            queue.close();
            assert!(taken.join().unwrap().is_empty());
        });
    }

    #[test]
    fn whoever_waits_hears_of_the_answer_or_that_there_will_be_none() {
        let (reply, waiting) = answer();
        let thread = std::thread::spawn(move || waiting.wait());
        reply.send(1);
        assert_eq!(thread.join().unwrap(), Some(1));
        let (reply, waiting) = answer::<u8>();
        let thread = std::thread::spawn(move || waiting.wait());
        drop(reply);
        assert_eq!(thread.join().unwrap(), None);
    }
}
