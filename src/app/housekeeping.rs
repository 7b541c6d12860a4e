use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    clock::Clock,
    config::Config,
    eventlog::EventLog,
    fulfilment::{self, retention},
    store::{Past, Store},
    tracking,
};

/// How often old records and keys are looked for.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// How often chosen dead letters are looked for.
const REDRIVE_EVERY: Duration = Duration::from_secs(1);

/// Deletes what is past its time and drives chosen dead letters again. None of it is urgent: a failure waits for the
/// next round.
pub(super) async fn run(
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    clock: Clock,
    config: Config,
    stop: CancellationToken,
) -> Result<()> {
    let fulfilment = fulfilment::GROUP.to_owned();
    let tracking = tracking::GROUP.to_owned();
    let policy = Arc::new(retention::Policy {
        orders: config.topics.orders.clone(),
        states: config.topics.states.clone(),
        topics: vec![
            (config.topics.orders.clone(), vec![fulfilment]),
            (config.topics.states.clone(), vec![tracking.clone()]),
            (config.topics.dead.clone(), vec![tracking]),
        ],
        keep: config.log.retention,
    });
    let mut tidied_at = clock.monotonic();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = clock.sleep(REDRIVE_EVERY) => {}
        }
        if let Err(error) = tracking::redrive(log.as_ref(), store.as_ref(), &clock).await {
            warn!(%error, "dead letters were not driven again, next round will");
        }
        if clock.monotonic().saturating_sub(tidied_at) < TIDY_EVERY {
            continue;
        }
        tidied_at = clock.monotonic();
        let past = Past { keys: clock.now() - config.intake.idempotency_ttl, mails: clock.now() - config.mail.keep };
        if let Err(error) = store.prune(past).await {
            warn!(%error, "old idempotency keys and replies to mails were not deleted");
        }
        let (log, policy, now) = (log.clone(), policy.clone(), clock.now());
        match tokio::task::spawn_blocking(move || retention::apply(log.as_ref(), &policy, now)).await {
            Ok(Err(error)) => warn!(%error, "old records were not deleted"),
            Err(error) => warn!(%error, "old records were not deleted"),
            Ok(Ok(_)) => {}
        }
    }
}
