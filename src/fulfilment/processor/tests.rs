use prometheus_client::registry::Registry;
use proptest::prelude::*;

use super::*;
use crate::{
    domain::{Timestamp, wire},
    eventlog::{
        TopicSpec,
        sqlite::{Options as SqliteOptions, SqliteLog},
    },
    fulfilment::Engine,
};

fn of(partition: u32) -> TopicPartition {
    TopicPartition { topic: "orders".into(), partition }
}

fn options(dwell: Duration) -> Options {
    Options {
        flow: Arc::new(Flow::standard(dwell)),
        flows: "flows".into(),
        orders: "orders".into(),
        states: "states".into(),
        dead: "dead".into(),
        old_states: None,
        old_group: None,
        tick: Duration::from_millis(20),
        in_flight_max: 100,
        remember: 100,
        slot: 0,
    }
}

#[test]
fn is_ready_when_what_it_still_restores_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.db"), SqliteOptions::default()).unwrap();
    for name in ["orders", "states"] {
        log.create(&TopicSpec { name: name.into(), partitions: 2 }).unwrap();
    }
    let metrics = Metrics::new(&mut Registry::default());
    let deps = Deps { log: Arc::new(log), clock: Clock::system(), metrics: metrics.clone() };
    let mut processor = Processor::new(deps, options(Duration::from_secs(1))).unwrap();
    let assigned = [0, 1].map(|partition| GroupOffset { of: of(partition), offset: 0, metadata: String::new() });
    processor.assign(assigned.to_vec()).unwrap();
    let restored = [(); 2].map(|()| processor.restored.1.recv().unwrap());
    let [first, second] = restored;
    let late = second.offset.of.clone();
    processor.begin(first).unwrap();
    assert!(!metrics.is_ready(), "one partition is not there yet");
    processor.hear(Input::Revoking(vec![late]), None).unwrap();
    assert!(metrics.is_ready(), "there is nothing left to wait for");
    processor.begin(second).unwrap();
    assert_eq!(processor.partitions.len(), 1, "what was given up does not come back");
}

/// A log that takes everything, and measures it.
#[derive(Default)]
struct Ledger {
    largest: usize,
    ends: BTreeMap<(String, u32), u64>,
    states: BTreeMap<u64, Vec<u8>>,
    dead: usize,
    committed: BTreeMap<u32, u64>,
}

impl Member for Ledger {
    fn next(&mut self, _: Duration) -> eventlog::Result<Input> {
        Ok(Input::Idle)
    }

    fn seek(&mut self, _: &TopicPartition, _: u64) -> eventlog::Result<()> {
        Ok(())
    }

    fn pause(&mut self, _: bool) {}

    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        self.largest = self.largest.max(outputs.len());
        self.committed.extend(offsets.iter().map(|offset| (offset.of.partition, offset.offset)));
        let mut positions = Vec::new();
        for NewRecord { topic, partition, value, headers, at, .. } in outputs {
            let partition = partition.unwrap();
            let end = self.ends.entry((topic.clone(), partition)).or_default();
            positions.push(eventlog::Position { partition, offset: *end });
            *end += 1;
            match wire::decode_event(value, headers, *at) {
                Ok(event) => self.states.entry(event.order.id.get()).or_default().push(event.seq),
                Err(_) => self.dead += 1,
            }
        }
        Outcome::Committed(positions)
    }
}

/// The input of a partition: orders, every seventh record poison.
fn input(partition: u32, offsets: std::ops::Range<u64>) -> Vec<Record> {
    let record = |offset: u64| {
        let id = offset * 2 + u64::from(partition) + 1;
        let order = format!(r#"{{"orderid":{id},"gameid":"1","name":"n","price":"1","usermail":"a@b.example"}}"#);
        let value = if offset.is_multiple_of(7) { b"poison".to_vec() } else { order.into_bytes() };
        Record { offset, key: None, value, headers: Vec::new(), at: Timestamp::from_millis(0) }
    };
    offsets.map(record).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Whatever comes at once, for partitions that run and for one that is restored: no commit is larger than it may be,
    /// nothing is left out, and nothing overtakes.
    #[test]
    fn a_commit_has_a_bound(
        heard in prop::collection::vec((0_usize..2_500, 0_usize..2_500, 0_u64..3), 1..5), kept in 0_usize..12_000,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&folder.path().join("log.db"), SqliteOptions::default()).unwrap();
        for name in ["orders", "states"] {
            log.create(&TopicSpec { name: name.into(), partitions: 2 }).unwrap();
        }
        let clock = Clock::manual(Timestamp::from_millis(0));
        let deps = Deps { log: Arc::new(log), clock: clock.clone(), metrics: Metrics::new(&mut Registry::default()) };
        let dwell = Duration::from_secs(1);
        let mut processor = Processor::new(deps, options(dwell)).unwrap();
        let engine = || Engine::new(processor.options.flow.clone(), 10);
        let offset = |partition| GroupOffset { of: of(partition), offset: 0, metadata: String::new() };
        let (first, second) = (Partition::new(engine(), offset(0)), engine());
        processor.partitions.insert(0, first);
        let restoring = Restoring { ticket: 1, started: Duration::ZERO, kept: Vec::new() };
        processor.restoring.insert(1, restoring);
        let mut member = Ledger::default();
        let mut ends = [0, kept as u64];
        processor.take(&of(1), input(1, 0..ends[1]));
        processor.begin(Restored { ticket: 1, offset: offset(1), result: Ok(second) }).unwrap();
        for (zero, one, dwells) in heard {
            for (partition, count) in [(0, zero), (1, one)] {
                let next = ends[partition] + count as u64;
                processor.take(&of(partition as u32), input(partition as u32, ends[partition]..next));
                ends[partition] = next;
            }
            clock.advance(dwell * dwells as u32);
            processor.commit_once(&mut member).unwrap();
        }
        while processor.waiting() > 0 || processor.in_flight() > 0 {
            clock.advance(dwell);
            processor.commit_once(&mut member).unwrap();
        }
        prop_assert!(member.largest <= COMMIT_MAX, "{} in one commit", member.largest);
        let poison = ends.iter().map(|end| end.div_ceil(7)).sum::<u64>();
        prop_assert_eq!(member.dead as u64, poison);
        prop_assert_eq!(member.states.len() as u64, ends.iter().sum::<u64>() - poison);
        prop_assert!(member.states.values().all(|states| *states == [1, 2, 3, 4]));
        for (partition, end) in ends.into_iter().enumerate().filter(|(_, end)| *end > 0) {
            prop_assert_eq!(member.committed[&(partition as u32)], end);
        }
    }
}
