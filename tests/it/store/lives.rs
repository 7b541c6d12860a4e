//! Orders that are more than waited for: what their events say is told again, and what became of commands.

use std::time::Duration;

use encargo::{
    domain::{
        Cause, Change, Closing, CommandCopy, CommandId, CommandOutcome, Exits, Waits,
        command::{OrderStatus, Verdict},
        flow::Party,
    },
    store::{
        Past, Pruned,
        orders::{Batch, HistoryEntry, Incoming, OrderView, Query},
    },
};

use super::{Place, support::*};

pub fn command(id: &str) -> CommandId {
    id.parse().unwrap()
}

/// The order enters its state, as an event of today tells it.
pub fn told(number: u64, seq: u8) -> Incoming {
    let mut incoming = event(order(number), seq);
    incoming.partition = Some(3);
    incoming.event.flow = Some("standard@2".into());
    incoming.event.exits = Exits { cancel: Some(Party::Customer), advance: true, refuse: false, expect_at: None };
    incoming
}

/// Somebody sent a command, which leaves the order in the state of its event `seq - 1`.
pub fn commanded(number: u64, seq: u8, change: Change, waits: Waits) -> Incoming {
    let mut incoming = told(number, seq - 1);
    let event = &mut incoming.event;
    (event.seq, event.change, event.waits, event.mail) = (seq, change, waits, None);
    event.at = at(8 * u64::from(seq));
    event.cause = Cause::Command { id: command(&format!("c-{seq}")), by: "mostrador".into() };
    event.reason = Some("el cliente llamó".into());
    incoming
}

/// It ends beside the line.
pub fn ended(number: u64, seq: u8, closing: Closing) -> Incoming {
    let mut incoming = commanded(number, seq, Change::Entered, Waits::Closed(closing));
    let state = if closing == Closing::Refused { "rechazado" } else { "cancelado" };
    (incoming.event.estado, incoming.event.mail) = (state.into(), Some(state.into()));
    incoming.event.exits = Exits::default();
    incoming
}

pub async fn all_that_an_event_says_is_told_again(place: &dyn Place) {
    let every_wait = [
        Waits::Until(at(99)),
        Waits::ForCommand,
        Waits::Held(None),
        Waits::Held(Some(Duration::from_millis(4_321))),
        Waits::Untold,
        Waits::Closed(Closing::Finished),
        Waits::Closed(Closing::Cancelled),
        Waits::Closed(Closing::Refused),
    ];
    let store = place.open().await;
    for (number, waits) in (1..).zip(every_wait) {
        let mut one = told(number, 2);
        one.partition = Some(u32::try_from(number).unwrap());
        one.event.step = 1;
        one.event.waits = waits;
        one.event.exits =
            Exits { cancel: Some(Party::Operator), advance: false, refuse: true, expect_at: Some(at(70)) };
        one.event.address = Some("eva@example.org".parse().unwrap());
        apply(&*store, vec![one]).await;
    }
    drop(store);
    let store = place.open().await;
    for (number, waits) in (1..).zip(every_wait) {
        let expected = OrderView {
            order: order(number),
            partition: Some(u32::try_from(number).unwrap()),
            address: Some("eva@example.org".parse().unwrap()),
            flow: Some("standard@2".into()),
            step: 1,
            estado: "preparando".into(),
            seq: 2,
            at: at(8),
            waits,
            exits: Exits { cancel: Some(Party::Operator), advance: false, refuse: true, expect_at: Some(at(70)) },
        };
        let (view, _) = store.order(id(number)).await.unwrap().unwrap();
        assert_eq!(view, expected);
        assert_eq!(view.recipient().as_str(), "eva@example.org");
        let status = OrderStatus { estado: "preparando".into(), seq: 2, waits, exits: expected.exits };
        assert_eq!(view.status(), status);
        let query = Query { below: Some(id(number + 1)), limit: 1, ..Query::default() };
        assert_eq!(store.orders(query).await.unwrap(), [expected]);
    }
}

pub async fn the_history_tells_who_changed_what_and_why(place: &dyn Place) {
    let store = place.open().await;
    let (held, resumed) = (Waits::Held(Some(Duration::from_secs(3))), Waits::Until(at(40)));
    let changes = vec![
        told(1, 1),
        commanded(1, 2, Change::Held, held),
        commanded(1, 3, Change::Resumed, resumed),
        commanded(1, 4, Change::Delayed, Waits::Until(at(60))),
        commanded(1, 5, Change::Readdressed, Waits::Until(at(60))),
        ended(1, 5, Closing::Cancelled),
    ];
    let mut changes = changes;
    changes[5].event.seq = 6;
    apply(&*store, changes.clone()).await;
    let (view, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!((&*view.estado, view.seq, view.closes()), ("cancelado", 6, Some(Closing::Cancelled)));
    let lines: Vec<_> = changes
        .iter()
        .map(|incoming| {
            let event = &incoming.event;
            let told_by = match &event.cause {
                Cause::Command { id, by } => (Some(by.clone()), Some(id.as_str().into())),
                _ => (None, None),
            };
            (event.seq, event.change, event.at, told_by, event.reason.clone())
        })
        .collect();
    let line = |line: &HistoryEntry| {
        (line.seq, line.change, line.at, (line.by.clone(), line.command.clone()), line.reason.clone())
    };
    assert_eq!(history.iter().map(line).collect::<Vec<_>>(), lines);
    let places = |line: &HistoryEntry| (line.due, line.offset);
    let due = [8, 0, 40, 60, 60, 0].map(|second| (second > 0).then(|| at(second)));
    let offsets: Vec<_> = changes.iter().map(|incoming| Some(incoming.letter.source.offset)).collect();
    assert_eq!(history.iter().map(places).collect::<Vec<_>>(), due.into_iter().zip(offsets).collect::<Vec<_>>());
    // an old service wrote it, wherever it wanted
    apply(&*store, vec![event(order(2), 1)]).await;
    assert_eq!(store.order(id(2)).await.unwrap().unwrap().1[0].offset, None);
}

pub async fn what_an_order_says_as_a_whole_follows_its_latest_event(place: &dyn Place) {
    let store = place.open().await;
    let whole = async || {
        let (view, _) = store.order(id(1)).await.unwrap().unwrap();
        (view.partition, view.flow.map(String::from), view.address.map(|address| address.as_str().to_owned()))
    };
    // an old service's record, then ours
    apply(&*store, events([(1, 1)])).await;
    assert_eq!(whole().await, (None, None, None));
    apply(&*store, vec![told(1, 3)]).await;
    assert_eq!(whole().await, (Some(3), Some("standard@2".into()), None));
    let readdressed = |seq, address: &str| {
        let mut incoming = commanded(1, seq, Change::Readdressed, Waits::Until(at(99)));
        incoming.event.address = Some(address.parse().unwrap());
        incoming
    };
    // twice in a batch, the first of them late
    let mut late = readdressed(4, "eva@example.org");
    late.event.step = 3;
    apply(&*store, vec![readdressed(5, "eva@example.com"), late]).await;
    assert_eq!(whole().await.2.as_deref(), Some("eva@example.com"));
    // a repeat, and what comes late from another place, change nothing
    let mut strange = told(1, 2);
    strange.partition = Some(7);
    apply(&*store, vec![readdressed(5, "other@example.org"), strange]).await;
    assert_eq!(whole().await, (Some(3), Some("standard@2".into()), Some("eva@example.com".into())));
}

pub async fn orders_that_nobody_moved_on_are_stuck(place: &dyn Place) {
    let store = place.open().await;
    let waiting = |number, waits, expect_at: Option<u64>| {
        let mut incoming = told(number, 1);
        incoming.event.waits = waits;
        incoming.event.exits.expect_at = expect_at.map(at);
        incoming
    };
    let all = vec![
        waiting(1, Waits::ForCommand, Some(30)),
        waiting(2, Waits::ForCommand, None),
        waiting(3, Waits::Until(at(50)), Some(30)),
        waiting(4, Waits::Until(at(30)), Some(50)),
        waiting(5, Waits::Held(Some(Duration::from_secs(1))), None),
        ended(6, 2, Closing::Cancelled),
    ];
    apply(&*store, all).await;
    let stuck = async |second| {
        let query = Query { overdue_at: Some(at(second)), limit: 10, ..Query::default() };
        let stuck = store.orders(query).await.unwrap();
        stuck.iter().map(|view| view.order.id.get()).collect::<Vec<_>>()
    };
    assert_eq!(stuck(30).await, [0; 0]);
    assert_eq!(stuck(31).await, [4, 3, 1]);
    assert_eq!(stuck(1_000).await, [4, 3, 1]);
}

pub async fn orders_are_listed_by_how_long_they_stand(place: &dyn Place) {
    let store = place.open().await;
    // their latest events at 0, 8, 24 and 16
    apply(&*store, events([(1, 1), (2, 2), (3, 4)])).await;
    apply(&*store, vec![told(4, 1), commanded(4, 2, Change::Held, Waits::Held(None))]).await;
    let listed = async |second, estado: Option<&str>| {
        let query = Query {
            entered_before: Some(at(second)),
            estado: estado.map(str::to_owned),
            limit: 10,
            ..Query::default()
        };
        let listed = store.orders(query).await.unwrap();
        listed.iter().map(|view| view.order.id.get()).collect::<Vec<_>>()
    };
    assert_eq!(listed(8, None).await, [1]);
    assert_eq!(listed(17, None).await, [4, 2, 1]);
    assert_eq!(listed(17, Some("recibido")).await, [4, 1]);
    assert_eq!(listed(25, None).await, [4, 3, 2, 1]);
}

pub async fn ended_orders_are_counted_by_how_they_ended(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (2, 1), (3, 1), (4, 1), (5, 4)])).await;
    // one of them without any state before, and in one batch with it
    let ends = vec![ended(1, 2, Closing::Cancelled), ended(2, 2, Closing::Refused), ended(6, 3, Closing::Cancelled)];
    apply(&*store, ends).await;
    apply(&*store, vec![told(7, 1), ended(7, 2, Closing::Cancelled)]).await;
    drop(store);
    let store = place.open().await;
    let mut counts = store.order_counts().await.unwrap();
    counts.by_state.sort();
    assert_eq!((counts.total, counts.finished, counts.cancelled), (7, 1, 4));
    let by_state = [("cancelado", 3), ("finalizado", 1), ("rechazado", 1), ("recibido", 2)];
    assert_eq!(counts.by_state, by_state.map(|(state, n)| (state.into(), n)));
    let listed = async |estado: &str| {
        let query = Query { estado: Some(estado.into()), limit: 10, ..Query::default() };
        store.orders(query).await.unwrap().iter().map(|view| view.order.id.get()).collect::<Vec<_>>()
    };
    assert_eq!(listed("cancelado").await, [7, 6, 1]);
    assert_eq!(listed("rechazado").await, [2]);
    assert_eq!(listed("recibido").await, [4, 3]);
    // what comes late does not open them again
    apply(&*store, events([(6, 1)])).await;
    let counts = store.order_counts().await.unwrap();
    assert_eq!((counts.total, counts.finished, counts.cancelled), (7, 1, 4));
}

pub async fn a_corrected_address_is_found(place: &dyn Place) {
    let store = place.open().await;
    let mut corrected = commanded(1, 2, Change::Readdressed, Waits::Until(at(99)));
    corrected.event.address = Some("Eva@example.org".parse().unwrap());
    apply(&*store, vec![told(1, 1), corrected, told(2, 1)]).await;
    let found = async |address: &str| {
        let query = Query { usermail: Some(address.parse().unwrap()), limit: 10, ..Query::default() };
        store.orders(query).await.unwrap().iter().map(|view| view.order.id.get()).collect::<Vec<_>>()
    };
    assert_eq!(found("EVA@example.org").await, [1]);
    assert_eq!(found("ana@example.org").await, [2, 1], "the one with which it was placed, too");
}

fn outcome(id: &str, second: u64, verdict: Verdict) -> CommandOutcome {
    let exits = Exits { cancel: Some(Party::Operator), advance: true, refuse: true, expect_at: Some(at(5)) };
    let status = OrderStatus { estado: "preparando".into(), seq: 2, waits: Waits::ForCommand, exits };
    let status = (verdict != Verdict::Unknown).then_some(status);
    let copy = Some(CommandCopy { partition: 3, offset: second });
    CommandOutcome { command: command(id), order: super::support::id(1), copy, verdict, status, at: at(second) }
}

fn refusal() -> Verdict {
    Verdict::Refused { code: "held".into(), detail: "the order is held; resume it first".into() }
}

async fn decided(store: &dyn encargo::store::Store, outcomes: Vec<CommandOutcome>) {
    store.apply((Batch { outcomes, ..batch(vec![]) }).into()).await.unwrap();
}

pub async fn what_became_of_a_command_is_told(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.outcome(&command("c-1")).await.unwrap(), None);
    let verdicts = [Verdict::Done, Verdict::Repeated, refusal(), Verdict::Unknown];
    let outcomes: Vec<_> =
        (1..).zip(verdicts).map(|(number, verdict)| outcome(&format!("c-{number}"), number, verdict)).collect();
    decided(&*store, outcomes.clone()).await;
    drop(store);
    let store = place.open().await;
    for outcome in outcomes {
        assert_eq!(store.outcome(&outcome.command).await.unwrap(), Some(outcome));
    }
    assert_eq!(store.outcome(&command("c-5")).await.unwrap(), None);
}

pub async fn what_was_done_stays_done(place: &dyn Place) {
    let store = place.open().await;
    for (before, after, stays) in [
        (Verdict::Done, Verdict::Repeated, true),
        (Verdict::Done, refusal(), true),
        (Verdict::Repeated, Verdict::Unknown, true),
        (Verdict::Unknown, Verdict::Done, false),
        (refusal(), Verdict::Repeated, false),
        (refusal(), Verdict::Unknown, false),
        (Verdict::Unknown, refusal(), false),
    ] {
        for in_one_batch in [true, false] {
            let name = format!("{}.{}.{in_one_batch}", before.name(), after.name());
            let (first, second) = (outcome(&name, 1, before.clone()), outcome(&name, 2, after.clone()));
            if in_one_batch {
                decided(&*store, vec![first.clone(), second.clone()]).await;
            } else {
                decided(&*store, vec![first.clone()]).await;
                decided(&*store, vec![second.clone()]).await;
            }
            let expected = if stays { first } else { second };
            assert_eq!(store.outcome(&command(&name)).await.unwrap(), Some(expected), "{name}");
        }
    }
}

pub async fn a_fenced_batch_decides_nothing(place: &dyn Place) {
    let store = place.open().await;
    let zombie =
        Batch { advances: vec![advance(0, 5, 6)], outcomes: vec![outcome("c", 1, Verdict::Done)], ..batch(vec![]) };
    assert!(store.apply(zombie.into()).await.is_err());
    assert_eq!(store.outcome(&command("c")).await.unwrap(), None);
}

pub async fn old_outcomes_are_pruned(place: &dyn Place) {
    let store = place.open().await;
    let many = (0..3_000).map(|number| outcome(&format!("old-{number}"), 4, Verdict::Done));
    decided(&*store, many.chain([outcome("new", 5, refusal())]).collect()).await;
    let past = Past { keys: at(5), mails: at(0), minutes: at(0) };
    assert_eq!(store.prune(past).await.unwrap(), Pruned { outcomes: 3_000, ..Pruned::default() });
    assert_eq!(store.prune(past).await.unwrap(), Pruned::default());
    assert_eq!(store.outcome(&command("old-7")).await.unwrap(), None);
    assert!(store.outcome(&command("new")).await.unwrap().is_some());
}
