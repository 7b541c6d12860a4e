//! Short words for orders, events and batches.

use std::time::Duration;

use encargo::{
    domain::{DeadLetter, Flow, Order, OrderId, Product, Source, StateEvent, Timestamp, wire},
    eventlog::TopicPartition,
    store::{
        Store,
        ledger::{Class, Mail, MailId, Reason, Settlement, Verdict},
        orders::{Advance, Applied, Batch, Incoming},
        postgres::Options,
    },
};

use crate::harness::PATIENCE;

pub const GROUP: &str = "tracking";
pub const TOPIC: &str = "compra_confirmada";

/// Settings of a store that waits for a database as long as a test does: the product's own times are short enough for a
/// machine that stands still for a moment to reach them.
pub fn patient(url: impl Into<String>) -> Options {
    Options { connect_timeout: PATIENCE, call_timeout: PATIENCE, ..Options::new(url) }
}

/// A time: that many seconds after a fixed one.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_764_000_000_000) + Duration::from_secs(seconds)
}

pub fn id(id: u64) -> OrderId {
    OrderId::new(id).unwrap()
}

pub fn mail_id(order: u64, seq: u8) -> MailId {
    MailId { order: id(order), seq }
}

pub fn order(number: u64) -> Order {
    Order {
        id: id(number),
        product: Product::new("3170", "King's Bounty: Armored Princess", "7.99").unwrap(),
        email: "ana@example.org".parse().unwrap(),
        lang: None,
        placed_at: at(0),
        handle: None,
        trace: None,
    }
}

/// The order enters its state `seq` of the standard flow, `8 × (seq − 1)` seconds after it was placed.
pub fn event(order: Order, seq: u8) -> Incoming {
    let last = usize::from(seq) == Flow::STATES.len();
    let entered = order.placed_at + Duration::from_secs(8) * u32::from(seq.saturating_sub(1));
    let estado = Flow::STATES[usize::from(seq.saturating_sub(1))];
    let next_at = (!last).then(|| entered + Duration::from_secs(8));
    let letter = letter(order.id.get() * 10 + u64::from(seq));
    Incoming { event: StateEvent::of_version_1(order, seq, estado, entered, next_at), partition: None, letter }
}

/// Events of standard orders, by order and seq.
pub fn events<const N: usize>(of: [(u64, u8); N]) -> Vec<Incoming> {
    of.into_iter().map(|(number, seq)| event(order(number), seq)).collect()
}

pub fn letter(offset: u64) -> DeadLetter {
    DeadLetter {
        source: Source { topic: TOPIC.into(), partition: 0, offset },
        reason: "not a valid JSON record".into(),
        attempts: 0,
        at: at(offset),
        key: Some(b"17".to_vec()),
        value: b"{\"orderid\":".to_vec(),
        headers: wire::Headers::from_iter([("ce_id", &b"17.2"[..]), ("raw", &[0, 255, 10])]),
    }
}

pub fn partition(partition: u32) -> TopicPartition {
    TopicPartition { topic: TOPIC.into(), partition }
}

pub fn advance(number: u32, from: u64, to: u64) -> Advance {
    Advance { tp: partition(number), from, to, print: None }
}

/// A batch with mails due at second 0, and no offsets.
pub fn batch(events: Vec<Incoming>) -> Batch {
    Batch {
        group: GROUP.into(),
        advances: vec![],
        events,
        dead: vec![],
        outcomes: vec![],
        mail: true,
        mail_since: None,
        now: at(0),
        lease: None,
        ..Batch::default()
    }
}

pub async fn apply(store: &dyn Store, events: Vec<Incoming>) -> Applied {
    store.apply(batch(events).into()).await.unwrap()
}

/// Leases all that is due at a second, for a minute.
pub async fn lease(store: &dyn Store, second: u64) -> Vec<Mail> {
    store.lease(at(second), at(second + 60), 1_000).await.unwrap()
}

pub fn ids(mails: &[Mail]) -> Vec<MailId> {
    mails.iter().map(|mail| mail.id).collect()
}

pub async fn settle(store: &dyn Store, id: MailId, attempt: u32, verdict: Verdict) -> u64 {
    let found = store.order(id.order).await.unwrap();
    let to = found.map_or_else(|| order(1).email, |(view, _)| view.recipient().clone());
    store.settle(vec![Settlement { id, attempt, to, verdict }]).await.unwrap().count
}

pub fn sent() -> Verdict {
    Verdict::Sent("250 2.0.0 Ok".into())
}

pub fn refused() -> Verdict {
    Verdict::Dead(Reason::new(Class::Refused, "550 5.1.1 no such user"))
}
