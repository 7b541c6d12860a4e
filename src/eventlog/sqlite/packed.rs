//! Records as bytes, between those who append them, the writer, and who reads them a moment later.

use crate::{
    domain::{Timestamp, wire::Headers},
    eventlog::{NewRecord, Record},
};

/// Records with their bytes in one buffer: a commit costs a few allocations, not a few for each record.
#[derive(Default)]
pub(super) struct Packed {
    pub(super) rows: Vec<Row>,
    bytes: Vec<u8>,
}

/// A record: `bytes` holds its key, headers and value one after the other.
pub(super) struct Row {
    /// Which part of the batch it belongs to.
    pub(super) part: usize,
    pub(super) at: Timestamp,
    from: usize,
    key: Option<usize>,
    headers: usize,
    value: usize,
}

impl Packed {
    pub(super) fn push(&mut self, part: usize, record: &NewRecord) {
        let from = self.bytes.len();
        if let Some(key) = &record.key {
            self.bytes.extend_from_slice(key);
        }
        let headers = record.headers.as_bytes();
        self.bytes.extend_from_slice(headers);
        self.bytes.extend_from_slice(&record.value);
        let key = record.key.as_ref().map(Vec::len);
        self.rows.push(Row { part, at: record.at, from, key, headers: headers.len(), value: record.value.len() });
    }

    /// A record's key, headers and value.
    pub(super) fn split(&self, row: &Row) -> (Option<&[u8]>, &[u8], &[u8]) {
        let (key, rest) = self.bytes[row.from..].split_at(row.key.unwrap_or(0));
        let (headers, rest) = rest.split_at(row.headers);
        (row.key.map(|_| key), headers, &rest[..row.value])
    }

    /// The records of one part, the first of which has that offset.
    pub(super) fn records(&self, part: usize, first: u64) -> impl Iterator<Item = Record> {
        self.rows.iter().filter(move |row| row.part == part).zip(first..).map(|(row, offset)| {
            let (key, headers, value) = self.split(row);
            let headers = Headers::from_bytes(headers.to_vec()).expect("they were headers when they were packed");
            Record { offset, key: key.map(<[u8]>::to_vec), value: value.to_vec(), headers, at: row.at }
        })
    }

    /// About how much memory it takes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.rows.len() * size_of::<Row>()
    }
}
