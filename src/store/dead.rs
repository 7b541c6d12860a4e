//! Dead letters as an operator sees them: poison records and refused mails under one roof.

use std::{fmt, str::FromStr};

use async_trait::async_trait;

use super::{
    Result,
    ledger::{Class, MailId},
};
use crate::domain::{DeadLetter, Invalid, OrderId, Source, Timestamp, wire};

/// Of a record's key, of its value and of its headers, most bytes in a list: a record can have a million.
pub(super) const LISTED_MAX: usize = 4_096;

/// What becomes of a row when the letter of its run comes again, in SQL: the record stays as it was first seen. One that somebody has
/// decided about is open again, since there are records which that was not about.
pub(super) const RUN_AGAIN: &str = "UPDATE SET reason = excluded.reason, headers = excluded.headers, status = 'dead'";

/// The name of a dead letter: `mail:ORDER.SEQ`, or `TOPIC/PARTITION/OFFSET` of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadId {
    /// A mail that was refused for good.
    Mail(MailId),
    /// A record that could not be processed.
    Record(Source),
}

impl fmt::Display for DeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mail(id) => write!(f, "mail:{}.{}", id.order, id.seq),
            Self::Record(source) => write!(f, "{}/{}/{}", source.topic, source.partition, source.offset),
        }
    }
}

impl FromStr for DeadId {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Self, Invalid> {
        const SHAPE: Invalid = Invalid::because("a dead letter's name looks like mail:17.2 or compra_detalle/0/55");
        if let Some(mail) = text.strip_prefix("mail:") {
            let (order, seq) = mail.split_once('.').ok_or(SHAPE)?;
            let order: OrderId = order.parse().map_err(|_| SHAPE)?;
            return Ok(Self::Mail(MailId { order, seq: seq.parse().map_err(|_| SHAPE)? }));
        }
        let mut parts = text.rsplitn(3, '/');
        let mut next = || parts.next().ok_or(SHAPE);
        let (offset, partition, topic) = (next()?, next()?, next()?);
        Ok(Self::Record(Source {
            topic: topic.to_owned(),
            partition: partition.parse().map_err(|_| SHAPE)?,
            offset: offset.parse().map_err(|_| SHAPE)?,
        }))
    }
}

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadItem {
    /// Its name.
    pub id: DeadId,
    /// The order it is about, where that could be read.
    pub order: Option<OrderId>,
    /// Why it is dead.
    pub reason: String,
    /// The class of that, of mails.
    pub class: Option<Class>,
    /// How often it was tried (mails) or driven again (records).
    pub attempts: u32,
    /// Since when; of a mail, when the last attempt began.
    pub at: Timestamp,
    /// The record; `None` for mails, whose order tells everything. Whole when it was asked for alone; in a list the beginnings
    /// of its key and of its value, and of long headers only the letter's own.
    pub letter: Option<DeadLetter>,
}

impl DeadItem {
    /// A dead record in a list.
    pub(super) fn of_record(letter: DeadLetter) -> Self {
        Self {
            id: DeadId::Record(letter.source.clone()),
            order: order_of(&letter),
            reason: letter.reason.clone(),
            class: None,
            attempts: letter.attempts,
            at: letter.at,
            letter: Some(letter),
        }
    }
}

/// The order that a record is about: its key, and without one the field of the value, if it is JSON at all.
fn order_of(letter: &DeadLetter) -> Option<OrderId> {
    let by_key = letter.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
    by_key.or_else(|| {
        let value: serde_json::Value = serde_json::from_slice(wire::json(&letter.value)).ok()?;
        OrderId::new(value.get("orderid")?.as_u64()?).ok()
    })
}

/// What a list tells of a record.
pub(super) fn beginning(letter: &DeadLetter) -> DeadLetter {
    let start = |bytes: &[u8]| bytes[..bytes.len().min(LISTED_MAX)].to_vec();
    let length: usize = letter.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let is_listed = |(name, _): &wire::Header| length <= LISTED_MAX || name.starts_with(wire::OWN);
    DeadLetter {
        source: letter.source.clone(),
        reason: letter.reason.clone(),
        key: letter.key.as_deref().map(start),
        value: start(&letter.value),
        headers: letter.headers.iter().filter(is_listed).collect(),
        ..*letter
    }
}

/// What an operator decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Try again: a mail becomes pending, a record goes back to its topic (by the running server, or at its next start).
    Redrive,
    /// The same, and the address of a mail gets mail again, in one step: the mail would die of it again.
    Release,
    /// Give it up; it stays in the store, marked.
    Drop,
}

/// The operator's side of the store.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Dead letters that nobody has decided about, oldest first; those with `reason` in their reason, if given. Records are not
    /// whole.
    async fn dead(&self, reason: Option<&str>, limit: usize) -> Result<Vec<DeadItem>>;

    /// One dead letter that nobody has decided about.
    async fn dead_one(&self, id: &DeadId) -> Result<Option<DeadItem>>;

    /// The oldest dead record about an order that nobody has decided about.
    async fn dead_record_of(&self, order: OrderId) -> Result<Option<DeadItem>>;

    /// Carries out a decision. Returns false when there is no such dead letter any more.
    async fn decide(&self, id: &DeadId, action: Action, now: Timestamp) -> Result<bool>;

    /// Takes records that were chosen to be driven again, oldest first, for the caller alone until `until`. Who has not
    /// appended one by then must leave it to the next.
    async fn claim_redrives(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<DeadLetter>>;

    /// Notes that a chosen record is back on its topic.
    async fn redriven(&self, source: &Source) -> Result<()>;

    /// Records that are dead and undecided or chosen; mails are counted by the ledger.
    async fn dead_record_count(&self) -> Result<u64>;
}
