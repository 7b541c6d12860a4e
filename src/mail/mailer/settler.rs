use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tracing::warn;

use super::{Deps, STORE_RETRY};
use crate::{
    mail::Result,
    store::{self, ledger::Settlement},
};

/// Most mails settled in one transaction.
const BATCH_MAX: usize = 1_024;

/// A mail that is no longer in the air; without a settlement when its lease has run out.
pub(super) struct Settled(pub(super) Option<Settlement>);

/// Writes results down, all that wait at a time.
pub(super) struct Settler {
    pub(super) deps: Deps,
    pub(super) progress: Arc<Notify>,
}

impl Settler {
    /// Runs until all senders are gone and everything is written.
    pub(super) async fn run(self, mut settled: mpsc::UnboundedReceiver<Settled>) -> Result<()> {
        let mut batch = Vec::new();
        while settled.recv_many(&mut batch, BATCH_MAX).await > 0 {
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
