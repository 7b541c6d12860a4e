//! Mails and dead letters as programs read them, over HTTP and from the command line.

use schemars::JsonSchema;
use serde::Serialize;

use super::{RelayState, Trouble};
use crate::{
    domain::{OrderId, Timestamp},
    store::{
        dead::DeadItem,
        ledger::{Class, LedgerCounts, MailStatus, Suppression},
        mails::MailEntry,
    },
};

/// A mail of the ledger.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Mail")]
pub struct MailJson<'a> {
    /// The number of its order.
    pub orderid: u64,
    /// The same, under the name that it had first.
    #[schemars(extend("deprecated" = true))]
    pub order: u64,
    /// The number of the order's event that it is about; 0 is the mail with the order's link.
    pub seq: u8,
    /// The state that it is about.
    pub estado: &'a str,
    /// `pending`: it waits for its turn or its next attempt; `sending`; `sent`; `dead`: refused for good; `dropped`: given up.
    pub status: &'static str,
    /// When the order entered the state.
    pub at: Timestamp,
    /// Pending: not before then; sending: until then.
    pub due_at: Option<Timestamp>,
    /// When the last attempt began; nothing before the first, and of mails that were sent long ago.
    pub tried_at: Option<Timestamp>,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether an attempt ended without a known result.
    pub ambiguous: bool,
    /// Why the last attempt failed, in a class, as metrics count it.
    pub class: Option<&'static str>,
    /// Why the last attempt failed, or what the destination said.
    pub reason: Option<&'a str>,
}

impl<'a> From<&'a MailEntry> for MailJson<'a> {
    fn from(mail: &'a MailEntry) -> Self {
        Self {
            orderid: mail.id.order.get(),
            order: mail.id.order.get(),
            seq: mail.id.seq,
            estado: &mail.estado,
            status: mail.status.name(),
            at: mail.at,
            due_at: mail.due_at,
            tried_at: mail.tried_at,
            attempts: mail.attempts,
            ambiguous: mail.ambiguous,
            class: mail.class.map(Class::name),
            reason: mail.reply.as_deref(),
        }
    }
}

/// A dead letter: a mail that was refused for good, or a record that could not be processed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub struct DeadJson<'a> {
    /// Its name: `mail:ORDER.SEQ`, or `TOPIC/PARTITION/OFFSET` of the record.
    pub id: String,
    /// The number of the order that it is about, where that could be read.
    pub orderid: Option<u64>,
    /// The same, under the name that it had first.
    #[schemars(extend("deprecated" = true))]
    pub order: Option<u64>,
    /// The class of the reason, of mails.
    pub class: Option<&'static str>,
    /// Why it is dead.
    pub reason: &'a str,
    /// How often it was tried (mails) or driven again (records).
    pub attempts: u32,
    /// Since when; of a mail, when the last attempt began.
    pub at: Timestamp,
}

impl<'a> From<&'a DeadItem> for DeadJson<'a> {
    fn from(item: &'a DeadItem) -> Self {
        let orderid = item.order.map(OrderId::get);
        Self {
            id: item.id.to_string(),
            orderid,
            order: orderid,
            class: item.class.map(Class::name),
            reason: &item.reason,
            attempts: item.attempts,
            at: item.at,
        }
    }
}

/// An address that gets no mail any more.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SuppressedAddress")]
pub struct SuppressedJson<'a> {
    /// The address, its ASCII letters in lower case.
    pub address: &'a str,
    /// Since when.
    pub at: Timestamp,
    /// The mail that was refused, by the name of its dead letter.
    pub mail: String,
    /// The refusal.
    pub reason: &'a str,
}

impl<'a> From<&'a Suppression> for SuppressedJson<'a> {
    fn from(found: &'a Suppression) -> Self {
        let mail = crate::store::dead::DeadId::Mail(found.mail).to_string();
        Self { address: found.address.as_str(), at: found.at, mail, reason: &found.reason }
    }
}

/// The ledger: all mails accounted for.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Ledger")]
pub(super) struct LedgerJson<'a> {
    /// How many mails there are of each status.
    pub(super) mails: MailCounts,
    /// Mails that were tried and not accepted, by status and class of the last reason.
    pub(super) reasons: Vec<ReasonCount>,
    /// Attempts that were made although an earlier one may have been accepted.
    pub(super) repeated: u64,
    /// When the order of the oldest mail that is neither sent nor given up entered the state that the mail is about.
    pub(super) oldest_unsettled_at: Option<Timestamp>,
    /// How long ago that was, in seconds; 0 when there is none.
    pub(super) oldest_unsettled_seconds: u64,
    /// How the mails' destination fares, where this process sends them.
    pub(super) destination: Option<DestinationJson<'a>>,
    /// Mails that wait for their next attempt, first due first; 50 at most.
    pub(super) waiting: Vec<MailJson<'a>>,
    /// Dead letters that nobody has decided about; 50 at most.
    pub(super) dead: Vec<DeadJson<'a>>,
    /// Records that could not be processed, and that nobody has decided about.
    pub(super) dead_records: u64,
    /// Addresses that get no mail any more.
    pub(super) suppressed: SuppressedList<'a>,
}

/// How many mails there are of each status.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MailCounts {
    /// They wait for their turn or their next attempt.
    pending: u64,
    /// They are handed to the destination, which has not answered yet.
    sending: u64,
    /// The destination has them.
    sent: u64,
    /// They were refused for good.
    dead: u64,
    /// They were given up.
    dropped: u64,
}

impl From<&LedgerCounts> for MailCounts {
    fn from(counts: &LedgerCounts) -> Self {
        let [pending, sending, sent, dead, dropped] = MailStatus::ALL.map(|status| counts.of(status));
        Self { pending, sending, sent, dead, dropped }
    }
}

/// How many mails of a status were not accepted for reasons of a class.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReasonCount {
    /// The status.
    pub(super) status: &'static str,
    /// The class.
    pub(super) class: &'static str,
    /// How many.
    pub(super) count: u64,
}

/// Addresses that get no mail any more.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SuppressedList<'a> {
    /// How many there are.
    pub(super) count: u64,
    /// The first of them in the order of the alphabet, 50 at most.
    pub(super) addresses: Vec<SuppressedJson<'a>>,
}

/// How the mails' destination fares. Reasons have no whole address in them.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DestinationJson<'a> {
    /// The destination, without secrets.
    name: &'a str,
    /// `working`, `returning`, `paused` or `denied`.
    state: &'static str,
    /// Why, unless it works.
    trouble: Option<TroubleJson<'a>>,
    /// Recipients' domains that are slowed down.
    domains: Vec<DomainJson<'a>>,
}

/// Why something does not take mails now.
#[derive(Debug, Serialize, JsonSchema)]
struct TroubleJson<'a> {
    /// What went wrong last.
    reason: &'a str,
    /// Since when.
    since: Timestamp,
    /// When one mail will be tried.
    probe_at: Timestamp,
    /// Failures in a row.
    failures: u32,
}

/// A domain that is slowed down.
#[derive(Debug, Serialize, JsonSchema)]
struct DomainJson<'a> {
    /// The domain.
    domain: &'a str,
    /// Why.
    trouble: TroubleJson<'a>,
}

impl<'a> From<&'a RelayState> for DestinationJson<'a> {
    fn from(state: &'a RelayState) -> Self {
        let domains = state.domains.iter().map(|(domain, why)| DomainJson { domain, trouble: why.into() });
        let trouble = state.trouble.as_ref().map(TroubleJson::from);
        Self { name: &state.name, state: state.state, trouble, domains: domains.collect() }
    }
}

impl<'a> From<&'a Trouble> for TroubleJson<'a> {
    fn from(why: &'a Trouble) -> Self {
        Self { reason: &why.reason, since: why.since, probe_at: why.probe_at, failures: why.failures }
    }
}
