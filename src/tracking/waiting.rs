//! What is before an order that is taken and cannot be shown yet.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use crate::{
    clock::{Clock, Monotonic},
    eventlog::{self, EventLog, Pace, Progress},
};

/// However many ask, the log is looked at no more often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What an order waits for, at most: some of that may have come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue {
    /// Orders that fulfilment has not read.
    pub(super) orders: u64,
    /// Seconds until all is read that waits now, at the pace of now; unknown where nothing is read.
    pub(super) wait_s: Option<u32>,
}

/// Looks at those who must read an order before it is shown.
pub(super) struct Waiting {
    log: Arc<dyn EventLog>,
    clock: Clock,
    /// Group and topic of each, in the order in which an order meets them.
    readers: Vec<(String, String)>,
    pace: Mutex<(Option<Monotonic>, Pace)>,
}

impl Waiting {
    pub(super) fn new(log: Arc<dyn EventLog>, clock: Clock, readers: Vec<(String, String)>) -> Self {
        Self { log, clock, readers, pace: Mutex::default() }
    }

    /// What waits; nothing when all is read, or nobody can tell.
    pub(super) async fn queue(&self) -> Option<Queue> {
        let mut looked = self.pace.lock().await;
        let now = self.clock.monotonic();
        if looked.0.is_none_or(|then| now.saturating_sub(then) >= LOOK_EVERY) {
            let (log, readers) = (self.log.clone(), self.readers.clone());
            let seen = tokio::task::spawn_blocking(move || look(&*log, &readers)).await;
            let seen = seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            let seen = seen.inspect_err(|error| tracing::debug!(%error, "cannot see what waits")).ok()?;
            looked.1.note(now, &seen);
            looked.0 = Some(now);
        }
        queue(looked.1.groups())
    }
}

fn look(log: &dyn EventLog, readers: &[(String, String)]) -> eventlog::Result<Vec<Progress>> {
    readers.iter().map(|(group, topic)| Progress::of(log, group, topic)).collect()
}

fn queue(groups: &[(Progress, Option<f64>)]) -> Option<Queue> {
    let busy: Vec<_> = groups.iter().filter(|(progress, _)| progress.waiting() > 0).collect();
    let orders = groups.first()?.0.waiting();
    let seconds = busy.iter().map(|(progress, rate)| Some(progress.waiting() as f64 / (*rate)?)).sum::<Option<f64>>();
    let wait_s = seconds.filter(|seconds| seconds.is_finite()).map(|seconds| seconds.ceil() as u32);
    (!busy.is_empty()).then_some(Queue { orders, wait_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_waits_for_one_reader_after_the_other() {
        let group = |waiting: u64, rate| (Progress { next: 10, end: 10 + waiting }, rate);
        let wait_s = |groups: &[_]| queue(groups).map(|queue| (queue.orders, queue.wait_s));
        assert_eq!(wait_s(&[group(0, Some(5.0)), group(0, None)]), None);
        assert_eq!(wait_s(&[group(900, Some(100.0)), group(45, Some(10.0))]), Some((900, Some(14))));
        assert_eq!(
            wait_s(&[group(0, None), group(45, Some(10.0))]),
            Some((0, Some(5))),
            "who has read all is no matter"
        );
        assert_eq!(wait_s(&[group(9, Some(0.0)), group(0, None)]), Some((9, None)), "it stands still");
        assert_eq!(wait_s(&[group(9, None)]), Some((9, None)));
    }
}
