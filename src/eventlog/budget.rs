/// How much more goes into a batch: so many records, and so many bytes. The record that uses the bytes up still goes in,
/// since one may be larger than a whole batch; nothing goes in after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    records: usize,
    bytes: usize,
}

impl Budget {
    /// An empty batch of at most so much.
    pub const fn new(records: usize, bytes: usize) -> Self {
        Self { records, bytes }
    }

    /// Whether the batch is full.
    pub const fn is_spent(self) -> bool {
        self.records == 0 || self.bytes == 0
    }

    /// Whether so many more records go in, as far as their number is concerned.
    pub const fn has_room(self, records: usize) -> bool {
        !self.is_spent() && self.records >= records
    }

    /// Counts a record of this size in.
    pub const fn spend(&mut self, size: usize) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
    }
}
