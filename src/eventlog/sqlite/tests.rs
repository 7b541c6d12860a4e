//! What is the embedded log's own; the rest is in the contract suite.

mod following;

use std::{path::PathBuf, sync::mpsc, time::Duration};

use super::*;
use crate::{
    domain::wire::Headers,
    eventlog::{GroupOffset, MemberEvent, Outcome, Record},
};

const DEADLINE: Duration = Duration::from_mins(5);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("log.db")
    }

    fn open(&self, options: Options) -> SqliteLog {
        let log = SqliteLog::open(&self.path(), options).unwrap();
        log.create(&TopicSpec { name: "t".into(), partitions: 1 }).unwrap();
        log
    }
}

fn record(value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord {
        topic: "t".into(),
        partition: Some(0),
        key: None,
        value: value.into(),
        headers: Headers::default(),
        at: Timestamp::default(),
    }
}

fn part() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn append(log: &SqliteLog, value: impl Into<Vec<u8>>) -> Result<u64> {
    Ok(wait(log.append(vec![record(value)]))?[0].offset)
}

fn read_all(log: &SqliteLog) -> Vec<Record> {
    log.read(&part(), 0).unwrap().next(100_000).unwrap()
}

fn writer(log: &SqliteLog) -> &Writer {
    &log.server.as_ref().unwrap().writer
}

/// Holds the writer until the returned sender is dropped: what is submitted meanwhile makes one group.
fn hold(log: &SqliteLog) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let done = move |_: sqlite::Result<()>| {
        started.send(()).unwrap();
        let _ = held.recv_timeout(DEADLINE);
    };
    writer(log).submit(|_| Ok(()), done).unwrap();
    has_started.recv_timeout(DEADLINE).unwrap();
    release
}

fn max_pages(log: &SqliteLog, more: i64) {
    writer(log)
        .run_blocking(move |conn| -> sqlite::Result<()> {
            let pages: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
            conn.pragma_update_and_check(None, "max_page_count", pages + more, |row| row.get::<_, i64>(0))?;
            Ok(())
        })
        .unwrap();
}

/// Offsets have neither gap nor repeat, and each acknowledged record is where it was said to be.
fn check_all_there(log: &SqliteLog, acknowledged: &[(u64, String)]) {
    let read = read_all(log);
    let found: Vec<_> = read.iter().map(|r| (r.offset, String::from_utf8(r.value.clone()).unwrap())).collect();
    assert_eq!(found, acknowledged);
    assert_eq!(read.len() as u64, log.topics().unwrap()[0].partitions[0].end);
    assert!((0..).zip(&read).all(|(offset, record)| record.offset == offset));
}

#[test]
fn a_failed_commit_gives_its_offsets_back_and_is_never_read() {
    let place = Place::new();
    let lock = sqlite::lock(&place.path()).unwrap();
    let conn = sqlite::open_writer(&place.path(), Access::Serve).unwrap();
    // a row in `poison` makes the COMMIT itself fail
    conn.execute_batch(
        "PRAGMA foreign_keys = ON; CREATE TABLE none (id INTEGER PRIMARY KEY);
         CREATE TABLE poison (of INTEGER REFERENCES none DEFERRABLE INITIALLY DEFERRED);",
    )
    .unwrap();
    let log = SqliteLog::serve(&place.path(), Options::default(), lock, conn).unwrap();
    log.create(&TopicSpec { name: "t".into(), partitions: 1 }).unwrap();
    let mut member = log.join("g", &["t"], 0, MemberMode::Outputs).unwrap();
    assert!(matches!(member.next(DEADLINE).unwrap(), MemberEvent::Assigned(_)));

    let mut acknowledged = vec![(append(&log, "first").unwrap(), "first".to_owned())];
    for round in 0..3 {
        let held = hold(&log);
        let before = log.append(vec![record("lost"), record("lost too")]);
        let poison =
            |conn: &Connection| -> sqlite::Result<usize> { Ok(conn.execute("INSERT INTO poison VALUES (1)", [])?) };
        writer(&log).submit(poison, |result| assert!(result.is_err())).unwrap();
        let after = log.append(vec![record("lost as well")]);
        drop(held);
        assert!(wait(before).is_err());
        assert!(wait(after).is_err());
        let value = format!("round {round}");
        acknowledged.push((append(&log, value.clone()).unwrap(), value));
    }
    check_all_there(&log, &acknowledged);
    let mut heard = Vec::new();
    while let MemberEvent::Records(_, records) = member.next(Duration::ZERO).unwrap() {
        heard.extend(records.into_iter().map(|r| (r.offset, String::from_utf8(r.value).unwrap())));
    }
    assert_eq!(heard, acknowledged);
}

#[test]
fn a_refused_commit_gives_its_offsets_back_within_the_group() {
    let place = Place::new();
    let log = Arc::new(place.open(Options::default()));
    let mut member = log.join("g", &["t"], 0, MemberMode::Outputs).unwrap();
    assert!(matches!(member.next(DEADLINE).unwrap(), MemberEvent::Assigned(_)));
    let held = hold(&log);
    let before = log.append(vec![record("before")]);
    let refused = std::thread::spawn(move || {
        let beyond = GroupOffset { tp: part(), offset: 99, metadata: String::new() };
        member.commit(&[record("refused"), record("refused")], &[beyond])
    });
    while writer(&log).waiting() < 2 {
        std::thread::yield_now();
    }
    let after = log.append(vec![record("after")]);
    drop(held);
    assert_eq!(wait(before).unwrap()[0].offset, 0);
    assert_eq!(wait(after).unwrap()[0].offset, 1);
    assert!(matches!(refused.join().unwrap(), Outcome::Aborted(Error::Fatal(_))));
    check_all_there(&log, &[(0, "before".into()), (1, "after".into())]);
}

#[test]
fn a_full_disk_is_unavailable_and_the_log_goes_on_when_there_is_room() {
    let place = Place::new();
    let log = place.open(Options::default());
    let mut acknowledged = Vec::new();
    max_pages(&log, 20);
    let refused = (0..1_000).find_map(|number| {
        let value = format!("{number:01000}");
        match append(&log, value.clone()) {
            Ok(offset) => acknowledged.push((offset, value)),
            Err(error) => return Some(error),
        }
        None
    });
    assert!(matches!(&refused, Some(Error::Unavailable(text)) if text.contains("disk is full")), "{refused:?}");
    assert!(!acknowledged.is_empty());

    // many at once, of which some fit
    let held = hold(&log);
    let futures: Vec<_> = (0..50)
        .map(|number| {
            let value = if number % 2 == 0 { format!("{number:05000}") } else { number.to_string() };
            (value.clone(), log.append(vec![record(value)]))
        })
        .collect();
    drop(held);
    let mut failures = 0;
    for (value, future) in futures {
        match wait(future) {
            Ok(positions) => acknowledged.push((positions[0].offset, value)),
            Err(Error::Unavailable(_)) => failures += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(failures > 0);
    check_all_there(&log, &acknowledged);

    max_pages(&log, 10_000);
    acknowledged.push((append(&log, "room again").unwrap(), "room again".into()));
    check_all_there(&log, &acknowledged);
    drop(log);
    check_all_there(&place.open(Options::default()), &acknowledged);
}

#[test]
fn appends_are_refused_when_too_many_wait_but_commits_pass() {
    let place = Place::new();
    let log = Arc::new(place.open(Options { waiting_max: 3, ..Options::default() }));
    let mut member = log.join("g", &["t"], 0, MemberMode::Outputs).unwrap();
    assert!(matches!(member.next(DEADLINE).unwrap(), MemberEvent::Assigned(_)));
    let held = hold(&log);
    let taken: Vec<_> = (0..3).map(|number| log.append(vec![record(number.to_string())])).collect();
    assert!(matches!(append(&log, "too much"), Err(Error::Overloaded(3))));
    let committing = std::thread::spawn(move || member.commit(&[record("3")], &[]));
    while log.waiting() < 4 {
        std::thread::yield_now();
    }
    drop(held);
    for future in taken {
        wait(future).unwrap();
    }
    assert!(matches!(committing.join().unwrap(), Outcome::Committed(_)));
    append(&log, "4").unwrap();
    check_all_there(&log, &(0..5).map(|number| (number, number.to_string())).collect::<Vec<_>>());
}

#[test]
fn a_second_server_is_told_what_to_do() {
    let place = Place::new();
    let log = place.open(Options::default());
    let Err(Error::Fatal(text)) = SqliteLog::open(&place.path(), Options::default()) else { panic!("opened twice") };
    assert!(text.contains("log.db") && text.contains("another Encargo process"), "{text}");
    // the members hold it as well
    let member = log.join("g", &["t"], 0, MemberMode::Outputs).unwrap();
    drop(log);
    assert!(SqliteLog::open(&place.path(), Options::default()).is_err());
    drop(member);
    place.open(Options::default());
}

#[test]
fn a_tool_reads_beside_the_server_and_writes_nothing() {
    let place = Place::new();
    let log = place.open(Options::default());
    let tool = SqliteLog::open_read_only(&place.path()).unwrap();
    append(&log, "seen").unwrap();
    let mut member = log.join("g", &["t"], 0, MemberMode::Outputs).unwrap();
    assert!(matches!(member.next(DEADLINE).unwrap(), MemberEvent::Assigned(_)));
    let offset = GroupOffset { tp: part(), offset: 1, metadata: "w".into() };
    assert!(matches!(member.commit(&[], std::slice::from_ref(&offset)), Outcome::Committed(_)));
    log.create(&TopicSpec { name: "later".into(), partitions: 1 }).unwrap();

    assert_eq!(tool.topics().unwrap(), log.topics().unwrap());
    assert_eq!(tool.groups().unwrap()[0].offsets, [offset]);
    assert_eq!(read_all(&tool)[0].value, b"seen");
    assert_eq!(tool.offset_at(&part(), Timestamp::from_millis(1)).unwrap(), 1);
    let refused = |result: Result<()>| matches!(result, Err(Error::Fatal(text)) if text.contains("reading only"));
    assert!(refused(append(&tool, "x").map(drop)));
    assert!(refused(tool.create(&TopicSpec { name: "t".into(), partitions: 1 })));
    assert!(refused(tool.delete_before(&part(), 1)));
    assert!(refused(tool.join("h", &["t"], 0, MemberMode::Outputs).map(drop)));
    assert_eq!(read_all(&log).len(), 1);
}

#[test]
fn what_is_no_log_is_named() {
    let place = Place::new();
    let fatal = |result: Result<SqliteLog>| match result {
        Err(Error::Fatal(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("opened"),
    };
    assert!(fatal(SqliteLog::open_read_only(&place.path())).contains("log.db"));
    std::fs::write(place.path(), vec![b'x'; 10_000]).unwrap();
    assert!(fatal(SqliteLog::open(&place.path(), Options::default())).contains("log.db"));
    assert!(fatal(SqliteLog::open_read_only(&place.path())).contains("log.db"));

    let other = place.0.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(fatal(SqliteLog::open_read_only(&other)).contains("other.db"));

    let newer = Place::new();
    drop(newer.open(Options::default()));
    let conn = Connection::open(newer.path()).unwrap();
    conn.execute(
        "INSERT INTO refinery_schema_history SELECT 99, 'future', applied_on, '7' FROM refinery_schema_history LIMIT 1",
        [],
    )
    .unwrap();
    drop(conn);
    assert!(fatal(SqliteLog::open(&newer.path(), Options::default())).contains("log.db"));
    assert!(fatal(SqliteLog::open_read_only(&newer.path())).contains("log.db"));
}

/// A file of the first version with records of two partitions, from which the oldest are deleted already.
fn first_version(place: &Place) -> Connection {
    let mut conn = sqlite::open_writer(&place.path(), Access::Serve).unwrap();
    schema::migrate_to(1, &mut conn);
    conn.execute_batch(
        "INSERT INTO topics VALUES (1, 't');
         INSERT INTO partitions VALUES (1, 1, 0, 10, 500), (2, 1, 1, 0, 400);
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 499)
         INSERT INTO records SELECT 1, i, 7 + i, CAST(i AS BLOB), NULL, zeroblob(700) FROM n WHERE i >= 10
             UNION ALL SELECT 2, i, 9 + i, NULL, NULL, CAST('second ' || i AS BLOB) FROM n WHERE i < 400;",
    )
    .unwrap();
    conn
}

#[test]
fn a_file_of_the_first_version_holds_what_it_held() {
    let place = Place::new();
    drop(first_version(&place));
    let log = SqliteLog::open(&place.path(), Options::default()).unwrap();
    let read = |partition, from| {
        let mut reader = log.read(&TopicPartition { topic: "t".into(), partition }, from).unwrap();
        reader.next(1_000).unwrap()
    };
    let first = read(0, 10);
    assert_eq!((first.len(), first[0].offset, first[489].offset), (490, 10, 499));
    assert!(first.iter().all(|record| {
        record.key.as_deref() == Some(record.offset.to_string().as_bytes())
            && record.value == [0; 700]
            && record.at == Timestamp::from_millis(7 + record.offset as i64)
    }));
    let second = read(1, 0);
    assert!(second.len() == 400 && second[399].value == b"second 399" && second[399].key.is_none());
    assert_eq!(append(&log, "next").unwrap(), 500);
}

#[test]
fn where_there_is_no_room_for_a_newer_version_the_file_stays_as_it_was() {
    let place = Place::new();
    let mut conn = first_version(&place);
    let pages: u32 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let _: u32 = conn.pragma_update_and_check(None, "max_page_count", pages + 20, |row| row.get(0)).unwrap();
    let refused = schema::migrate(&place.path(), &mut conn).unwrap_err().to_string();
    assert!(refused.contains("full") && refused.contains("free room"), "{refused}");
    drop(conn);
    let log = SqliteLog::open(&place.path(), Options::default()).unwrap();
    assert_eq!(log.read(&part(), 10).unwrap().next(1_000).unwrap().len(), 490);
}

#[test]
fn damaged_headers_are_an_error_that_names_the_record() {
    let place = Place::new();
    let log = place.open(Options::default());
    append(&log, "x").unwrap();
    writer(&log)
        .run_blocking(|conn| -> sqlite::Result<_> { Ok(conn.execute("UPDATE records SET headers = x'ff'", [])?) })
        .unwrap();
    let result = log.read(&part(), 0).unwrap().next(1);
    assert!(matches!(&result, Err(Error::Fatal(text)) if text.contains("offset 0 of t/0")), "{result:?}");
}

#[test]
fn the_write_ahead_log_is_emptied_while_a_member_follows() {
    let place = Place::new();
    let log = place.open(Options::default());
    let mut member = log.join("g", &["t"], 0, MemberMode::Outputs).unwrap();
    assert!(matches!(member.next(DEADLINE).unwrap(), MemberEvent::Assigned(_)));
    let wal = place.path().with_extension("db-wal");
    let limit = 4 * u64::from(CHECKPOINT_PAGES) * 4_096;
    for _ in 0..200 {
        append(&log, vec![b'x'; 100_000]).unwrap();
        assert!(matches!(member.next(DEADLINE).unwrap(), MemberEvent::Records(..)));
        let length = wal.metadata().unwrap().len();
        assert!(length < limit, "{length} bytes wait in the write-ahead log");
    }
}
