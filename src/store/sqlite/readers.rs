use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Error, Result, keep_plans};
use crate::sqlite;

/// A small pool of connections that only read.
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Opens the first connection, so that a file that cannot be read is refused at the start.
    pub(super) fn new(path: &Path, max: usize) -> Result<Self> {
        let first = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            permits: Arc::new(Semaphore::new(max.max(1))),
            idle: Arc::new(Mutex::new(vec![first])),
        })
    }

    /// Runs `query` on a thread that may block. All it reads is of the same moment.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (idle, path) = (self.idle.clone(), self.path.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut conn = pooled.map_or_else(|| open(&path), Ok)?;
            let snapshot = conn.transaction()?;
            let answer = query(&snapshot);
            snapshot.finish()?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            answer
        });
        task.await.map_err(|e| Error::Unavailable(format!("a read was broken off: {e}")))?
    }
}

fn open(path: &Path) -> Result<Connection> {
    let conn = sqlite::open_reader(path)?;
    keep_plans(&conn)?;
    Ok(conn)
}
