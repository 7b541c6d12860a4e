//! The records of a partition that were written a moment ago and that nobody has read yet: who reads at the end takes them from
//! here, and asks the file only for older ones.

use std::{collections::VecDeque, sync::Arc};

use super::{packed::Packed, read::Limit};
use crate::eventlog::Record;

/// Most bytes of batches that are held for a partition.
const BYTES_MAX: usize = 512 << 10;

/// What one commit wrote to a partition.
pub(super) struct Chunk {
    pub(super) packed: Arc<Packed>,
    /// Which of the batch's rows they are.
    pub(super) part: usize,
    pub(super) first: u64,
    pub(super) end: u64,
}

impl Chunk {
    /// Its records, copied.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        self.packed.records(self.part, self.first)
    }
}

/// Chunks without a gap between them, oldest first.
#[derive(Default)]
pub(super) struct Recent {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Recent {
    /// Adds what was written last; the oldest make room for it.
    pub(super) fn push(&mut self, chunk: Chunk) {
        if self.chunks.back().is_some_and(|last| last.end != chunk.first) {
            self.clear();
        }
        self.bytes += chunk.packed.size();
        self.chunks.push_back(chunk);
        while self.bytes > BYTES_MAX {
            self.pop();
        }
    }

    /// Takes the chunks from `from` on; nothing when those are not here, or `from` is within one.
    pub(super) fn take(&mut self, from: u64, limit: Limit) -> Vec<Chunk> {
        while self.chunks.front().is_some_and(|chunk| chunk.first < from) {
            self.pop();
        }
        let (mut taken, mut next, mut bytes) = (Vec::new(), from, 0);
        while let Some(chunk) = self.chunks.front()
            && chunk.first == next
            && (chunk.end - from) as usize <= limit.records
            && bytes + chunk.packed.size() <= limit.bytes
        {
            (next, bytes) = (chunk.end, bytes + chunk.packed.size());
            taken.extend(self.pop());
        }
        taken
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Lets go of the oldest.
    fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.packed.size();
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::{Timestamp, wire::Headers},
        eventlog::NewRecord,
    };

    const LIMIT: Limit = Limit { records: 10, bytes: BYTES_MAX };

    /// A commit that wrote records with these values to a partition, and one to another before each.
    fn chunk(first: u64, values: &[Vec<u8>]) -> Chunk {
        let mut packed = Packed::default();
        for value in values {
            let mut headers = Headers::default();
            headers.push("a", value);
            let key = (!value.is_empty()).then(|| value.clone());
            let at = Timestamp::from_millis(value.len() as i64);
            let record = NewRecord { topic: String::new(), partition: None, key, value: value.clone(), headers, at };
            packed.push(0, &NewRecord { value: b"other".to_vec(), ..record.clone() });
            packed.push(1, &record);
        }
        Chunk { packed: Arc::new(packed), part: 1, first, end: first + values.len() as u64 }
    }

    fn records(chunks: Vec<Chunk>) -> Vec<Record> {
        chunks.iter().flat_map(Chunk::records).collect()
    }

    fn offsets(chunks: Vec<Chunk>) -> Vec<u64> {
        records(chunks).iter().map(|record| record.offset).collect()
    }

    fn of_sizes(sizes: &[usize]) -> Recent {
        let (mut recent, mut next) = (Recent::default(), 0);
        for size in sizes {
            recent.push(chunk(next, &vec![Vec::new(); *size]));
            next += *size as u64;
        }
        recent
    }

    #[test]
    fn who_reads_at_the_end_gets_whole_chunks_once() {
        let mut recent = of_sizes(&[3, 4, 4, 1]);
        assert_eq!(offsets(recent.take(0, LIMIT)), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(offsets(recent.take(7, LIMIT)), [7, 8, 9, 10, 11]);
        assert_eq!((recent.take(7, LIMIT).len(), recent.bytes), (0, 0));
    }

    #[test]
    fn what_is_older_or_begins_within_a_chunk_is_read_from_the_file() {
        let mut recent = of_sizes(&[3, 3]);
        recent.push(chunk(9, &[Vec::new()]));
        assert_eq!(offsets(recent.take(8, LIMIT)), [0; 0], "a gap before it: those before were not kept either");
        assert_eq!(offsets(recent.take(9, LIMIT)), [9]);
        let mut recent = of_sizes(&[3, 3]);
        assert_eq!(offsets(recent.take(1, LIMIT)), [0; 0]);
        assert_eq!(offsets(recent.take(3, LIMIT)), [3, 4, 5]);
        let mut recent = of_sizes(&[11, 1]);
        assert_eq!(offsets(recent.take(0, LIMIT)), [0; 0], "more than is read at once");
        assert_eq!(offsets(recent.take(11, LIMIT)), [11]);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut recent = Recent::default();
        for first in 0..10 {
            recent.push(chunk(first, &[vec![0; BYTES_MAX / 12]])); // a fourth each, with key and header
        }
        assert!(recent.bytes <= BYTES_MAX && recent.chunks.len() <= 4, "{} bytes", recent.bytes);
        recent.push(chunk(10, &[vec![0; BYTES_MAX]]));
        assert_eq!((recent.bytes, recent.chunks.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn records_are_as_they_were_written(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 1..10)) {
            let mut recent = Recent::default();
            recent.push(chunk(5, &values));
            let records = records(recent.take(5, LIMIT));
            prop_assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), (5..5 + values.len() as u64).collect::<Vec<_>>());
            for (record, value) in records.iter().zip(&values) {
                prop_assert_eq!((&record.value, record.at.as_millis()), (value, value.len() as i64));
                prop_assert_eq!(record.key.as_ref(), Some(value).filter(|value| !value.is_empty()));
                prop_assert_eq!(record.headers.iter().collect::<Vec<_>>(), vec![("a", &**value)]);
            }
        }
    }
}
