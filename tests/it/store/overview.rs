//! How everything stands, at a glance.

use std::time::Duration;

use encargo::{
    domain::{Change, Closing, Exits, Waits},
    store::{
        Past, Store,
        dead::{Action, DeadId},
        ledger::{Class, MailId, Reason, Verdict},
        links::LinkRequest,
        orders::{Incoming, Query},
        overview::{AGES, Due, InState, LATE_MAX, Minute, Snapshot},
    },
};

use super::{Place, support::*};

fn waiting(number: u64, waits: Waits, exits: Exits) -> Incoming {
    let mut incoming = event(order(number), 2);
    (incoming.event.waits, incoming.event.exits) = (waits, exits);
    incoming
}

fn ages(parts: &[(usize, u64)]) -> [u64; AGES] {
    let mut ages = [0; AGES];
    for (part, n) in parts {
        ages[*part] = *n;
    }
    ages
}

pub async fn all_that_is_in_flight_is_seen_at_a_glance(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.snapshot(at(0)).await.unwrap(), Snapshot::default());
    let expected = Exits { expect_at: Some(at(18)), ..Exits::default() };
    let mut held = waiting(5, Waits::Held(None), Exits::default());
    held.event.change = Change::Held;
    apply(&*store, events([(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (3, 4)])).await;
    apply(&*store, vec![waiting(4, Waits::ForCommand, expected), held]).await;
    store.apply((encargo::store::orders::Batch { dead: vec![letter(7)], ..batch(vec![]) }).into()).await.unwrap();
    let seen = store.snapshot(at(13)).await.unwrap();
    let dwell = Some(Duration::from_secs(8));
    let received = InState { estado: "recibido".into(), step: 1, count: 1, late: 1, dwell, ..InState::default() };
    let preparing = InState {
        estado: "preparando".into(),
        step: 2,
        count: 3,
        ages: ages(&[(10, 1), (8, 1)]), // five of eight seconds, and of ten
        dwell: Some(Duration::from_secs(10)),
        ..InState::default()
    };
    assert_eq!(seen.in_flight, [received, preparing]);
    let late: Vec<_> = seen.late.iter().map(|late| (late.id, &*late.estado, late.due)).collect();
    assert_eq!(late, [(id(1), "recibido", at(8))]);
    // orders 2 and 4, at 16 s and 18 s; when the one that is late leaves its state nobody knows
    let due = |count| Due { at: at(10), step: 2, count };
    assert_eq!(seen.due, [due(2)]);
    let just_due = store.snapshot(at(17)).await.unwrap().due;
    assert_eq!(just_due, [due(2)], "what is due and not late yet leaves now");
    assert_eq!(store.snapshot(at(0)).await.unwrap().due, [Due { at: at(0), step: 1, count: 1 }, due(2)]);
    let in_an_hour = encargo::domain::Timestamp::from_millis(at(18).as_millis() - 3_600_000);
    assert_eq!(store.snapshot(in_an_hour).await.unwrap().due.iter().map(|due| due.count).sum::<u64>(), 2);
    assert_eq!((seen.counts.total, seen.counts.finished, seen.dead_records), (5, 1, 1));
    let mut counts = (seen.counts, store.order_counts().await.unwrap());
    counts.0.by_state.sort();
    counts.1.by_state.sort();
    assert_eq!(counts.0, counts.1);
    assert_eq!(seen.mails, store.ledger_counts().await.unwrap());
    // what is due is not late for a second
    let at_the_edge = store.snapshot(at(9)).await.unwrap();
    assert_eq!((at_the_edge.late, at_the_edge.in_flight[0].ages), (vec![], ages(&[(AGES - 1, 1)])));
}

pub async fn the_worst_of_the_late_orders_are_named(place: &dyn Place) {
    let store = place.open().await;
    let late = |number: u64| {
        let mut incoming = event(order(number), 1);
        incoming.event.waits = Waits::Until(at(1_000 - number / 2));
        incoming
    };
    apply(&*store, (1..=100).map(late).collect()).await;
    let seen = store.snapshot(at(2_000)).await.unwrap();
    let named: Vec<_> = seen.late.iter().map(|late| late.id.get()).collect();
    let expected: Vec<_> = [100].into_iter().chain((26..50).rev().flat_map(|half| [2 * half, 2 * half + 1])).collect();
    assert_eq!((named.len(), &named[..49]), (LATE_MAX, &expected[..49]));
    assert_eq!((seen.in_flight[0].late, seen.in_flight[0].ages), (100, ages(&[])));
}

pub async fn orders_whose_mail_was_refused_are_counted_and_listed(place: &dyn Place) {
    let store = place.open().await;
    let refused = async || {
        let query = Query { mail_refused: true, limit: 10, ..Query::default() };
        let listed = store.orders(query.clone()).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|view| view.order.id.get()).collect();
        let late = store.orders(Query { overdue_at: Some(at(100)), ..query }).await.unwrap();
        (store.snapshot(at(0)).await.unwrap().mail_refused, listed, late.len())
    };
    apply(&*store, events([(1, 1), (1, 2), (2, 4), (3, 1), (4, 1)])).await;
    let email = order(4).email;
    store.ask_link(LinkRequest { order: id(4), email, at: at(0), unless_since: at(0) }).await.unwrap();
    let dead = || Verdict::Dead(Reason::new(Class::Address, "550 5.1.1 no such user"));
    for (mail, attempts) in [(mail_id(1, 1), 1), (mail_id(1, 2), 1), (mail_id(2, 4), 1), (MailId::link(id(4)), 1)] {
        lease(&*store, 0).await;
        assert_eq!(settle(&*store, mail, attempts, dead()).await, 1, "{mail:?}");
    }
    // of a link that was refused, the order's list of mails tells
    assert_eq!(refused().await, (2, vec![2, 1], 1));
    for (mail, action) in
        [(mail_id(2, 4), Action::Redrive), (mail_id(1, 1), Action::Drop), (mail_id(1, 2), Action::Drop)]
    {
        assert!(store.decide(&DeadId::Mail(mail), action, at(5)).await.unwrap());
    }
    assert_eq!(refused().await, (0, vec![], 0));
}

async fn minutes(store: &dyn Store, from: u64) -> Vec<(u64, [u64; 3])> {
    let seen = store.minutes(at(from)).await.unwrap();
    let since = |minute: &Minute| minute.at.since(first_minute()).as_secs() / 60;
    seen.iter().map(|minute| (since(minute), [minute.placed, minute.finished, minute.cancelled])).collect()
}

fn first_minute() -> encargo::domain::Timestamp {
    encargo::domain::Timestamp::from_millis(at(0).as_millis() / 60_000 * 60_000)
}

/// An order that is placed at a second, and its events to one of its states.
fn to(number: u64, second: u64, states: std::ops::RangeInclusive<u8>) -> Vec<Incoming> {
    let order = encargo::domain::Order { placed_at: at(second), ..order(number) };
    states.map(|seq| event(order.clone(), seq)).collect()
}

pub async fn orders_are_counted_by_minute(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(minutes(&*store, 0).await, []);
    apply(&*store, [to(1, 0, 1..=1), to(2, 30, 1..=4), to(3, 130, 1..=1)].concat()).await;
    apply(&*store, to(1, 0, 2..=4)).await;
    apply(&*store, to(1, 0, 2..=4)).await; // again
    let mut cancelled = to(3, 130, 2..=2);
    cancelled[0].event.waits = Waits::Closed(Closing::Cancelled);
    apply(&*store, cancelled).await;
    let offset = at(0).since(first_minute()).as_secs();
    let minute = |second: u64| (offset + second) / 60;
    let mut expected = std::collections::BTreeMap::<u64, [u64; 3]>::new();
    for (second, what) in [(0, 0), (30, 0), (130, 0), (24, 1), (54, 1), (138, 2)] {
        expected.entry(minute(second)).or_default()[what] += 1;
    }
    assert_eq!(minutes(&*store, 0).await, expected.clone().into_iter().collect::<Vec<_>>());
    expected.retain(|at, _| *at >= minute(130));
    assert_eq!(minutes(&*store, 130).await, expected.into_iter().collect::<Vec<_>>());
}

pub async fn an_order_that_goes_on_has_not_ended(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, to(1, 0, 1..=4)).await;
    let mut further = event(encargo::domain::Order { placed_at: at(0), ..order(1) }, 4);
    (further.event.seq, further.event.waits) = (5, Waits::ForCommand);
    apply(&*store, vec![further]).await;
    let seen = minutes(&*store, 0).await;
    assert_eq!(seen.iter().map(|(_, counts)| counts[1]).sum::<u64>(), 0, "{seen:?}");
}

pub async fn old_minutes_are_forgotten(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, [to(1, 0, 1..=1), to(2, 600, 1..=1)].concat()).await;
    assert_eq!(minutes(&*store, 0).await.len(), 2);
    store.prune(Past { keys: at(0), mails: at(0), minutes: at(300) }).await.unwrap();
    let seen = minutes(&*store, 0).await;
    assert_eq!(seen.iter().map(|(_, counts)| counts[0]).collect::<Vec<_>>(), [1], "{seen:?}");
    assert_eq!(store.order_counts().await.unwrap().total, 2);
}
