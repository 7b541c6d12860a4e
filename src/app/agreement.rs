//! Whether the store was made from this log: looked at before any service starts, so that a log that is older, another one,
//! or lacks what was in a topic is refused at every start, before anything is written to it.
//!
//! The store knows how far it has projected each partition, with a fingerprint of the last record, and how far order
//! numbers were given out. A log that ends before that has lost something; one that has another record there has a
//! history of its own.

use std::{fmt, sync::Arc};

use anyhow::{Context as _, Result, bail};
use tracing::info;

use crate::{
    clock::Clock,
    config::{Config, Topics},
    domain::wire::Headers,
    eventlog::{self, EventLog, NewRecord, TopicPartition},
    store::{Store, marks::Mark, orders::Query},
};

/// Order numbers used up at once.
const BLOCK: u64 = 1_000;

/// A partition that is not the one that the store has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the store has seen.
    pub seen: Mark,
    /// What is there.
    pub found: Found,
}

/// What is there instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No such partition.
    Nothing,
    /// A partition that ends earlier.
    Shorter(u64),
    /// No record at the last place that was seen, though there are earlier ones.
    Hole,
    /// Another record there.
    Another,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { tp, offset, .. } = &self.seen;
        match self.found {
            Found::Nothing => write!(f, "{tp} was seen up to {offset} and is not there"),
            Found::Shorter(end) => write!(f, "{tp} was seen up to {offset} and ends at {end}"),
            Found::Hole => write!(f, "{tp} has lost the record at {}, which was seen: records are missing", offset - 1),
            Found::Another => write!(f, "{tp} has another record at {} than the one that was seen", offset - 1),
        }
    }
}

/// Refuses a log that is not the one that the store has seen; notes how far order numbers are given out in it.
pub(super) async fn require(config: &Config, log: Arc<dyn EventLog>, store: Arc<dyn Store>) -> Result<()> {
    let differences = differences(&config.topics, log.clone(), store.as_ref()).await?;
    if let Some(first) = differences.first() {
        let more = match differences.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let (log, store) = (config.log_url(), config.store_url());
        bail!(
            "the event log {log} is not the one that the store {store} was made from: {first}{more}\n  it is an older copy or \
             another log, or a topic was deleted and made anew; nothing was started, since orders would be lost and their \
             numbers given out again\n  put back the log that belongs to the store; if it is gone for good, \
             `encargo log accept` goes on with this one; or begin with a fresh store"
        );
    }
    let ids = TopicPartition { topic: config.topics.ids.clone(), partition: 0 };
    if let Some(end) = end(log, &ids).await? {
        store.note_ids(&ids, end).await?;
    }
    Ok(())
}

/// Where log and store differ.
pub async fn differences(ours: &Topics, log: Arc<dyn EventLog>, store: &dyn Store) -> Result<Vec<Difference>> {
    let Topics { orders, states, dead, ids, outcomes, forward_states, .. } = ours;
    let mut marks = store.marks().await?;
    // what stands under a name of earlier settings is no longer read
    let ours: Vec<_> = [orders, states, dead, ids, outcomes].into_iter().chain(forward_states).collect();
    marks.retain(|mark| mark.offset > 0 && ours.contains(&&mark.tp.topic));
    marks.sort();
    let compare = move || {
        let mut differences = Vec::new();
        for seen in marks {
            if let Some(found) = compare(log.as_ref(), &seen)? {
                differences.push(Difference { seen, found });
            }
        }
        Ok(differences)
    };
    tokio::task::spawn_blocking(compare).await.context("comparing the event log with the store")?
}

/// How a partition differs from what was seen of it.
fn compare(log: &dyn EventLog, seen: &Mark) -> eventlog::Result<Option<Found>> {
    let Mark { tp, offset, print } = seen;
    let topic = log.topic(&tp.topic)?;
    let Some(range) = topic.and_then(|topic| topic.partitions.get(tp.partition as usize).copied()) else {
        return Ok(Some(Found::Nothing));
    };
    if range.end < *offset {
        return Ok(Some(Found::Shorter(range.end)));
    }
    let Some(print) = print.filter(|_| range.start < *offset) else { return Ok(None) };
    let records = match log.read(tp, offset - 1).and_then(|mut reader| reader.next(1)) {
        Err(eventlog::Error::Trimmed { .. }) => return Ok(None), // deleted at this moment
        records => records?,
    };
    Ok(match records.iter().find(|record| record.offset == offset - 1) {
        None => Some(Found::Hole),
        Some(record) => (record.fingerprint() != print).then_some(Found::Another),
    })
}

/// Goes on with a log that differs: order numbers begin above all that are known, and what the store has seen of the
/// partitions that differ is forgotten, so that all they hold is projected. Returns the first number that is free.
pub async fn accept(
    ours: &Topics,
    differences: &[Difference],
    log: Arc<dyn EventLog>,
    store: &dyn Store,
) -> Result<u64> {
    let newest = store.orders(Query { limit: 1, ..Query::default() }).await?;
    let known = newest.first().map_or(0, |view| view.order.id.get());
    let ids = TopicPartition { topic: ours.ids.clone(), partition: 0 };
    let given = differences.iter().filter(|difference| difference.seen.tp == ids).map(|one| one.seen.offset).max();
    let used = known.max(given.unwrap_or(0));
    let mut end = end(log.clone(), &ids).await?.unwrap_or(0);
    while end < used {
        let record = NewRecord {
            topic: ids.topic.clone(),
            partition: Some(0),
            key: None,
            value: Vec::new(),
            headers: Headers::default(),
            at: Clock::system().now(),
        };
        let positions = log.append(vec![record; (used - end).min(BLOCK) as usize]).await?;
        end = positions.last().map_or(end, |position| position.offset + 1);
    }
    store.forget(differences.iter().map(|difference| difference.seen.tp.clone()).collect()).await?;
    store.note_ids(&ids, end).await?;
    info!(first_id = end + 1, partitions = differences.len(), "the event log is accepted");
    Ok(end + 1)
}

/// Where a partition ends.
async fn end(log: Arc<dyn EventLog>, tp: &TopicPartition) -> Result<Option<u64>> {
    let tp = tp.clone();
    let look =
        move || Ok(log.topic(&tp.topic)?.and_then(|topic| Some(topic.partitions.get(tp.partition as usize)?.end)));
    tokio::task::spawn_blocking(look).await.context("looking at the event log")?
}
