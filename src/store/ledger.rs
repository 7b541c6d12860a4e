//! The mail ledger: one row per event of an order that is mailed, and one for its link ([`super::links`]), pending →
//! sending(attempt) → sent(reply) | dead(reason).

use async_trait::async_trait;

use super::Result;
use crate::domain::{EmailAddress, Order, OrderId, Timestamp, Waits};

/// Which mail: that about the event `seq` of an order; 0 is the one with its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailId {
    /// The order.
    pub order: OrderId,
    /// The event's number, from 1.
    pub seq: u8,
}

impl MailId {
    /// Whether the mail is not sent any more, since its order was cancelled or refused by an event after the mail's own.
    pub(super) fn is_dropped(self, mails_from: Option<u8>) -> bool {
        !self.is_link() && mails_from.is_some_and(|from| self.seq < from)
    }
}

/// Where a mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailStatus {
    /// Waits for its turn or its next attempt.
    Pending,
    /// Handed to the transport, no result yet; after a crash this is ambiguous.
    Sending,
    /// Accepted by the transport.
    Sent,
    /// Refused for good.
    Dead,
    /// Given up: by an operator, or since its order was cancelled or refused.
    Dropped,
}

impl MailStatus {
    /// Every status, in the order of a mail's life.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Sending, Self::Sent, Self::Dead, Self::Dropped];

    /// Whether it is still to be sent, or being sent.
    pub const fn is_unsettled(self) -> bool {
        matches!(self, Self::Pending | Self::Sending)
    }

    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
        }
    }
}

/// Why a mail was not accepted, in few enough classes to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Put off by the server.
    Deferred,
    /// Refused for good, but perhaps not for its own sake: waits until the server takes others.
    Held,
    /// The destination could not be used at all.
    Unreachable,
    /// No answer after it was handed over.
    Unanswered,
    /// Given back without an attempt at it.
    Stopped,
    /// The address was refused for good, which suppresses it.
    Address,
    /// The address was suppressed before.
    Suppressed,
    /// The mail was refused for good, whoever it is for.
    Refused,
    /// Not accepted within its time.
    Expired,
    /// It could not be composed.
    Composing,
    /// Its order was cancelled or refused before it was sent.
    Cancelled,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 11] = [
        Self::Deferred,
        Self::Held,
        Self::Unreachable,
        Self::Unanswered,
        Self::Stopped,
        Self::Address,
        Self::Suppressed,
        Self::Refused,
        Self::Expired,
        Self::Composing,
        Self::Cancelled,
    ];

    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Held => "held",
            Self::Unreachable => "unreachable",
            Self::Unanswered => "unanswered",
            Self::Stopped => "stopped",
            Self::Address => "address",
            Self::Suppressed => "suppressed",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Composing => "composing",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the address is to blame, and not the mail.
    const fn is_about_the_address(self) -> bool {
        matches!(self, Self::Address | Self::Suppressed)
    }

    /// The class of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// Why a mail was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// For counting.
    pub class: Class,
    /// For people.
    pub text: String,
}

impl Reason {
    /// A reason.
    pub fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }

    /// Why a mail is dropped whose order has ended beside the line.
    pub(super) fn cancelled() -> Self {
        Self::new(Class::Cancelled, "not sent: the order was cancelled or refused before that")
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A mail to be sent now, leased to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Which one.
    pub id: MailId,
    /// The order as it was placed.
    pub order: Order,
    /// The address to which its mails go now, once that was corrected.
    pub address: Option<EmailAddress>,
    /// The state to tell about.
    pub estado: Box<str>,
    /// The template with which that is told.
    pub template: Box<str>,
    /// The state's place in the order's flow.
    pub step: u8,
    /// When the order entered it.
    pub at: Timestamp,
    /// The state that follows, if the record told.
    pub next: Option<Box<str>>,
    /// What the order waited for in it, or how it ended with it.
    pub waits: Waits,
    /// When somebody was expected to have moved it on.
    pub expect_at: Option<Timestamp>,
    /// Which attempt this is, from 1. Its number fences the settlement: a late one of an older attempt is void.
    pub attempt: u32,
    /// When it was first tried since it was made, or since it was last driven again: its deadline counts from here, however
    /// old the event is.
    pub begun_at: Timestamp,
    /// Attempts since then, with this one.
    pub tries: u32,
    /// How many of them handed it over and got no answer: so many copies may have arrived.
    pub copies: u32,
    /// An earlier attempt ended without a known result: this one may be a repeat.
    pub ambiguous: bool,
    /// Why its address gets no mail any more, if it gets none: settle it as dead ([`Class::Suppressed`]), do not send it.
    pub suppressed: Option<Suppression>,
}

/// An address that gets no mail any more, because a server refused it for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The address, its ASCII letters in lower case: however a customer writes it, it is the same.
    pub address: EmailAddress,
    /// Since when: when the attempt began that was refused.
    pub at: Timestamp,
    /// The refusal.
    pub reason: String,
    /// The mail that was refused.
    pub mail: MailId,
}

impl Mail {
    /// Where it goes.
    pub fn recipient(&self) -> &EmailAddress {
        self.address.as_ref().unwrap_or(&self.order.email)
    }
}

/// Mails that are to be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leasing {
    /// The end of the leases.
    pub until: Timestamp,
    /// Most mails.
    pub limit: usize,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which mail.
    pub id: MailId,
    /// Which attempt.
    pub attempt: u32,
    /// For which address it was.
    pub to: EmailAddress,
    /// How.
    pub verdict: Verdict,
}

/// What a mail is after an attempt.
pub(super) enum Fate<'a> {
    Sent(&'a str),
    Dead(&'a Reason),
    /// Its order has ended beside the line meanwhile.
    Dropped {
        unknown: bool,
    },
    /// It waits again, until then, or for nothing but its turn.
    Waits {
        until: Option<Timestamp>,
        reason: &'a Reason,
        unknown: bool,
    },
}

impl Settlement {
    /// How an attempt at a mail ended.
    pub fn new(mail: &Mail, verdict: Verdict) -> Self {
        Self { id: mail.id, attempt: mail.attempt, to: mail.recipient().clone(), verdict }
    }

    /// What becomes of the mail, by where the order's mails go now and from which event on they are sent. What an address is to
    /// blame for counts for that address alone: when it was corrected meanwhile, the mail goes to the new one.
    pub(super) fn fate(&self, recipient: &str, mails_from: Option<u8>) -> Fate<'_> {
        let is_corrected = || !recipient.eq_ignore_ascii_case(self.to.as_str());
        let (until, reason, unknown) = match &self.verdict {
            Verdict::Sent(reply) => return Fate::Sent(reply),
            Verdict::Dead(reason) if reason.class.is_about_the_address() && is_corrected() => (None, reason, false),
            Verdict::Dead(reason) => return Fate::Dead(reason),
            Verdict::Retry(at, reason) => (Some(*at), reason, false),
            Verdict::Unknown(at, reason) => (Some(*at), reason, true),
        };
        if self.id.is_dropped(mails_from) { Fate::Dropped { unknown } } else { Fate::Waits { until, reason, unknown } }
    }

    /// Why its address gets no mail from now on, if it gets none.
    pub(super) fn suppresses(&self) -> Option<&Reason> {
        match &self.verdict {
            Verdict::Dead(reason) if reason.class == Class::Address => Some(reason),
            _ => None,
        }
    }
}

/// The outcome of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted, with the transport's reply.
    Sent(String),
    /// Not now: try again at this time.
    Retry(Timestamp, Reason),
    /// Handed over, but no answer came: try again at this time, and that attempt is ambiguous.
    Unknown(Timestamp, Reason),
    /// Never: a dead letter, unless its address was to blame and is corrected by now. With [`Class::Address`] the address is
    /// suppressed for all later mails.
    Dead(Reason),
}

/// The ledger in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerCounts {
    /// Rows by status; absent statuses have none.
    pub by_status: Vec<(MailStatus, u64)>,
    /// Rows that were tried and not accepted, by status and by the class of their last reason; in no particular order,
    /// absent when there are none.
    pub by_class: Vec<(MailStatus, Class, u64)>,
    /// Addresses that no longer get mail.
    pub suppressed: u64,
    /// Attempts that were made although an earlier one may have been accepted.
    pub repeated: u64,
    /// When the oldest unsettled mail's state was entered.
    pub oldest_unsettled_at: Option<Timestamp>,
}

impl LedgerCounts {
    /// How many mails are in a status.
    pub fn of(&self, status: MailStatus) -> u64 {
        self.by_status.iter().find(|(other, _)| *other == status).map_or(0, |(_, n)| *n)
    }
}

/// So many settlements are worth a transaction of their own: with fewer it is worth waiting for more, or for other writes.
pub const SETTLED_GOOD: usize = 128;

/// What settlements have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// How many counted.
    pub count: u64,
    /// Mails that waited behind these in their lanes, and may be due now.
    pub promoted: u64,
}

/// The mailer's side of the store.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Takes due mails, of each order at most one about an event and none with an earlier unsettled one, and marks them
    /// `sending` with one more attempt, durably, before it returns. A mail not settled by `until` is due again and then
    /// ambiguous; the caller must not send it after that.
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>>;

    /// Writes results down; those of an attempt that is no longer the current one are ignored, so that it may be repeated
    /// when nobody knows whether it was done.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Settled>;

    /// Extends the leases of attempts that are under way; returns those that were still the current ones. A mail that is
    /// not among them belongs to somebody else by now.
    async fn renew(&self, attempts: Vec<(MailId, u32)>, until: Timestamp) -> Result<Vec<MailId>>;

    /// Ends all leases at once; right only at the start of a process that knows itself to be the only mailer.
    /// Returns how many mails this leaves ambiguous.
    async fn expire_leases(&self, now: Timestamp) -> Result<u64>;

    /// When the next mail is due, if one waits for a time rather than for its lane.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// The ledger in numbers; cheap, whatever the number of mails.
    async fn ledger_counts(&self) -> Result<LedgerCounts>;
}
