//! The embedded store: one SQLite file.
//!
//! All writes go through one thread with group commit, reads through a few connections that see whole commits only.
//! A tool may open the same file beside a running server and write short transactions: nothing is cached in memory
//! that another process could make wrong, and SQLite's own locks keep the two apart.
//!
//! What a scan would have to count is tallied in the transaction that changes it, and the mails that can be leased are
//! found by an index over the heads of the lanes, so no call grows slower with the number of orders ever taken.

mod apply;
mod births;
mod capacities;
mod compact;
mod dead;
mod keys;
mod ledger;
mod links;
mod mails;
mod marks;
mod orders;
mod outcomes;
mod overview;
mod readers;
mod resend;
mod rows;
mod schema;
mod suppressed;
mod tally;
#[cfg(test)]
mod tests;

use std::{fs::File, path::Path, time::Duration};

use async_trait::async_trait;
use rusqlite::{Connection, config::DbConfig};

use self::readers::Readers;
use super::{Error, Past, Pruned, Result, Store};
use crate::sqlite::{self, Access, Writer};

/// How long what is not urgent waits for a transaction with which it can be committed.
const PATIENCE: Duration = Duration::from_millis(40);

/// Bounds of the embedded store.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most writes that wait; more are refused as [`Error::Overloaded`].
    pub waiting_max: usize,
    /// Most reads at the same time; more wait.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { waiting_max: 4_096, readers: 4 }
    }
}

/// The embedded store.
pub struct SqliteStore {
    // in this order: the file is closed before the lock is given back
    writer: Writer,
    readers: Readers,
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store for the one server of this data: takes the lock, creates the file, brings its tables up to date.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let lock = sqlite::lock(path)?;
        let mut conn = sqlite::open_writer(path, Access::Serve)?;
        schema::migrate(path, &mut conn)?;
        Self::start(path, conn, options, Some(lock))
    }

    /// Opens an existing store beside a server that may be running.
    pub fn open_tool(path: &Path) -> Result<Self> {
        let is_read_only = sqlite::is_read_only(path); // a copy: can be looked at, and nothing decided
        let conn = if is_read_only { sqlite::open_reader(path)? } else { sqlite::open_writer(path, Access::Tool)? };
        schema::check(path, &conn)?;
        Self::start(path, conn, Options::default(), None)
    }

    fn start(path: &Path, conn: Connection, options: Options, lock: Option<File>) -> Result<Self> {
        keep_plans(&conn)?;
        let writer = Writer::start("store-writer", conn, options.waiting_max)?;
        let readers = Readers::new(path, options.readers)?;
        Ok(Self { writer, readers, _lock: lock })
    }
}

/// Keeps SQLite from planning a cached statement anew whenever a bound value changes, which it does in the hope of a
/// better plan; here every plan goes by a key or a named index.
fn keep_plans(conn: &Connection) -> Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    async fn prune(&self, past: Past) -> Result<Pruned> {
        // in slices, so that orders are not held up while a day's rows go
        const SLICE: u64 = 1_000;
        let mut pruned = Pruned::default();
        loop {
            let slice = self.writer.run(move |conn| keys::prune(conn, past.keys, SLICE)).await?;
            pruned.keys += slice;
            if slice < SLICE {
                break;
            }
        }
        loop {
            let slice = self.writer.run(move |conn| outcomes::prune(conn, past.keys, SLICE)).await?;
            pruned.outcomes += slice;
            if slice < SLICE {
                break;
            }
        }
        self.writer.run(move |conn| overview::prune(conn, past.minutes)).await?;
        while let Some(slice) = self.writer.run(move |conn| compact::slice(conn, past.mails, SLICE)).await? {
            pruned.mails += slice;
        }
        Ok(pruned)
    }

    async fn ping(&self) -> Result<()> {
        // through the writer: a store that only reads is of no use to an order
        self.writer.run(|conn| Ok(conn.query_row("SELECT count(*) FROM projected", [], |_| Ok(()))?)).await
    }
}

impl From<sqlite::Error> for Error {
    fn from(error: sqlite::Error) -> Self {
        if let sqlite::Error::Overloaded(waiting) = error {
            return Self::Overloaded(waiting);
        }
        let text = error.to_string();
        // Unavailable also when nobody can say whether the commit holds: every write here can be tried again
        if matches!(error, sqlite::Error::Fatal(_)) { Self::Fatal(text) } else { Self::Unavailable(text) }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        sqlite::Error::from(error).into()
    }
}
