//! For how long tasks of a kind are busy: the system counts the time of a thread, and these share theirs.
//!
//! It is counted for the process, as its CPU time is. Where more threads are ready than there are cores, the time that others take
//! in between counts, too: what the kinds spend is their shares of the CPU time of the threads.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::clock::stopwatch;

/// What tasks are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Connections of the listeners.
    Http,
    /// Composing mails, and sending them.
    Mail,
}

/// Nanoseconds, by kind.
static BUSY: [AtomicU64; Kind::ALL.len()] = [const { AtomicU64::new(0) }; Kind::ALL.len()];

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Http, Self::Mail];

    /// For labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mail => "mail",
        }
    }

    /// For how long its tasks were busy so far.
    pub fn busy(self) -> Duration {
        Duration::from_nanos(BUSY[self as usize].load(Relaxed))
    }

    /// The same task, whose time counts.
    pub async fn count<F: Future>(self, task: F) -> F::Output {
        let mut task = pin!(task);
        poll_fn(|context| {
            let began = stopwatch();
            let polled = task.as_mut().poll(context);
            BUSY[self as usize].fetch_add(began.elapsed().as_nanos() as u64, Relaxed);
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_time_of_each_turn_of_a_task_counts() {
        let before = Kind::Mail.busy();
        let task = async {
            let began = stopwatch();
            while began.elapsed() < Duration::from_millis(2) {}
            tokio::task::yield_now().await;
            while began.elapsed() < Duration::from_millis(4) {}
            "done"
        };
        assert_eq!(Kind::Mail.count(task).await, "done");
        let busy = Kind::Mail.busy().saturating_sub(before);
        assert!(busy > Duration::from_millis(2), "{busy:?}");
    }
}
