//! The ledger as an operator sees it, and the addresses that get no mail any more.

use async_trait::async_trait;

use super::{
    Result,
    ledger::{Class, MailId, MailStatus, Suppression},
};
use crate::domain::{EmailAddress, OrderId, Timestamp};

/// A row of the ledger in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailEntry {
    /// Which mail.
    pub id: MailId,
    /// The state that it is about.
    pub estado: Box<str>,
    /// Where it stands.
    pub status: MailStatus,
    /// When the order entered the state.
    pub at: Timestamp,
    /// Pending: not before then; sending: until then.
    pub due_at: Option<Timestamp>,
    /// Attempts so far.
    pub attempts: u32,
    /// An attempt ended without a known result.
    pub ambiguous: bool,
    /// When the last attempt began; `None` before the first, and when the row was compacted.
    pub tried_at: Option<Timestamp>,
    /// Why the last attempt failed, in a class.
    pub class: Option<Class>,
    /// The transport's reply, or why the last attempt failed; `None` also when the row was compacted.
    pub reply: Option<String>,
}

/// The last mail of an order is sent again, as somebody wants it: the same mail under the same `Message-ID`, and counted as a
/// repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resend {
    /// Which mail.
    pub id: MailId,
    /// The attempts that it had when they saw it: one that was sent again meanwhile is not sent once more.
    pub attempts: u32,
    /// When.
    pub at: Timestamp,
    /// Who wants it.
    pub by: Box<str>,
    /// Why.
    pub reason: Option<Box<str>>,
}

/// Which suppressed addresses to list, in the order of the alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SuppressedQuery {
    /// Only addresses that contain this text, in upper or lower case.
    pub containing: Option<String>,
    /// Only those with this text in the refusal, in upper or lower case.
    pub reason: Option<String>,
    /// Only addresses after this one: the next page.
    pub after: Option<EmailAddress>,
    /// Most addresses to return.
    pub limit: usize,
}

/// The operator's view of the mails.
#[async_trait]
pub trait Mails: Send + Sync {
    /// The mails of an order: the one with its link, if that was asked for, then those about its events in their order; none
    /// when mail was off.
    async fn mails_of(&self, order: OrderId) -> Result<Vec<MailEntry>>;

    /// Sends the last mail about an order's events again, if it is sent and had so many attempts. Returns whether it will be.
    async fn resend(&self, resend: Resend) -> Result<bool>;

    /// What was sent again of an order's mails, oldest first.
    async fn resends_of(&self, order: OrderId) -> Result<Vec<Resend>>;

    /// Mails that wait for an attempt or are in one and do not wait for another of their order, first due first.
    async fn mails_waiting(&self, limit: usize) -> Result<Vec<MailEntry>>;

    /// Suppressed addresses.
    async fn suppressed(&self, query: SuppressedQuery) -> Result<Vec<Suppression>>;

    /// Why an address gets no mail, if it gets none.
    async fn suppression(&self, address: &EmailAddress) -> Result<Option<Suppression>>;

    /// Lets an address have mail again. Returns false when it was not suppressed. Mails that died meanwhile stay dead
    /// until they are driven again.
    async fn release_address(&self, address: &EmailAddress) -> Result<bool>;
}
