//! What the embedded log and store share: opening a database file, one writer with group commit, errors in words.

mod patience;
mod queue;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

pub use queue::answer;
pub use writer::{Writer, commits};

use crate::files;

/// What can go wrong with a database file, sorted by what a caller can do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Not now: disk full, file busy, input/output error. Nothing was written; trying again can succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The commit itself met an input/output error. It is undone for this process, but after a crash it may be there.
    #[error("not certain to be written: {0}")]
    Unconfirmed(String),
    /// The queue of writes is full. Nothing was written.
    #[error("{0} writes are queued already")]
    Overloaded(usize),
    /// The file is damaged, not ours, locked by another process, or cannot be opened.
    #[error("{0}")]
    Fatal(String),
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let text = error.to_string();
        match code {
            Some(ErrorCode::ReadOnly) => {
                Self::Fatal(format!("this copy can be looked at, and nothing decided ({text})"))
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Fatal(format!(
                "{text}; the file is damaged: restore it from a backup, or move it away to start anew"
            )),
            Some(ErrorCode::DiskFull) => Self::Unavailable(format!("the disk is full ({text})")),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::OperationInterrupted
                | ErrorCode::OutOfMemory
                | ErrorCode::CannotOpen,
            ) => Self::Unavailable(text),
            _ => Self::Fatal(text),
        }
    }
}

/// Who opens a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The one server of this data: takes the lock, creates and migrates the file.
    Serve,
    /// A tool beside a server: the file must exist, no lock.
    Tool,
}

/// Takes the lock that keeps a second server off the same file; held until the returned file is dropped.
pub fn lock(path: &Path) -> Result<File> {
    let lock_path = with_suffix(path, ".lock");
    let file = files::private()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|e| Error::Fatal(format!("cannot open {}: {e}; is the folder writable?", lock_path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Fatal(format!(
            "{} is in use by another Encargo process: stop that one, or give this one its own --data folder",
            path.display()
        ))),
        Err(TryLockError::Error(e)) => Err(Error::Fatal(format!("cannot lock {}: {e}", lock_path.display()))),
    }
}

/// Opens a connection that writes: write-ahead log, and an fsync at every commit.
pub fn open_writer(path: &Path, access: Access) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match access {
        // the files beside it, which SQLite makes, get its permissions
        Access::Serve => {
            files::touch(path).map_err(|e| Error::Fatal(format!("cannot open {}: {e}", path.display())))?;
        }
        Access::Tool => require_file(path)?,
    }
    let conn = Connection::open_with_flags(path, flags).map_err(|e| describe(path, e))?;
    let set_up = || -> Result<()> {
        conn.busy_timeout(Duration::from_secs(5))?;
        keep_plans(&conn)?;
        let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(Error::Fatal("its file system cannot share memory; is it a network folder?".into()));
        }
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", "OFF")?;
        conn.pragma_update(None, "cache_size", -32_000)?; // 32 MB
        conn.pragma_update(None, "wal_autocheckpoint", 4_000)?; // pages, 16 MB
        conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(())
    };
    set_up().map_err(|e| describe(path, e))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Without it, SQLite may plan a query anew for each value that is bound to it, in case another plan is better for that one. Ours
/// are short: planning them again costs more than that could save.
fn keep_plans(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Opens a connection that only reads. It sees whole commits, and never blocks the writer.
pub fn open_reader(path: &Path) -> Result<Connection> {
    require_file(path)?;
    if is_read_only(path) {
        return open_copy(path);
    }
    // not READ_ONLY: the first reader of a file in WAL mode may have to create its shared memory
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| describe(path, e))?;
    let set_up = || {
        conn.busy_timeout(Duration::from_secs(5))?;
        keep_plans(&conn)?;
        conn.pragma_update(None, "query_only", "ON")?;
        conn.pragma_update(None, "cache_size", -8_000)?; // 8 MB
        // reads the header, so that a file that is no database is refused here and not later
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    };
    set_up().map_err(|e| describe(path, e))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Whether nothing can be written beside the file: a copy on a read-only mount, or somebody else's folder.
pub fn is_read_only(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    path.exists() && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err()
}

/// Opens a file beside which nothing can be written. Reading write-ahead needs shared memory there; a server may have made
/// it, and whole commits are seen by it. Without it the file alone is read, if it is all there is.
fn open_copy(path: &Path) -> Result<Connection> {
    let is_served = with_suffix(path, "-shm").exists();
    let is_whole = with_suffix(path, "-wal").metadata().map_or(true, |wal| wal.len() == 0);
    if !is_served && !is_whole {
        return Err(Error::Fatal(format!(
            "{0} is in a folder that cannot be written, and its last commits are in {0}-wal: copy the folder to where it \
             can be written, and name that with --data DIR",
            path.display()
        )));
    }
    let name =
        percent_encoding::utf8_percent_encode(&path.to_string_lossy(), percent_encoding::NON_ALPHANUMERIC).to_string();
    let uri = if is_served { format!("file:{name}") } else { format!("file:{name}?immutable=1") };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(uri, flags).map_err(|e| describe(path, e))?;
    conn.busy_timeout(Duration::from_secs(5)).map_err(|e| describe(path, e))?;
    let read = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    read.map_err(|e| match describe(path, e) {
        Error::Fatal(text) => Error::Fatal(format!("{text}; run this as the user who owns the files")),
        other => other,
    })?;
    Ok(conn)
}

/// Looks whether the pages and indexes of a file fit together; what does not, in words. Reads the whole file.
pub fn quick_check(path: &Path) -> Result<Vec<String>> {
    let conn = open_reader(path)?;
    let mut check = conn.prepare("PRAGMA quick_check(5)")?;
    let lines = check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

fn require_file(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    Err(Error::Fatal(format!("there is no {}: has `encargo up` run with this --data folder?", path.display())))
}

/// Names the file in an error about opening it; there, everything is final.
pub fn describe(path: &Path, error: impl Into<Error>) -> Error {
    let text = match error.into() {
        Error::Unavailable(text) | Error::Unconfirmed(text) | Error::Fatal(text) => text,
        Error::Overloaded(waiting) => format!("{waiting} writes are queued already"),
    };
    Error::Fatal(format!("cannot use {}: {text}", path.display()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
