//! How much there may be of everything: of a commit, of orders in flight, of commands.

use proptest::prelude::*;

use super::*;

#[test]
fn orders_in_flight_have_a_bound() {
    let mut machine = machine(10, Limits::default());
    let mut ledger = Ledger::default();
    own(&mut machine, [0]);
    let records = (0..25).map(|offset| record(offset, order(offset + 1, "n")));
    let outputs = machine.step(Input::Records(tp(0), heard(records)), at(0)).unwrap();
    assert!(matches!(&outputs[..], [Output::Pause(_, true)]));
    let mut most = 0;
    for second in 0..100 {
        assert!(!machine.is_full() || machine.orders_left() > 0, "a full machine would not listen");
        ledger.round(&mut machine, second);
        most = most.max(machine.in_flight());
    }
    assert_eq!(most, 10);
    assert_eq!(ledger.states.len(), 25);
    assert!(machine.paused.is_empty());
}

#[test]
fn large_events_and_letters_share_the_bytes_of_a_commit() {
    let limits = Limits { commit_bytes: 20_000, ..Limits::default() };
    let mut machine = machine(1_000, limits);
    let mut ledger = Ledger::default();
    own(&mut machine, [0, 1]);
    let value =
        |offset: u64| if offset.is_multiple_of(5) { vec![b'x'; 3_000] } else { order(offset + 1, &"n".repeat(1_000)) };
    hear(&mut machine, 0, (0..100).map(|offset| record(offset, value(offset))).collect());
    for second in 0..200 {
        ledger.round(&mut machine, second);
    }
    assert!(ledger.states.values().all(|states| *states == [1, 2, 3, 4]), "{:?}", ledger.states);
    assert_eq!((ledger.states.len(), ledger.dead), (80, 20));
    assert!((20_000..24_000).contains(&ledger.largest.1), "{:?}", ledger.largest);
}

/// The input of a partition: orders, every seventh record poison.
fn input(partition: u32, offsets: std::ops::Range<u64>) -> Vec<Record> {
    let value = |offset: u64| {
        let id = offset * 2 + u64::from(partition) + 1;
        if offset.is_multiple_of(7) { b"poison".to_vec() } else { order(id, "n") }
    };
    offsets.map(|offset| record(offset, value(offset))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Whatever comes at once, for partitions that run and for one that is restored: no commit is larger than it may be,
    /// nothing is left out, and nothing overtakes.
    #[test]
    fn a_commit_has_a_bound(
        heard in prop::collection::vec((0_usize..2_500, 0_usize..2_500, 0_u64..3), 1..5), kept in 0_usize..12_000,
    ) {
        let mut machine = machine(1_000_000, Limits::default());
        let mut ledger = Ledger::default();
        own(&mut machine, [0]);
        let restored = assign(&mut machine, [1]);
        let mut ends = [0, kept as u64];
        hear(&mut machine, 1, input(1, 0..ends[1]));
        for restored in restored {
            machine.step(Input::Restored(restored.into()), at(0)).unwrap();
        }
        let mut second = 0;
        for (zero, one, dwells) in heard {
            for (partition, count) in [(0, zero), (1, one)] {
                let next = ends[partition] + count as u64;
                hear(&mut machine, partition as u32, input(partition as u32, ends[partition]..next));
                ends[partition] = next;
            }
            second += dwells;
            ledger.round(&mut machine, second);
        }
        while machine.in_flight() > 0 || machine.partitions.values().any(|partition| !partition.orders().inbox().is_empty()) {
            second += 1;
            ledger.round(&mut machine, second);
        }
        let limits = machine.limits;
        prop_assert!(ledger.largest.0 <= limits.commit_records, "{:?}", ledger.largest);
        prop_assert!(ledger.largest.1 < limits.commit_bytes + 2_000, "{:?}", ledger.largest);
        let poison = ends.iter().map(|end| end.div_ceil(7)).sum::<u64>();
        prop_assert_eq!(ledger.dead as u64, poison);
        prop_assert_eq!(ledger.states.len() as u64, ends.iter().sum::<u64>() - poison);
        prop_assert!(ledger.states.values().all(|states| *states == [1, 2, 3, 4]));
        for (partition, end) in ends.into_iter().enumerate().filter(|(_, end)| *end > 0) {
            prop_assert_eq!(ledger.committed[&(partition as u32)], end);
        }
    }
}

/// Ten thousand poison records a second in one partition: orders of the others go on at once, those behind them when it is their turn,
/// and there are few letters.
#[test]
fn a_flood_of_poison_holds_up_its_own_partition_alone() {
    let mut machine = machine(100_000, Limits::default());
    let mut ledger = Ledger::default();
    own(&mut machine, [0, 1, 2]);
    let (mut poisoned, mut placed) = (0, 0);
    for second in 0..60 {
        for _ in 0..2 {
            let flood = (poisoned..poisoned + 5_000).map(|offset| record(offset, b"poison".to_vec())).collect();
            poisoned += 5_000;
            hear(&mut machine, 0, flood);
            hear(&mut machine, 2, vec![record(placed, order(placed + 1, "n"))]);
            placed += 1;
            ledger.round(&mut machine, second);
            ledger.round(&mut machine, second);
        }
        assert_eq!(ledger.states.len() as u64, placed, "second {second}");
    }
    hear(&mut machine, 0, vec![record(poisoned, order(1_000_000, "behind"))]);
    for second in 60..70 {
        ledger.round(&mut machine, second);
    }
    assert!(
        ledger.states.contains_key(&1_000_000),
        "{} records still wait",
        machine.partitions[&0].orders().inbox().len()
    );
    assert_eq!(ledger.dead as u64, poisoned, "each is in a letter");
    assert!(ledger.letters < 1_500, "{} letters for {poisoned} records", ledger.letters);
}

/// A flood of commands leaves room for new orders; too many orders are no reason to hear no commands; and those that retention
/// has deleted are passed over.
#[test]
fn commands_have_a_part_of_each_commit() {
    let mut machine = machine(10, Limits { commit_records: 16, ..Limits::default() });
    own_with_commands(&mut machine, 0);
    let beside = TopicPartition { topic: "commands".into(), partition: 0 };
    let command = |offset: u64| {
        let text = format!(r#"{{"orderid":{offset},"command":"c-{offset}","do":"hold","party":"operator","by":"x"}}"#);
        record(offset, text.into_bytes())
    };
    machine.step(Input::Records(beside.clone(), heard((1..100).map(command))), at(0)).unwrap();
    hear(&mut machine, 0, (1..50).map(|id| record(id, order(id, "n"))).collect());
    let plan = tick(&mut machine, 0).unwrap();
    let count = |topic: &str| plan.outputs().iter().filter(|output| output.topic == topic).count();
    assert!(count("outcomes") == 2 && count("states") >= 10, "{plan:?}");
    let offsets: Vec<_> = plan.offsets().iter().map(|offset| (&*offset.tp.topic, offset.offset)).collect();
    assert_eq!(offsets, [("orders", 11), ("commands", 1 + count("outcomes") as u64)]);
    assert!(machine.paused.contains("orders") && !machine.paused.contains("commands"));
    let trimmed = eventlog::Error::Trimmed { topic: "commands".into(), partition: 0, from: 100, start: 500 };
    let outputs = machine.step(Input::Failed(trimmed), at(0)).unwrap();
    assert!(matches!(&outputs[..], [Output::Seek(tp, 500)] if *tp == beside));
}

fn own_with_commands(machine: &mut Machine, partition: u32) {
    let beside = TopicPartition { topic: "commands".into(), partition };
    let beside = GroupOffset { tp: beside, offset: 0, metadata: String::new() };
    let outputs = machine.step(Input::Assigned(vec![assigned(partition), beside]), at(0)).unwrap();
    let Some(Output::Restore(wanted)) = outputs.into_iter().next() else { panic!("nothing is restored") };
    for (ticket, offset) in wanted {
        let engine = Engine::new(machine.options.flow.clone(), 10);
        machine.step(Input::Restored(Restored { ticket, offset, result: Ok(engine) }.into()), at(0)).unwrap();
    }
}
