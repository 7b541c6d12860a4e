use std::sync::Arc;

use prometheus_client::registry::Registry;

use super::*;
use crate::{
    domain::{Flow, Timestamp, wire},
    eventlog::{NewRecord, Position, Record},
    fulfilment::{Broken, CommandTopics, Engine, plan::Part},
};

mod bounds;
mod world;

const DWELL: std::time::Duration = std::time::Duration::from_secs(1);

fn options(in_flight_max: u64) -> Options {
    Options {
        flow: Arc::new(Flow::standard(DWELL)),
        flows: "flows".into(),
        orders: "orders".into(),
        states: "states".into(),
        dead: "dead".into(),
        commands: Some(CommandTopics { commands: "commands".into(), outcomes: "outcomes".into() }),
        old_states: None,
        old_group: None,
        tick: std::time::Duration::from_millis(20),
        in_flight_max,
        remember: 1_000,
        slot: 0,
    }
}

fn machine(in_flight_max: u64, limits: Limits) -> Machine {
    Machine::new(options(in_flight_max), limits, Metrics::new(&mut Registry::default()))
}

fn heard(records: impl IntoIterator<Item = Record>) -> Vec<Heard> {
    records.into_iter().map(Heard::from).collect()
}

fn at(seconds: u64) -> Now {
    let monotonic = std::time::Duration::from_secs(seconds);
    Now { wall: Timestamp::from_millis(1_000_000) + monotonic, monotonic }
}

fn tp(partition: u32) -> TopicPartition {
    TopicPartition { topic: "orders".into(), partition }
}

fn assigned(partition: u32) -> GroupOffset {
    GroupOffset { tp: tp(partition), offset: 0, metadata: String::new() }
}

fn order(id: u64, name: &str) -> Vec<u8> {
    let text = format!(r#"{{"orderid":{id},"gameid":"1","name":"{name}","price":"1","usermail":"a@b.example"}}"#);
    text.into_bytes()
}

fn record(offset: u64, value: Vec<u8>) -> Record {
    Record { offset, key: None, value, headers: wire::Headers::default(), at: Timestamp::from_millis(0) }
}

/// Has a machine own new partitions.
fn own(machine: &mut Machine, partitions: impl IntoIterator<Item = u32>) {
    for restored in assign(machine, partitions) {
        machine.step(Input::Restored(restored.into()), at(0)).unwrap();
    }
}

/// Assigns new partitions, and gives what their restore brings.
fn assign(machine: &mut Machine, partitions: impl IntoIterator<Item = u32>) -> Vec<Restored> {
    let outputs = machine.step(Input::Assigned(partitions.into_iter().map(assigned).collect()), at(0)).unwrap();
    let Some(Output::Restore(wanted)) = outputs.into_iter().next() else { panic!("nothing is restored") };
    let engine = || Engine::new(machine.options.flow.clone(), 10);
    wanted.into_iter().map(|(ticket, offset)| Restored { ticket, offset, result: Ok(engine()) }).collect()
}

fn hear(machine: &mut Machine, partition: u32, records: Vec<Record>) {
    machine.step(Input::Records(tp(partition), heard(records)), at(0)).unwrap();
}

fn plan(outputs: Vec<Output>) -> Option<CommitPlan> {
    outputs.into_iter().find_map(|output| match output {
        Output::Commit(plan) => Some(plan),
        _ => None,
    })
}

fn tick(machine: &mut Machine, seconds: u64) -> Option<CommitPlan> {
    plan(machine.step(Input::Tick, at(seconds)).unwrap())
}

/// A log that takes everything, and remembers it.
#[derive(Default)]
struct Ledger {
    largest: (usize, usize),
    ends: BTreeMap<(String, u32), u64>,
    states: BTreeMap<u64, Vec<u8>>,
    dead: usize,
    letters: usize,
    /// Of letters that stand for many, for how many.
    runs: BTreeMap<Vec<u8>, u64>,
    committed: BTreeMap<u32, u64>,
}

impl Ledger {
    fn take(&mut self, plan: &CommitPlan) -> Vec<Position> {
        let bytes = plan.outputs().iter().map(NewRecord::size).sum();
        self.largest = (self.largest.0.max(plan.outputs().len()), self.largest.1.max(bytes));
        self.committed.extend(plan.offsets().iter().map(|offset| (offset.tp.partition, offset.offset)));
        let mut positions = Vec::new();
        for NewRecord { topic, partition, value, headers, at, .. } in plan.outputs() {
            let partition = partition.unwrap();
            let end = self.ends.entry((topic.clone(), partition)).or_default();
            positions.push(Position { partition, offset: *end });
            *end += 1;
            match wire::decode_event(value, headers, *at) {
                Ok(event) => self.states.entry(event.order.id.get()).or_default().push(event.seq),
                Err(_) => self.bury(headers),
            }
        }
        positions
    }

    /// Counts what a letter stands for; the later one of a run is the whole truth.
    fn bury(&mut self, headers: &wire::Headers) {
        let source = ["dead.topic", "dead.partition", "dead.offset"].map(|name| headers.get(name).unwrap());
        self.letters += 1;
        let counted = match wire::run(headers) {
            Some(_) => self.runs.insert(source.join(&b'/'), wire::records(headers)).unwrap_or_default(),
            None => 0,
        };
        self.dead += (wire::records(headers) - counted) as usize;
    }

    /// Ticks once, and commits what comes of it.
    fn round(&mut self, machine: &mut Machine, seconds: u64) {
        if let Some(plan) = tick(machine, seconds) {
            let positions = self.take(&plan);
            machine.step(Input::CommitEnded(plan, Outcome::Committed(positions)), at(seconds)).unwrap();
        }
    }
}

fn unavailable() -> eventlog::Error {
    eventlog::Error::Unavailable("disk full".into())
}

fn refused(plan: CommitPlan) -> Input {
    Input::CommitEnded(plan, Outcome::Aborted(unavailable()))
}

#[test]
fn a_restore_that_comes_too_late_is_asked_for_again_and_one_without_its_records_ends_it() {
    let mut machine = machine(100, Limits::default());
    let fails = |machine: &mut Machine, offset: GroupOffset| {
        let outputs = machine.step(Input::Assigned(vec![offset]), at(0)).unwrap();
        let Some(Output::Restore(wanted)) = outputs.into_iter().next() else { panic!("nothing is restored") };
        let (ticket, offset) = wanted.into_iter().next().unwrap();
        let source = crate::fulfilment::Mismatch { expected: 3, found: 2 };
        let result = Err(Error::Restore { topic: "states".into(), partition: 0, source });
        machine.step(Input::Restored(Restored { ticket, offset, result }.into()), at(0))
    };
    let moved_on = GroupOffset { offset: 7, ..assigned(0) };
    for offset in [assigned(0), moved_on.clone()] {
        let outputs = fails(&mut machine, offset).unwrap();
        assert!(matches!(outputs[..], [Output::Rejoin(eventlog::Error::Fenced(_))]));
    }
    assert!(matches!(fails(&mut machine, moved_on), Err(Error::Restore { .. })));
}

#[test]
fn is_ready_when_what_it_still_restores_is_given_up() {
    let mut machine = machine(100, Limits::default());
    let mut restored = assign(&mut machine, [0, 1]).into_iter();
    machine.step(Input::Restored(restored.next().unwrap().into()), at(0)).unwrap();
    assert!(!machine.metrics.is_ready(), "one partition is not there yet");
    machine.step(Input::Revoking(vec![tp(1)]), at(0)).unwrap();
    assert!(machine.metrics.is_ready(), "there is nothing left to wait for");
    machine.step(Input::Restored(restored.next().unwrap().into()), at(0)).unwrap();
    assert_eq!(machine.partitions.len(), 1, "what was given up does not come back");
}

#[test]
fn what_is_revoked_is_committed_once_more_and_then_given_up() {
    let mut machine = machine(100, Limits::default());
    own(&mut machine, [0, 1]);
    for partition in [0, 1] {
        hear(&mut machine, partition, vec![record(0, order(u64::from(partition) + 1, "n"))]);
    }
    let last = plan(machine.step(Input::Revoking(vec![tp(0)]), at(0)).unwrap()).expect("a last commit");
    assert_eq!(last.outputs().len(), 2);
    assert_eq!(machine.partitions.len(), 2, "still ours while it is under way");
    let positions = Ledger::default().take(&last);
    machine.step(Input::CommitEnded(last, Outcome::Committed(positions)), at(0)).unwrap();
    assert_eq!(machine.partitions.keys().collect::<Vec<_>>(), [&1]);
    assert!(machine.step(Input::Revoking(vec![tp(1)]), at(0)).unwrap().is_empty(), "nothing is left to commit");
    assert!(machine.partitions.is_empty());
}

#[test]
fn an_answer_of_before_does_not_reach_a_partition_that_came_back() {
    let mut machine = machine(100, Limits::default());
    own(&mut machine, [0, 1]);
    hear(&mut machine, 0, vec![record(0, order(1, "n"))]);
    hear(&mut machine, 1, vec![record(0, order(2, "n"))]);
    let late = tick(&mut machine, 0).unwrap();
    assert!(machine.step(Input::Revoking(vec![tp(0)]), at(0)).unwrap().is_empty(), "one is under way");
    machine.step(Input::Lost(vec![tp(0)]), at(0)).unwrap();
    own(&mut machine, [0]);
    let positions = Ledger::default().take(&late);
    machine.step(Input::CommitEnded(late, Outcome::Committed(positions)), at(0)).unwrap();
    let in_flight = |partition: u32| machine.partitions[&partition].engine.in_flight();
    assert_eq!((in_flight(0), in_flight(1)), (0, 1), "it is still ours, and knows only what its restore told");
    assert!(machine.partitions[&1].is_clean());
}

#[test]
fn what_the_log_refused_is_tried_again_when_it_is_revoked() {
    let mut machine = machine(100, Limits::default());
    own(&mut machine, [0]);
    hear(&mut machine, 0, vec![record(0, order(1, "n"))]);
    let first = tick(&mut machine, 0).unwrap();
    let outputs = machine.step(refused(first), at(0)).unwrap();
    assert!(matches!(&outputs[..], [Output::Retry(_), Output::Pause(_, true), Output::Pause(_, true)]));
    assert!(machine.is_refused() && !machine.is_full() && !machine.metrics.is_ready());
    let last = plan(machine.step(Input::Revoking(vec![tp(0)]), at(0)).unwrap()).expect("once more");
    assert_eq!(last.outputs().len(), 1);
    machine.step(refused(last), at(0)).unwrap();
    assert!(machine.partitions.is_empty(), "the next owner does it again");
    assert!(tick(&mut machine, 1).is_none());
    assert!(!machine.is_refused() && machine.metrics.is_ready(), "nothing waits for the log any more");
}

#[test]
fn everything_is_forgotten_when_nobody_knows_how_a_commit_ended() {
    let mut machine = machine(100, Limits::default());
    own(&mut machine, [0]);
    hear(&mut machine, 0, vec![record(0, order(1, "n"))]);
    let late = assign(&mut machine, [1]);
    let plan = tick(&mut machine, 0).unwrap();
    let unknown = Outcome::Unknown(eventlog::Error::Unconfirmed("no answer".into()));
    let outputs = machine.step(Input::CommitEnded(plan, unknown), at(0)).unwrap();
    assert!(matches!(&outputs[..], [Output::Rejoin(eventlog::Error::Unconfirmed(_))]));
    for restored in late {
        machine.step(Input::Restored(restored.into()), at(0)).unwrap();
    }
    assert!(machine.partitions.is_empty(), "what was begun before is of no use after");
    let fatal = Input::Failed(eventlog::Error::Fatal("damaged".into()));
    assert!(matches!(machine.step(fatal, at(0)), Err(Error::Log(eventlog::Error::Fatal(_)))));
}

#[test]
fn a_commit_that_did_not_end_as_planned_ends_fulfilment() {
    let broken = |answer: &dyn Fn(&mut Machine, CommitPlan) -> Input| {
        let mut machine = machine(100, Limits::default());
        own(&mut machine, [0, 1]);
        hear(&mut machine, 0, vec![record(0, order(1, "n")), record(1, order(2, "n"))]);
        Ledger::default().round(&mut machine, 0);
        hear(&mut machine, 0, vec![record(2, order(3, "n"))]);
        let plan = tick(&mut machine, 1).unwrap();
        let input = answer(&mut machine, plan);
        match machine.step(input, at(1)) {
            Err(Error::Commit(broken)) => broken,
            other => panic!("{:?}", other.map(|outputs| outputs.len())),
        }
    };
    let at_offsets = |offsets: [u64; 3]| {
        let position = |offset| Position { partition: 0, offset };
        Outcome::Committed(offsets.map(position).to_vec())
    };
    let again = broken(&|machine, plan| {
        let other = CommitPlan::new(1, []);
        machine.step(Input::CommitEnded(plan, at_offsets([2, 3, 4])), at(1)).unwrap();
        Input::CommitEnded(other, at_offsets([2, 3, 4]))
    });
    assert_eq!(again, Broken::Plan { given: None, ended: 1 });
    assert_eq!(broken(&|_, plan| Input::CommitEnded(plan, at_offsets([1, 2, 3]))), Broken::Order, "1 was told before");
    let swapped = broken(&|machine, plan| {
        let mut parts: Vec<Part> = plan.into_parts().collect();
        parts[0].events.swap(0, 2);
        let plan = CommitPlan::new(machine.plans, parts);
        Input::CommitEnded(plan, at_offsets([2, 3, 4]))
    });
    assert_eq!(swapped, Broken::Events(0));
}

#[test]
fn dead_letters_that_are_too_large_are_written_before_their_commit() {
    let mut machine = machine(100, Limits::default());
    own(&mut machine, [0, 1]);
    hear(&mut machine, 0, vec![record(0, b"poison".to_vec()), record(1, order(1, "n"))]);
    hear(&mut machine, 1, vec![record(0, b"poison".to_vec()), record(1, b"poison".to_vec())]);
    let mut plan = tick(&mut machine, 0).unwrap();
    let mut written = Vec::new();
    while plan.outputs().iter().filter(|output| output.topic == "dead").count() > 0 {
        // no two of them at once
        let outcome = if plan.outputs().len() > 1 {
            Outcome::Aborted(eventlog::Error::TooLarge("narrow".into()))
        } else {
            assert!(plan.offsets().is_empty(), "its record is not passed yet");
            written.extend(plan.outputs().to_vec());
            Outcome::Committed(vec![Position { partition: 0, offset: written.len() as u64 }])
        };
        plan = super::tests::plan(machine.step(Input::CommitEnded(plan, outcome), at(0)).unwrap()).unwrap();
    }
    assert_eq!(written.len(), 3);
    assert_eq!(plan.outputs().len(), 1, "the order's event");
    assert_eq!(plan.offsets().iter().map(|offset| offset.offset).collect::<Vec<_>>(), [2, 2]);
}

/// Whatever an instance was started with: new orders begin under the newest version of their flow, in the partitions that it has
/// and in those that come; there is no way back, and no other flow.
#[test]
fn new_orders_begin_under_the_newest_version() {
    let mut machine = machine(1_000, Limits::default());
    own(&mut machine, [0]);
    let begun = |machine: &mut Machine, partition, id| {
        hear(machine, partition, vec![record(id, order(id, "n"))]);
        let plan = tick(machine, 0).unwrap();
        let output = plan.outputs().last().unwrap().clone();
        machine.step(Input::CommitEnded(plan, Outcome::Aborted(unavailable())), at(0)).unwrap();
        wire::decode_event(&output.value, &output.headers, output.at).unwrap().flow.unwrap().to_string()
    };
    let version = |version| Input::Flow(Flow::standard(DWELL).with_version(version).into());
    machine.step(version(2), at(0)).unwrap();
    assert_eq!(begun(&mut machine, 0, 1), "default@2");
    own(&mut machine, [1]);
    assert_eq!(begun(&mut machine, 1, 2), "default@2");
    machine.step(version(1), at(0)).unwrap();
    assert_eq!(begun(&mut machine, 0, 3), "default@2");
}
