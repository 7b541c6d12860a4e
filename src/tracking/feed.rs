//! Who waits for changes of orders, and what wakes them: this process's own projection at once, and what other processes
//! have projected with the next look at how far the store is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::GROUP;
use crate::{
    clock::Clock,
    domain::OrderId,
    eventlog::TopicPartition,
    store::{Store, orders::Batch},
};

/// How often it is looked whether other processes have projected something, while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Wakes those who wait for changes of an order; a cheap handle.
#[derive(Clone, Default)]
pub struct Feed {
    inner: Arc<Mutex<Inner>>,
    /// Somebody begins to wait.
    watched: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    waiting: HashMap<OrderId, watch::Sender<()>>,
    /// How far each partition is projected, as far as everybody who waits was told.
    told: HashMap<TopicPartition, u64>,
}

/// Somebody who waits for changes of one order.
pub(super) struct Watcher {
    feed: Feed,
    order: OrderId,
    changes: watch::Receiver<()>,
}

impl Feed {
    /// Begins to wait: whatever changes from now on is heard.
    pub(super) fn watch(&self, order: OrderId) -> Watcher {
        let changes = self.lock().waiting.entry(order).or_default().subscribe();
        self.watched.notify_one();
        Watcher { feed: self.clone(), order, changes }
    }

    /// A batch was applied by this process.
    pub(super) fn applied(&self, batch: &Batch) {
        let mut inner = self.lock();
        for advance in &batch.advances {
            inner.told.insert(advance.tp.clone(), advance.to);
        }
        let orders = batch.events.iter().map(|incoming| incoming.event.order.id);
        for order in orders.chain(batch.outcomes.iter().map(|outcome| outcome.order)) {
            if let Some(changes) = inner.waiting.get(&order) {
                changes.send_replace(());
            }
        }
    }

    /// Looks now and then whether others have projected something, until `stop`. Whose orders that concerned is not
    /// known, so that everybody looks.
    pub async fn follow(self, store: Arc<dyn Store>, pace: Clock, stop: CancellationToken) {
        while pace.sleep_unless(&stop, LOOK_EVERY).await {
            if self.lock().waiting.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.watched.notified() => {}
                }
            }
            // while the store is away nothing changes in it
            let Ok(offsets) = store.offsets(GROUP).await else { continue };
            let mut inner = self.lock();
            let mut is_news = false;
            for (tp, offset) in offsets {
                let told = inner.told.entry(tp).or_default();
                is_news |= offset > *told;
                *told = offset.max(*told);
            }
            for changes in inner.waiting.values().filter(|_| is_news) {
                changes.send_replace(());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Waits for the next change; one that came since the last is not missed.
    pub(super) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await; // the sender stays as long as somebody waits
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut inner = self.feed.lock();
        // this one is still counted
        if inner.waiting.get(&self.order).is_some_and(|changes| changes.receiver_count() <= 1) {
            inner.waiting.remove(&self.order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::orders::Advance;

    fn batch(to: u64) -> Batch {
        let tp = TopicPartition { topic: "t".into(), partition: 0 };
        Batch { advances: vec![Advance { tp, from: 0, to, print: None }], ..Batch::default() }
    }

    #[tokio::test]
    async fn who_no_longer_waits_is_forgotten() {
        let feed = Feed::default();
        let order = OrderId::new(1).unwrap();
        let (first, second) = (feed.watch(order), feed.watch(order));
        drop(first);
        assert_eq!(feed.lock().waiting.len(), 1);
        drop(second);
        assert_eq!(feed.lock().waiting.len(), 0);
        feed.applied(&batch(3));
        assert_eq!(feed.lock().told.values().copied().collect::<Vec<_>>(), [3]);
    }
}
