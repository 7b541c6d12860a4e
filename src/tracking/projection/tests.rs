use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use prometheus_client::registry::Registry;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::{
    clock::Clock,
    domain::{Source, wire},
    eventlog::sqlite::{Options as LogOptions, SqliteLog},
    store::{
        Handover,
        sqlite::{Options as StoreOptions, SqliteStore},
    },
};

/// Batches of any size, as a log may give them; a seek is not expected.
struct Given(Vec<(TopicPartition, Vec<Record>)>);

impl Member for Given {
    fn next(&mut self, _: Duration) -> eventlog::Result<MemberEvent> {
        Ok(self.0.pop().map_or(MemberEvent::Idle, |(tp, records)| MemberEvent::Records(tp, records)))
    }

    fn seek(&mut self, tp: &TopicPartition, _: u64) -> eventlog::Result<()> {
        Err(eventlog::Error::Fenced(tp.to_string()))
    }

    fn pause(&mut self, _: &str, _: bool) {}

    fn commit(&mut self, _: &[eventlog::NewRecord], _: &[GroupOffset]) -> Outcome {
        Outcome::Committed(Vec::new())
    }
}

fn record(offset: u64, size: usize) -> Record {
    Record {
        offset,
        key: None,
        value: vec![b'x'; size],
        headers: wire::Headers::default(),
        at: Timestamp::from_millis(0),
    }
}

fn projection(path: &dyn Fn(&str) -> PathBuf, runtime: &Runtime) -> Projection {
    let deps = Deps {
        log: Arc::new(SqliteLog::open(&path("log"), LogOptions::default()).unwrap()),
        store: Arc::new(SqliteStore::open(&path("store"), StoreOptions::default()).unwrap()),
        env: Env::simulated(Clock::manual(Timestamp::default()), 1),
        handover: Handover::default(),
        feed: crate::tracking::Feed::default(),
        author: Arc::new(|_, record| Ok(record.headers.text(wire::SEAL) == Some("x"))),
        metrics: Metrics::new(&mut Registry::default()),
    };
    let options = Options {
        states: "states".into(),
        dead: "dead".into(),
        outcomes: Some("outcomes".into()),
        old_states: Some("old".into()),
        mail: false,
        mail_since: None,
        slot: 0,
    };
    Projection::new(deps, options, runtime.handle().clone())
}

/// What the projection makes of records that it can take.
fn read(topic: &str, records: Vec<Record>) -> Batch {
    try_read(topic, records).unwrap()
}

fn try_read(topic: &str, records: Vec<Record>) -> Result<Batch, Error> {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut projection = projection(&|name| folder.path().join(name), &runtime);
    let tp = TopicPartition { topic: topic.into(), partition: 7 };
    projection.applied.insert(tp.clone(), 0);
    let mut batch = Batch::default();
    projection.add(&mut batch, tp, records.into(), &mut Budget::new(BATCH_MAX, BATCH_BYTES_MAX))?;
    Ok(batch)
}

fn of_value(offset: u64, value: &[u8]) -> Record {
    Record { value: value.to_vec(), ..record(offset, 0) }
}

#[test]
fn a_batch_is_of_the_time_at_which_its_records_came() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut projection = projection(&|name| folder.path().join(name), &runtime);
    let tp = TopicPartition { topic: "states".into(), partition: 7 };
    projection.applied.insert(tp.clone(), 0);
    let clock = projection.deps.env.clock.clone();
    let mut batch = Batch::default();
    clock.advance(Duration::from_secs(3)); // it is waited for records
    projection.add(&mut batch, tp, vec![record(0, 1)].into(), &mut Budget::new(BATCH_MAX, BATCH_BYTES_MAX)).unwrap();
    assert_eq!(batch.now, clock.now());
    assert_eq!(batch.dead[0].at, clock.now());
}

#[test]
fn an_order_is_where_our_own_states_of_it_are() {
    let state = br#"{"orderid":7,"gameid":"1","name":"n","price":"1","usermail":"a@example.org","estado":"recibido"}"#;
    let keyed = Record { key: Some(b"7".to_vec()), ..of_value(0, state) };
    for (topic, record, partition) in
        [("states", keyed.clone(), Some(7)), ("states", of_value(0, state), None), ("old", keyed, None)]
    {
        let batch = read(topic, vec![record]);
        assert_eq!(batch.events.iter().map(|incoming| incoming.partition).collect::<Vec<_>>(), [partition], "{topic}");
    }
}

/// An older program that went on would show orders where they are not, and mail it.
#[test]
fn an_event_of_a_newer_version_is_neither_taken_nor_passed_over() {
    let sealed = wire::Headers::from_iter([(wire::SEAL, b"x")]);
    let newer = Record { headers: sealed, ..of_value(5, br#"{"version":3,"orderid":"seven"}"#) };
    let refused = try_read("states", vec![newer.clone()]);
    assert!(matches!(refused, Err(Error::Newer { offset: 5, source: wire::Unreadable::Newer(3), .. })));
    let forged = wire::Headers::from_iter([(wire::SEAL, b"y")]);
    for (topic, headers) in [("states", wire::Headers::default()), ("states", forged), ("old", newer.headers.clone())] {
        let strangers = Record { headers, ..newer.clone() };
        assert_eq!(try_read(topic, vec![strangers]).unwrap().dead.len(), 1, "a stranger's stops nobody: {topic}");
    }
}

#[test]
fn what_became_of_commands_is_read_and_what_is_none_is_a_dead_letter() {
    let good = br#"{"orderid":7,"command":"c-1","result":"done","at":"2026-11-28T10:00:00.000Z"}"#;
    let batch = read("outcomes", vec![of_value(0, good), of_value(1, b"{"), of_value(2, good)]);
    let commands: Vec<_> = batch.outcomes.iter().map(|outcome| outcome.command.as_str()).collect();
    assert_eq!((commands, batch.events.len()), (vec!["c-1"; 2], 0));
    let [letter] = &batch.dead[..] else { panic!("{:?}", batch.dead) };
    let source = Source { topic: "outcomes".into(), partition: 7, offset: 1 };
    assert_eq!((&letter.source, &*letter.value), (&source, &b"{"[..]));
    assert_eq!(batch.advances[0].to, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever the log gives at once, no batch is larger than it may be, and each goes on where the last one ended.
    #[test]
    fn a_batch_has_bounds(given in prop::collection::vec((0_u32..3, 1_usize..3_000, 0_usize..5_000), 1..6)) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(format!("{name}{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut projection = projection(&path, &runtime);
        let mut ends = BTreeMap::new();
        let mut batches = Vec::new();
        for (partition, count, size) in given {
            let tp = TopicPartition { topic: "states".into(), partition };
            let end = ends.entry(tp.clone()).or_insert(0_u64);
            batches.push((tp.clone(), (*end..*end + count as u64).map(|offset| record(offset, size)).collect()));
            *end += count as u64;
            projection.applied.insert(tp, 0);
        }
        batches.reverse();
        let mut member = Given(batches);
        let mut seen: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        while let Some(Todo::Apply(batch)) = projection.collect(&mut member, IDLE).unwrap() {
            let batch = Arc::unwrap_or_clone(batch);
            prop_assert!(batch.dead.len() <= BATCH_MAX, "{} records", batch.dead.len());
            let sizes = batch.dead.iter().map(|letter| letter.value.len());
            prop_assert!(sizes.sum::<usize>() < BATCH_BYTES_MAX + 5_000);
            for letter in batch.dead {
                let tp = TopicPartition { topic: letter.source.topic, partition: letter.source.partition };
                let next = seen.entry(tp).or_default();
                // one that stands for many tells all of its run each time
                let told = wire::run(&letter.headers).unwrap_or_else(|| vec![letter.source.offset..=letter.source.offset]);
                let [told] = &told[..] else { panic!("a gap: {told:?}") };
                prop_assert!(told.contains(next), "{told:?} after {next}");
                *next = told.end() + 1;
            }
            for Advance { tp, from, to, .. } in batch.advances {
                prop_assert_eq!(projection.applied.insert(tp.clone(), to), Some(from));
                prop_assert_eq!(seen[&tp], to);
            }
        }
        prop_assert_eq!(seen, ends);
    }
}
