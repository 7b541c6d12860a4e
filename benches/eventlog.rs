//! What the embedded log does in a second, and how long its commits take under a steady load.
//!
//! `cargo bench --bench eventlog [-- append|commit|read|steady [SECONDS]]`; set `BENCH_DIR` to measure another disk.

#![expect(clippy::disallowed_methods, reason = "a measurement in real time")]

use std::{path::Path, sync::Arc, time::Duration};

use encargo::{
    bench::stats::Summary,
    clock::Clock,
    domain::{Timestamp, wire},
    eventlog::{
        EventLog, GroupOffset, Member, MemberEvent, MemberMode, NewRecord, Outcome, TopicPartition, TopicSpec,
        sqlite::{Options, SqliteLog},
    },
};

const TOPIC: &str = "compra_confirmada";
const PARTITIONS: u32 = 4;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let chosen = |name: &str| args.first().is_none_or(|first| first == name);
    let seconds = args.get(1).map_or(Ok(10), |text| text.parse())?;
    let root = std::env::var("BENCH_DIR").unwrap_or_else(|_| std::env::temp_dir().display().to_string());
    let bench = |name: &str, run: &dyn Fn(&Path) -> anyhow::Result<()>| -> anyhow::Result<()> {
        if !chosen(name) {
            return Ok(());
        }
        let dir = tempfile::tempdir_in(&root)?;
        run(&dir.path().join("log.db"))
    };
    bench("append", &|path| [1, 16, 64, 256, 1024].into_iter().try_for_each(|callers| append(path, callers)))?;
    bench("commit", &|path| [10, 100, 1_000].into_iter().try_for_each(|outputs| commit(path, outputs)))?;
    bench("read", &read)?;
    bench("steady", &|path| steady(path, Duration::from_secs(seconds)))
}

fn open(path: &Path) -> anyhow::Result<Arc<SqliteLog>> {
    let log = SqliteLog::open(path, Options::default())?;
    log.create(&TopicSpec { name: TOPIC.into(), partitions: PARTITIONS })?;
    Ok(Arc::new(log))
}

/// About 300 bytes, like an order's event.
fn record(number: u64) -> NewRecord {
    NewRecord {
        topic: TOPIC.into(),
        partition: Some((number % u64::from(PARTITIONS)) as u32),
        key: Some(number.to_string().into_bytes()),
        value: vec![b'v'; 200],
        headers: wire::Headers::from_iter([
            ("ce_id", &*number.to_string()),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ]),
        at: Timestamp::from_millis(1_764_000_000_000 + number as i64),
    }
}

/// Each caller appends one record, waits until it is durable, and goes on.
fn append(path: &Path, callers: u64) -> anyhow::Result<()> {
    let log = open(path)?;
    let clock = Clock::system();
    let each = (200_000 / callers).clamp(100, 10_000);
    let start = clock.monotonic();
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?.block_on(async {
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let log = log.clone();
                tokio::spawn(async move {
                    for number in 0..each {
                        log.append(vec![record(caller * each + number)]).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })?;
    rate(
        &format!("append, one record at a time, {callers} callers"),
        callers * each,
        clock.monotonic().saturating_sub(start),
    );
    Ok(())
}

/// A member's commits of that many outputs and one offset, one after the other.
fn commit(path: &Path, outputs: u64) -> anyhow::Result<()> {
    let log = open(path)?;
    let mut member = log.join("bench", &[TOPIC], 0, MemberMode::Outputs)?;
    assigned(&mut *member)?;
    let clock = Clock::system();
    let batches = (200_000 / outputs).min(5_000);
    let records: Vec<_> = (0..outputs).map(record).collect();
    let start = clock.monotonic();
    for _ in 0..batches {
        committed(&mut *member, &records)?;
    }
    rate(&format!("commit of {outputs} outputs"), batches * outputs, clock.monotonic().saturating_sub(start));
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<()> {
    const RECORDS: u64 = 1_000_000;
    let log = open(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for first in (0..RECORDS).step_by(10_000) {
        runtime.block_on(log.append((first..first + 10_000).map(record).collect()))?;
    }
    let clock = Clock::system();
    for round in ["first", "again"] {
        let mut member = log.join("bench", &[TOPIC], 0, MemberMode::Outputs)?;
        assigned(&mut *member)?;
        let (start, mut count) = (clock.monotonic(), 0);
        while let MemberEvent::Records(_, records) = member.next(Duration::ZERO)? {
            count += records.len() as u64;
        }
        anyhow::ensure!(count == RECORDS, "{count} records read");
        rate(
            &format!("member, {round} read of {:.0} MB", megabytes(path)),
            count,
            clock.monotonic().saturating_sub(start),
        );
    }
    Ok(())
}

/// 20,000 records a second in batches every 20 ms, with a second member reading along.
fn steady(path: &Path, duration: Duration) -> anyhow::Result<()> {
    const TICK: Duration = Duration::from_millis(20);
    let log = open(path)?;
    let mut member = log.join("writes", &[TOPIC], 0, MemberMode::Outputs)?;
    assigned(&mut *member)?;
    let mut follower = log.join("reads", &[TOPIC], 0, MemberMode::Outputs)?;
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        while is_done.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            follower.next(TICK).expect("the log can be read");
        }
    });
    let clock = Clock::system();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let records: Vec<_> = (0..400).map(record).collect();
    let mut taken = Vec::new();
    let (mut wal_max, mut due) = (0.0_f64, clock.monotonic());
    let end = due + duration;
    while due < end {
        runtime.block_on(clock.sleep(due.saturating_sub(clock.monotonic())));
        committed(&mut *member, &records)?;
        // from when it was due, so that a stall counts for all that wait behind it
        taken.push(clock.monotonic().saturating_sub(due).as_secs_f64() * 1e3);
        wal_max = wal_max.max(megabytes(&path.with_extension("db-wal")));
        due += TICK;
    }
    drop(done);
    reading.join().expect("the reader ended well");
    let millis = Summary::of(taken);
    println!(
        "20,000/s in 20 ms batches, {} commits: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms; log {:.0} MB, its WAL at most {wal_max:.0} MB",
        millis.count,
        millis.p50,
        millis.p99,
        millis.p999,
        millis.max,
        megabytes(path),
    );
    Ok(())
}

fn assigned(member: &mut dyn Member) -> anyhow::Result<()> {
    anyhow::ensure!(
        matches!(member.next(Duration::ZERO)?, MemberEvent::Assigned(_)),
        "the first input is the assignment"
    );
    Ok(())
}

fn committed(member: &mut dyn Member, outputs: &[NewRecord]) -> anyhow::Result<()> {
    let tp = TopicPartition { topic: TOPIC.into(), partition: 0 };
    let offset = GroupOffset { tp, offset: 0, metadata: "w=0".into() };
    match member.commit(outputs, &[offset]) {
        Outcome::Committed(_) => Ok(()),
        Outcome::Aborted(error) | Outcome::Unknown(error) => Err(error.into()),
    }
}

fn rate(what: &str, count: u64, took: Duration) {
    let (seconds, count) = (took.as_secs_f64(), count as f64);
    println!("{what}: {:.0} records/s, {:.1} µs each", count / seconds, seconds * 1e6 / count);
}

fn megabytes(path: &Path) -> f64 {
    path.metadata().map_or(0.0, |meta| meta.len() as f64 / 1e6)
}
