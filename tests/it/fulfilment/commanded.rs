//! Commands on a cluster: each is decided once, by whoever owns its order, and what it did happened.

use encargo::{
    domain::{
        Cause, Closing, Command, CommandOutcome,
        command::{Action, Verdict},
        flow::Party,
    },
    eventlog::partitioner::partition_of,
};

use super::*;

/// A command for an order, on the order's own partition.
fn wanted(name: &str, order: u64, action: Action) -> NewRecord {
    let (id, order) = (name.parse().unwrap(), OrderId::new(order).unwrap());
    let command = Command { id, order, by: "shop".into(), party: Party::Operator, action, reason: None };
    let (key, at) = (wire::key(order), crate::harness::real_clock().now());
    NewRecord {
        topic: "commands".into(),
        partition: Some(partition_of(&key, PARTITIONS)),
        key: Some(key),
        value: wire::encode_command(&command),
        headers: wire::command_headers(&command, at),
        at,
    }
}

impl Shop {
    fn outcomes(&self) -> Vec<CommandOutcome> {
        let of = |partition| read_all(&self.log, &part("outcomes", partition), 0);
        (0..PARTITIONS).flat_map(of).map(|record| wire::decode_outcome(&record.value).unwrap()).collect()
    }

    fn until_told(&self, count: usize) -> Vec<CommandOutcome> {
        let clock = crate::harness::real_clock();
        let ends = clock.monotonic() + PATIENCE;
        loop {
            let outcomes = self.outcomes();
            if outcomes.len() >= count {
                return outcomes;
            }
            assert!(clock.monotonic() < ends, "{} of {count} commands were decided", outcomes.len());
        }
    }
}

fn has_ended(events: &[StateEvent]) -> bool {
    events.last().is_some_and(|event| event.closes().is_some())
}

/// Each order ends one way, and what was told about its cancellation is what happened.
fn check_ends(states: &BTreeMap<u64, Vec<StateEvent>>, outcomes: &[CommandOutcome]) {
    for outcome in outcomes {
        let events = &states[&outcome.order.get()];
        let ends: Vec<_> = events.iter().filter_map(StateEvent::closes).collect();
        let by_us = |event: &&StateEvent| matches!(&event.cause, Cause::Command { id, .. } if *id == outcome.command);
        let done = events.iter().filter(by_us).count();
        match &outcome.verdict {
            Verdict::Done => assert_eq!((&ends[..], done), (&[Closing::Cancelled][..], 1), "{outcome:?}"),
            Verdict::Refused { code, .. } if &**code == "closed" => {
                assert_eq!((&ends[..], done), (&[Closing::Finished][..], 0), "{outcome:?}");
            }
            // who took the partition over after the end does not know of the order; of whoever asks, the store does
            Verdict::Unknown => assert_eq!((&ends[..], done), (&[Closing::Finished][..], 0), "{outcome:?}"),
            other => panic!("{other:?}: {outcome:?}"),
        }
        assert!(events.last().unwrap().closes().is_some(), "nothing comes after the end");
    }
}

/// A cancellation that comes about when the last timer does: one of both wins, and everybody agrees which.
#[test]
fn kafka_a_cancellation_races_the_last_timer() {
    const ORDERS: u64 = 1_000;
    let shop = Shop::open(Cluster::one());
    let instances = [shop.start(0), shop.start(1)];
    append(&shop.log, (1..=ORDERS).map(placed).collect());
    shop.until("all are on their way", |states| states.values().flatten().any(|event| &*event.estado == "entregando"));
    // some before, some when, and some after the order ends
    for chunk in (1..=ORDERS).collect::<Vec<_>>().chunks(50) {
        append(&shop.log, chunk.iter().map(|id| wanted(&format!("c-{id}"), *id, Action::Cancel)).collect());
        crate::harness::real_clock().park(Duration::from_millis(30));
    }
    let outcomes = shop.until_told(ORDERS as usize);
    shop.until("all have ended", |states| {
        states.values().filter(|events| has_ended(events)).count() == ORDERS as usize
    });
    assert_eq!(outcomes.len(), ORDERS as usize);
    check_ends(&shop.states(), &outcomes);
    for instance in instances {
        instance.end().unwrap();
    }
}

/// Orders are held and let go while instances come and go: nobody's time runs while it is held, and no command is lost, or done
/// twice, though each was sent twice.
#[test]
fn kafka_commands_outlive_their_instances() {
    const ORDERS: u64 = 60;
    let shop = Shop::open(Cluster::one());
    let first = shop.start(0);
    append(&shop.log, (1..=ORDERS).map(placed).collect());
    shop.until("all are there", |states| states.len() == ORDERS as usize);
    let hold = |id: u64| wanted(&format!("h-{id}"), id, Action::Hold);
    append(&shop.log, (1..=ORDERS).map(hold).collect());
    let second = shop.start(1);
    append(&shop.log, (1..=ORDERS).map(hold).collect());
    let told = shop.until_told(2 * ORDERS as usize);
    first.end().unwrap();
    append(&shop.log, (1..=ORDERS).map(|id| wanted(&format!("r-{id}"), id, Action::Resume)).collect());
    let third = shop.start(2);
    shop.until("all have ended", |states| {
        states.values().filter(|events| has_ended(events)).count() == ORDERS as usize
    });
    let outcomes = shop.until_told(3 * ORDERS as usize);
    assert_eq!(outcomes.len(), 3 * ORDERS as usize, "each record was decided once");
    let held = told.iter().filter(|outcome| outcome.verdict == Verdict::Done).count();
    let states = shop.states();
    let mut happened = 0;
    for events in states.values() {
        let seqs: Vec<_> = events.iter().map(|event| usize::from(event.seq)).collect();
        assert_eq!(seqs, (1..=events.len()).collect::<Vec<_>>(), "{events:?}");
        happened += events.iter().filter(|event| event.change == encargo::domain::Change::Held).count();
        let entered = events.iter().filter(|event| event.change == encargo::domain::Change::Entered);
        assert_eq!(entered.map(|event| &*event.estado).collect::<Vec<_>>(), STATES);
    }
    assert_eq!(happened, held, "a hold that came twice held once");
    second.end().unwrap();
    third.end().unwrap();
}
