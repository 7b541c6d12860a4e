use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::{
    Error, Result,
    patience::Patience,
    queue::{Queue, answer},
};
use crate::clock::Clock;

/// Most jobs in one transaction: bounds how long the first of them waits for the last.
const GROUP_MAX: usize = 1_024;

/// What is left to do for a job once its transaction is durable, or has failed.
type Finish = Box<dyn FnOnce(Result<()>)>;
/// Runs inside the group's transaction, if there is one.
type Job = Box<dyn FnOnce(Result<&Connection>) -> Finish + Send>;

/// Commits of this process by the name of the thread that made them.
static COMMITS: Mutex<BTreeMap<String, Arc<AtomicU64>>> = Mutex::new(BTreeMap::new());

/// Commits of this process that changed something, and so had an fsync, by the name of the file (`log`, `store`). Each 16 MB a few
/// more fsyncs bring the file itself up to date.
pub fn commits() -> Vec<(String, u64)> {
    let commits = COMMITS.lock().unwrap_or_else(PoisonError::into_inner);
    let file = |name: &String| name.strip_suffix("-writer").unwrap_or(name).to_owned();
    commits.iter().map(|(name, count)| (file(name), count.load(Ordering::Relaxed))).collect()
}

/// The one writer of a database file: a thread that drains its queue into one transaction, commits with one fsync,
/// and then answers all who wait (group commit).
///
/// Dropping the last handle writes what is queued and closes the file.
#[derive(Clone)]
pub struct Writer(Arc<Inner>);

struct Inner {
    queue: Arc<Queue<Job>>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `waiting_max` bounds the jobs that wait; more are refused as [`Error::Overloaded`].
    pub fn start(name: &str, conn: Connection, waiting_max: usize) -> Result<Self> {
        let (queue, waiting) = (Arc::new(Queue::default()), Arc::new(AtomicUsize::new(0))); // bounded by `waiting_max`
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn({
                let (queue, waiting) = (Taken(queue.clone()), waiting.clone());
                let commits =
                    COMMITS.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone();
                move || run(&conn, &queue.0, &waiting, &commits)
            })
            .map_err(|e| Error::Fatal(format!("cannot start a thread: {e}")))?;
        Ok(Self(Arc::new(Inner { queue, waiting, waiting_max, thread: Some(thread) })))
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
        self.admit()?;
        if self.0.queue.push(job(work, done)) { Ok(()) } else { Err(stopped()) }
    }

    /// Counts one more job, if it may wait.
    fn admit(&self) -> Result<()> {
        let waiting = self.0.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.0.waiting_max {
            self.0.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Overloaded(waiting));
        }
        Ok(())
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
        answer.await.unwrap_or_else(|_| Err(stopped().into()))
    }

    /// The same for `work` that can wait: it joins the next group that others make, and makes one of its own only when nobody
    /// has come for so long. Where writes come now and then, that saves a commit and its fsync. It is queued by the call, before
    /// whatever is queued after that, and the future waits for the commit.
    pub fn run_in_company<T, E>(
        &self,
        patience: Duration,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
    ) -> impl Future<Output = std::result::Result<T, E>> + Send + 'static
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, mut answer) = oneshot::channel();
        let job = job(move |conn| in_savepoint(conn, work), move |result| drop(reply.send(result)));
        let queued = self.admit().and_then(|()| if self.0.queue.push_patient(job) { Ok(()) } else { Err(stopped()) });
        let this = self.clone();
        async move {
            queued?;
            let answered = match tokio::time::timeout(patience, &mut answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    // with a full queue there is company enough
                    let _ = this.submit_checked(|_| Ok::<_, Error>(()), drop);
                    answer.await
                }
            };
            answered.unwrap_or_else(|_| Err(stopped().into()))
        }
    }

    /// [`Self::run`] for callers that are not async.
    pub fn run_blocking<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = answer();
        self.submit(work, move |result| reply.send(result))?;
        answer.wait().unwrap_or_else(|| Err(stopped().into()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // a `done` that held the last handle drops it on this very thread, which ends right after
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn job<T: 'static, E: From<Error> + 'static>(
    work: impl FnOnce(&Connection) -> std::result::Result<T, E> + Send + 'static,
    done: impl FnOnce(std::result::Result<T, E>) + Send + 'static,
) -> Job {
    Box::new(move |begun| {
        let result = begun.map_err(E::from).and_then(work);
        // its own error tells more than that of the group
        Box::new(move |commit| done(result.and_then(|value| commit.map(|()| value).map_err(E::from))))
    })
}

/// The queue in the hands of the thread: when that ends, whoever waits is told.
struct Taken(Arc<Queue<Job>>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.close();
        self.0.clear();
    }
}

fn stopped() -> Error {
    Error::Fatal("the writer has stopped".into())
}

#[expect(clippy::disallowed_methods, reason = "an fsync takes real time, whoever drives the clock")]
fn run(conn: &Connection, queue: &Queue<Job>, waiting: &AtomicUsize, commits: &AtomicU64) {
    let mut patience = Patience::new(Clock::system());
    let (mut at_hand, mut finishes) = (VecDeque::new(), Vec::new());
    let (mut changes, mut last) = (conn.total_changes(), 0);
    loop {
        if at_hand.is_empty() {
            at_hand = queue.take();
            if at_hand.is_empty() {
                return;
            }
        }
        patience.wait(last, || queue.quiet_for()); // nobody who comes meanwhile has to wake this thread
        let begun = execute(conn, "BEGIN IMMEDIATE");
        while let Some(job) = at_hand.pop_front().or_else(|| {
            at_hand = queue.try_take();
            at_hand.pop_front()
        }) {
            finishes.push(job(begun.as_ref().map_err(Clone::clone).map(|()| conn)));
            // some errors (disk full) undo the whole transaction: the jobs that are left deserve a new one
            if conn.is_autocommit() || finishes.len() >= GROUP_MAX {
                break;
            }
        }
        let committed = begun.and_then(|()| commit(conn));
        let before = std::mem::replace(&mut changes, conn.total_changes());
        commits.fetch_add(u64::from(committed.is_ok() && changes > before), Ordering::Relaxed);
        last = finishes.len();
        waiting.fetch_sub(last, Ordering::Relaxed);
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
