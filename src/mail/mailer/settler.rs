use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::{Notify, mpsc};
use tracing::warn;

use super::{Deps, STORE_RETRY, leases::Leases};
use crate::{
    domain::Timestamp,
    mail::Result,
    store::{
        self,
        ledger::{Class, Mail, MailId, Reason, SETTLED_GOOD, Settlement, Verdict},
    },
};

/// Most mails settled in one transaction.
const BATCH_MAX: usize = 1_024;
/// How long results wait for others; what a crash in this time leaves unwritten counts as ambiguous.
const GATHER: Duration = Duration::from_millis(25);

/// A mail that is no longer in flight.
pub(super) enum Settled {
    With(Settlement),
    /// Its lease was lost, so its result is not ours to write.
    Lost(MailId),
}

impl Settled {
    pub(super) fn new(mail: &Mail, verdict: Verdict) -> Self {
        Self::With(Settlement::new(mail, verdict))
    }

    /// A mail is given back that was not begun.
    pub(super) fn not_begun(mail: &Mail, now: Timestamp) -> Self {
        Self::new(mail, Verdict::Retry(now, Reason::new(Class::Stopped, "not begun in time")))
    }

    fn id(&self) -> MailId {
        match self {
            Self::With(settlement) => settlement.id,
            Self::Lost(id) => *id,
        }
    }
}

/// What the leasing is told of what was settled.
#[derive(Default)]
pub(super) struct Progress {
    /// There is room, or the next in a lane may be due.
    pub(super) bell: Notify,
    /// Whether it waits for room; else it is not woken for that, and the ledger not asked.
    pub(super) wants_room: AtomicBool,
}

/// Writes results down, those of a short while at a time.
pub(super) struct Settler {
    pub(super) deps: Deps,
    pub(super) leases: Arc<Leases>,
    pub(super) progress: Arc<Progress>,
}

impl Settler {
    /// Runs until all senders are gone and everything is written.
    pub(super) async fn run(self, mut settled: mpsc::UnboundedReceiver<Settled>) -> Result<()> {
        let mut batch = Vec::new();
        while settled.recv_many(&mut batch, BATCH_MAX).await > 0 {
            if batch.len() < SETTLED_GOOD {
                self.deps.env.pace.sleep(GATHER).await;
                batch.extend(std::iter::from_fn(|| settled.try_recv().ok()).take(BATCH_MAX - batch.len()));
            }
            let ids: Vec<MailId> = batch.iter().map(Settled::id).collect();
            let settlement = |settled| if let Settled::With(settlement) = settled { Some(settlement) } else { None };
            let uncovers = self.settle(batch.drain(..).filter_map(settlement).collect()).await?;
            let count = ids.len();
            self.leases.release(ids); // until now they were ours, however long the store was away
            self.deps.metrics.in_flight.dec_by(count as i64);
            if uncovers || self.progress.wants_room.load(SeqCst) {
                self.progress.bell.notify_one();
            }
        }
        Ok(())
    }

    /// Tries until it succeeds: a result that is not written makes a mail that is sent twice. Returns whether the next in the
    /// lanes may be due; nobody knows after a try of which nobody knows how it ended.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<bool> {
        let mut tried = false;
        loop {
            match self.deps.ledger.settle(settlements.clone()).await {
                Ok(settled) => return Ok(tried || settled.promoted > 0),
                Err(error @ store::Error::Fatal(_)) => return Err(error.into()),
                Err(error) => {
                    tried = true;
                    warn!(%error, mails = settlements.len(), "the mail ledger cannot be used now, results wait");
                    self.deps.env.clock.sleep(STORE_RETRY).await;
                }
            }
        }
    }
}
