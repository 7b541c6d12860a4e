//! What the serving process knows of its topics without asking the file: which there are, how far each partition is
//! durable, and who waits for more.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::schema::PartitionRow;
use crate::eventlog::{Error, NewRecord, Result, place};

/// Topics by name. They are only ever added, so a handle stays right.
#[derive(Default)]
pub(super) struct Catalog(RwLock<HashMap<String, Arc<Topic>>>);

/// A topic.
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) partitions: Vec<Partition>,
    /// Whose turn it is to take a record without key.
    turn: AtomicU32,
    waiting: Mutex<Vec<Arc<Signal>>>,
}

/// A partition.
pub(super) struct Partition {
    /// Its key in the tables.
    pub(super) id: i64,
    /// One past the last durable record; never ahead of what readers see in the file.
    end: AtomicU64,
}

impl Catalog {
    pub(super) fn get(&self, name: &str) -> Result<Arc<Topic>> {
        let topics = self.0.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).cloned().ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    /// Adds a topic that is in the file. What is known already stays: it has members waiting on it.
    pub(super) fn add(&self, name: String, rows: Vec<PartitionRow>) {
        let partitions = rows.iter().map(|row| Partition { id: row.id, end: AtomicU64::new(row.next) }).collect();
        let topic = Topic { name: name.clone(), partitions, turn: AtomicU32::new(0), waiting: Mutex::default() };
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert_with(|| Arc::new(topic));
    }
}

impl Topic {
    /// Which partition takes this record.
    pub(super) fn partition_for(&self, record: &NewRecord) -> Result<u32> {
        place(record, self.partitions.len() as u32, || self.turn.fetch_add(1, Ordering::Relaxed))
    }

    /// The durable end of a partition.
    pub(super) fn end(&self, partition: u32) -> u64 {
        self.partitions[partition as usize].end.load(Ordering::Acquire)
    }

    /// Notes that a partition is durable up to `end`; to be followed by [`Topic::ring`].
    pub(super) fn publish(&self, partition: u32, end: u64) {
        self.partitions[partition as usize].end.fetch_max(end, Ordering::AcqRel);
    }

    /// Wakes who waits for more: once for all that a commit has published, for who is woken by the first of several takes that
    /// alone, and is woken again.
    pub(super) fn ring(&self) {
        for signal in &*self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            signal.ring();
        }
    }

    /// Rings `signal` at every commit from now on.
    pub(super) fn subscribe(&self, signal: Arc<Signal>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(signal);
    }

    /// Ends [`Topic::subscribe`].
    pub(super) fn unsubscribe(&self, signal: &Arc<Signal>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, signal));
    }
}

/// Where a member waits.
#[derive(Default)]
pub(super) struct Signal {
    gate: Mutex<()>,
    bell: Condvar,
}

impl Signal {
    fn ring(&self) {
        // Passing the gate first: a waiter is then either before its check, and sees the new end, or asleep and hears.
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_all();
    }

    /// Waits until `ready`, which is asked again at every ring. Returns false when `wait` is over before.
    pub(super) fn wait(&self, wait: Duration, ready: impl Fn() -> bool) -> bool {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let (_gate, over) =
            self.bell.wait_timeout_while(gate, wait, |()| !ready()).unwrap_or_else(PoisonError::into_inner);
        !over.timed_out()
    }
}
