//! Idempotency keys and secrets.

use encargo::store::{
    Past, Store,
    keys::{Reservation, Reserved},
};

use super::{Place, support::*};

/// A request at a second, whose reservation holds for ten, and whose order would be number `order`.
fn reservation(key: &str, order: u64, second: u64) -> Reservation {
    Reservation {
        key: key.into(),
        request: u64::MAX,
        order: id(order),
        value: order.to_string().into_bytes(),
        track: track(order),
        at: at(second),
        until: at(second + 10),
    }
}

fn run(order: u64, again: bool) -> Reserved {
    Reserved::Run { order: id(order), value: order.to_string().into_bytes(), track: Some(track(order)), again }
}

fn done(order: u64) -> Reserved {
    Reserved::Done { order: id(order), track: Some(track(order)) }
}

/// Every request was going to answer with an address of its own.
fn track(order: u64) -> String {
    format!("http://{order}.example")
}

async fn reserve(store: &dyn Store, order: u64, second: u64) -> Reserved {
    store.reserve(reservation("k", order, second)).await.unwrap()
}

pub async fn a_key_stands_for_its_order(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(reserve(&*store, 1, 0).await, run(1, false));
    store.confirm("k").await.unwrap();
    assert_eq!(reserve(&*store, 2, 1).await, done(1));
    drop(store);
    let store = place.open().await;
    assert_eq!(reserve(&*store, 3, 1_000).await, done(1));
    assert_eq!(store.reserve(reservation("other", 4, 0)).await.unwrap(), run(4, false));
    // a key that nobody reserved cannot be confirmed
    store.confirm("unknown").await.unwrap();
    assert_eq!(store.reserve(reservation("unknown", 5, 0)).await.unwrap(), run(5, false));
}

pub async fn a_key_belongs_to_one_request(place: &dyn Place) {
    let store = place.open().await;
    reserve(&*store, 1, 0).await;
    let other = |second| Reservation { request: 7, ..reservation("k", 2, second) };
    assert_eq!(store.reserve(other(1)).await.unwrap(), Reserved::Mismatch { is_done: false }, "while it runs");
    assert_eq!(store.reserve(other(11)).await.unwrap(), Reserved::Mismatch { is_done: false }, "when it was given up");
    store.confirm("k").await.unwrap();
    assert_eq!(store.reserve(other(12)).await.unwrap(), Reserved::Mismatch { is_done: true }, "when it is done");
}

pub async fn a_key_is_looked_up_without_taking_it(place: &dyn Place) {
    let store = place.open().await;
    let held = async |second| store.held("k", u64::MAX, at(second)).await.unwrap();
    let resume = async |second| store.resume("k", u64::MAX, at(second), at(second + 10)).await.unwrap();
    assert_eq!((held(0).await, resume(0).await), (None, None));
    reserve(&*store, 1, 0).await;
    assert_eq!((held(9).await, resume(9).await), (Some(Reserved::Running), Some(Reserved::Running)));
    assert_eq!((held(10).await, held(10).await), (Some(run(1, true)), Some(run(1, true))), "nobody has taken it over");
    assert_eq!((resume(10).await, resume(10).await), (Some(run(1, true)), Some(Reserved::Running)), "now somebody has");
    store.confirm("k").await.unwrap();
    assert_eq!((resume(99).await, held(99).await), (Some(done(1)), Some(done(1))), "the first finds it in any case");
    assert_eq!(store.held("k", 7, at(99)).await.unwrap(), Some(Reserved::Mismatch { is_done: true }));
    assert_eq!(store.resume("k", 7, at(99), at(109)).await.unwrap(), Some(Reserved::Mismatch { is_done: true }));
}

pub async fn a_running_request_is_left_alone(place: &dyn Place) {
    let store = place.open().await;
    let first = reservation("k", 1, 0);
    let second = reservation("k", 2, 0);
    let (first, second) = tokio::join!(store.reserve(first), store.reserve(second));
    let mut both = [first.unwrap(), second.unwrap()];
    both.sort_by_key(|reserved| *reserved == Reserved::Running);
    assert!(matches!(both, [Reserved::Run { again: false, .. }, Reserved::Running]), "{both:?}");
    assert_eq!(reserve(&*store, 3, 9).await, Reserved::Running);
}

pub async fn an_abandoned_reservation_is_taken_over_as_it_was(place: &dyn Place) {
    let store = place.open().await;
    reserve(&*store, 1, 0).await;
    drop(store);
    let store = place.open().await;
    assert_eq!(reserve(&*store, 2, 10).await, run(1, true), "the earlier order, which may be in the log");
    assert_eq!(reserve(&*store, 3, 19).await, Reserved::Running, "the takeover holds as long");
    assert_eq!(reserve(&*store, 3, 20).await, run(1, true));
    store.confirm("k").await.unwrap();
    assert_eq!(reserve(&*store, 4, 30).await, done(1));
}

pub async fn a_released_key_is_free(place: &dyn Place) {
    let store = place.open().await;
    reserve(&*store, 1, 0).await;
    store.release("k").await.unwrap();
    let corrected = Reservation { request: 7, ..reservation("k", 2, 0) };
    assert_eq!(store.reserve(corrected).await.unwrap(), run(2, false), "even for another request, and at once");
    store.release("unknown").await.unwrap();
}

pub async fn a_release_after_a_takeover_loses_nothing(place: &dyn Place) {
    let store = place.open().await;
    reserve(&*store, 1, 0).await;
    reserve(&*store, 2, 10).await;
    // the second request certainly appended nothing, but the first may have
    store.release("k").await.unwrap();
    assert_eq!(reserve(&*store, 3, 11).await, run(1, true), "at once, and the same order");
    store.confirm("k").await.unwrap();
    assert_eq!(reserve(&*store, 4, 12).await, done(1));
}

pub async fn a_release_does_not_undo_a_confirmation(place: &dyn Place) {
    let store = place.open().await;
    reserve(&*store, 1, 0).await;
    store.confirm("k").await.unwrap();
    store.release("k").await.unwrap();
    assert_eq!(reserve(&*store, 2, 1).await, done(1));
}

async fn prune(store: &dyn Store, second: u64) -> u64 {
    store.prune(Past { keys: at(second), mails: at(0), minutes: at(0) }).await.unwrap().keys
}

pub async fn old_keys_are_pruned(place: &dyn Place) {
    let store = place.open().await;
    // more than any back end takes in one piece
    for n in 0..2_500 {
        let old = store.reserve(reservation(&format!("old {n}"), n + 1, n % 100));
        old.await.unwrap();
    }
    for key in ["old 0", "new"] {
        store.reserve(reservation(key, 9_000, 100)).await.unwrap();
        store.confirm(key).await.unwrap();
    }
    // one of the old ones was taken over, which is as good as new
    assert_eq!(prune(&*store, 100).await, 2_499);
    assert_eq!(prune(&*store, 100).await, 0);
    assert_eq!(store.reserve(reservation("new", 1, 200)).await.unwrap(), done(9_000));
    assert_eq!(store.reserve(reservation("old 0", 1, 200)).await.unwrap(), done(1));
    assert_eq!(store.reserve(reservation("old 1", 7, 200)).await.unwrap(), run(7, false));
    assert_eq!(prune(&*store, 1_000).await, 3);
}

pub async fn a_secret_is_made_once(place: &dyn Place) {
    let store = place.open().await;
    let (a, b) = tokio::join!(store.secret("handles", [1; 16]), store.secret("handles", [2; 16]));
    let secret = a.unwrap();
    assert_eq!(secret, b.unwrap());
    assert!(secret == [1; 16] || secret == [2; 16]);
    assert_eq!(store.secret("other", [3; 16]).await.unwrap(), [3; 16]);
    drop(store);
    assert_eq!(place.open().await.secret("handles", [4; 16]).await.unwrap(), secret);
}

pub async fn a_store_answers(place: &dyn Place) {
    place.open().await.ping().await.unwrap();
}
