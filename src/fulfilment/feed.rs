//! One input of a partition: the orders, or the commands about them.

use std::collections::VecDeque;

use super::translation::Heard;
use crate::{
    domain::flood::Flood,
    eventlog::{GroupOffset, TopicPartition},
};

/// Input that was heard and not taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    records: VecDeque<Heard>,
    bytes: usize,
}

/// An input, and how far it is taken.
pub(super) struct Feed {
    pub(super) tp: TopicPartition,
    inbox: Inbox,
    /// The next offset to take.
    next: u64,
    /// The offset of the last commit.
    committed: u64,
    /// Bounds its dead letters.
    pub(super) flood: Flood,
}

impl Inbox {
    pub(super) fn extend(&mut self, records: Vec<Heard>) {
        self.bytes += records.iter().map(Heard::size).sum::<usize>();
        self.records.extend(records);
    }

    fn pop(&mut self) -> Option<Heard> {
        let heard = self.records.pop_front()?;
        self.bytes -= heard.size();
        Some(heard)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Feed {
    /// An input that was assigned, with what it brought meanwhile.
    pub(super) fn new(assigned: GroupOffset, inbox: Inbox) -> Self {
        let GroupOffset { tp, offset, .. } = assigned;
        Self { tp, inbox, next: offset, committed: offset, flood: Flood::default() }
    }

    pub(super) const fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(super) const fn inbox_mut(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// The next record; those that were taken before are passed over.
    pub(super) fn take(&mut self) -> Option<Heard> {
        while let Some(heard) = self.inbox.pop() {
            if heard.record.offset >= self.next {
                self.next = heard.record.offset + 1;
                return Some(heard);
            }
        }
        None
    }

    /// What is before an offset is not there any more.
    pub(super) fn pass(&mut self, offset: u64) {
        self.next = self.next.max(offset);
    }

    /// The next offset to take.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether all that was taken is committed.
    pub(super) const fn is_committed(&self) -> bool {
        self.next == self.committed
    }

    /// How far it is taken, for a commit.
    pub(super) fn offset(&self, metadata: String) -> GroupOffset {
        GroupOffset { tp: self.tp.clone(), offset: self.next, metadata }
    }

    /// An offset was committed, if it is this input's.
    pub(super) fn settle(&mut self, offset: &GroupOffset) {
        if offset.tp == self.tp {
            self.committed = offset.offset;
        }
    }
}
