use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{clock::Clock, eventlog::TopicPartition, store::Store};

/// Between two notes: one of them covers all ids of that time. So many may be missing from the note after a crash.
const PAUSE: Duration = Duration::from_millis(250);

/// Notes in the store how far ids were given out, until `stop`. Orders do not wait for it: they are taken without the store, too.
pub(super) async fn run(
    mut end: watch::Receiver<u64>,
    store: Arc<dyn Store>,
    tp: TopicPartition,
    pace: Clock,
    stop: CancellationToken,
) {
    let mut failed = false;
    loop {
        tokio::select! {
            changed = end.changed(), if !failed => if changed.is_err() { return },
            () = stop.cancelled() => {}
            () = pace.sleep(PAUSE), if failed => {}
        }
        let stopping = stop.is_cancelled();
        let reached = *end.borrow_and_update();
        let noted = if reached > 0 { store.note_ids(&tp, reached).await } else { Ok(()) };
        match &noted {
            Err(error) if !failed => {
                warn!(%error, "cannot record how far order numbers were allocated, trying again");
            }
            Ok(()) if failed => info!("recording again how far order numbers were allocated"),
            _ => {}
        }
        failed = noted.is_err();
        if stopping {
            return;
        }
        pace.sleep_unless(&stop, PAUSE).await;
    }
}
