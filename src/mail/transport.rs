use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Destination, Message, Result, maildir::Maildir, smtp::Smtp};
use crate::clock::Clock;

/// How handing over a mail ended. The kind alone decides what happens next; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted, with the reply.
    Sent(String),
    /// Not now, and certainly not accepted: try again.
    Transient(String),
    /// Not now, and not because of this mail: the destination cannot be used at all.
    Unreachable(String),
    /// Never.
    Permanent(String),
    /// Handed over whole, but no answer: it may have been accepted. Try again, and count that as a possible repeat.
    Ambiguous(String),
}

/// Where mails go.
#[async_trait]
pub trait Transport: Send + Sync {
    /// How many calls of [`Transport::deliver`] are useful at once.
    fn concurrency(&self) -> usize;

    /// Most messages in one call.
    fn batch_max(&self) -> usize;

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
        Destination::Maildir(dir) => Some(Arc::new(Maildir::open(dir, host)?)),
        Destination::Smtp(server) => {
            Some(Arc::new(Smtp::new(server.clone(), host.to_owned(), step_timeout, clock.clone())))
        }
    })
}
