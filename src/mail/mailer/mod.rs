//! Leases due mails, has them composed and delivered, and settles them: several leases in flight, bounded.
//!
//! ```text
//! projection ──hand over──▶ queue ──▶ workers: compose, deliver ──▶ settler ──settle──▶ ledger
//! ledger ─────────lease────────╯
//! ```
//!
//! A lease is durable before a mail leaves, and renewed until its result is written; a mail whose lease has run out is not
//! sent. Every row that was leased is settled, or its lease runs out and it is ambiguous. One order's mails never meet here: the ledger leases at most
//! the first unsettled one of an order.

mod backoff;
mod destinations;
mod evidence;
mod leases;
mod leasing;
mod queue;
mod retry;
mod settler;
mod span;
mod worker;

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::destinations::{Destinations, DomainState, RelayState, Snapshot};
use self::{
    leases::Leases,
    leasing::Taking,
    queue::Queue,
    settler::{Progress, Settled, Settler},
    worker::Worker,
};
use super::{Composer, Error, Metrics, Result, Transport};
use crate::{
    busy::Kind,
    env::Env,
    store::{self, Handover, Ledger},
};

/// What the mailer works with.
#[derive(Clone)]
pub struct Deps {
    /// The mail ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Makes the mails.
    pub composer: Arc<Composer>,
    /// Where they go.
    pub transport: Arc<dyn Transport>,
    /// Time and chance.
    pub env: Env,
    /// Mails that the projection has leased for this mailer, and its calls when there are others.
    pub handover: Handover,
    /// What is counted.
    pub metrics: Metrics,
}

/// How the mailer works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most mails leased and not settled.
    pub in_flight_max: usize,
    /// Most mails in one lease.
    pub lease_max: usize,
    /// How long a lease lasts unless it is renewed.
    pub lease: Duration,
    /// Least delay before a mail is tried again, and least pause of a destination.
    pub retry_min: Duration,
    /// Greatest delay before a mail is tried again.
    pub retry_max: Duration,
    /// Greatest pause of a destination that cannot be reached.
    pub pause_max: Duration,
    /// Pause of a destination that refuses us for good, as far as it is concerned: often enough to notice that somebody
    /// has mended it, seldom enough not to get an account locked.
    pub denied_pause: Duration,
    /// From the first attempt until a mail is given up.
    pub deadline: Duration,
    /// Most times that a mail is handed over without an answer.
    pub copies_max: u32,
    /// How long a shutdown waits for what is in flight.
    pub stop_deadline: Duration,
    /// Look for due mails this often even if nobody calls.
    pub poll: Duration,
    /// This is the only mailer of the store: leases found at the start are of a process that is gone.
    pub only_mailer: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            in_flight_max: 1_024,
            lease_max: 256,
            lease: Duration::from_mins(10),
            retry_min: Duration::from_secs(5),
            retry_max: Duration::from_hours(1),
            pause_max: Duration::from_mins(1),
            denied_pause: Duration::from_mins(5),
            deadline: Duration::from_hours(72),
            copies_max: 3,
            stop_deadline: Duration::from_secs(10),
            poll: Duration::from_secs(1),
            only_mailer: true,
        }
    }
}

/// The service; see the module.
pub struct Mailer {
    deps: Deps,
    options: Options,
    destinations: Destinations,
    leases: Arc<Leases>,
    progress: Arc<Progress>,
}

/// How soon the store is asked again after it could not answer.
const STORE_RETRY: Duration = Duration::from_secs(1);

impl Mailer {
    /// A mailer that has not begun.
    pub fn new(deps: Deps, mut options: Options) -> Self {
        if deps.transport.absorbs_repeats() {
            options.copies_max = u32::MAX; // nobody sees a copy
        }
        let gauges = [deps.metrics.paused.clone(), deps.metrics.slowed.clone()];
        let destinations = Destinations::new(deps.transport.name(), deps.env.clone(), options.clone(), gauges);
        let leases = Arc::new(Leases::new(deps.ledger.clone(), deps.env.clock.clone(), options.lease));
        Self { deps, options, destinations, leases, progress: Arc::default() }
    }

    /// How the destination fares; for the operations page.
    pub fn destinations(&self) -> Destinations {
        self.destinations.clone()
    }

    /// Sends mails until it is stopped. It ends by itself only with an error that does not go away.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let _taking = Taking(self.deps.handover.clone());
        if self.options.only_mailer {
            self.expire_leases(&stop).await?;
        }
        let halt = CancellationToken::new(); // the workers': they stop after the leasing does
        let queue = Arc::new(Queue::default()); // bounded by what is in flight
        let (done, settled) = mpsc::unbounded_channel(); // likewise
        let mut workers = JoinSet::new();
        for _ in 0..self.deps.transport.concurrency() {
            let worker = Worker {
                deps: self.deps.clone(),
                options: self.options.clone(),
                destinations: self.destinations.clone(),
                leases: self.leases.clone(),
                done: done.clone(),
            };
            workers.spawn(Kind::Mail.count(worker.run(queue.clone(), halt.clone())));
        }
        let _renewing = JoinSet::from_iter([self.leases.clone().keep()]); // ends with this call
        let settler = Settler { deps: self.deps.clone(), leases: self.leases.clone(), progress: self.progress.clone() };
        let mut settler = JoinSet::from_iter([Kind::Mail.count(settler.run(settled))]);

        let result = tokio::select! {
            biased;
            result = self.lease_loop(&queue, &stop) => result,
            ended = workers.join_next() => Err(unexpected(ended.map(|ended| ended.map(Ok)))),
            ended = settler.join_next() => Err(unexpected(ended)),
        };
        halt.cancel();
        // workers finish what they have begun, what nobody began is given back, and the settler ends with its last sender
        let finish = async {
            while workers.join_next().await.is_some() {}
            self.deps.handover.close().await;
            self.accept(&queue);
            for mail in queue.take_most(usize::MAX) {
                // due again at once, and not ambiguous; the settler ends after this
                let _ = done.send(Settled::not_begun(&mail, self.deps.env.clock.now()));
            }
            drop(done);
            settler
                .join_next()
                .await
                .map_or(Ok(()), |ended| ended.unwrap_or_else(|e| Err(Error::Worker(e.to_string()))))
        };
        let finished = tokio::select! {
            biased;
            result = finish => result,
            () = self.deps.env.clock.sleep(self.options.stop_deadline) => {
                warn!("mails are still in flight at shutdown; they may be sent again after the next start");
                Ok(())
            }
        };
        self.deps.transport.close().await;
        result.and(finished)
    }

    async fn expire_leases(&self, stop: &CancellationToken) -> Result<()> {
        loop {
            match self.deps.ledger.expire_leases(self.deps.env.clock.now()).await {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    info!(count, "mails were in flight when the last run ended; they may be sent twice");
                    return Ok(());
                }
                Err(e) => self.store_failed(e, stop).await?,
            }
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Waits before the store is asked again, or passes on what will not get better.
    async fn store_failed(&self, error: store::Error, stop: &CancellationToken) -> Result<()> {
        if let store::Error::Fatal(_) = error {
            return Err(error.into());
        }
        warn!(%error, "the mail ledger cannot be used now, mails wait");
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.deps.env.clock.sleep(STORE_RETRY) => {}
        }
        Ok(())
    }
}

fn unexpected(ended: Option<std::result::Result<Result<()>, tokio::task::JoinError>>) -> Error {
    match ended {
        Some(Ok(Err(e))) => e,
        Some(Err(e)) => Error::Worker(e.to_string()),
        Some(Ok(Ok(()))) | None => Error::Worker("a task ended by itself".into()),
    }
}
