//! One of a member's partitions.

use std::collections::VecDeque;

use crate::eventlog::{GroupOffset, Record, TopicPartition};

/// A partition that is ours.
pub(super) struct Lane {
    pub(super) of: TopicPartition,
    /// The next offset to hand out.
    pub(super) position: u64,
    /// Handed out next.
    pub(super) ahead: VecDeque<Record>,
    /// The partition reaches at least so far.
    pub(super) reaches: u64,
    /// The last commit that is known.
    pub(super) committed: Option<GroupOffset>,
    /// The first offset kept, when that is behind our position.
    pub(super) trimmed: Option<u64>,
    /// The library may have given up fetching, since an offset was not there: a seek alone does not start it again.
    pub(super) stopped: bool,
    /// Nothing of it is wanted now.
    pub(super) paused: bool,
}

impl Lane {
    /// The offset that the library is to fetch next.
    pub(super) fn wanted(&self) -> u64 {
        self.ahead.back().map_or(self.position, |last| last.offset + 1)
    }

    /// Bytes that wait.
    pub(super) fn ahead_bytes(&self) -> usize {
        self.ahead.iter().map(Record::size).sum()
    }

    /// What the owner gets next; nothing when nothing was fetched.
    pub(super) fn take(&mut self, records_max: usize, bytes_max: usize) -> Vec<Record> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < records_max
            && bytes < bytes_max
            && let Some(record) = self.ahead.pop_front()
        {
            bytes += record.size();
            self.position = record.offset + 1;
            records.push(record);
        }
        self.reaches = self.reaches.max(self.position);
        records
    }

    /// The owner wants records from `offset` on.
    pub(super) fn go_to(&mut self, offset: u64) {
        self.position = offset;
        self.ahead.clear();
        self.trimmed = None;
        self.stopped = false;
    }
}
