//! A store in memory, for simulations and tests; it cannot be chosen as `store.url`, since nothing of it outlives the
//! process.
//!
//! Every call is done when its future is first polled, under one lock: it starts no thread, reads no time, and all it holds
//! is ordered, so that the same calls in the same order have the same answers. It is plain where the others are fast:
//! counts and lists look through everything, and only the mails that wait are kept apart.

mod capacities;
mod dead;
mod keys;
mod ledger;
mod mailing;
mod mails;
mod marks;
mod orders;
mod overview;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use self::{dead::Letter, keys::Key, orders::Row};
use super::{Past, Pruned, Result, Store, ledger::Suppression, mails::Resend};
use crate::{
    domain::{CommandId, CommandOutcome, OrderId, Source, Timestamp},
    eventlog::TopicPartition,
};

/// A handle to a store in memory; its clones lead to the same one.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    orders: BTreeMap<OrderId, Row>,
    /// The orders with a mail that is not settled.
    waiting: BTreeSet<OrderId>,
    /// Attempts that may have repeated a mail.
    repeated: u64,
    resends: Vec<Resend>,
    /// By their address.
    suppressed: BTreeMap<String, Suppression>,
    letters: BTreeMap<Source, Letter>,
    projected: BTreeMap<(String, TopicPartition), Projected>,
    /// Before then, the orders of minutes are no longer told.
    minutes_from: Timestamp,
    outcomes: BTreeMap<CommandId, CommandOutcome>,
    keys: BTreeMap<String, Key>,
    secrets: BTreeMap<String, [u8; 16]>,
    /// By their roles.
    capacities: BTreeMap<String, f64>,
}

/// How far a group has projected a partition, and the fingerprint of the record before.
struct Projected {
    offset: u64,
    print: Option<u64>,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn prune(&self, past: Past) -> Result<Pruned> {
        let mut tables = self.tables();
        tables.minutes_from = tables.minutes_from.max(past.minutes);
        let keys = tables.keys.len();
        tables.keys.retain(|_, key| key.reserved_at >= past.keys);
        let keys = (keys - tables.keys.len()) as u64;
        let outcomes = tables.outcomes.len();
        tables.outcomes.retain(|_, outcome| outcome.at >= past.keys);
        let outcomes = (outcomes - tables.outcomes.len()) as u64;
        Ok(Pruned { keys, outcomes, mails: tables.compact(past.mails) })
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}
