//! What an order is and what may happen to it: pure types and rules, no I/O, no clock, no logging.
//!
//! Input is parsed once, at the edge, into these types; whatever holds one holds a valid value.

use std::{borrow::Cow, ops::RangeInclusive};

pub mod command;
mod dead_letter;
mod email;
mod event;
pub mod flood;
pub mod flow;
pub mod foreign_text;
mod handle;
pub mod hex;
mod lang;
pub mod lifecycle;
mod misfit;
mod order;
mod packed;
mod price;
mod time;
mod trace;
pub mod why;
pub mod wire;

pub use command::{Command, CommandCopy, CommandId, CommandOutcome};
pub use dead_letter::{DeadLetter, Source};
pub use email::EmailAddress;
pub use event::{Cause, Change, Closing, Exits, StateEvent, Waits};
pub use flow::{Flow, Step};
pub use handle::{Handle, HandleKey};
pub use lang::Lang;
pub use misfit::{Fault, Misfit};
pub use order::{Order, OrderId, Product, fingerprint};
pub use packed::PackedOrder;
pub use price::Price;
pub use time::{Timestamp, format_duration, parse_duration};
pub use trace::{SpanId, TraceParent};

/// Why a value was refused; its text is safe to show to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{rule}", field.map(|field| format!("{field}: ")).unwrap_or_default())]
pub struct Invalid {
    /// The field, as records name it; `None` where the value has no name of its own.
    pub field: Option<&'static str>,
    /// The rule that it does not keep.
    pub rule: Cow<'static, str>,
}

impl Invalid {
    /// A refusal of a value without a name.
    pub const fn because(rule: &'static str) -> Self {
        Self { field: None, rule: Cow::Borrowed(rule) }
    }

    /// A refusal of a field.
    pub const fn of(field: &'static str, rule: &'static str) -> Self {
        Self { field: Some(field), rule: Cow::Borrowed(rule) }
    }
}

/// Whether a text has so many characters, counted as JSON Schema counts them: Unicode scalar values, each of one to four bytes.
pub fn has_length(text: &str, lengths: RangeInclusive<usize>) -> bool {
    // the bytes settle it for most, and for whatever somebody sends to be counted
    if text.len() <= *lengths.end() && text.len() >= lengths.start().saturating_mul(4) {
        return true;
    }
    text.len() <= lengths.end().saturating_mul(4) && lengths.contains(&text.chars().count())
}

impl From<String> for Invalid {
    fn from(rule: String) -> Self {
        Self { field: None, rule: rule.into() }
    }
}
