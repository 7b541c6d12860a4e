//! What an order is and what may happen to it: pure types and rules, no I/O, no clock, no logging.
//!
//! Input is parsed once, at the edge, into these types; whatever holds one holds a valid value.

pub mod command;
mod dead_letter;
mod email;
mod event;
pub mod flow;
pub mod foreign_text;
mod handle;
pub mod hex;
mod lang;
pub mod lifecycle;
mod order;
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
pub use order::{Order, OrderId, Product, fingerprint};
pub use price::Price;
pub use time::{Timestamp, parse_duration};
pub use trace::TraceParent;

/// Why a value was refused; the text names the field's rule and is safe to show to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub std::borrow::Cow<'static, str>);

impl Invalid {
    /// A refusal with a fixed text.
    pub const fn because(text: &'static str) -> Self {
        Self(std::borrow::Cow::Borrowed(text))
    }
}
