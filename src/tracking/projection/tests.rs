use std::sync::atomic::{AtomicU32, Ordering};

use prometheus_client::registry::Registry;
use proptest::prelude::*;

use super::*;
use crate::{
    clock::Clock,
    eventlog::sqlite::{Options as LogOptions, SqliteLog},
    store::sqlite::{Options as StoreOptions, SqliteStore},
};

/// Batches of any size, as a log may give them; a seek is not expected.
struct Given(Vec<(TopicPartition, Vec<Record>)>);

impl Member for Given {
    fn next(&mut self, _: Duration) -> eventlog::Result<Input> {
        Ok(self.0.pop().map_or(Input::Idle, |(of, records)| Input::Records(of, records)))
    }

    fn seek(&mut self, of: &TopicPartition, _: u64) -> eventlog::Result<()> {
        Err(eventlog::Error::Fenced(of.to_string()))
    }

    fn pause(&mut self, _: &str, _: bool) {}

    fn commit(&mut self, _: &[eventlog::NewRecord], _: &[GroupOffset]) -> Outcome {
        Outcome::Committed(Vec::new())
    }
}

fn record(offset: u64, size: usize) -> Record {
    Record { offset, key: None, value: vec![b'x'; size], headers: Vec::new(), at: Timestamp::from_millis(0) }
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
        let deps = Deps {
            log: Arc::new(SqliteLog::open(&path("log"), LogOptions::default()).unwrap()),
            store: Arc::new(SqliteStore::open(&path("store"), StoreOptions::default()).unwrap()),
            env: Env::simulated(Clock::manual(Timestamp::default()), 1),
            projected: Arc::default(),
            metrics: Metrics::new(&mut Registry::default()),
        };
        let options = Options { states: "states".into(), dead: "dead".into(), outcomes: None, old_states: None, mail: false, mail_since: None, slot: 0 };
        let mut projection = Projection::new(deps, options, runtime.handle().clone());
        let mut ends = BTreeMap::new();
        let mut batches = Vec::new();
        for (partition, count, size) in given {
            let of = TopicPartition { topic: "states".into(), partition };
            let end = ends.entry(of.clone()).or_insert(0_u64);
            batches.push((of.clone(), (*end..*end + count as u64).map(|offset| record(offset, size)).collect()));
            *end += count as u64;
            projection.applied.insert(of, 0);
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
                let of = TopicPartition { topic: letter.source.topic, partition: letter.source.partition };
                let next = seen.entry(of).or_default();
                prop_assert_eq!(letter.source.offset, *next);
                *next += 1;
            }
            for Advance { of, from, to, .. } in batch.advances {
                prop_assert_eq!(projection.applied.insert(of.clone(), to), Some(from));
                prop_assert_eq!(seen[&of], to);
            }
        }
        prop_assert_eq!(seen, ends);
    }
}
