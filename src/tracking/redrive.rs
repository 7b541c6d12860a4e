use std::time::Duration;

use tracing::{info, warn};

use crate::{
    clock::Clock,
    domain::{Source, wire},
    eventlog::{EventLog, NewRecord},
    store::{self, Store},
};

/// Most records driven again in one round.
const ROUND_MAX: usize = 100;

/// How long a chosen record is ours: longer than a round of appends takes.
const CLAIM: Duration = Duration::from_mins(1);

/// Puts the dead records that an operator chose back on their topics. Returns how many went.
///
/// Any number of processes may do this: each record is claimed first, and for a while it is of that process alone. A
/// crash between the append and the note of it drives a record again once the claim has ended; fulfilment ignores an
/// identical order that it has already.
pub async fn redrive(log: &dyn EventLog, store: &dyn Store, clock: &Clock) -> store::Result<usize> {
    let (now, begun) = (clock.now(), clock.monotonic());
    let chosen = store.claim_redrives(now, now + CLAIM, ROUND_MAX).await?;
    let mut count = 0;
    // a part of a record is no record; the command refuses these
    for letter in chosen.into_iter().filter(|letter| wire::cut(&letter.headers).is_none()) {
        if clock.monotonic().saturating_sub(begun) > CLAIM / 2 {
            // slow: what is left goes to whoever claims it next
            break;
        }
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
            warn!(topic, partition, offset, %error, "cannot redrive a dead letter now");
            continue;
        }
        store.redriven(&letter.source).await?;
        count += 1;
        info!(topic, partition, offset, "dead letter redriven");
    }
    Ok(count)
}
