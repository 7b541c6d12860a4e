//! Reading records, and the connections that do it.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, Row};

use super::schema;
use crate::{
    domain::{Timestamp, wire::Headers},
    eventlog::{Error, Reader, Record, Result, TopicPartition},
    sqlite,
};

/// Connections kept open between two uses.
const IDLE_MAX: usize = 4;

/// Reading connections, opened when needed and used again.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, idle: Mutex::default() })
    }

    pub(super) fn take(self: &Arc<Self>) -> Result<Pooled> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => sqlite::open_reader(&self.path)?,
        };
        Ok(Pooled { conn: Some(conn), home: self.clone() })
    }
}

/// A connection that goes back when it is dropped.
pub(super) struct Pooled {
    conn: Option<Connection>,
    home: Arc<Readers>,
}

impl Deref for Pooled {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn.as_ref().expect("the connection is only taken by drop")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.extend(self.conn.take());
        }
    }
}

/// How much is read at once; one record comes whatever its size.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// Records of a partition from `from` on; empty at the end.
pub(super) fn records(conn: &Connection, tp: &TopicPartition, id: i64, from: u64, limit: Limit) -> Result<Vec<Record>> {
    let records = select(conn, tp, id, from, limit)?;
    if records.first().is_none_or(|first| first.offset > from) {
        // not there yet, or not any more
        schema::partition(conn, tp)?.check(tp, from)?;
    }
    Ok(records)
}

fn select(conn: &Connection, tp: &TopicPartition, id: i64, from: u64, limit: Limit) -> Result<Vec<Record>> {
    let mut select = conn.prepare_cached(
        "SELECT offset, at, key, headers, value FROM records WHERE partition_id = ?1 AND offset >= ?2
         ORDER BY offset LIMIT ?3",
    )?;
    let mut rows = select.query((id, from, limit.records))?;
    let mut records = Vec::new();
    let mut bytes = 0;
    while bytes < limit.bytes
        && let Some(row) = rows.next()?
    {
        let record = record(tp, row)?;
        bytes += record.size();
        records.push(record);
    }
    Ok(records)
}

fn record(tp: &TopicPartition, row: &Row) -> Result<Record> {
    let offset = row.get(0)?;
    let headers = Headers::from_bytes(row.get::<_, Option<_>>(3)?.unwrap_or_default())
        .ok_or_else(|| Error::Fatal(format!("the headers of offset {offset} of {tp} are damaged")))?;
    let at = Timestamp::from_millis(row.get(1)?);
    Ok(Record { offset, key: row.get(2)?, value: row.get(4)?, headers, at })
}

/// Reads one partition; holds no transaction between two calls.
pub(super) struct SqliteReader {
    pub(super) conn: Pooled,
    pub(super) tp: TopicPartition,
    pub(super) id: i64,
    pub(super) position: u64,
    pub(super) bytes_max: usize,
}

impl Reader for SqliteReader {
    fn next(&mut self, limit: usize) -> Result<Vec<Record>> {
        let limit = Limit { records: limit, bytes: self.bytes_max };
        let records = records(&self.conn, &self.tp, self.id, self.position, limit)?;
        if let Some(last) = records.last() {
            self.position = last.offset + 1;
        }
        Ok(records)
    }
}
