//! What instances do, as it was learned.

use super::Place;

pub async fn what_instances_do_is_kept_by_role(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.capacities().await.unwrap(), []);
    for (role, per_s) in [("tracking", 4_000.5), ("fulfilment", 300.0), ("fulfilment", 2_100.0)] {
        store.note_capacity(role, per_s).await.unwrap();
    }
    let kept = [("fulfilment".to_owned(), 2_100.0), ("tracking".to_owned(), 4_000.5)];
    assert_eq!(store.capacities().await.unwrap(), kept);
}
