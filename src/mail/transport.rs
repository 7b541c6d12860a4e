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
    Transient(Whose, String),
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

/// What a temporary failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
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

    /// Most messages per second, if that is bounded: a call waits for its turn.
    fn rate_max(&self) -> Option<NonZeroU32> {
        None
    }

    /// Hands messages over; returns one outcome for each, in their order. When the future is dropped, what it had in
    /// its hands is ambiguous.
    async fn deliver(&self, messages: Vec<Message>) -> Vec<Outcome>;

    /// Tries whether mails could be handed over now, without one. The error is for an operator.
    async fn probe(&self) -> std::result::Result<String, String>;

    /// Says goodbye where that is polite.
    async fn close(&self);
}

/// Opens a destination; `None` when mail is off. `host` is the name by which this host introduces itself.
pub fn open(
    destination: &Destination,
    host: &str,
    step_timeout: Duration,
    clock: &Clock,
) -> Result<Option<Arc<dyn Transport>>> {
    Ok(match destination {
        Destination::None => None,
        Destination::Maildir(dir) => Some(Arc::new(Maildir::open(dir)?)),
        Destination::Smtp(server) => {
            Some(Arc::new(Smtp::new(server.clone(), host.to_owned(), step_timeout, clock.clone())?))
        }
    })
}
