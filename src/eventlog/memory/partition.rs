//! Topics and their records.

use std::collections::VecDeque;

use crate::{
    domain::Timestamp,
    eventlog::{NewRecord, PartitionRange, Record, Result, TopicPartition, check_from, place},
};

/// A topic.
pub(super) struct Topic {
    pub(super) partitions: Vec<Partition>,
    /// Whose turn it is to take a record without key.
    turn: u32,
}

/// A partition.
#[derive(Default)]
pub(super) struct Partition {
    /// In the order of their offsets, which have gaps.
    records: VecDeque<Record>,
    start: u64,
    end: u64,
}

/// How much is read at once; one record comes whatever its size.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Topic {
    pub(super) fn new(partitions: u32) -> Self {
        Self { partitions: (0..partitions).map(|_| Partition::default()).collect(), turn: 0 }
    }

    /// Which partition takes this record.
    pub(super) fn place(&mut self, record: &NewRecord) -> Result<u32> {
        let turn = &mut self.turn;
        place(record, self.partitions.len() as u32, || {
            *turn = turn.wrapping_add(1);
            *turn
        })
    }
}

impl Partition {
    pub(super) fn range(&self) -> PartitionRange {
        PartitionRange { start: self.start, end: self.end }
    }

    /// About how much memory its records take.
    pub(super) fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.size() as u64).sum()
    }

    /// Writes a record; returns its offset.
    pub(super) fn push(&mut self, record: NewRecord) -> u64 {
        let NewRecord { key, value, headers, at, .. } = record;
        let offset = self.end;
        self.records.push_back(Record { offset, key, value, headers, at });
        self.end += 1;
        offset
    }

    /// Writes what ends a transaction: it takes an offset that no reader sees.
    pub(super) fn push_control(&mut self) {
        self.end += 1;
    }

    /// Checks that reading can begin at an offset.
    pub(super) fn check(&self, tp: &TopicPartition, offset: u64) -> Result<()> {
        check_from(tp, offset, self.start, self.end)
    }

    /// Records from an offset on; empty at the end.
    pub(super) fn read(&self, tp: &TopicPartition, from: u64, limit: Limit) -> Result<Vec<Record>> {
        self.check(tp, from)?;
        let first = self.records.partition_point(|record| record.offset < from);
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let fits = bytes < limit.bytes;
            bytes += record.size();
            fits
        };
        Ok(self.records.range(first..).take(limit.records).take_while(fits).cloned().collect())
    }

    /// Whether a reader at this offset would get something, if only an error.
    pub(super) fn has_more(&self, from: u64) -> bool {
        from < self.start || self.records.back().is_some_and(|last| last.offset >= from)
    }

    /// The first offset whose record is not older than `at`, else the end.
    pub(super) fn offset_at(&self, at: Timestamp) -> u64 {
        self.records.iter().find(|record| record.at >= at).map_or(self.end, |record| record.offset)
    }

    pub(super) fn delete_before(&mut self, tp: &TopicPartition, offset: u64) -> Result<()> {
        check_from(tp, offset, 0, self.end)?;
        self.start = self.start.max(offset);
        let kept = self.records.partition_point(|record| record.offset < self.start);
        self.records.drain(..kept);
        Ok(())
    }
}
