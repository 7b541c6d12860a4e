//! Tells the customer about every state of an order, by e-mail.
//!
//! Reads the mail ledger ([`store::Ledger`](crate::store::Ledger)), composes each mail, hands it to a transport and
//! writes down how that ended. Guarantees: a mail is leased durably before any byte of it goes out and settled after
//! the transport's answer, so each (order, state) is mailed at least once; a repeat carries the same `Message-ID` and
//! the same bytes; an order's mails go out in the order of its states. A mail that is refused for good becomes a dead
//! letter, once it is known that the server takes others: what it says to everybody is about us.
//!
//! Deliberately absent: sending a mail once and only once (SMTP cannot), and mail to a server that would get it in clear
//! text over a network without anybody having asked for that.

mod check;
pub mod compose;
mod destination;
mod maildir;
mod mailer;
mod metrics;
mod refusal;
mod smtp;
mod templates;
mod transport;
mod words;

pub use check::{Format, Report, check, preview};
pub use compose::{Composer, Message};
pub use destination::{Destination, Login, Password, SmtpServer, Tls};
pub use mailer::{Deps, Destinations, DomainState, Mailer, Options, RelayState, Snapshot};
pub use metrics::Metrics;
pub use refusal::{About, Refusal};
pub use templates::check_templates;
pub use transport::{Outcome, Scope, Timeouts, Transport, open};

/// What can go wrong with mail as a whole; what becomes of one mail is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL names no destination, or one that would be unsafe.
    #[error("mail URL {url:?}: {problem}")]
    Url {
        /// As it was given, without a password.
        url: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A setting that mails cannot be made with.
    #[error("mail settings: {0}")]
    Settings(String),
    /// A template that does not parse, or does not render.
    #[error("mail template {name}: {problem}")]
    Template {
        /// Which one, as `es/recibido.html`, with its folder when it is not built in.
        name: String,
        /// What is wrong, with the line.
        problem: String,
    },
    /// A folder or file that cannot be used.
    #[error("cannot use {path}")]
    Path {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The SMTP server cannot be used now.
    #[error("{0}")]
    Unreachable(String),
    /// The store failed for good.
    #[error("the mail ledger failed")]
    Store(#[from] crate::store::Error),
    /// One of the mailer's tasks ended by itself.
    #[error("a mail worker failed: {0}")]
    Worker(String),
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;
