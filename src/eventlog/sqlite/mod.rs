//! The embedded log: one SQLite file, written by one process.
//!
//! It reads and writes plain tables (see `migrations/`), one row a record, so that any SQLite tool opens them.
//! Everything written goes through one writer with group commit; every reader has a connection of its own and never
//! blocks it. Members learn of new records from the commit itself, through the shared ends of `catalog`, take those that were
//! written a moment ago from memory (`recent`), and ask the file for what is older.
//!
//! Refused: an index on the records' time (see `schema::offset_at`), a cache of the next offsets (see
//! `batch::Batch::write`), and groups of several members, which one process has no use for.

mod batch;
mod catalog;
mod member;
mod packed;
mod read;
mod recent;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fs::File,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use self::{
    batch::{Batch, Written},
    catalog::Catalog,
    member::SqliteMember,
    read::{Limit, Readers, SqliteReader},
};
use super::{
    BoxFuture, Deletes, Error, EventLog, GroupInfo, Keeping, Member, MemberMode, NewRecord, Position, Reader, Result,
    TopicInfo, TopicPartition, TopicSpec, check_spec,
};
use crate::{
    domain::Timestamp,
    sqlite::{self, Access, Writer},
};

/// Pages in the write-ahead log after which the writer moves them to their places, while commits wait. Timers hang on
/// these commits, so the wait is kept short: at 20,000 records/s in 20 ms batches, on two cores that others used as
/// well, the 99th percentile of a commit was 10–22 ms with 500 pages, 18–58 ms with 1,000, 40–77 ms with 4,000, and
/// 27 ms without checkpoints; the write-ahead log stayed under 3 MB (runs of 20 to 40 s of
/// `cargo bench --bench eventlog -- steady`, which tells the same about another machine).
const CHECKPOINT_PAGES: u32 = 500;

impl From<sqlite::Error> for Error {
    fn from(error: sqlite::Error) -> Self {
        match error {
            sqlite::Error::Unavailable(text) => Self::Unavailable(text),
            sqlite::Error::Unconfirmed(text) => Self::Unconfirmed(text),
            sqlite::Error::Overloaded(waiting) => Self::Overloaded(waiting),
            sqlite::Error::Fatal(text) => Self::Fatal(text),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        sqlite::Error::from(error).into()
    }
}

/// The bounds of an embedded log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Writes that may wait; further appends are refused as [`Error::Overloaded`]. Members' commits always pass: what
    /// moves orders on must not starve behind new ones.
    pub waiting_max: usize,
    /// Most records that a member gets at once.
    pub batch_records_max: usize,
    /// Most bytes of values that a member or reader gets at once, but at least one record.
    pub batch_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { waiting_max: 4_096, batch_records_max: 1_024, batch_bytes_max: 4 << 20 }
    }
}

impl Options {
    fn batch(&self) -> Limit {
        Limit { records: self.batch_records_max, bytes: self.batch_bytes_max }
    }
}

/// The embedded log.
pub struct SqliteLog {
    readers: Arc<Readers>,
    bytes_max: usize,
    /// Absent when it was opened to be read only.
    server: Option<Arc<Server>>,
}

/// What only the serving process has. It goes when the log and its last member are dropped; fields go in this order.
struct Server {
    writer: Writer,
    catalog: Catalog,
    members: Mutex<HashSet<String>>,
    options: Options,
    _lock: File,
}

impl SqliteLog {
    /// Opens the log for the one process that serves it; creates and migrates the file.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let lock = sqlite::lock(path)?;
        let conn = sqlite::open_writer(path, Access::Serve)?;
        conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        Self::serve(path, options, lock, conn)
    }

    fn serve(path: &Path, options: Options, lock: File, mut conn: Connection) -> Result<Self> {
        schema::migrate(path, &mut conn)?;
        let catalog = Catalog::default();
        for topic in schema::topics(&conn)? {
            let rows = schema::partitions(&conn, &topic.name)?;
            catalog.add(topic.name, rows);
        }
        // the bound is kept by `append`, so that it holds for appends alone
        let writer = Writer::start("log-writer", conn, usize::MAX)?;
        let server = Server { writer, catalog, members: Mutex::default(), options, _lock: lock };
        Ok(Self {
            readers: Readers::new(path.to_owned()),
            bytes_max: options.batch_bytes_max,
            server: Some(Arc::new(server)),
        })
    }

    /// Opens the log for a tool beside a server, or without one: it can be read, and nothing else.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let mut conn = sqlite::open_reader(path)?;
        schema::check(path, &mut conn)?;
        let bytes_max = Options::default().batch_bytes_max;
        Ok(Self { readers: Readers::new(path.to_owned()), bytes_max, server: None })
    }

    /// Writes that wait or run now; the measure of the log's load.
    pub fn waiting(&self) -> usize {
        self.server.as_ref().map_or(0, |server| server.writer.waiting())
    }

    fn server(&self) -> Result<&Arc<Server>> {
        self.server.as_ref().ok_or_else(|| Error::Fatal("the event log is open for reading only".into()))
    }

    /// The server, if one more write may wait.
    fn admit(&self) -> Result<&Arc<Server>> {
        let server = self.server()?;
        let waiting = server.writer.waiting();
        if waiting >= server.options.waiting_max { Err(Error::Overloaded(waiting)) } else { Ok(server) }
    }

    fn start_append(&self, records: &[NewRecord]) -> Result<oneshot::Receiver<Result<Vec<Position>>>> {
        let server = self.admit()?;
        let batch = Batch::pack(&server.catalog, records)?;
        let (reply, answer) = oneshot::channel();
        server.writer.submit_checked(
            move |conn| batch.write(conn),
            move |written| drop(reply.send(written.map(Written::publish))),
        )?;
        Ok(answer)
    }

    fn start_allocation(&self, topic: &str, count: u64) -> Result<oneshot::Receiver<Result<u64>>> {
        let server = self.admit()?;
        let id = server.catalog.get(topic)?.partitions[0].id;
        let (reply, answer) = oneshot::channel();
        server.writer.submit_checked(
            move |conn| schema::take_offsets(conn, id, count).map_err(Error::from),
            move |first| drop(reply.send(first)),
        )?;
        Ok(answer)
    }
}

fn stopped<T>(_: oneshot::error::RecvError) -> Result<T> {
    Err(Error::Fatal("the writer of the event log has stopped".into()))
}

impl Server {
    fn members(&self) -> MutexGuard<'_, HashSet<String>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLog for SqliteLog {
    fn topics(&self) -> Result<Vec<TopicInfo>> {
        schema::topics(&*self.readers.take()?)
    }

    fn keeping(&self, topics: &[&str]) -> Result<Vec<Keeping>> {
        let conn = self.readers.take()?;
        let keeping =
            |topic: &&str| Ok(Keeping { bytes: Some(schema::bytes(&conn, topic)?), deletes: Deletes::AsTold });
        topics.iter().map(keeping).collect()
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        let server = self.server()?;
        check_spec(spec)?;
        let wanted = spec.clone();
        let rows = server.writer.run_blocking(move |conn| schema::create(conn, &wanted))?;
        server.catalog.add(spec.name.clone(), rows);
        Ok(())
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<Result<Vec<Position>>> {
        let started = self.start_append(&records);
        Box::pin(async move { started?.await.unwrap_or_else(stopped) })
    }

    fn allocate(&self, topic: &str, count: usize, _at: Timestamp) -> BoxFuture<Result<Vec<u64>>> {
        let started = self.start_allocation(topic, count as u64);
        Box::pin(async move {
            let first = started?.await.unwrap_or_else(stopped)?;
            Ok((first..first + count as u64).collect())
        })
    }

    fn read(&self, partition: &TopicPartition, from: u64) -> Result<Box<dyn Reader>> {
        let conn = self.readers.take()?;
        let row = schema::partition(&conn, partition)?;
        row.check(partition, from)?;
        let tp = partition.clone();
        Ok(Box::new(SqliteReader { conn, tp, id: row.id, position: from, bytes_max: self.bytes_max }))
    }

    fn join_alongside(
        &self,
        group: &str,
        topics: &[&str],
        alongside: &[&str],
        _slot: u32,
        mode: MemberMode,
    ) -> Result<Box<dyn Member>> {
        let all: Vec<&str> = topics.iter().chain(alongside).copied().collect();
        let member = SqliteMember::join(self.server()?, self.readers.take()?, group, &all, mode)?;
        Ok(Box::new(member))
    }

    fn groups(&self) -> Result<Vec<GroupInfo>> {
        let mut groups = schema::groups(&*self.readers.take()?)?;
        let Some(server) = &self.server else { return Ok(groups) };
        for name in &*server.members() {
            match groups.binary_search_by(|group| group.name.cmp(name)) {
                Ok(at) => groups[at].members = 1,
                Err(at) => groups.insert(at, GroupInfo { name: name.clone(), members: 1, offsets: Vec::new() }),
            }
        }
        Ok(groups)
    }

    fn offset_at(&self, partition: &TopicPartition, at: Timestamp) -> Result<u64> {
        let conn = self.readers.take()?;
        let row = schema::partition(&conn, partition)?;
        schema::offset_at(&conn, row.id, at)
    }

    fn delete_before(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let server = self.server()?;
        loop {
            let tp = partition.clone();
            if server.writer.run_blocking(move |conn| schema::delete_some(conn, &tp, offset))? {
                // whatever was written before is published by now
                server.catalog.get(&partition.topic)?.forget_recent(partition.partition);
                return Ok(());
            }
        }
    }
}
