//! Looks once the services are ready, beside the work, whether the files of the embedded log and store are whole. What is damaged is
//! told, and keeps this instance from being ready; it goes on, since what can be read still counts.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::Role;
use crate::{
    clock::Clock,
    config::{Config, LogUrl, StoreUrl},
    sqlite,
};

/// How often the services are asked whether they are ready.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// For how long: what holds them up may be the damage.
const ASK_MAX: u32 = 300;

/// Set once damage was found.
pub(super) type Damaged = Arc<AtomicBool>;

/// The files that this process serves; none of a cluster's.
pub(super) fn files(config: &Config, roles: &[Role]) -> Vec<PathBuf> {
    let log = if let LogUrl::Sqlite(path) = config.log_url() { Some(path) } else { None };
    let store = if let StoreUrl::Sqlite(path) = config.store_url() { Some(path) } else { None };
    let log = log.filter(|_| roles.iter().any(|role| role.needs_log()));
    let store = store.filter(|_| roles.iter().any(|role| role.needs_store()));
    log.into_iter().chain(store).collect()
}

/// Reads each file once, one after the other, on a thread that may wait; then waits for the stop. A stop does not wait.
///
/// That is a second or more of a core for half a gigabyte, so the orders in flight, which are restored from the same file,
/// come first: timers wait for them.
pub(super) async fn look_for(
    files: Vec<PathBuf>,
    damaged: Damaged,
    is_ready: impl Fn() -> bool,
    pace: Clock,
    stop: CancellationToken,
) -> Result<()> {
    for _ in 0..ASK_MAX {
        if is_ready() || !pace.sleep_unless(&stop, ASK_EVERY).await {
            break;
        }
    }
    let asked = stop.clone();
    tokio::task::spawn_blocking(move || {
        for path in files {
            if asked.is_cancelled() {
                return;
            }
            let found = match sqlite::quick_check(&path) {
                Ok(found) => found,
                // a file that is busy is no damaged one, and what cannot be read at all ends the services
                Err(sqlite::Error::Fatal(text)) => vec![text],
                Err(error) => {
                    debug!(%error, "{} was not checked", path.display());
                    continue;
                }
            };
            if !found.is_empty() {
                let path = path.display();
                error!("{path} is damaged: stop, and restore the data folder from a backup: {}", found.join("; "));
                damaged.store(true, Ordering::Relaxed); // told first: whoever asks why it is not ready finds the reason
            }
        }
    });
    stop.cancelled().await;
    Ok(())
}
