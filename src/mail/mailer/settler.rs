use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc};
use tracing::warn;

use super::{Deps, STORE_RETRY, leases::Leases};
use crate::{
    domain::Timestamp,
    mail::Result,
    store::{
        self,
        ledger::{Class, Mail, MailId, Reason, Settlement, Verdict},
    },
};

/// Most mails settled in one transaction.
const BATCH_MAX: usize = 1_024;
/// With fewer, it is worth waiting for more: a transaction for every few mails costs more than they do.
const BATCH_GOOD: usize = 128;
/// How long results wait for others; what a crash in this time leaves unwritten counts as ambiguous.
const GATHER: Duration = Duration::from_millis(10);

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

/// Writes results down, those of a short while at a time.
pub(super) struct Settler {
    pub(super) deps: Deps,
    pub(super) leases: Arc<Leases>,
    pub(super) progress: Arc<Notify>,
}

impl Settler {
    /// Runs until all senders are gone and everything is written.
    pub(super) async fn run(self, mut settled: mpsc::UnboundedReceiver<Settled>) -> Result<()> {
        let mut batch = Vec::new();
        while settled.recv_many(&mut batch, BATCH_MAX).await > 0 {
            if batch.len() < BATCH_GOOD {
                self.deps.env.pace.sleep(GATHER).await;
                batch.extend(std::iter::from_fn(|| settled.try_recv().ok()).take(BATCH_MAX - batch.len()));
            }
            let ids: Vec<MailId> = batch.iter().map(Settled::id).collect();
            let settlement = |settled| if let Settled::With(settlement) = settled { Some(settlement) } else { None };
            self.settle(batch.drain(..).filter_map(settlement).collect()).await?;
            let count = ids.len();
            self.leases.release(ids); // until now they were ours, however long the store was away
            self.deps.metrics.in_flight.dec_by(count as i64);
            self.progress.notify_one();
        }
        Ok(())
    }

    /// Tries until it succeeds: a result that is not written makes a mail that is sent twice.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        loop {
            match self.deps.ledger.settle(settlements.clone()).await {
                Ok(_) => return Ok(()),
                Err(error @ store::Error::Fatal(_)) => return Err(error.into()),
                Err(error) => {
                    warn!(%error, mails = settlements.len(), "the mail ledger cannot be used now, results wait");
                    self.deps.env.clock.sleep(STORE_RETRY).await;
                }
            }
        }
    }
}
