use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::{Error, Result};

/// Most jobs in one transaction: bounds how long the first of them waits for the last.
const GROUP_MAX: usize = 1_024;

/// What is left to do for a job once its transaction is durable, or has failed.
type Finish = Box<dyn FnOnce(Result<()>)>;
/// Runs inside the group's transaction, if there is one.
type Job = Box<dyn FnOnce(Result<&Connection>) -> Finish + Send>;

/// The one writer of a database file: a thread that drains its queue into one transaction, commits with one fsync,
/// and then answers all who wait (group commit).
///
/// Dropping the last handle writes what is queued and closes the file.
#[derive(Clone)]
pub struct Writer(Arc<Inner>);

struct Inner {
    queue: Option<Sender<Job>>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `waiting_max` bounds the jobs that wait; more are refused as [`Error::Overloaded`].
    pub fn start(name: &str, conn: Connection, waiting_max: usize) -> Result<Self> {
        let (queue, jobs) = crossbeam_channel::unbounded(); // bounded by `waiting_max`
        let waiting = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn({
                let waiting = waiting.clone();
                move || run(&conn, &jobs, &waiting)
            })
            .map_err(|e| Error::Fatal(format!("cannot start a thread: {e}")))?;
        Ok(Self(Arc::new(Inner { queue: Some(queue), waiting, waiting_max, thread: Some(thread) })))
    }

    /// Jobs that wait or run now.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Queues `work`. When it fails, what it wrote is undone and the others of its group are not touched. `done` runs
    /// on the writer's thread once the group is durable or has failed; it must not block.
    pub fn submit<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
        done: impl FnOnce(std::result::Result<T, E>) + Send + 'static,
    ) -> Result<()>
    where
        T: 'static,
        E: From<Error> + 'static,
    {
        self.queue(|conn| in_savepoint(conn, work), done)
    }

    /// The same for `work` that was checked before and fails only when the file does: its failure undoes the whole
    /// group, which saves a savepoint for each job (a third of the cost of appending one record).
    pub fn submit_checked<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
        done: impl FnOnce(std::result::Result<T, E>) + Send + 'static,
    ) -> Result<()>
    where
        T: 'static,
        E: From<Error> + 'static,
    {
        self.queue(|conn| or_undo_all(conn, work), done)
    }

    fn queue<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
        done: impl FnOnce(std::result::Result<T, E>) + Send + 'static,
    ) -> Result<()>
    where
        T: 'static,
        E: From<Error> + 'static,
    {
        let waiting = self.0.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.0.waiting_max {
            self.0.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Overloaded(waiting));
        }
        let job: Job = Box::new(move |begun| {
            let result = begun.map_err(E::from).and_then(work);
            // its own error tells more than that of the group
            Box::new(move |commit| done(result.and_then(|value| commit.map(|()| value).map_err(E::from))))
        });
        let queue = self.0.queue.as_ref().expect("the queue is only taken by drop");
        queue.send(job).map_err(|_| Error::Fatal("the writer has stopped".into()))
    }

    /// Runs `work` in the next group and waits for the commit.
    pub async fn run<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(work, move |result| drop(reply.send(result)))?;
        answer.await.unwrap_or_else(|_| Err(Error::Fatal("the writer has stopped".into()).into()))
    }

    /// The same for callers that are not async.
    pub fn run_blocking<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.submit(work, move |result| drop(reply.send(result)))?;
        answer.recv().unwrap_or_else(|_| Err(Error::Fatal("the writer has stopped".into()).into()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // a `done` that held the last handle drops it on this very thread, which ends right after
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn run(conn: &Connection, jobs: &Receiver<Job>, waiting: &AtomicUsize) {
    let mut finishes = Vec::new();
    while let Ok(first) = jobs.recv() {
        let begun = execute(conn, "BEGIN IMMEDIATE");
        let mut next = Some(first);
        while let Some(job) = next {
            finishes.push(job(begun.as_ref().map_err(Clone::clone).map(|()| conn)));
            // some errors (disk full) undo the whole transaction: the jobs that are left deserve a new one
            let open = !conn.is_autocommit() && finishes.len() < GROUP_MAX;
            next = if open { jobs.try_recv().ok() } else { None };
        }
        let committed = begun.and_then(|()| commit(conn));
        waiting.fetch_sub(finishes.len(), Ordering::Relaxed);
        for finish in finishes.drain(..) {
            finish(committed.clone());
        }
    }
}

fn commit(conn: &Connection) -> Result<()> {
    if conn.is_autocommit() {
        return Err(Error::Unavailable("another write of the same transaction failed and undid it".into()));
    }
    let result = conn.prepare_cached("COMMIT").and_then(|mut s| s.execute([]));
    if result.is_err() && !conn.is_autocommit() {
        // best effort: the next BEGIN says so if this failed too
        let _ = conn.execute_batch("ROLLBACK");
    }
    match result {
        Ok(_) => Ok(()),
        // the log of the database may hold the commit, and a crash would bring it back
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => Err(Error::Unconfirmed(e.to_string())),
        Err(e) => Err(e.into()),
    }
}

fn execute(conn: &Connection, sql: &str) -> Result<()> {
    conn.prepare_cached(sql).and_then(|mut s| s.execute([]))?;
    Ok(())
}

fn in_savepoint<T, E: From<Error>>(
    conn: &Connection,
    work: impl FnOnce(&Connection) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    execute(conn, "SAVEPOINT job")?;
    let result = work(conn);
    if result.is_err() && !conn.is_autocommit() {
        execute(conn, "ROLLBACK TO job")?;
    }
    if !conn.is_autocommit() {
        execute(conn, "RELEASE job")?;
    }
    result
}

fn or_undo_all<T, E: From<Error>>(
    conn: &Connection,
    work: impl FnOnce(&Connection) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let result = work(conn);
    if result.is_err() && !conn.is_autocommit() {
        execute(conn, "ROLLBACK")?;
    }
    result
}
