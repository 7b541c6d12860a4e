use prometheus_client::registry::Registry;

use super::*;
use crate::eventlog::{
    TopicSpec,
    sqlite::{Options as SqliteOptions, SqliteLog},
};

fn of(partition: u32) -> TopicPartition {
    TopicPartition { topic: "orders".into(), partition }
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
    let options = Options {
        flow: Arc::new(Flow::standard(Duration::from_secs(1))),
        orders: "orders".into(),
        states: "states".into(),
        dead: "dead".into(),
        old_states: None,
        old_group: None,
        tick: Duration::from_millis(20),
        in_flight_max: 100,
        remember: 100,
        slot: 0,
    };
    let mut processor = Processor::new(deps, options).unwrap();
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
