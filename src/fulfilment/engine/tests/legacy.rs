//! Orders of an old service, carried on by the engine.

use super::*;

#[test]
fn orders_of_an_old_service_are_carried_on() {
    let mut restore = Restore::new(flow(), Versions::default(), 0);
    let event = |seq: u8, estado: &str| StateEvent {
        waits: Waits::Untold,
        ..StateEvent::of_version_1(order(7), seq, estado, at(0).wall, None)
    };
    restore.event(0, event(1, "recibido"));
    restore.event(4, event(2, "preparando"));
    let mut engine = restore.finish(None, at(1), 10).unwrap();
    engine.tick(at(8), usize::MAX);
    assert_eq!(&*engine.staged()[0].event.estado, "entregando");
    assert_eq!(engine.counters().accepted, 1);
}

/// An order that an old service brought as far as `seq`, `seconds` ago, in a map that counts until input offset 10.
fn taking_over(orders: &[(u64, u8, u64)]) -> TakeOver {
    let mut legacy = Legacy::default();
    for (id, seq, seconds) in orders {
        legacy.add(&order(*id), *seq, at(*seconds).wall);
    }
    TakeOver { legacy: Arc::new(legacy), until: 10, taken_before: 0 }
}

#[test]
fn orders_of_an_old_service_go_on_from_their_last_state_when_they_arrive() {
    let mut restore = Restore::new(flow(), Versions::default(), 0);
    restore.taking_over(taking_over(&[(1, 4, 0), (2, 2, 6), (3, 1, 9)]));
    let (mut engine, mut output) = (restore.finish(None, at(10), 10).unwrap(), Output::default());
    for id in 1..=3 {
        assert_eq!(engine.accept(order(id), at(10)), Accepted::TakenOver);
        assert_eq!(engine.accept(order(id), at(10)), Accepted::Repeat);
    }
    assert_eq!(engine.accept(order(4), at(10)), Accepted::New);
    engine.taken(4);
    let progress = output.commit(&mut engine, at(10));
    assert_eq!((progress.watermark, progress.takes_over_until), (0, Some(10)));
    assert_eq!(progress.counters, Counters { accepted: 4, finished: 1, ..Counters::default() });
    for second in 11..60 {
        engine.tick(at(second), usize::MAX);
        engine.taken(10);
        output.commit(&mut engine, at(second));
    }
    let seqs = |id| output.states_of(id).iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
    assert_eq!([seqs(1), seqs(2), seqs(3), seqs(4)], [vec![], vec![3, 4], vec![2, 3, 4], vec![1, 2, 3, 4]]);
    assert_eq!(output.states_of(2)[0].1, at(14).wall, "not earlier and not later than its dwell");
    assert_eq!(engine.progress().takes_over_until, None, "once all have moved they are ours");
    assert_eq!(engine.counters(), Counters { accepted: 4, finished: 4, ..Counters::default() });
}

#[test]
fn a_restart_while_orders_of_an_old_service_wait_carries_them_on_once() {
    let legacy = taking_over(&[(1, 4, 0), (2, 2, 6), (3, 1, 9)]);
    let mut restore = Restore::new(flow(), Versions::default(), 0);
    restore.taking_over(legacy.clone());
    let (mut engine, mut output) = (restore.finish(None, at(10), 10).unwrap(), Output::default());
    for id in 1..=3 {
        assert_eq!(engine.accept(order(id), at(10)), Accepted::TakenOver);
    }
    engine.tick(at(14), usize::MAX); // order 2 moves, order 3 waits still
    let progress = output.commit(&mut engine, at(14));
    let mut restore = Restore::new(flow(), Versions::default(), 0);
    output.0.iter().enumerate().for_each(|(offset, event)| restore.event(offset as u64, event.clone()));
    (1..=3).for_each(|id| restore.take_over(order(id), &legacy.legacy));
    restore.taking_over(legacy);
    let mut engine = restore.finish(Some(progress.counters), at(15), 10).unwrap();
    for second in 15..60 {
        engine.tick(at(second), usize::MAX);
        output.commit(&mut engine, at(second));
    }
    let seqs = |id| output.states_of(id).iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
    assert_eq!([seqs(1), seqs(2), seqs(3)], [vec![], vec![3, 4], vec![2, 3, 4]]);
    assert_eq!(engine.counters(), Counters { accepted: 3, finished: 3, ..Counters::default() });
}

#[test]
fn an_id_that_an_old_service_gave_twice_is_two_orders() {
    let other = Order { email: "eva@example.org".parse().unwrap(), ..order(1) };
    let mut legacy = Legacy::default();
    legacy.add(&order(1), 4, at(0).wall);
    legacy.add(&other, 2, at(9).wall);
    let mut restore = Restore::new(flow(), Versions::default(), 0);
    restore.taking_over(TakeOver { legacy: Arc::new(legacy), until: 2, taken_before: 0 });
    let mut engine = restore.finish(None, at(10), 10).unwrap();
    assert_eq!(engine.accept(order(1), at(10)), Accepted::TakenOver);
    assert_eq!(engine.accept(other, at(10)), Accepted::TakenOver);
    assert_eq!(engine.counters(), Counters { accepted: 2, finished: 1, ..Counters::default() });
    let third = Order { email: "iva@example.org".parse().unwrap(), ..order(1) };
    assert_eq!(engine.accept(third, at(10)), Accepted::Conflict);
}

#[test]
fn an_order_that_is_carried_on_may_be_finished_by_the_old_service() {
    let mut legacy = Legacy::default();
    legacy.add(&order(1), 2, at(0).wall);
    let mut restore = Restore::new(flow(), Versions::default(), 0);
    restore.take_over(order(1), &legacy);
    let engine = restore.finish(None, at(1), 10).unwrap();
    let counters = engine.counters();
    assert_eq!(counters.in_flight(), 1);
    legacy.add(&order(1), 4, at(2).wall);
    let mut restore = Restore::new(flow(), Versions::default(), 0);
    restore.take_over(order(1), &legacy);
    let engine = restore.finish(Some(counters), at(3), 10).unwrap();
    assert_eq!(engine.counters(), Counters { accepted: 1, finished: 1, ..Counters::default() });
    assert!(
        Restore::new(flow(), Versions::default(), 0).finish(Some(counters), at(3), 10).is_err(),
        "one that is not there at all is missing"
    );
}

/// Only what it took, whose states may have left the topic, and which shows none: all else is done here.
#[test]
fn orders_that_an_old_service_did_long_ago_are_not_done_again() {
    for (offset, placed, gone_until, has_state, done) in [
        (3, 5, Some(6), false, true),
        (3, 6, Some(6), false, true),
        (4, 5, Some(6), false, false), // it never took this one
        (3, 7, Some(6), false, false), // its states would still be there
        (3, 5, None, false, false),    // no state ever left the topic
        (3, 5, Some(6), true, false),  // carried on from there
    ] {
        let mut legacy = Legacy::default();
        if let Some(second) = gone_until {
            legacy.gone_until(at(second).wall);
        }
        let order = Order { placed_at: at(placed).wall, ..order(1) };
        if has_state {
            legacy.add(&order, 2, at(6).wall);
        }
        let mut restore = Restore::new(flow(), Versions::default(), 0);
        restore.taking_over(TakeOver { legacy: Arc::new(legacy), until: 10, taken_before: 4 });
        let mut engine = restore.finish(None, at(10), 10).unwrap();
        let case = (offset, placed, gone_until, has_state);
        assert_eq!(engine.was_done(&order, offset), done, "{case:?}");
        let counted = u64::from(done);
        assert_eq!(
            engine.counters(),
            Counters { accepted: counted, finished: counted, ..Counters::default() },
            "{case:?}"
        );
    }
}
