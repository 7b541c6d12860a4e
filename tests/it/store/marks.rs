//! What the store has seen of the log.

use encargo::store::{marks::Mark, orders::Advance};

use super::{Place, support::*};

fn ids() -> encargo::eventlog::TopicPartition {
    encargo::eventlog::TopicPartition { topic: "encargo_ids".into(), partition: 0 }
}

pub async fn what_was_projected_is_marked_and_forgotten(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.marks().await.unwrap(), []);
    let print = Some(u64::MAX - 1);
    for (from, to, print) in [(0, 2, Some(1)), (2, 5, print)] {
        let advances = vec![Advance { print, ..advance(1, from, to) }, advance(0, from, to)];
        store.apply(encargo::store::orders::Batch { advances, ..batch(vec![]) }.into()).await.unwrap();
    }
    drop(store);
    let store = place.open().await;
    let marks = || async {
        let mut marks = store.marks().await.unwrap();
        marks.sort();
        marks
    };
    let first = Mark { tp: partition(0), offset: 5, print: None };
    assert_eq!(marks().await, [first.clone(), Mark { tp: partition(1), offset: 5, print }]);
    store.forget(vec![partition(1), ids()]).await.unwrap();
    assert_eq!(marks().await, [first]);
    assert_eq!(store.offsets(GROUP).await.unwrap(), [(partition(0), 5)]);
}

pub async fn order_numbers_are_noted_and_never_go_back(place: &dyn Place) {
    let store = place.open().await;
    for (end, noted) in [(3, 3), (2, 3), (9, 9), (9, 9)] {
        store.note_ids(&ids(), end).await.unwrap();
        assert_eq!(store.marks().await.unwrap(), [Mark { tp: ids(), offset: noted, print: None }]);
    }
    assert_eq!(store.offsets(GROUP).await.unwrap(), []);
}
