//! Orders: what the projection writes, and what can be asked.

use std::collections::BTreeSet;

use encargo::{
    domain::{Closing, DeadLetter, Exits, Fault, Lang, Order, Product, Waits, flood::WHOLE_AT_ONCE, wire},
    store::{
        Error,
        dead::DeadId,
        ledger::MailStatus,
        orders::{Applied, Batch, Floods, Incoming, OrderView, Query},
    },
};

use super::{Place, support::*};

pub async fn an_event_moves_its_order_on(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.order(id(1)).await.unwrap(), None);
    for (seq, estado) in [(1, "recibido"), (2, "preparando"), (3, "entregando"), (4, "finalizado")] {
        let incoming = event(order(1), seq);
        let (entered, waits) = (incoming.event.at, incoming.event.waits);
        let applied = apply(&*store, vec![incoming]).await;
        assert_eq!(applied, Applied { accepted: 1, ..Applied::default() });
        let (view, _) = store.order(id(1)).await.unwrap().unwrap();
        let expected = OrderView {
            order: order(1),
            partition: None,
            address: None,
            flow: None,
            step: seq,
            estado: estado.into(),
            seq,
            at: entered,
            waits,
            exits: Exits::default(),
        };
        assert_eq!(view, expected);
        assert_eq!(view.closes(), (seq == 4).then_some(Closing::Finished));
    }
    assert_eq!(store.order(id(2)).await.unwrap(), None);
}

pub async fn the_history_tells_every_state_and_its_mail(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2), (2, 1)])).await;
    let leased = lease(&*store, 0).await;
    assert_eq!(ids(&leased), [mail_id(1, 1), mail_id(2, 1)]);
    settle(&*store, mail_id(1, 1), 1, sent()).await;
    let (_, history) = store.order(id(1)).await.unwrap().unwrap();
    let lines: Vec<_> = history.iter().map(|line| (line.seq, &*line.estado, line.at, line.mail)).collect();
    let expected =
        [(1, "recibido", at(0), Some(MailStatus::Sent)), (2, "preparando", at(8), Some(MailStatus::Pending))];
    assert_eq!(lines, expected);
}

pub async fn without_mail_there_is_no_ledger(place: &dyn Place) {
    let store = place.open().await;
    store.apply((Batch { mail: false, ..batch(events([(1, 1)])) }).into()).await.unwrap();
    let (_, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!(history[0].mail, None);
    assert_eq!(lease(&*store, 1_000).await, []);
    assert_eq!(store.ledger_counts().await.unwrap().by_status, []);
    // switched on later, mails start with the next state
    apply(&*store, events([(1, 2)])).await;
    assert_eq!(ids(&lease(&*store, 1_000).await), [mail_id(1, 2)]);
}

pub async fn repeats_change_nothing(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2)])).await;
    let before = store.order(id(1)).await.unwrap();
    let applied = apply(&*store, events([(1, 1), (1, 2), (1, 1)])).await;
    assert_eq!(applied, Applied { ignored: 3, ..Applied::default() });
    assert_eq!(store.order(id(1)).await.unwrap(), before);
    assert_eq!(store.ledger_counts().await.unwrap().by_status, [(MailStatus::Pending, 2)]);
}

pub async fn a_batch_may_hold_an_order_more_than_once(place: &dyn Place) {
    let store = place.open().await;
    let applied = apply(&*store, events([(1, 1), (2, 1), (1, 1), (1, 2), (1, 3), (1, 2), (2, 2), (1, 4)])).await;
    assert_eq!(applied, Applied { accepted: 6, ignored: 2, ..Applied::default() });
    let (view, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!((view.seq, view.closes().is_some(), history.len()), (4, true, 4));
}

pub async fn a_gap_is_accepted_and_counted(place: &dyn Place) {
    let store = place.open().await;
    let applied = apply(&*store, events([(1, 2), (1, 4), (2, 1)])).await;
    assert_eq!(applied, Applied { accepted: 3, gaps: 2, ..Applied::default() });
    let (view, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!(view.seq, 4);
    assert_eq!(history.iter().map(|line| line.seq).collect::<Vec<_>>(), [2, 4]);
}

pub async fn what_comes_late_is_filled_in(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 2), (1, 4)])).await;
    let before = store.order(id(1)).await.unwrap().unwrap().0;
    let counts = store.order_counts().await.unwrap();
    let applied = apply(&*store, events([(1, 3), (1, 3)])).await;
    assert_eq!(applied, Applied { late: 1, ignored: 1, ..Applied::default() });
    // in one batch, and an order that was never seen
    let applied = apply(&*store, events([(1, 1), (1, 2), (2, 2), (2, 1), (2, 3)])).await;
    assert_eq!(applied, Applied { accepted: 2, late: 2, ignored: 1, gaps: 1, ..Applied::default() });
    for (number, seqs) in [(1, vec![1, 2, 3, 4]), (2, vec![1, 2, 3])] {
        let (view, history) = store.order(id(number)).await.unwrap().unwrap();
        assert_eq!(Some(&view.seq), seqs.last(), "the view never goes back");
        assert_eq!(history.iter().map(|line| line.seq).collect::<Vec<_>>(), seqs);
        assert!(history.iter().all(|line| line.mail == Some(MailStatus::Pending)));
        assert!(history.is_sorted_by_key(|line| line.at));
    }
    assert_eq!(store.order(id(1)).await.unwrap().unwrap().0, before);
    let after = store.order_counts().await.unwrap();
    assert_eq!((counts.total, counts.finished), (1, 1));
    assert_eq!((after.total, after.finished), (2, 1));
    assert_eq!(store.ledger_counts().await.unwrap().by_status, [(MailStatus::Pending, 7)]);
    // not this order
    let product = Product::new("3170", "Another game", "9.99").unwrap();
    let applied = apply(&*store, vec![event(Order { product, ..order(3) }, 3), event(order(3), 1)]).await;
    let floods = applied.floods.clone();
    assert_eq!(applied, Applied { accepted: 1, gaps: 1, conflicts: 1, floods, ..Applied::default() });
}

pub async fn sequence_numbers_count_from_one(place: &dyn Place) {
    let store = place.open().await;
    let applied = apply(&*store, events([(1, 0)])).await;
    assert_eq!(applied, Applied { ignored: 1, ..Applied::default() });
    assert_eq!(store.order(id(1)).await.unwrap(), None);
}

pub async fn another_order_under_the_same_id_is_a_dead_letter(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1)])).await;
    let product = Product::new("3170", "Another game", "9.99").unwrap();
    let other = Order { product, email: "eva@example.org".parse().unwrap(), ..order(1) };
    // of any state: before, at and after the one the order is in, and the same one twice
    let foreign = [1, 2, 2].map(|seq| event(other.clone(), seq));
    let applied = apply(&*store, foreign.to_vec()).await;
    let floods = applied.floods.clone();
    assert_eq!(applied, Applied { conflicts: 3, floods, ..Applied::default() });

    let (view, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!((view.order, view.seq, history.len()), (order(1), 1, 1));
    let dead = store.dead(None, 10).await.unwrap();
    assert_eq!(dead.len(), 2, "a source is kept once: {dead:?}");
    let letter = dead[0].letter.clone().unwrap();
    assert_eq!(letter.reason, dead[0].reason);
    for named in ["order 1", "name", "price", "usermail"] {
        assert!(letter.reason.contains(named), "{named} in {:?}", letter.reason);
    }
    for silent in ["gameid", "@", "eva", "ana"] {
        assert!(!letter.reason.contains(silent), "{silent} in {:?}", letter.reason);
    }
    let told = wire::told(&letter.headers);
    assert_eq!((told.fault, told.schema), (Some(Fault::Conflict), Some("urn:encargo:state")));
    let (reason, headers) = (letter.reason.clone(), letter.headers.clone());
    assert_eq!(letter, DeadLetter { reason, headers, ..foreign[0].letter.clone() });
}

pub async fn a_flood_of_other_orders_is_few_letters_and_none_is_left_out(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1)])).await;
    let product = Product::new("3170", "Another game", "9.99").unwrap();
    let other = Order { product, ..order(1) };
    let of = |offset| Incoming { letter: letter(offset), ..event(other.clone(), 2) };
    let mut floods = Floods::new();
    for offsets in [100..1_600, 1_600..3_100] {
        let foreign = offsets.rev().map(of).collect(); // in whatever order they are found
        let applied = store.apply((Batch { floods, ..batch(foreign) }).into()).await.unwrap();
        assert_eq!(applied.conflicts, 1_500);
        floods = applied.floods;
    }
    let dead = store.dead(None, 5_000).await.unwrap();
    assert_eq!(dead.len() as u64, WHOLE_AT_ONCE + 1);
    let mut kept = BTreeSet::new();
    for letter in dead.into_iter().filter_map(|item| item.letter) {
        let run = wire::run(&letter.headers);
        kept.extend(run.map_or(vec![letter.source.offset], |run| run.into_iter().flatten().collect()));
        assert_eq!(wire::told(&letter.headers).fault, Some(Fault::Conflict));
    }
    assert!(kept.into_iter().eq(100..3_100), "each is in a letter");
}

pub async fn offsets_are_compared_and_set(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.offsets(GROUP).await.unwrap(), []);
    let step = |advances| Batch { advances, ..batch(vec![]) };
    store.apply(step(vec![advance(0, 0, 5), advance(1, 0, 7)]).into()).await.unwrap();
    store.apply(step(vec![advance(0, 5, 9)]).into()).await.unwrap();
    drop(store);
    let store = place.open().await;
    let mut offsets = store.offsets(GROUP).await.unwrap();
    offsets.sort();
    assert_eq!(offsets, [(partition(0), 9), (partition(1), 7)]);
    for stale in [advance(0, 5, 10), advance(0, 0, 10), advance(0, 10, 11), advance(2, 3, 4)] {
        let refused = store.apply(step(vec![stale.clone()]).into()).await;
        let Err(Error::Fenced(what)) = refused else { panic!("{refused:?}") };
        assert_eq!(what, stale.tp.to_string());
    }
}

pub async fn a_batch_that_was_applied_is_not_applied_again(place: &dyn Place) {
    let store = place.open().await;
    let of = |events, advances| Batch { advances, ..batch(events) };
    let first = of(events([(1, 1)]), vec![advance(0, 0, 5), advance(1, 0, 7)]);
    store.apply(first.clone().into()).await.unwrap();
    // the answer was lost, say
    assert_eq!(store.apply(first.clone().into()).await.unwrap(), Applied::default());
    // only part of it is there: another's work
    let more = of(events([(1, 2)]), vec![advance(0, 0, 5), advance(1, 0, 8)]);
    assert!(matches!(store.apply(more.into()).await, Err(Error::Fenced(_))));
    let next = of(events([(1, 2)]), vec![advance(0, 5, 6), advance(1, 7, 8)]);
    assert_eq!(store.apply(next.into()).await.unwrap().accepted, 1);
    assert!(matches!(store.apply(first.into()).await, Err(Error::Fenced(_))));
    assert_eq!(store.order(id(1)).await.unwrap().unwrap().1.len(), 2);
}

pub async fn a_fenced_batch_writes_nothing(place: &dyn Place) {
    let store = place.open().await;
    store.apply((Batch { advances: vec![advance(0, 0, 1)], ..batch(events([(1, 1)])) }).into()).await.unwrap();
    let zombie = Batch {
        advances: vec![advance(1, 0, 1), advance(0, 0, 2)],
        dead: vec![letter(7)],
        ..batch(events([(1, 2), (2, 1)]))
    };
    assert!(matches!(store.apply(zombie.into()).await, Err(Error::Fenced(_))));
    assert_eq!(store.offsets(GROUP).await.unwrap(), [(partition(0), 1)]);
    assert_eq!(store.order(id(1)).await.unwrap().unwrap().0.seq, 1);
    assert_eq!(store.order(id(2)).await.unwrap(), None);
    assert_eq!(store.order_counts().await.unwrap().total, 1);
    assert_eq!(store.ledger_counts().await.unwrap().by_status, [(MailStatus::Pending, 1)]);
    assert_eq!(store.dead(None, 10).await.unwrap(), []);
}

pub async fn groups_have_offsets_of_their_own(place: &dyn Place) {
    let store = place.open().await;
    store.apply((Batch { advances: vec![advance(0, 0, 3)], ..batch(vec![]) }).into()).await.unwrap();
    let other = Batch { group: "other".into(), advances: vec![advance(0, 0, 8)], ..batch(vec![]) };
    store.apply(other.into()).await.unwrap();
    assert_eq!(store.offsets(GROUP).await.unwrap(), [(partition(0), 3)]);
    assert_eq!(store.offsets("other").await.unwrap(), [(partition(0), 8)]);
}

async fn listed(store: &dyn encargo::store::Store, query: Query) -> Vec<u64> {
    store.orders(query).await.unwrap().iter().map(|view| view.order.id.get()).collect()
}

pub async fn orders_are_listed_newest_first(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(3, 1), (1, 1), (10, 1), (2, 1), (2, 2)])).await;
    let query = Query { limit: 10, ..Query::default() };
    assert_eq!(listed(&*store, query.clone()).await, [10, 3, 2, 1]);
    assert_eq!(listed(&*store, Query { limit: 2, ..query.clone() }).await, [10, 3]);
    assert_eq!(listed(&*store, Query { below: Some(id(3)), ..query.clone() }).await, [2, 1]);
    let (view, _) = store.order(id(2)).await.unwrap().unwrap();
    assert_eq!(store.orders(Query { below: Some(id(3)), limit: 1, ..query }).await.unwrap(), [view]);
}

pub async fn orders_are_listed_by_state(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 4), (2, 1), (3, 4), (4, 2), (5, 1), (6, 4)])).await;
    let query = |estado: &str| Query { estado: Some(estado.into()), limit: 10, ..Query::default() };
    assert_eq!(listed(&*store, query("finalizado")).await, [6, 3, 1]);
    assert_eq!(listed(&*store, query("recibido")).await, [5, 2]);
    assert_eq!(listed(&*store, query("preparando")).await, [4]);
    assert_eq!(listed(&*store, query("perdido")).await, [0; 0]);
    assert_eq!(listed(&*store, Query { limit: 2, ..query("finalizado") }).await, [6, 3]);
    assert_eq!(listed(&*store, Query { below: Some(id(5)), ..query("recibido") }).await, [2]);
}

pub async fn stuck_orders_are_listed(place: &dyn Place) {
    let store = place.open().await;
    // next due at 8, 8, 16, never (finished), and never told
    apply(&*store, events([(1, 1), (2, 1), (3, 2), (4, 4)])).await;
    let mut untold = event(order(5), 1);
    untold.event.waits = Waits::Untold;
    apply(&*store, vec![untold]).await;
    let query = |second| Query { overdue_at: Some(at(second)), limit: 10, ..Query::default() };
    assert_eq!(listed(&*store, query(8)).await, [0; 0]);
    assert_eq!(listed(&*store, query(9)).await, [2, 1]);
    assert_eq!(listed(&*store, query(1_000)).await, [3, 2, 1]);
    assert_eq!(listed(&*store, Query { estado: Some("preparando".into()), ..query(1_000) }).await, [3]);
    assert_eq!(listed(&*store, Query { below: Some(id(3)), limit: 1, ..query(1_000) }).await, [2]);
}

pub async fn orders_of_an_address_are_listed(place: &dyn Place) {
    let store = place.open().await;
    let of = |number, seq, email: &str| event(Order { email: email.parse().unwrap(), ..order(number) }, seq);
    let all =
        [(1, 1, "eva@example.org"), (2, 4, "EVA@example.org"), (3, 1, "eva@example.com"), (4, 1, "eva@example.org")];
    apply(&*store, all.map(|(number, seq, email)| of(number, seq, email)).to_vec()).await;
    let query = Query { usermail: Some("Eva@Example.org".parse().unwrap()), limit: 10, ..Query::default() };
    assert_eq!(listed(&*store, query.clone()).await, [4, 2, 1]);
    assert_eq!(listed(&*store, Query { limit: 1, below: Some(id(4)), ..query.clone() }).await, [2]);
    assert_eq!(listed(&*store, Query { estado: Some("finalizado".into()), ..query.clone() }).await, [2]);
    assert_eq!(listed(&*store, Query { overdue_at: Some(at(1_000)), ..query }).await, [4, 1]);
}

pub async fn orders_are_counted(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.order_counts().await.unwrap().total, 0);
    apply(&*store, events([(1, 1), (2, 1), (3, 1), (4, 4), (1, 1), (2, 2)])).await;
    apply(&*store, events([(2, 3), (3, 4)])).await;
    drop(store);
    let mut counts = place.open().await.order_counts().await.unwrap();
    counts.by_state.sort();
    assert_eq!((counts.total, counts.finished), (4, 2));
    assert_eq!(counts.by_state, [("entregando".into(), 1), ("finalizado".into(), 2), ("recibido".into(), 1)]);
}

pub async fn all_that_an_order_says_is_kept(place: &dyn Place) {
    let full = Order {
        id: id(encargo::domain::OrderId::MAX),
        product: Product::new("-1'\"", "ñ € 🎮 \"quoted\", -leading; '); DROP TABLE orders", "0.0").unwrap(),
        email: "josé@españa.example".parse().unwrap(),
        lang: Some(Lang::En),
        placed_at: at(3),
        handle: None,
        trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".parse().ok(),
    };
    let store = place.open().await;
    let handle = Some("0123456789abcdef0123456789abcdef".parse().unwrap());
    apply(&*store, vec![event(Order { handle, ..full.clone() }, 1)]).await;
    // a later event with less of it changes nothing
    apply(&*store, vec![event(Order { lang: None, trace: None, ..full.clone() }, 2)]).await;
    drop(store);
    let store = place.open().await;
    assert_eq!(store.order(full.id).await.unwrap().unwrap().0.order, full);
    assert_eq!(lease(&*store, 0).await[0].order, full);
    assert_eq!(store.dead_one(&DeadId::Mail(mail_id(1, 1))).await.unwrap(), None);
}

pub async fn an_order_may_go_on_after_its_last_state(place: &dyn Place) {
    // a flow that was given more states while orders were in it
    let store = place.open().await;
    let mut last = event(order(1), 2);
    last.event.waits = Waits::Closed(Closing::Finished);
    apply(&*store, vec![last]).await;
    assert_eq!(store.order_counts().await.unwrap().finished, 1);
    apply(&*store, events([(1, 3)])).await;
    let counts = store.order_counts().await.unwrap();
    assert_eq!((counts.total, counts.finished), (1, 0));
    let stuck = Query { overdue_at: Some(at(1_000)), limit: 10, ..Query::default() };
    assert_eq!(listed(&*store, stuck.clone()).await, [1]);
    apply(&*store, events([(1, 4)])).await;
    assert_eq!(listed(&*store, stuck).await, [0; 0]);
    assert_eq!(store.order_counts().await.unwrap().finished, 1);
}

pub async fn orders_of_a_product_are_listed(place: &dyn Place) {
    let store = place.open().await;
    let mut other = event(order(2), 1);
    let mut changed = order(2);
    changed.product = Product::new("620", "Portal 2 ÑANDÚ", "7.19").unwrap();
    other.event.order = changed.into();
    apply(&*store, vec![event(order(1), 1), other, event(order(3), 1)]).await;
    for (text, expected) in [
        ("3170", &[3, 1][..]),
        ("king's", &[3, 1]),
        ("BOUNTY", &[3, 1]),
        ("portal", &[2]),
        ("62", &[]),
        ("%", &[]),
        ("ÑAND", &[2]),
    ] {
        let query = Query { product: Some(text.into()), limit: 10, ..Query::default() };
        let found: Vec<_> = store.orders(query).await.unwrap().iter().map(|view| view.order.id.get()).collect();
        assert_eq!(found, expected, "{text}");
    }
}
