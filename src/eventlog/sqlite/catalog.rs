//! What the serving process knows of its topics without asking the file: which there are, how far each partition is
//! durable, and who waits for more.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    read::Limit,
    recent::{Chunk, Recent},
    schema::PartitionRow,
};
use crate::eventlog::{Error, NewRecord, Record, Result, place};

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
    recent: Mutex<Recent>,
}

impl Catalog {
    pub(super) fn get(&self, name: &str) -> Result<Arc<Topic>> {
        let topics = self.0.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).cloned().ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    /// Adds a topic that is in the file. What is known already stays: it has members waiting on it.
    pub(super) fn add(&self, name: String, rows: Vec<PartitionRow>) {
        let partition =
            |row: &PartitionRow| Partition { id: row.id, end: AtomicU64::new(row.next), recent: Mutex::default() };
        let partitions = rows.iter().map(partition).collect();
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

    /// Notes that this is durable, in the order in which it was written; to be followed by [`Topic::ring`].
    pub(super) fn publish(&self, partition: u32, chunk: Chunk) {
        let Partition { end, recent, .. } = &self.partitions[partition as usize];
        let up_to = chunk.end;
        if !self.waiting().is_empty() {
            locked(recent).push(chunk);
        }
        end.fetch_max(up_to, Ordering::AcqRel);
    }

    /// The records of a partition from there on, when they are still at hand and nobody has taken them.
    pub(super) fn take_recent(&self, partition: u32, from: u64, limit: Limit) -> Vec<Record> {
        // copied without the lock, which the writer wants, too
        let chunks = locked(&self.partitions[partition as usize].recent).take(from, limit);
        chunks.iter().flat_map(Chunk::records).collect()
    }

    /// Some of what a partition held is deleted.
    pub(super) fn forget_recent(&self, partition: u32) {
        if let Some(partition) = self.partitions.get(partition as usize) {
            locked(&partition.recent).clear();
        }
    }

    /// Wakes who waits for more: once for all that a commit has published, for who is woken by the first of several takes that
    /// alone, and is woken again.
    pub(super) fn ring(&self) {
        for signal in &*self.waiting() {
            signal.ring();
        }
    }

    /// Rings `signal` at every commit from now on.
    pub(super) fn subscribe(&self, signal: Arc<Signal>) {
        self.waiting().push(signal);
    }

    /// Ends [`Topic::subscribe`].
    pub(super) fn unsubscribe(&self, signal: &Arc<Signal>) {
        self.waiting().retain(|other| !Arc::ptr_eq(other, signal));
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<Signal>>> {
        locked(&self.waiting)
    }
}

/// What is guarded here is whole after a panic elsewhere: each change is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        drop(locked(&self.gate));
        self.bell.notify_all();
    }

    /// Waits until `ready`, which is asked again at every ring. Returns false when `wait` is over before.
    pub(super) fn wait(&self, wait: Duration, ready: impl Fn() -> bool) -> bool {
        let gate = locked(&self.gate);
        let (_gate, over) =
            self.bell.wait_timeout_while(gate, wait, |()| !ready()).unwrap_or_else(PoisonError::into_inner);
        !over.timed_out()
    }
}
