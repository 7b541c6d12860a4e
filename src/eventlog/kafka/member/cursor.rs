//! One of a member's partitions.

use std::collections::VecDeque;

use crate::eventlog::{GroupOffset, Record, TopicPartition};

/// A partition that is ours.
pub(super) struct PartitionCursor {
    pub(super) tp: TopicPartition,
    /// The next offset to hand out.
    pub(super) position: u64,
    /// Handed out next.
    pub(super) prefetched: VecDeque<Record>,
    /// The partition reaches at least so far.
    pub(super) known_end: u64,
    /// The last commit that is known.
    pub(super) committed: Option<GroupOffset>,
    /// The first offset kept, when that is behind our position.
    pub(super) trimmed: Option<u64>,
    /// The library may have given up fetching, since an offset was not there: a seek alone does not start it again.
    pub(super) stopped: bool,
    /// Nothing of it is wanted now.
    pub(super) paused: bool,
}

impl PartitionCursor {
    /// The offset that the library is to fetch next.
    pub(super) fn wanted(&self) -> u64 {
        self.prefetched.back().map_or(self.position, |last| last.offset + 1)
    }

    /// Bytes that wait.
    pub(super) fn prefetched_bytes(&self) -> usize {
        self.prefetched.iter().map(Record::size).sum()
    }

    /// What the owner gets next; nothing when nothing was fetched.
    pub(super) fn take(&mut self, records_max: usize, bytes_max: usize) -> Vec<Record> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < records_max
            && bytes < bytes_max
            && let Some(record) = self.prefetched.pop_front()
        {
            bytes += record.size();
            self.position = record.offset + 1;
            records.push(record);
        }
        self.known_end = self.known_end.max(self.position);
        records
    }

    /// The owner wants records from `offset` on.
    pub(super) fn go_to(&mut self, offset: u64) {
        self.position = offset;
        self.prefetched.clear();
        self.trimmed = None;
        self.stopped = false;
    }
}
