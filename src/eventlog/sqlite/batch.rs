//! Records on their way to the writer, and the hot path that writes them.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::{
    catalog::{Catalog, Topic},
    packed::Packed,
    recent::Chunk,
    schema,
};
use crate::eventlog::{NewRecord, Position, Result};

/// Records with their partitions chosen.
#[derive(Default)]
pub(super) struct Batch {
    packed: Packed,
    parts: Vec<Part>,
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
        for part in &mut self.parts {
            let id = part.topic.partitions[part.number as usize].id;
            part.next = schema::take_offsets(conn, id, part.count)?;
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
