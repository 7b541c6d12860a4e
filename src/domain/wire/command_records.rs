//! Commands and their outcomes as they stand in records. What is told of each field here is told in its schema.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{EmailAddress, OrderId, Timestamp, command::Verb, flow::Party};

/// Longest name of who sends a command, in characters.
pub(super) const BY_MAX: usize = 64;
/// Longest reason, in characters.
pub(super) const REASON_MAX: usize = 500;
/// The name of a command.
const ID: &str = "^[A-Za-z0-9_.:-]{1,64}$";

/// What somebody wants of an order: the value of a record of `encargo_commands`, on the partition with the number of the order's
/// own; the key is the order's number in decimal.
///
/// Readers ignore fields that they do not know.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(title = "command")]
pub(super) struct WireCommand<'a> {
    /// The order's number.
    #[schemars(range(min = 1, max = OrderId::MAX), example = 1)]
    pub(super) orderid: u64,
    /// The command's name, unique for ever: the same one that comes again changes nothing.
    #[serde(borrow)]
    #[schemars(regex(pattern = ID), example = &"0b6e")]
    pub(super) command: Cow<'a, str>,
    /// What is to happen.
    #[serde(rename = "do", borrow)]
    #[schemars(example = &"delay", extend("enum" = Verb::ALL.map(Verb::name)))]
    pub(super) verb: Cow<'a, str>,
    /// In whose right.
    pub(super) party: Party,
    /// Who sent it, as the order's history tells; 64 characters at most, no control characters.
    #[serde(borrow)]
    #[schemars(length(min = 1, max = BY_MAX), example = &"shop")]
    pub(super) by: Cow<'a, str>,
    /// Of a `delay`, when the order's time in its state is to be over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
    /// Of an `address`, the new one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = EmailAddress::LENGTH_MAX), example = &"eva@example.org")]
    pub(super) usermail: Option<Cow<'a, str>>,
    /// Why, in the sender's words; 500 characters at most, no control characters.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = REASON_MAX), example = &"sin repartidor")]
    pub(super) reason: Option<Cow<'a, str>>,
}

/// What became of a command: the value of a record of `encargo_outcomes`; the key is the order's number in decimal.
///
/// `estado` and what follows it tell where the order stands now, if it is in flight. Readers ignore fields that they do not know.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(title = "outcome")]
pub(super) struct WireOutcome<'a> {
    /// The order's number.
    #[schemars(range(min = 1, max = OrderId::MAX), example = 1)]
    pub(super) orderid: u64,
    /// The command's name.
    #[serde(borrow)]
    #[schemars(regex(pattern = ID), example = &"0b6e")]
    pub(super) command: Cow<'a, str>,
    /// `done`: it happened. `repeated`: it had happened before. `refused`: it changes nothing. `unknown`: no such order is in flight.
    #[serde(borrow)]
    #[schemars(example = &"refused", extend("enum" = ["done", "repeated", "refused", "unknown"]))]
    pub(super) result: Cow<'a, str>,
    /// When that was decided.
    pub(super) at: Timestamp,
    /// The partition of `encargo_commands` with the copy of the command that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 3)]
    pub(super) partition: Option<u32>,
    /// The offset of that copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 17)]
    pub(super) offset: Option<u64>,
    /// Why it was refused, as a code.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"no-timer")]
    pub(super) code: Option<Cow<'a, str>>,
    /// Why it was refused, in words, with what would be allowed.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"the order is held; resume it first")]
    pub(super) detail: Option<Cow<'a, str>>,
    /// The order's state.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"preparando")]
    pub(super) estado: Option<Cow<'a, str>>,
    /// The number of the order's latest record in `compra_confirmada`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2)]
    pub(super) seq: Option<u8>,
    /// When the order's time in this state is over, if it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next_at: Option<Timestamp>,
    /// What the order waits for, if that is neither a time nor nothing: `command` or, while it is held, `held`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"command")]
    pub(super) waits: Option<Cow<'a, str>>,
    /// Of a held order, how much of its time in the state is left, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5000)]
    pub(super) left_ms: Option<u64>,
    /// How the order's life ended, if it did: `finished`, `cancelled` or `refused`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"finished")]
    pub(super) closes: Option<Cow<'a, str>>,
    /// The least of the parties that may cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cancel: Option<Party>,
    /// Whether a command moves the order on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) advance: bool,
    /// Whether the order can be refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) refuse: bool,
    /// When somebody is expected to have moved the order on, if it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expect_at: Option<Timestamp>,
}
