use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Watched,
    shares::{Client, Queue, Shares},
};
use crate::{
    env::Env,
    eventlog::{self, EventLog, Progress},
};

/// Shortest pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A look takes at most this part of the time: on a cluster it is a few requests to several brokers.
const LOOK_SHARE: u32 = 20;
/// Longest pause, however slow the log answers; orders taken meanwhile may go beyond the limit.
const LOOK_AT_LEAST: Duration = Duration::from_secs(2);
/// The same while nothing waits and nobody orders.
const LOOK_IDLE: Duration = Duration::from_secs(10);

/// The gate that is shut while those who read the orders are too far behind: what is accepted must still be in time. Before
/// that, who fills it gets no more than a share.
pub(super) struct Admission {
    log: Arc<dyn EventLog>,
    env: Env,
    watched: Vec<Watched>,
    backlog_max: u64,
    shut: AtomicBool,
    shares: Mutex<Shares>,
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
        let shares = Mutex::new(Shares::new(backlog_max));
        Self { log, env, watched, backlog_max, shut, shares, asked, backlog }
    }

    /// Whether anybody's order may come in; otherwise what it would have to wait for.
    pub(super) fn open(&self, client: Option<Client>) -> Result<(), Queue> {
        self.asked.notify_one();
        if self.shut.load(Ordering::Relaxed) {
            return Err(self.shares().queue(client, self.reopens_at()));
        }
        Ok(())
    }

    /// Whether a client has its share of what may wait already.
    pub(super) fn share(&self, client: Client) -> Result<(), Queue> {
        self.shares().check(client)
    }

    /// Counts an order that is let in. Nobody looks where nothing is watched, so nothing is counted there.
    pub(super) fn count(&self, client: Option<Client>) {
        if !self.watched.is_empty() {
            self.shares().count(client);
        }
    }

    /// Looks now and then, until `stop`: seldom while nothing waits and nobody asks.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut failed = false;
        while !self.watched.is_empty() {
            let begun = self.env.pace.monotonic();
            self.shares().begin_look();
            let look = tokio::task::spawn_blocking({
                let this = self.clone();
                move || progress(&*this.log, &this.watched)
            });
            match look.await {
                Ok(Ok(seen)) => {
                    failed = false;
                    let backlog = seen.iter().map(|progress| progress.waiting()).max().unwrap_or_default();
                    self.shares().looked(self.env.pace.monotonic(), &seen);
                    self.judge(backlog);
                }
                // the gate stays as it is: when the log is away, its own refusals speak
                Ok(Err(error)) => {
                    if !failed {
                        tracing::warn!(%error, "cannot read the lag of the consumers");
                    }
                    failed = true;
                    self.shares().forget();
                }
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
        } else if !was_open && backlog <= self.reopens_at() {
            self.shut.store(false, Ordering::Relaxed);
            tracing::info!(backlog, "new orders are accepted again");
        }
    }

    fn reopens_at(&self) -> u64 {
        self.backlog_max - self.backlog_max.div_ceil(4)
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner) // whole after each step
    }
}

/// How far each of the watched groups has read its topic.
fn progress(log: &dyn EventLog, watched: &[Watched]) -> eventlog::Result<Vec<Progress>> {
    watched.iter().map(|Watched { group, topic }| Progress::of(log, group, topic)).collect()
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
            assert_eq!(gate.open(None).is_ok(), open, "at {backlog}");
        }
    }

    #[test]
    fn a_small_limit_does_not_keep_the_gate_shut_for_ever() {
        for limit in 0..=4 {
            let gate = gate(limit);
            gate.judge(limit + 1);
            assert!(gate.open(None).is_err(), "limit {limit}");
            gate.judge(0);
            assert!(gate.open(None).is_ok(), "limit {limit}");
        }
    }
}
