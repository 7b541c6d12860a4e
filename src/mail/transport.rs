use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Destination, Message, Refusal, Result, maildir::Maildir, smtp::Smtp};
use crate::clock::Clock;

/// How handing over a mail ended. The kind alone decides what happens next; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted, with the reply.
    Sent(String),
    /// Not now, and certainly not accepted: try again. Says whose fault it is as far as one can tell.
    Transient(Scope, String),
    /// Not now, and the recipient's domain wants to be left alone for a while.
    Busy(String),
    /// Not now, and not because of this mail: the destination cannot be used at all.
    Unreachable(String),
    /// The destination wants none of our mails until somebody changes something, a password perhaps.
    Denied(String),
    /// The server says never. Whether that stands depends on what it says to others.
    Refused(Refusal),
    /// Never this mail, whatever the server thinks of it.
    Permanent(String),
    /// Handed over whole, but no answer: it may have been accepted. Try again, and count that as a possible repeat.
    Ambiguous(String),
}

/// How long the steps of an SMTP session may take (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Finding the server and connecting to it, all its addresses together.
    pub connect: Duration,
    /// One command and its reply, the greeting, a TLS handshake. Servers that verify an address elsewhere take minutes.
    pub step: Duration,
    /// The reply to the final dot. Whoever hangs up before sends the mail again, and the server may keep both.
    pub dot: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), step: Duration::from_mins(5), dot: Duration::from_mins(10) }
    }
}

/// What a temporary failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The mail or the mailbox: others are not touched.
    Mail,
    /// Perhaps the recipient's domain: when it happens again and again there, it is slowed down.
    Domain,
    /// Perhaps the relay itself: when it happens again and again, everything pauses.
    Relay,
}

/// Where mails go.
#[async_trait]
pub trait Transport: Send + Sync {
    /// What it is called on pages and in logs: the destination without secrets.
    fn name(&self) -> String;

    /// How many calls of [`Transport::deliver`] are useful at once.
    fn concurrency(&self) -> usize;

    /// Most messages in one call.
    fn batch_max(&self) -> usize;

    /// Whether a call takes hardly longer for many messages than for one. Otherwise they go one behind the other.
    fn sends_together(&self) -> bool {
        false
    }

    /// Most messages per second, if that is bounded: a call waits for its turn.
    fn rate_max(&self) -> Option<NonZeroU32> {
        None
    }

    /// Hands messages over; returns one outcome for each that was begun, in their order, and at least one. The rest was not
    /// touched, for it may fare as the last one did. When the future is dropped, what it had in
    /// its hands is ambiguous.
    async fn deliver(&self, messages: Vec<Message>) -> Vec<Outcome>;

    /// Tries whether mails could be handed over now, without one. The error is for an operator.
    async fn probe(&self) -> std::result::Result<String, String>;

    /// Whether a second copy replaces the first, so that nobody sees a repeat.
    fn absorbs_repeats(&self) -> bool {
        false
    }

    /// Says goodbye where that is polite.
    async fn close(&self);
}

/// Opens a destination; `None` when mail is off. `host` is the name by which this host introduces itself.
pub fn open(
    destination: &Destination,
    host: &str,
    timeouts: Timeouts,
    clock: &Clock,
) -> Result<Option<Arc<dyn Transport>>> {
    Ok(match destination {
        Destination::None => None,
        Destination::Maildir(dir) => Some(Arc::new(Maildir::open(dir)?)),
        Destination::Smtp(server) => {
            Some(Arc::new(Smtp::new(server.clone(), host.to_owned(), timeouts, clock.clone())?))
        }
    })
}
