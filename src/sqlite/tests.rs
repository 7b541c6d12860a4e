use std::sync::{Arc, Mutex, mpsc};

use super::*;

#[test]
fn a_copy_is_read_where_nothing_can_be_written_unless_commits_would_be_missed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a copy #1?.db");
    let conn = open_writer(&path, Access::Serve).unwrap();
    conn.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    let wal = with_suffix(&path, "-wal");
    let commits = std::fs::read(&wal).unwrap();
    drop(conn);
    let count = |conn: Connection| conn.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(open_copy(&path).unwrap()), 1);
    assert!(!with_suffix(&path, "-shm").exists(), "it wrote beside it");
    std::fs::write(&wal, commits).unwrap();
    let refused = open_copy(&path).unwrap_err().to_string();
    assert!(refused.contains("-wal") && refused.contains("--data"), "{refused}");
}

/// Single bits of the file, turned over one at a time: what breaks its structure is found.
#[test]
fn a_check_finds_a_broken_structure() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let conn = open_writer(&path, Access::Serve).unwrap();
    conn.execute_batch(
        "CREATE TABLE t (x TEXT NOT NULL); CREATE INDEX i ON t (x);
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000) INSERT INTO t SELECT 'row ' || n FROM n",
    )
    .unwrap();
    drop(conn);
    assert_eq!(quick_check(&path).unwrap(), Vec::<String>::new());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 * 3] ^= 0x80; // the kind of a page
    std::fs::write(&path, bytes).unwrap();
    assert!(quick_check(&path).map_or(true, |found| !found.is_empty()));
}

const DEADLINE: Duration = Duration::from_mins(5);

/// A writer on a table of numbers. A row in `poison` makes the COMMIT itself fail.
fn writer(dir: &Path, waiting_max: usize) -> Writer {
    let conn = open_writer(&dir.join("test.db"), Access::Serve).unwrap();
    conn.execute_batch(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY);
         CREATE TABLE IF NOT EXISTS poison (of INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED);",
    )
    .unwrap();
    Writer::start("test-writer", conn, waiting_max).unwrap()
}

fn insert(number: i64) -> impl FnOnce(&Connection) -> Result<i64> + Send + 'static {
    move |conn| {
        conn.execute("INSERT INTO numbers VALUES (?1)", [number])?;
        Ok(number)
    }
}

fn numbers(dir: &Path) -> Vec<i64> {
    let conn = open_reader(&dir.join("test.db")).unwrap();
    let mut select = conn.prepare("SELECT number FROM numbers ORDER BY number").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(rusqlite::Result::unwrap).collect()
}

/// Holds the writer in a job of its own group until the returned sender is dropped, so that what is submitted
/// meanwhile makes one group.
fn hold(writer: &Writer) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let done = move |_: Result<()>| {
        started.send(()).unwrap();
        let _ = held.recv_timeout(DEADLINE);
    };
    writer.submit(|_| Ok(()), done).unwrap();
    has_started.recv_timeout(DEADLINE).unwrap();
    release
}

type Work<T> = Box<dyn FnOnce(&Connection) -> Result<T> + Send>;

/// Submits each work in one group and returns the results.
fn group<T: Send + 'static>(writer: &Writer, works: Vec<Work<T>>) -> Vec<Result<T>> {
    let held = hold(writer);
    let (reply, answers) = mpsc::channel();
    let count = works.len();
    for work in works {
        let reply = reply.clone();
        writer.submit(work, move |result| reply.send(result).unwrap()).unwrap();
    }
    drop(held);
    (0..count).map(|_| answers.recv_timeout(DEADLINE).unwrap()).collect()
}

#[test]
fn commits_that_change_something_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let conn = open_writer(&dir.path().join("x.db"), Access::Serve).unwrap();
    conn.execute_batch("CREATE TABLE numbers (number INTEGER PRIMARY KEY)").unwrap();
    let writer = Writer::start("counted-writer", conn, 100).unwrap();
    let counted = || commits().into_iter().find(|(file, _)| file == "counted").unwrap().1;
    assert_eq!(counted(), 0);
    writer.run_blocking(insert(1)).unwrap();
    writer.run_blocking(|_| Ok::<_, Error>(())).unwrap();
    writer.run_blocking(insert(1)).unwrap_err();
    drop(writer); // the last commit is counted when its writer has ended
    assert_eq!(counted(), 1);
}

#[tokio::test]
async fn what_can_wait_joins_the_next_group_and_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    let commits =
        |conn: &Connection| Ok(conn.query_row("SELECT count(*) FROM numbers", [], |row| row.get::<_, i64>(0))?);
    let patient =
        async { writer.run_in_company(DEADLINE, move |conn| insert(1)(conn).and_then(|_| commits(conn))).await };
    let urgent = async {
        // polled second: the patient one waits by then
        writer.run(move |conn| insert(2)(conn).and_then(|_| commits(conn))).await
    };
    let (patient, urgent) = tokio::join!(biased; patient, urgent);
    assert_eq!((patient.unwrap(), urgent.unwrap()), (1, 2));
    assert_eq!(writer.waiting(), 0);
}

#[tokio::test]
async fn what_finds_no_company_goes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    assert_eq!(writer.run_in_company(Duration::from_millis(1), insert(1)).await.unwrap(), 1);
    assert_eq!(numbers(dir.path()), [1]);
}

#[tokio::test]
async fn what_waits_for_company_is_written_before_the_file_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    {
        let mut patient = Box::pin(writer.run_in_company(DEADLINE, insert(1)));
        assert!(futures_pending(&mut patient));
    }
    drop(writer);
    assert_eq!(numbers(dir.path()), [1]);
}

/// Polls a future once; whether it is not done.
fn futures_pending(future: &mut (impl Future + Unpin)) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut context).is_pending()
}

#[test]
fn a_failed_job_undoes_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    let half = |conn: &Connection| -> Result<i64> {
        insert(2)(conn)?;
        Err(Error::Fatal("changed my mind".into()))
    };
    let results = group(&writer, vec![Box::new(insert(1)), Box::new(half), Box::new(insert(3))]);
    assert!(matches!(&results[..], [Ok(1), Err(Error::Fatal(text)), Ok(3)] if text == "changed my mind"));
    assert_eq!(numbers(dir.path()), [1, 3]);
}

#[test]
fn a_failed_checked_job_undoes_its_group_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    let held = hold(&writer);
    let (reply, answers) = mpsc::channel();
    let send = |reply: &mpsc::Sender<_>| {
        let reply = reply.clone();
        move |result: Result<i64>| reply.send(result).unwrap()
    };
    writer.submit_checked(insert(1), send(&reply)).unwrap();
    writer.submit_checked(|_| Err(Error::Fatal("mine".into())), send(&reply)).unwrap();
    writer.submit_checked(insert(3), send(&reply)).unwrap();
    drop(held);
    let results: Vec<_> = (0..3).map(|_| answers.recv_timeout(DEADLINE).unwrap()).collect();
    // the third came after the transaction had ended, and has a new one
    assert!(
        matches!(&results[..], [Err(Error::Unavailable(_)), Err(Error::Fatal(text)), Ok(3)] if text == "mine"),
        "{results:?}"
    );
    assert_eq!(numbers(dir.path()), [3]);
}

#[test]
fn a_failed_commit_fails_all_and_the_next_goes_well() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    let poison = |conn: &Connection| -> Result<i64> {
        conn.execute("INSERT INTO poison VALUES (99)", [])?;
        Ok(0)
    };
    let results = group(&writer, vec![Box::new(insert(1)), Box::new(poison), Box::new(insert(2))]);
    assert!(results.iter().all(Result::is_err), "{results:?}");
    assert!(numbers(dir.path()).is_empty());
    assert_eq!(writer.run_blocking(insert(1)).unwrap(), 1);
    assert_eq!(numbers(dir.path()), [1]);
}

#[test]
fn a_full_disk_fails_what_needs_room_and_all_is_well_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    let limit = |pages: i64| {
        move |conn: &Connection| -> Result<i64> {
            Ok(conn.pragma_update_and_check(None, "max_page_count", pages, |row| row.get(0))?)
        }
    };
    let fat = |conn: &Connection| -> Result<i64> {
        conn.execute("CREATE TABLE fat AS SELECT randomblob(1000000) AS bytes", [])?;
        Ok(0)
    };
    writer.run_blocking(limit(20)).unwrap();
    let results = group(&writer, vec![Box::new(insert(1)), Box::new(fat), Box::new(insert(2))]);
    assert!(matches!(&results[1], Err(Error::Unavailable(text)) if text.contains("full")), "{results:?}");
    let told: Vec<i64> = results.iter().filter_map(|result| result.as_ref().ok()).copied().collect();
    assert_eq!(numbers(dir.path()), told, "who was told of success is there, and nobody else: {results:?}");
    assert!(told.contains(&2), "a job after the failure has a transaction of its own");
    writer.run_blocking(limit(100_000)).unwrap();
    writer.run_blocking(fat).unwrap();
}

#[test]
fn refuses_more_than_may_wait_and_takes_more_when_done() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 3);
    let held = hold(&writer);
    let (reply, answers) = mpsc::channel();
    for number in 0..3 {
        let reply = reply.clone();
        writer.submit(insert(number), move |result| reply.send(result).unwrap()).unwrap();
    }
    assert_eq!(writer.waiting(), 3);
    assert!(matches!(writer.submit(insert(9), |_| ()), Err(Error::Overloaded(3))));
    drop(held);
    for _ in 0..3 {
        answers.recv_timeout(DEADLINE).unwrap().unwrap();
    }
    assert_eq!(writer.waiting(), 0);
    writer.run_blocking(insert(3)).unwrap();
    assert_eq!(numbers(dir.path()), [0, 1, 2, 3]);
}

#[test]
fn dropping_the_last_handle_writes_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 10_000);
    let results = Arc::new(Mutex::new(Vec::new()));
    for number in 0..3_000 {
        let results = results.clone();
        writer.submit(insert(number), move |result| results.lock().unwrap().push(result.unwrap())).unwrap();
    }
    drop(writer.clone());
    drop(writer);
    let told = results.lock().unwrap().clone();
    assert_eq!(told, (0..3_000).collect::<Vec<_>>(), "all have been told, in order");
    assert_eq!(numbers(dir.path()), told);
}

#[test]
fn the_last_handle_may_be_dropped_by_a_job() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    let (over, is_over) = mpsc::channel();
    let last = writer.clone();
    let held = hold(&writer);
    writer
        .submit(insert(1), move |result| {
            drop(last);
            over.send(result).unwrap();
        })
        .unwrap();
    drop(writer);
    drop(held);
    is_over.recv_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(numbers(dir.path()), [1]);
}

#[test]
fn a_panic_in_a_job_is_an_error_for_all_and_no_hang() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path(), 100);
    let failed = writer.run_blocking(|_| -> Result<()> { panic!("a panic that a test wants") });
    assert!(matches!(failed, Err(Error::Fatal(_))), "{failed:?}");
    assert!(matches!(writer.run_blocking(insert(1)), Err(Error::Fatal(_))));
    drop(writer);
    assert!(numbers(dir.path()).is_empty());
}

#[test]
fn only_one_process_takes_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let held = lock(&path).unwrap();
    let Err(Error::Fatal(text)) = lock(&path) else { panic!("locked twice") };
    assert!(text.contains("another Encargo process") && text.contains("--data") && text.contains("test.db"), "{text}");
    drop(held);
    lock(&path).unwrap();
}

#[test]
fn what_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (garbage, missing) = (dir.path().join("garbage.db"), dir.path().join("missing.db"));
    std::fs::write(&garbage, "this is no database, whatever its name says".repeat(100)).unwrap();
    let below_a_file = garbage.join("test.db");
    let error = |result: Result<Connection>| match result {
        Err(Error::Fatal(text)) => text,
        other => panic!("{other:?}"),
    };
    for text in [error(open_writer(&garbage, Access::Serve)), error(open_reader(&garbage))] {
        assert!(text.contains("garbage.db") && text.contains("restore it from a backup"), "{text}");
    }
    for text in [error(open_writer(&missing, Access::Tool)), error(open_reader(&missing))] {
        assert!(text.contains("missing.db") && text.contains("encargo up"), "{text}");
    }
    assert!(!missing.exists(), "a tool creates nothing");
    assert!(error(open_writer(&below_a_file, Access::Serve)).contains("test.db"));
    let Err(Error::Fatal(text)) = lock(&below_a_file) else { panic!("a lock below a file") };
    assert!(text.contains("writable"), "{text}");
}

#[test]
fn readers_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    drop(writer(dir.path(), 1));
    let conn = open_reader(&dir.path().join("test.db")).unwrap();
    assert!(conn.execute("INSERT INTO numbers VALUES (1)", []).is_err());
}
