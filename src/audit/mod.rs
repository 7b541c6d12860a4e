//! The auditor: decides from what lies in the log, the store and the mailbox whether the promises were kept.
//!
//! It has its own simple model and shares no logic with what it checks: it parses records as plain JSON and recounts
//! everything. `docs/guarantees.md` numbers the promises (I1 …) that objections name.

mod collect;
mod judge;
mod lines;
mod refused;
mod second;

pub use collect::{Sources, collect, parse_mail, read_acknowledged, read_commanded, read_maildir, read_mails};
pub use judge::{Report, Rules, judge};
pub use second::{Records, differences, read_dump, read_log};

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

/// The states that an order goes through, in order, each with its dwell; `None`: it is left by command alone, or is the last one.
pub type Line = Vec<(String, Option<Duration>)>;

/// Everything that is judged.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What clients were told is accepted.
    pub acknowledged: Vec<Placed>,
    /// The records of the orders' topic that are orders.
    pub orders: Vec<Placed>,
    /// The records of the states' topic.
    pub events: Vec<Event>,
    /// The lines that orders began with, as far as the log tells them.
    pub lines: HashMap<u64, Arc<Line>>,
    /// Input records that became dead letters.
    pub dead: u64,
    /// What the store says of each order.
    pub views: BTreeMap<u64, View>,
    /// The mails that arrived.
    pub mails: Vec<Mail>,
    /// What clients were told of commands.
    pub commanded: Vec<Commanded>,
    /// How many orders the store counts, if that is judged.
    pub counts: Option<Counts>,
    /// Attempts that the ledger made although an earlier one may have been accepted.
    pub repeats_counted: u64,
}

/// An order as it was placed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Its number.
    pub id: u64,
    /// The product's key.
    pub product: String,
    /// The customer's address.
    pub email: String,
}

/// What a client was told of a command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Commanded {
    /// The order's number.
    #[serde(rename = "orderid")]
    pub id: u64,
    /// The command's id.
    pub command: String,
    /// Whether it was done; else it was refused.
    #[serde(rename = "done")]
    pub is_done: bool,
}

/// How many orders there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All that have an event.
    pub total: u64,
    /// Those that went through all their states.
    pub finished: u64,
    /// Those that were cancelled or refused.
    pub cancelled: u64,
}

/// A state event in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Where it lies: partition and offset.
    pub position: (u32, u64),
    /// The order's number.
    pub id: u64,
    /// The state.
    pub estado: String,
    /// When it was entered or changed, in milliseconds since the epoch.
    pub at: i64,
    /// Where mails go now.
    pub to: String,
    /// Whether it is mailed.
    pub is_mailed: bool,
    /// Its number among the order's events; records of old services tell none.
    pub seq: Option<u64>,
    /// What happened in the state; `None`: it was entered.
    pub change: Option<String>,
    /// When the next one is due.
    pub next_at: Option<i64>,
    /// What else it waits for: a `command`, or to be let go on (`held`).
    pub waits: Option<String>,
    /// How the order's life ended; version 1 did not tell.
    pub closes: Option<String>,
    /// The command that caused it.
    pub command: Option<String>,
}

/// An order in the read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The state.
    pub estado: String,
    /// Its history: states and times in milliseconds, in order.
    pub history: Vec<(String, i64)>,
    /// The states whose mails the ledger has dropped.
    pub dropped: Vec<String>,
    /// The states whose mails the ledger has given up without knowing what became of an attempt.
    pub unanswered: Vec<String>,
}

/// A mail that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// `X-Order-Id`.
    pub id: u64,
    /// `X-Order-State`; empty where it is the mail with the link that somebody asked for.
    pub estado: String,
    /// Whether it is that one.
    pub is_link: bool,
    /// `Message-ID`.
    pub message_id: String,
    /// `To`.
    pub to: String,
    /// Where it stood in the order of arrival, if the mailbox keeps one.
    pub arrival: Option<u64>,
}
