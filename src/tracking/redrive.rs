use tracing::{info, warn};

use super::Error;
use crate::{
    clock::Clock,
    domain::{Source, wire},
    eventlog::{EventLog, NewRecord},
    store::Store,
};

/// Most records driven again in one round.
const ROUND_MAX: usize = 100;

/// Puts the dead records that an operator chose back on their topics. Returns how many went.
///
/// A crash between the append and the note of it drives a record again at the next start; fulfilment ignores an
/// identical order that it has already.
pub async fn redrive(log: &dyn EventLog, store: &dyn Store, clock: &Clock) -> Result<usize, Error> {
    let chosen = store.redrives(ROUND_MAX).await?;
    let count = chosen.len();
    for letter in chosen {
        let headers = wire::redrive_headers(&letter);
        let Source { topic, partition, offset } = letter.source.clone();
        let record = NewRecord {
            topic: topic.clone(),
            partition: Some(partition),
            key: letter.key,
            value: letter.value,
            headers,
            at: clock.now(),
        };
        if let Err(error) = log.append(vec![record]).await {
            // its topic may be gone: the others must not wait for it
            warn!(topic, partition, offset, %error, "a dead letter cannot be driven again now");
            continue;
        }
        store.redriven(&letter.source).await?;
        info!(topic, partition, offset, "dead letter driven again");
    }
    Ok(count)
}
