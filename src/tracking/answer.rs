use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::{
    domain::{
        Change, Closing, Exits, Handle, Lang, Timestamp, Waits,
        command::{Verb, allows},
        flow::Party,
    },
    store::{
        ledger::MailStatus,
        orders::{HistoryEntry, OrderView},
    },
};

/// An order as programs read it, over HTTP and from the command line. Address and handle are for the shop alone; a
/// customer's tracking address may be passed on.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Order")]
pub struct OrderJson<'a> {
    /// The order's number.
    pub orderid: u64,
    /// The product's key.
    pub gameid: &'a str,
    /// The product's name.
    pub name: &'a str,
    /// The price as text.
    pub price: &'a str,
    /// The customer's address: where mails go now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usermail: Option<&'a str>,
    /// The address that the order was placed with, if it was corrected since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed_usermail: Option<&'a str>,
    /// The customer's language, if the order names one.
    pub lang: Option<Lang>,
    /// The state.
    pub estado: &'a str,
    /// Number of its latest event.
    pub seq: u8,
    /// Whether that is the last one of the line.
    pub finished: bool,
    /// How its life ended, if it did: `finished`, `cancelled`, `refused`.
    pub closes: Option<&'static str>,
    /// When the order was placed.
    pub placed_at: Timestamp,
    /// When its latest event happened.
    pub at: Timestamp,
    /// When the next state is due.
    pub next_at: Option<Timestamp>,
    /// What it waits for: its `timer`, a `command`, or to be let go on (`held`).
    pub waits: Option<&'static str>,
    /// When somebody is expected to have moved it on.
    pub expect_at: Option<Timestamp>,
    /// What whoever reads this may do to it.
    pub allowed: Vec<&'static str>,
    /// The tracking handle.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    #[schemars(with = "Option<String>")]
    pub handle: Option<Handle>,
    /// What happened so far; left out of lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryJson<'a>>,
    /// Its line and what is to come, where tracking tells it.
    #[serde(flatten)]
    pub line: Option<LineJson>,
}

/// The line of an order, as its page shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LineJson {
    /// All states: those of its flow, or, where that is not known here, those that it has been in.
    pub steps: Vec<StepJson>,
    /// When it is expected to be complete, if that can be told.
    pub expected_end_at: Option<Timestamp>,
}

/// A state of the line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepJson {
    /// The state.
    pub estado: String,
    /// `past`, `now`, `ahead`, or `off`: it will not be entered.
    pub place: &'static str,
    /// When it was entered.
    pub at: Option<Timestamp>,
    /// When it is expected to be entered.
    pub expected_at: Option<Timestamp>,
}

/// Something that happened to an order: a state that it entered, or a change in it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HistoryJson<'a> {
    /// Counts the order's events, from 1.
    seq: u8,
    /// The state.
    estado: &'a str,
    /// What happened: `entered`, `held`, `resumed`, `delayed` or `readdressed`.
    change: &'static str,
    /// When.
    at: Timestamp,
    /// Who sent the command that caused it; for the shop alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    /// That command; for the shop alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    /// Why, in that sender's words; for the shop alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// How the mail about it fares.
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<&'static str>,
}

impl<'a> OrderJson<'a> {
    /// Without addresses, handle, and who did what for which reason.
    pub fn new(view: &'a OrderView, history: &'a [HistoryEntry]) -> Self {
        let order = &view.order;
        let entry = |entry: &'a HistoryEntry| HistoryJson {
            seq: entry.seq,
            estado: &entry.estado,
            change: Change::name(entry.change),
            at: entry.at,
            by: None,
            command: None,
            reason: None,
            mail: entry.mail.map(MailStatus::name),
        };
        Self {
            orderid: order.id.get(),
            gameid: &order.product.id,
            name: &order.product.name,
            price: order.product.price.as_str(),
            usermail: None,
            placed_usermail: None,
            lang: order.lang,
            estado: &view.estado,
            seq: view.seq,
            finished: view.closes() == Some(Closing::Finished),
            closes: view.closes().map(Closing::name),
            placed_at: order.placed_at,
            at: view.at,
            next_at: view.next_at(),
            waits: waits_word(view.waits),
            expect_at: view.exits.expect_at,
            allowed: allowed(view.waits, view.exits, Party::Customer),
            handle: None,
            history: history.iter().map(entry).collect(),
            line: None,
        }
    }

    /// With its line.
    #[must_use]
    pub fn with_line(self, line: LineJson) -> Self {
        Self { line: Some(line), ..self }
    }

    /// The same for the shop, with all of that and, where it is asked for, the handle.
    pub fn for_shop(view: &'a OrderView, history: &'a [HistoryEntry], handle: Option<Handle>) -> Self {
        let mut this = Self::new(view, history);
        for (json, entry) in this.history.iter_mut().zip(history) {
            (json.by, json.command, json.reason) =
                (entry.by.as_deref(), entry.command.as_deref(), entry.reason.as_deref());
        }
        Self {
            usermail: Some(view.recipient().as_str()),
            placed_usermail: view.address.as_ref().map(|_| view.order.email.as_str()),
            allowed: allowed(view.waits, view.exits, Party::Operator),
            handle,
            ..this
        }
    }
}

/// The names of what somebody may do to an order that stands like this.
pub(super) fn allowed(waits: Waits, exits: Exits, party: Party) -> Vec<&'static str> {
    Verb::ALL.into_iter().filter(|verb| allows(waits, exits, party, *verb)).map(Verb::name).collect()
}

/// What an order waits for, in a word; nothing when its life is over, or when no record tells.
pub(super) const fn waits_word(waits: Waits) -> Option<&'static str> {
    match waits {
        Waits::Until(_) => Some("timer"),
        Waits::ForCommand => Some("command"),
        Waits::Held(_) => Some("held"),
        Waits::Closed(_) | Waits::Untold => None,
    }
}

#[expect(clippy::ref_option, reason = "serde passes the field like this")]
fn text<S: Serializer>(handle: &Option<Handle>, serializer: S) -> Result<S::Ok, S::Error> {
    match handle {
        Some(handle) => serializer.collect_str(handle),
        None => serializer.serialize_none(),
    }
}
