//! Records on their way to the writer, and the hot path that writes them.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::{
    catalog::{Catalog, Topic},
    recent::Chunk,
};
use crate::{
    domain::{Timestamp, wire::Headers},
    eventlog::{NewRecord, Position, Record, Result},
};

/// Records with their partitions chosen.
#[derive(Default)]
pub(super) struct Batch {
    packed: Packed,
    parts: Vec<Part>,
}

/// Records with their bytes in one buffer: a commit costs a few allocations, not a few for each record.
#[derive(Default)]
pub(super) struct Packed {
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

/// A record: `bytes` holds its key, headers and value one after the other.
struct Row {
    /// Index in the batch's `parts`.
    part: usize,
    at: Timestamp,
    from: usize,
    key: Option<usize>,
    headers: usize,
    value: usize,
}

/// What goes to one partition.
struct Part {
    topic: Arc<Topic>,
    number: u32,
    count: u64,
    /// The offset after the last one given out; set while writing.
    next: u64,
}

/// What was written, once that is durable.
pub(super) struct Written {
    packed: Packed,
    positions: Vec<Position>,
    parts: Vec<Part>,
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
    fn split(&self, row: &Row) -> (Option<&[u8]>, &[u8], &[u8]) {
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

impl Batch {
    /// Chooses partitions; unknown ones are refused before anything is queued.
    pub(super) fn pack(catalog: &Catalog, records: &[NewRecord]) -> Result<Self> {
        let mut batch = Self::default();
        batch.packed.rows.reserve_exact(records.len());
        let mut topic: Option<Arc<Topic>> = None;
        for record in records {
            let topic = match &mut topic {
                Some(topic) if topic.name == record.topic => topic,
                other => other.insert(catalog.get(&record.topic)?),
            };
            let number = topic.partition_for(record)?;
            let part = batch.part(topic, number);
            batch.parts[part].count += 1;
            batch.packed.push(part, record);
        }
        Ok(batch)
    }

    fn part(&mut self, topic: &Arc<Topic>, number: u32) -> usize {
        let known = self.parts.iter().position(|part| part.number == number && Arc::ptr_eq(&part.topic, topic));
        known.unwrap_or_else(|| {
            self.parts.push(Part { topic: topic.clone(), number, count: 0, next: 0 });
            self.parts.len() - 1
        })
    }

    /// Writes the rows. Offsets come from the partitions' own rows, within the transaction: what is rolled back gives
    /// its offsets back, and there is no cache that could be wrong.
    pub(super) fn write(mut self, conn: &Connection) -> Result<Written> {
        self.reserve(conn)?;
        let positions = self.insert(conn)?;
        Ok(Written { packed: self.packed, positions, parts: self.parts })
    }

    fn reserve(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let mut reserve =
            conn.prepare_cached("UPDATE partitions SET next = next + ?2 WHERE id = ?1 RETURNING next - ?2")?;
        for part in &mut self.parts {
            let id = part.topic.partitions[part.number as usize].id;
            part.next = reserve.query_row((id, part.count), |row| row.get(0))?;
        }
        Ok(())
    }

    fn insert(&mut self, conn: &Connection) -> rusqlite::Result<Vec<Position>> {
        let mut insert = conn.prepare_cached(
            "INSERT INTO records (partition_id, offset, at, key, headers, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let mut positions = Vec::with_capacity(self.packed.rows.len());
        for row in &self.packed.rows {
            let part = &mut self.parts[row.part];
            let id = part.topic.partitions[part.number as usize].id;
            let (key, headers, value) = self.packed.split(row);
            let headers = Some(headers).filter(|headers| !headers.is_empty());
            insert.execute(params![id, part.next, row.at.as_millis(), key, headers, value])?;
            positions.push(Position { partition: part.number, offset: part.next });
            part.next += 1;
        }
        Ok(positions)
    }
}

impl Written {
    /// Tells the members that wait; to be called once the commit is durable.
    pub(super) fn publish(self) -> Vec<Position> {
        let packed = Arc::new(self.packed);
        for (i, part) in self.parts.iter().enumerate() {
            let chunk = Chunk { packed: packed.clone(), part: i, first: part.next - part.count, end: part.next };
            part.topic.publish(part.number, chunk);
        }
        // a commit's records of a topic stand together
        for topics in self.parts.chunk_by(|one, next| Arc::ptr_eq(&one.topic, &next.topic)) {
            topics[0].topic.ring();
        }
        self.positions
    }
}
