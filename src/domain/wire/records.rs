//! Orders and their states as they stand in records. What is told of each field here is told in its schema.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{EmailAddress, OrderId, Price, Product, Timestamp, flow::Party};

/// A placed order: the value of a record of `compra_detalle`, whose key is the order's number in decimal.
///
/// Readers ignore fields that they do not know. Those with `x-since` came with that version of the records; the old services
/// write the others alone.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(title = "order")]
pub(super) struct WireOrder<'a> {
    /// The order's number, unique for ever.
    #[schemars(range(min = 1, max = OrderId::MAX), example = 1)]
    pub(super) orderid: u64,
    /// The shop's key of the product; 64 characters at most, no control characters.
    #[serde(borrow)]
    #[schemars(length(min = 1, max = Product::ID_LENGTH_MAX), example = &"3170")]
    pub(super) gameid: Cow<'a, str>,
    /// The product's name; 1,024 characters at most, no control characters.
    #[serde(borrow)]
    #[schemars(length(min = 1, max = Product::NAME_LENGTH_MAX), example = &"King's Bounty: Armored Princess")]
    pub(super) name: Cow<'a, str>,
    /// The price in the shop's currency, as the catalogue writes it: digits with at most one point between them.
    #[serde(borrow)]
    #[schemars(length(max = Price::LENGTH_MAX), regex(pattern = PRICE), example = &"7.99")]
    pub(super) price: Cow<'a, str>,
    /// The customer's e-mail address; 254 bytes at most.
    #[serde(borrow)]
    #[schemars(length(min = 3, max = EmailAddress::LENGTH_MAX), example = &"ana@example.org")]
    pub(super) usermail: Cow<'a, str>,
    // from here on ours
    /// The language in which the customer is told, `es` or `en`; any other, and none, leaves it to the configuration.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"es", extend("x-since" = 1))]
    pub(super) lang: Option<Cow<'a, str>>,
    /// When it was placed; without it, the time of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = 1))]
    pub(super) placed_at: Option<Timestamp>,
    /// What opens its tracking page to who knows it: 32 hexadecimal digits that cannot be guessed.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"974e8b36e1e372932a18cc4c7d46e37f", extend("x-since" = 1))]
    pub(super) handle: Option<Cow<'a, str>>,
}

/// Longest name of a state, in characters.
pub(super) const ESTADO_MAX: usize = 64;
/// Digits with at most one point between them.
const PRICE: &str = r"^[0-9]+(\.[0-9]+)?$";

/// Something that happened to an order: the value of a record of `compra_confirmada`, whose key is the order's number in decimal.
///
/// It explains itself: no other record is needed to understand it. Readers ignore fields that they do not know. Those with
/// `x-since` came with that version of the records; the old services write the others alone.
// Not a flattened WireOrder: `flatten` buffers every field, which costs more than the rest of the parse.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(title = "state")]
pub(super) struct WireEvent<'a> {
    /// The order's number, unique for ever.
    #[schemars(range(min = 1, max = OrderId::MAX), example = 1)]
    pub(super) orderid: u64,
    /// The shop's key of the product; 64 characters at most, no control characters.
    #[serde(borrow)]
    #[schemars(length(min = 1, max = Product::ID_LENGTH_MAX), example = &"3170")]
    pub(super) gameid: Cow<'a, str>,
    /// The product's name; 1,024 characters at most, no control characters.
    #[serde(borrow)]
    #[schemars(length(min = 1, max = Product::NAME_LENGTH_MAX), example = &"King's Bounty: Armored Princess")]
    pub(super) name: Cow<'a, str>,
    /// The price in the shop's currency, as the catalogue writes it: digits with at most one point between them.
    #[serde(borrow)]
    #[schemars(length(max = Price::LENGTH_MAX), regex(pattern = PRICE), example = &"7.99")]
    pub(super) price: Cow<'a, str>,
    /// The address to which mails about the order go; 254 bytes at most.
    #[serde(borrow)]
    #[schemars(length(min = 3, max = EmailAddress::LENGTH_MAX), example = &"ana@example.org")]
    pub(super) usermail: Cow<'a, str>,
    /// The state in which the order is; 64 characters at most, no control characters.
    #[serde(borrow)]
    #[schemars(length(min = 1, max = ESTADO_MAX), example = &"preparando")]
    pub(super) estado: Cow<'a, str>,
    // from here on ours
    /// Counts the order's records, from 1: what a reader has, it can ignore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2, extend("x-since" = 1))]
    pub(super) seq: Option<u8>,
    /// When it happened; without it, the time of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = 1))]
    pub(super) at: Option<Timestamp>,
    /// When the order's time in this state is over, if it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = 1))]
    pub(super) next_at: Option<Timestamp>,
    /// The language in which the customer is told, `es` or `en`; any other, and none, leaves it to the configuration.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"es", extend("x-since" = 1))]
    pub(super) lang: Option<Cow<'a, str>>,
    /// When the order was placed; without it, when this happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = 1))]
    pub(super) placed_at: Option<Timestamp>,
    /// What opens the order's tracking page to who knows it: 32 hexadecimal digits that cannot be guessed.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"974e8b36e1e372932a18cc4c7d46e37f", extend("x-since" = 1))]
    pub(super) handle: Option<Cow<'a, str>>,
    // from here on since version 2
    /// The state's place in the order's flow, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2, extend("x-since" = 2))]
    pub(super) step: Option<u8>,
    /// The flow that the order goes through, and its version.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"default@1", extend("x-since" = 2))]
    pub(super) flow: Option<Cow<'a, str>>,
    /// The state that follows, if one does.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"entregando", extend("x-since" = 2))]
    pub(super) next: Option<Cow<'a, str>>,
    /// What happened, if that is not that the order entered the state: `held`, `resumed`, `delayed` or `readdressed`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"delayed", extend("x-since" = 2))]
    pub(super) change: Option<Cow<'a, str>>,
    /// What the order waits for, if that is neither a time nor nothing: `command` or, while it is held, `held`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"command", extend("x-since" = 2))]
    pub(super) waits: Option<Cow<'a, str>>,
    /// Of a held order, how much of its time in the state is left, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5000, extend("x-since" = 2))]
    pub(super) left_ms: Option<u64>,
    /// How the order's life ended, if it did: `finished`, `cancelled` or `refused`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"finished", extend("x-since" = 2))]
    pub(super) closes: Option<Cow<'a, str>>,
    /// Why it happened: `placed`, `timer` or `command`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"timer", extend("x-since" = 2))]
    pub(super) cause: Option<Cow<'a, str>>,
    /// The command that caused it, if one did.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"0b6e", extend("x-since" = 2))]
    pub(super) command: Option<Cow<'a, str>>,
    /// Who sent that command.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"shop", extend("x-since" = 2))]
    pub(super) by: Option<Cow<'a, str>>,
    /// Why, in the words of who sent that command.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"demasiado tarde", extend("x-since" = 2))]
    pub(super) reason: Option<Cow<'a, str>>,
    /// The least of the parties that may cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = 2))]
    pub(super) cancel: Option<Party>,
    /// Whether a command moves the order on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("x-since" = 2))]
    pub(super) advance: bool,
    /// Whether the order can be refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("x-since" = 2))]
    pub(super) refuse: bool,
    /// When somebody is expected to have moved it on, of an order that waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = 2))]
    pub(super) expect_at: Option<Timestamp>,
    /// The template of its mail where that is not called like the state; empty when there is no mail.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"", extend("x-since" = 2))]
    pub(super) mail: Option<Cow<'a, str>>,
    /// Fingerprints of the commands that were carried out, in hexadecimal, with spaces between them.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-fA-F \t\n\r\x0c]*$"), example = &"7 b6e", extend("x-since" = 2))]
    pub(super) commands: Option<Cow<'a, str>>,
    /// The address with which it was placed, when that is not the one in `usermail` any more.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"ana@example.org", extend("x-since" = 2))]
    pub(super) placed_usermail: Option<Cow<'a, str>>,
    /// The version of the records in which it is written, if that is newer than 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-since" = 2))]
    pub(super) version: Option<u32>,
}
