//! The store with faults.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Call, Fault, Faults};
use crate::{
    clock::Clock,
    domain::{CommandId, CommandOutcome, DeadLetter, EmailAddress, OrderId, Source, Timestamp},
    eventlog::TopicPartition,
    store::{
        Capacities, DeadLetters, Error, Keys, Ledger, Links, Mails, Marks, Orders, Overview, Past, Pruned, Result,
        Store,
        dead::{Action, DeadId, DeadItem},
        keys::{Reservation, Reserved},
        ledger::{LedgerCounts, Mail, MailId, Settled, Settlement, Suppression},
        links::LinkRequest,
        mails::{MailEntry, Resend, SuppressedQuery},
        marks::Mark,
        orders::{Applied, Batch, HistoryEntry, OrderCounts, OrderView, Query},
        overview::{Minute, Snapshot},
    },
};

/// A store whose calls go wrong as a plan says.
pub struct FaultyStore {
    store: Arc<dyn Store>,
    faults: Arc<dyn Faults<Error>>,
    clock: Clock,
}

impl FaultyStore {
    /// The store behind the plan. Calls are late by `clock`.
    pub fn new(store: Arc<dyn Store>, faults: Arc<dyn Faults<Error>>, clock: Clock) -> Self {
        Self { store, faults, clock }
    }

    /// `done` does nothing before it is awaited.
    async fn call<T>(&self, name: &'static str, done: impl Future<Output = Result<T>>) -> Result<T> {
        match self.faults.next(Call { name, of: "" }) {
            None => done.await,
            Some(Fault::Refused(error)) => Err(error),
            Some(Fault::Unanswered(error)) => done.await.and(Err(error)),
            Some(Fault::Late(time)) => {
                self.clock.sleep(time).await;
                done.await
            }
            Some(Fault::Slow(time)) => {
                let answer = done.await;
                self.clock.sleep(time).await;
                answer
            }
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn prune(&self, past: Past) -> Result<Pruned> {
        self.call("prune", self.store.prune(past)).await
    }

    async fn ping(&self) -> Result<()> {
        self.call("ping", self.store.ping()).await
    }
}

#[async_trait]
impl Orders for FaultyStore {
    async fn offsets(&self, group: &str) -> Result<Vec<(TopicPartition, u64)>> {
        self.call("offsets", self.store.offsets(group)).await
    }

    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied> {
        self.call("apply", self.store.apply(batch)).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>> {
        self.call("order", self.store.order(id)).await
    }

    async fn orders(&self, query: Query) -> Result<Vec<OrderView>> {
        self.call("orders", self.store.orders(query)).await
    }

    async fn order_counts(&self) -> Result<OrderCounts> {
        self.call("order_counts", self.store.order_counts()).await
    }

    async fn outcome(&self, command: &CommandId) -> Result<Option<CommandOutcome>> {
        self.call("outcome", self.store.outcome(command)).await
    }
}

#[async_trait]
impl Overview for FaultyStore {
    async fn snapshot(&self, now: Timestamp) -> Result<Snapshot> {
        self.call("snapshot", self.store.snapshot(now)).await
    }

    async fn minutes(&self, from: Timestamp) -> Result<Vec<Minute>> {
        self.call("minutes", self.store.minutes(from)).await
    }
}

#[async_trait]
impl Links for FaultyStore {
    async fn ask_link(&self, request: LinkRequest) -> Result<bool> {
        self.call("ask_link", self.store.ask_link(request)).await
    }
}

#[async_trait]
impl Ledger for FaultyStore {
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
        self.call("lease", self.store.lease(now, until, limit)).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Settled> {
        self.call("settle", self.store.settle(settlements)).await
    }

    async fn renew(&self, attempts: Vec<(MailId, u32)>, until: Timestamp) -> Result<Vec<MailId>> {
        self.call("renew", self.store.renew(attempts, until)).await
    }

    async fn expire_leases(&self, now: Timestamp) -> Result<u64> {
        self.call("expire_leases", self.store.expire_leases(now)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.call("next_due", self.store.next_due()).await
    }

    async fn ledger_counts(&self) -> Result<LedgerCounts> {
        self.call("ledger_counts", self.store.ledger_counts()).await
    }
}

#[async_trait]
impl Mails for FaultyStore {
    async fn mails_of(&self, order: OrderId) -> Result<Vec<MailEntry>> {
        self.call("mails_of", self.store.mails_of(order)).await
    }

    async fn resend(&self, resend: Resend) -> Result<bool> {
        self.call("resend", self.store.resend(resend)).await
    }

    async fn resends_of(&self, order: OrderId) -> Result<Vec<Resend>> {
        self.call("resends_of", self.store.resends_of(order)).await
    }

    async fn mails_waiting(&self, limit: usize) -> Result<Vec<MailEntry>> {
        self.call("mails_waiting", self.store.mails_waiting(limit)).await
    }

    async fn suppressed(&self, query: SuppressedQuery) -> Result<Vec<Suppression>> {
        self.call("suppressed", self.store.suppressed(query)).await
    }

    async fn suppression(&self, address: &EmailAddress) -> Result<Option<Suppression>> {
        self.call("suppression", self.store.suppression(address)).await
    }

    async fn release_address(&self, address: &EmailAddress) -> Result<bool> {
        self.call("release_address", self.store.release_address(address)).await
    }
}

#[async_trait]
impl DeadLetters for FaultyStore {
    async fn dead(&self, reason: Option<&str>, limit: usize) -> Result<Vec<DeadItem>> {
        self.call("dead", self.store.dead(reason, limit)).await
    }

    async fn dead_one(&self, id: &DeadId) -> Result<Option<DeadItem>> {
        self.call("dead_one", self.store.dead_one(id)).await
    }

    async fn dead_record_of(&self, order: OrderId) -> Result<Option<DeadItem>> {
        self.call("dead_record_of", self.store.dead_record_of(order)).await
    }

    async fn decide(&self, id: &DeadId, action: Action, now: Timestamp) -> Result<bool> {
        self.call("decide", self.store.decide(id, action, now)).await
    }

    async fn claim_redrives(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<DeadLetter>> {
        self.call("claim_redrives", self.store.claim_redrives(now, until, limit)).await
    }

    async fn redriven(&self, source: &Source) -> Result<()> {
        self.call("redriven", self.store.redriven(source)).await
    }

    async fn dead_record_count(&self) -> Result<u64> {
        self.call("dead_record_count", self.store.dead_record_count()).await
    }
}

#[async_trait]
impl Keys for FaultyStore {
    async fn held(&self, key: &str, request: u64, at: Timestamp) -> Result<Option<Reserved>> {
        self.call("held", self.store.held(key, request, at)).await
    }

    async fn resume(&self, key: &str, request: u64, at: Timestamp, until: Timestamp) -> Result<Option<Reserved>> {
        self.call("resume", self.store.resume(key, request, at, until)).await
    }

    async fn reserve(&self, reservation: Reservation) -> Result<Reserved> {
        self.call("reserve", self.store.reserve(reservation)).await
    }

    async fn confirm(&self, key: &str) -> Result<()> {
        self.call("confirm", self.store.confirm(key)).await
    }

    async fn release(&self, key: &str) -> Result<()> {
        self.call("release", self.store.release(key)).await
    }

    async fn secret(&self, name: &str, fresh: [u8; 16]) -> Result<[u8; 16]> {
        self.call("secret", self.store.secret(name, fresh)).await
    }
}

#[async_trait]
impl Marks for FaultyStore {
    async fn marks(&self) -> Result<Vec<Mark>> {
        self.call("marks", self.store.marks()).await
    }

    async fn note_ids(&self, tp: &TopicPartition, end: u64) -> Result<()> {
        self.call("note_ids", self.store.note_ids(tp, end)).await
    }

    async fn forget(&self, partitions: Vec<TopicPartition>) -> Result<()> {
        self.call("forget", self.store.forget(partitions)).await
    }
}

#[async_trait]
impl Capacities for FaultyStore {
    async fn capacities(&self) -> Result<Vec<(String, f64)>> {
        self.call("capacities", self.store.capacities()).await
    }

    async fn note_capacity(&self, role: &str, per_s: f64) -> Result<()> {
        self.call("note_capacity", self.store.note_capacity(role, per_s)).await
    }
}
