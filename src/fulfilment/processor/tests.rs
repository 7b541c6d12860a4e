use std::{borrow::Cow, collections::VecDeque};

use prometheus_client::registry::Registry;

use super::*;
use crate::{
    clock::Clock,
    domain::{Timestamp, wire::Framed, wire::Headers},
    eventlog::{
        GroupOffset, NewRecord, Record, TopicSpec,
        memory::{MemoryLog, Options as LogOptions},
    },
};

/// Schemas that nobody ever looks up.
struct Away;

impl Schemas for Away {
    fn want(&self, _: u32) {}

    fn translate(&self, _: Framed<'_>) -> Option<Result<Vec<u8>, Cow<'static, str>>> {
        None
    }
}

/// Brings these events, and notes what is paused.
#[derive(Default)]
struct Scripted {
    events: VecDeque<MemberEvent>,
    pauses: Vec<(String, bool)>,
}

impl Member for Scripted {
    fn next(&mut self, _: Duration) -> eventlog::Result<MemberEvent> {
        Ok(self.events.pop_front().unwrap_or(MemberEvent::Idle))
    }

    fn seek(&mut self, _: &TopicPartition, _: u64) -> eventlog::Result<()> {
        Ok(())
    }

    fn pause(&mut self, topic: &str, paused: bool) {
        self.pauses.push((topic.to_owned(), paused));
    }

    fn commit(&mut self, _: &[NewRecord], _: &[GroupOffset]) -> Outcome {
        Outcome::Committed(Vec::new())
    }
}

fn processor() -> Processor {
    let clock = Clock::manual(Timestamp::from_millis(0));
    let log = MemoryLog::new(clock.clone(), LogOptions::default());
    for name in ["orders", "states", "dead", "flows"] {
        log.create(&TopicSpec { name: name.into(), partitions: 2 }).unwrap();
    }
    let env = Env::simulated(clock, 7);
    let deps = Deps { log: Arc::new(log), env, metrics: Metrics::new(&mut Registry::default()) };
    let options = Options {
        flow: Arc::new(Flow::standard(Duration::from_secs(1))),
        flows: "flows".into(),
        orders: "orders".into(),
        states: "states".into(),
        dead: "dead".into(),
        commands: None,
        old_states: None,
        old_group: None,
        tick: Duration::from_millis(20),
        in_flight_max: 1_000,
        remember: 10,
        slot: 0,
    };
    let never = |_: super::super::Job| Ok(());
    Processor::with(deps, options, Limits::default(), Arc::new(never)).unwrap().reading(Arc::new(Away))
}

/// Records that wait for a schema which is never found must not hold up the partitions that stay when theirs goes.
#[test]
fn what_waits_in_a_partition_that_is_given_up_pauses_nobody_any_more() {
    let tp = TopicPartition { topic: "orders".into(), partition: 1 };
    let record = |offset| Record {
        offset,
        key: None,
        value: b"\0\0\0\0\x07avro".to_vec(),
        headers: Headers::default(),
        at: Timestamp::from_millis(0),
    };
    for give_up in [MemberEvent::Lost, MemberEvent::Revoking] {
        let mut member = Scripted::default();
        member.events.push_back(MemberEvent::Records(tp.clone(), (0..20_000).map(record).collect()));
        let mut processor = processor();
        processor.hear(&mut member, Duration::ZERO).unwrap();
        assert_eq!(member.pauses, [("orders".to_owned(), true)]);
        processor.hear(&mut member, Duration::ZERO).unwrap();
        member.events.push_back(give_up(vec![tp.clone()]));
        processor.hear(&mut member, Duration::ZERO).unwrap();
        assert_eq!(member.pauses, [("orders".to_owned(), true), ("orders".to_owned(), false)]);
    }
}
