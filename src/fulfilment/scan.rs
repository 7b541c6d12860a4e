//! Reading partitions from where they begin to where they end.

use super::Error;
use crate::eventlog::{self, EventLog, PartitionRange, Record, TopicPartition};

/// Records read at a time; bounds memory, not the length of the output.
const READ_MAX: usize = 10_000;

/// The ranges of a topic's partitions.
pub(super) fn ranges(log: &dyn EventLog, topic: &str) -> Result<Vec<PartitionRange>, Error> {
    let found = log.topic(topic)?;
    // it was there when the service started, so it comes back
    Ok(found.ok_or_else(|| eventlog::Error::Unavailable(format!("topic {topic} is not there now")))?.partitions)
}

/// Every record of a partition from an offset to its stable end.
pub(super) fn read_to_end(
    log: &dyn EventLog,
    tp: &TopicPartition,
    from: u64,
    mut each: impl FnMut(Record),
) -> Result<(), Error> {
    let mut reader = log.read(tp, from)?;
    loop {
        let records = reader.next(READ_MAX)?;
        if records.is_empty() {
            return Ok(());
        }
        records.into_iter().for_each(&mut each);
    }
}
