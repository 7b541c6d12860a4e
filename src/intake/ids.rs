//! Order ids without a service of their own: the ids topic, which has one partition, gives each of its offsets to one intake;
//! offset + 1 is an id. So ids are 1, 2, 3, …, never repeat, and any number of intakes can share the topic.
//! A gap is left by a crash, and by a request that was refused or went away after it got its id.
//!
//! Ids come in blocks, one write each. The block is one id while orders are rare (a small shop sees 1, 2, 3, also over
//! restarts), doubles as long as refills follow each other quickly, and is then fetched ahead of need.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Monotonic},
    domain::OrderId,
    eventlog::{self, EventLog, TopicPartition},
};

/// Most ids of one block.
const BLOCK_MAX: usize = 1_024;
/// Refills that follow each other faster double the block.
const BUSY: Duration = Duration::from_millis(250);
/// Refills that are further apart than this start again with single ids, others in between halve the block.
const QUIET: Duration = Duration::from_secs(1);
/// Used-up records of the ids topic are deleted when there are this many.
const DELETE_EVERY: u64 = 100_000;

/// Why there is no id; certain is that none was used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The log has too much to write already.
    #[error("the event log is overloaded")]
    Overloaded,
    /// The log cannot give any now.
    #[error(transparent)]
    Unavailable(Arc<eventlog::Error>),
    /// The intake is stopping.
    #[error("the intake is stopping")]
    Stopping,
}

impl From<eventlog::Error> for Error {
    fn from(error: eventlog::Error) -> Self {
        match error {
            eventlog::Error::Overloaded(_) => Self::Overloaded,
            other => Self::Unavailable(Arc::new(other)),
        }
    }
}

type Answer = Result<OrderId, Error>;

/// Where requests get their ids; a cheap handle.
#[derive(Clone)]
pub struct Ids(Arc<Shared>);

struct Shared {
    log: Arc<dyn EventLog>,
    clock: Clock,
    topic: String,
    pool: Mutex<Pool>,
    wanted: Notify,
    /// One past the last id that was given out.
    end: watch::Sender<u64>,
}

#[derive(Default)]
struct Pool {
    ready: VecDeque<OrderId>,
    waiting: VecDeque<oneshot::Sender<Answer>>,
    /// Ids to fetch at once.
    block: usize,
    refilled_at: Monotonic,
    stopped: bool,
}

impl Ids {
    /// Ids from a topic, which must have one partition. [`Ids::refill`] must run beside.
    pub fn new(log: Arc<dyn EventLog>, clock: Clock, topic: String) -> Self {
        let pool = Mutex::new(Pool { block: 1, ..Pool::default() });
        Self(Arc::new(Shared { log, clock, topic, pool, wanted: Notify::new(), end: watch::Sender::new(0) }))
    }

    /// The next id; first come, first served.
    pub async fn take(&self) -> Answer {
        let answer = {
            let mut pool = self.0.pool();
            if pool.stopped {
                return Err(stopping());
            }
            if let Some(id) = pool.ready.pop_front() {
                if pool.missing() > 0 {
                    self.0.wanted.notify_one();
                }
                return Ok(id);
            }
            let (reply, answer) = oneshot::channel();
            pool.waiting.push_back(reply);
            answer
        };
        self.0.wanted.notify_one();
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Takes back an id that certainly nobody has seen.
    pub fn put_back(&self, id: OrderId) {
        self.0.pool().hand_out([id].into(), |pool, id| pool.ready.push_front(id));
    }

    /// How far ids were given out by us, for who notes that.
    pub(super) fn end(&self) -> watch::Receiver<u64> {
        self.0.end.subscribe()
    }

    /// Fetches ids until `stop`; then who waits is refused.
    pub async fn refill(self, stop: CancellationToken) {
        let mut deleting: Option<JoinHandle<()>> = None;
        let mut deleted = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.0.wanted.notified() => {}
            }
            while let Some(count) = self.0.next_block() {
                let last = self.0.fetch(count).await;
                if last > deleted + DELETE_EVERY && deleting.as_ref().is_none_or(JoinHandle::is_finished) {
                    deleted = last;
                    deleting = Some(self.delete_before(last));
                }
            }
        }
        let mut pool = self.0.pool();
        pool.stopped = true;
        pool.refuse(&stopping());
    }

    /// The record at `last` itself stays, so that the topic is never empty.
    fn delete_before(&self, last: u64) -> JoinHandle<()> {
        let shared = self.0.clone();
        tokio::task::spawn_blocking(move || {
            let partition = TopicPartition { topic: shared.topic.clone(), partition: 0 };
            if let Err(error) = shared.log.delete_before(&partition, last) {
                tracing::warn!(topic = %shared.topic, offset = last, %error, "cannot delete used order ids");
            }
        })
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect("nothing panics while it holds the pool")
    }

    /// How many ids to fetch now, if any.
    fn next_block(&self) -> Option<usize> {
        let mut pool = self.pool();
        if pool.missing() == 0 {
            return None;
        }
        let now = self.clock.monotonic();
        let pause = now.saturating_sub(pool.refilled_at);
        pool.refilled_at = now;
        pool.block = match pause {
            pause if pause < BUSY => (pool.block * 2).min(BLOCK_MAX),
            pause if pause < QUIET => (pool.block / 2).max(1),
            _ => 1,
        };
        match pool.missing() {
            0 => None, // the smaller block has enough with what is left
            missing => Some(missing.min(BLOCK_MAX)),
        }
    }

    /// Gets a block and hands its ids out; returns the last offset, or 0.
    async fn fetch(&self, count: usize) -> u64 {
        match self.log.allocate(&self.topic, count, self.clock.now()).await {
            Ok(offsets) => {
                let last = offsets.last().copied();
                let ids = offsets.into_iter().filter_map(|offset| OrderId::new(offset + 1).ok()).collect();
                self.pool().hand_out(ids, |pool, id| pool.ready.push_back(id));
                self.end.send_replace(last.map_or(0, |last| last + 1));
                last.unwrap_or(0)
            }
            Err(error) => {
                let mut pool = self.pool();
                // what was wanted ahead is dropped too: it would be tried again and again, with nobody waiting
                pool.block = 1;
                pool.refuse(&error.into());
                0
            }
        }
    }
}

impl Pool {
    /// Ids to fetch: those that are waited for, and the block once half of it is used.
    fn missing(&self) -> usize {
        let ahead = if self.block > 1 && self.ready.len() <= self.block / 2 { self.block } else { 0 };
        (self.waiting.len() + ahead).saturating_sub(self.ready.len())
    }

    /// Serves who waits, in order; `keep` takes the ids that are left.
    fn hand_out(&mut self, ids: VecDeque<OrderId>, keep: impl Fn(&mut Self, OrderId)) {
        'ids: for id in ids {
            while let Some(reply) = self.waiting.pop_front() {
                if reply.send(Ok(id)).is_ok() {
                    continue 'ids;
                } // else its request is gone
            }
            keep(self, id);
        }
    }

    fn refuse(&mut self, error: &Error) {
        for reply in self.waiting.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

fn stopping() -> Error {
    Error::Stopping
}
