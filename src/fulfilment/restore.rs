//! Restores a partition's engine from the log.

use std::sync::Arc;

use super::{Engine, Error, Now, Progress, Restore};
use crate::{
    clock::Clock,
    domain::{Flow, wire},
    eventlog::{self, EventLog, TopicPartition},
};

/// Records read at a time; bounds memory, not the length of the output.
const READ_MAX: usize = 10_000;

/// Reads the output from the watermark in `metadata` to its stable end and starts the timers from there. Without
/// metadata of ours (a new group, or an old service's), from the first record that the output holds.
pub fn restore(
    log: &dyn EventLog,
    output: &TopicPartition,
    metadata: &str,
    flow: &Arc<Flow>,
    clock: &Clock,
    remember: usize,
) -> Result<Engine, Error> {
    let progress = Progress::parse(metadata);
    let from = match progress {
        Some(progress) => progress.watermark,
        None => first_offset(log, output)?,
    };
    let mut reader = log.read(output, from)?;
    let mut restore = Restore::new(flow.clone(), from);
    loop {
        let records = reader.next(READ_MAX)?;
        if records.is_empty() {
            break;
        }
        for record in records {
            // a record that nobody can read is reported by the projection, which reads every one
            if let Ok(event) = wire::decode_event(&record.value, &record.headers, record.at) {
                restore.event(record.offset, event);
            }
        }
    }
    let now = Now { wall: clock.now(), monotonic: clock.monotonic() };
    restore.finish(progress.map(|progress| progress.counters), now, remember).map_err(|source| Error::Restore {
        topic: output.topic.clone(),
        partition: output.partition,
        source,
    })
}

fn first_offset(log: &dyn EventLog, partition: &TopicPartition) -> Result<u64, Error> {
    let topics = log.topics()?;
    let topic = topics.iter().find(|topic| topic.name == partition.topic);
    let range = topic.and_then(|topic| topic.partitions.get(partition.partition as usize));
    Ok(range.ok_or_else(|| eventlog::Error::Unknown(partition.to_string()))?.start)
}
