use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Watched;
use crate::{
    env::Env,
    eventlog::{self, EventLog, Lag},
};

/// Shortest pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A look takes at most this part of the time: on a cluster it is a few requests to several brokers.
const LOOK_SHARE: u32 = 20;
/// Longest pause, however slow the log answers; orders taken meanwhile may go beyond the limit.
const LOOK_AT_LEAST: Duration = Duration::from_secs(2);
/// The same while nothing waits and nobody orders.
const LOOK_IDLE: Duration = Duration::from_secs(10);

/// The gate that is shut while those who read the orders are too far behind: what is accepted must still be in time.
pub(super) struct Admission {
    log: Arc<dyn EventLog>,
    env: Env,
    watched: Vec<Watched>,
    backlog_max: u64,
    shut: AtomicBool,
    /// Wakes whoever looks: somebody wants to order.
    asked: Notify,
    backlog: Gauge,
}

impl Admission {
    pub(super) fn new(
        log: Arc<dyn EventLog>,
        env: Env,
        watched: Vec<Watched>,
        backlog_max: u64,
        backlog: Gauge,
    ) -> Self {
        let (shut, asked) = (AtomicBool::new(false), Notify::new());
        Self { log, env, watched, backlog_max, shut, asked, backlog }
    }

    pub(super) fn is_open(&self) -> bool {
        self.asked.notify_one();
        !self.shut.load(Ordering::Relaxed)
    }

    /// Looks now and then, until `stop`: seldom while nothing waits and nobody asks.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut failed = false;
        while !self.watched.is_empty() {
            let begun = self.env.pace.monotonic();
            let look = tokio::task::spawn_blocking({
                let this = self.clone();
                move || largest_backlog(&*this.log, &this.watched)
            });
            match look.await {
                Ok(Ok(backlog)) => {
                    failed = false;
                    self.judge(backlog);
                }
                // the gate stays as it is: when the log is away, its own refusals speak
                Ok(Err(error)) if !failed => {
                    failed = true;
                    tracing::warn!(%error, "cannot read the lag of the consumers");
                }
                Ok(Err(_)) => {}
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
            let took = self.env.pace.monotonic().saturating_sub(begun);
            let pause = (took * LOOK_SHARE).clamp(LOOK_EVERY, LOOK_AT_LEAST);
            if self.backlog.get() == 0 {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.asked.notified() => {}
                    () = self.env.clock.sleep(LOOK_IDLE) => {}
                }
            }
            if !self.env.clock.sleep_unless(&stop, pause).await {
                return;
            }
        }
        stop.cancelled().await;
    }

    /// Shuts above the limit and opens at three quarters of it, so that it does not flutter in between.
    fn judge(&self, backlog: u64) {
        self.backlog.set(backlog as i64);
        let was_open = !self.shut.load(Ordering::Relaxed);
        if was_open && backlog > self.backlog_max {
            self.shut.store(true, Ordering::Relaxed);
            tracing::warn!(backlog, limit = self.backlog_max, "new orders are refused until the consumers catch up");
        } else if !was_open && backlog <= self.backlog_max - self.backlog_max.div_ceil(4) {
            self.shut.store(false, Ordering::Relaxed);
            tracing::info!(backlog, "new orders are accepted again");
        }
    }
}

/// Records that a group has still to read of a topic; the largest of what is watched.
fn largest_backlog(log: &dyn EventLog, watched: &[Watched]) -> eventlog::Result<u64> {
    let mut largest = 0;
    for Watched { group, topic } in watched {
        let lags = log.lag(group, &[topic])?;
        largest = largest.max(lags.iter().map(Lag::records).sum());
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        domain::Timestamp,
        eventlog::sqlite::{Options, SqliteLog},
    };

    fn gate(backlog_max: u64) -> Admission {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap();
        let env = Env::simulated(Clock::manual(Timestamp::default()), 0);
        Admission::new(Arc::new(log), env, Vec::new(), backlog_max, Gauge::default())
    }

    #[test]
    fn shuts_above_the_limit_and_opens_at_three_quarters() {
        let gate = gate(100);
        for (backlog, open) in
            [(0, true), (100, true), (101, false), (100, false), (76, false), (75, true), (100, true)]
        {
            gate.judge(backlog);
            assert_eq!(gate.is_open(), open, "at {backlog}");
        }
    }

    #[test]
    fn a_small_limit_does_not_keep_the_gate_shut_for_ever() {
        for limit in 0..=4 {
            let gate = gate(limit);
            gate.judge(limit + 1);
            assert!(!gate.is_open(), "limit {limit}");
            gate.judge(0);
            assert!(gate.is_open(), "limit {limit}");
        }
    }
}
