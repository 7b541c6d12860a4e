//! What has to be done now and then. None of it is urgent: a failure waits for the next round. All of it is safe to do
//! in many instances at the same time.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    clock::Clock,
    eventlog::EventLog,
    fulfilment::retention,
    store::{Past, Store},
    tracking,
};

/// How often old records and keys are looked for.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// How long orders per minute are remembered: five weeks, so that each weekday has been seen five times.
const MINUTES_KEPT: Duration = Duration::from_hours(24 * 35);
/// How often chosen dead letters are looked for.
const REDRIVE_EVERY: Duration = Duration::from_secs(3);

/// Forgets idempotency keys, and what is known of mails, once they are past their time.
pub(super) async fn forget(
    store: Arc<dyn Store>,
    clock: Clock,
    (keys, mails): (Duration, Duration),
    stop: CancellationToken,
) -> Result<()> {
    while clock.sleep_unless(&stop, TIDY_EVERY).await {
        let now = clock.now();
        let past = Past { keys: now - keys, mails: now - mails, minutes: now - MINUTES_KEPT };
        if let Err(error) = store.prune(past).await {
            warn!(%error, "old idempotency keys and replies to mails were not deleted");
        }
    }
    Ok(())
}

/// Deletes records that nobody needs any more.
pub(super) async fn delete_old_records(
    log: Arc<dyn EventLog>,
    clock: Clock,
    policy: retention::Policy,
    stop: CancellationToken,
) -> Result<()> {
    let policy = Arc::new(policy);
    while clock.sleep_unless(&stop, TIDY_EVERY).await {
        let (log, policy, now) = (log.clone(), policy.clone(), clock.now());
        match tokio::task::spawn_blocking(move || retention::apply(log.as_ref(), &policy, now)).await {
            Ok(Err(error)) => warn!(%error, "old records were not deleted"),
            Err(error) => warn!(%error, "old records were not deleted"),
            Ok(Ok(_)) => {}
        }
    }
    Ok(())
}

/// Drives chosen dead letters again.
pub(super) async fn redrive(
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    clock: Clock,
    stop: CancellationToken,
) -> Result<()> {
    while clock.sleep_unless(&stop, REDRIVE_EVERY).await {
        if let Err(error) = tracking::redrive(log.as_ref(), store.as_ref(), &clock).await {
            warn!(%error, "cannot redrive dead letters, trying again next round");
        }
    }
    Ok(())
}
