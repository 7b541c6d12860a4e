use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc};
use tracing::warn;

use super::{Deps, STORE_RETRY};
use crate::{
    clock::Clock,
    mail::Result,
    store::{self, ledger::Settlement},
};

/// Most mails settled in one transaction.
const BATCH_MAX: usize = 1_024;
/// With fewer, it is worth waiting for more: a transaction for every few mails costs more than they do.
const BATCH_GOOD: usize = 128;
/// How long results wait for others; what a crash in this time leaves unwritten counts as ambiguous.
const GATHER: Duration = Duration::from_millis(10);

/// A mail that is no longer in the air; without a settlement when its lease has run out.
pub(super) struct Settled(pub(super) Option<Settlement>);

/// Writes results down, those of a short while at a time.
pub(super) struct Settler {
    pub(super) deps: Deps,
    pub(super) progress: Arc<Notify>,
}

impl Settler {
    /// Runs until all senders are gone and everything is written.
    pub(super) async fn run(self, mut settled: mpsc::UnboundedReceiver<Settled>) -> Result<()> {
        let mut batch = Vec::new();
        let clock = Clock::system(); // the machine's time, wherever that of the orders stands
        while settled.recv_many(&mut batch, BATCH_MAX).await > 0 {
            if batch.len() < BATCH_GOOD {
                clock.sleep(GATHER).await;
                batch.extend(std::iter::from_fn(|| settled.try_recv().ok()).take(BATCH_MAX - batch.len()));
            }
            let count = batch.len();
            let settlements: Vec<_> = batch.drain(..).filter_map(|Settled(settlement)| settlement).collect();
            self.settle(settlements).await?;
            self.deps.metrics.in_air.dec_by(count as i64);
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
                    self.deps.clock.sleep(STORE_RETRY).await;
                }
            }
        }
    }
}
