//! SMTP: a pool of sessions that are used again, and the sorting of what the server answers.
//!
//! The pool needs no limit of its own: the mailer makes no more calls at once than [`Transport::concurrency`] says,
//! and each call holds one session. TCP_NODELAY is set and body and final dot leave in one write: with Nagle's
//! algorithm or a separate dot each mail would wait 40 ms for a delayed acknowledgement.

mod reply;
mod session;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use session::{End, Session};

use super::{Message, Outcome, SmtpServer, Transport};
use crate::clock::{Clock, Monotonic};

/// A session idle for longer than this is closed before the server does it in the middle of a command.
const IDLE_MAX: Duration = Duration::from_secs(20);

pub(super) struct Smtp {
    server: SmtpServer,
    /// How this host introduces itself.
    host: String,
    step_timeout: Duration,
    clock: Clock,
    idle: Mutex<Vec<(Monotonic, Session)>>,
}

impl Smtp {
    pub(super) fn new(server: SmtpServer, host: String, step_timeout: Duration, clock: Clock) -> Self {
        Self { server, host, step_timeout, clock, idle: Mutex::default() }
    }

    async fn deliver_one(&self, message: &Message) -> Outcome {
        if let Some(mut session) = self.take_idle() {
            // that an old session has ended says nothing about the server: only a new one counts then
            match session.send(message).await {
                End::Stale => {}
                end => return self.finish(session, end).await,
            }
        }
        let session = Session::open(&self.server, &self.host, self.step_timeout).await;
        match session {
            Err(reason) => Outcome::Unreachable(reason),
            Ok(mut session) => {
                let end = session.send(message).await;
                self.finish(session, end).await
            }
        }
    }

    async fn finish(&self, session: Session, end: End) -> Outcome {
        match end {
            End::InStep(outcome) => {
                if session.mails() < self.server.mails_per_connection_max {
                    self.idle().push((self.clock.monotonic(), session));
                } else {
                    session.quit().await;
                }
                outcome
            }
            End::Broken(outcome) => outcome,
            End::Stale => Outcome::Transient(format!("{} closed the connection", self.server)),
        }
    }

    /// The session used last, so that the others age and go when fewer are needed.
    fn take_idle(&self) -> Option<Session> {
        let oldest = self.clock.monotonic().saturating_sub(IDLE_MAX);
        let mut idle = self.idle();
        idle.retain(|(since, _)| *since >= oldest);
        idle.pop().map(|(_, session)| session)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Monotonic, Session)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner) // a list of sessions is never half changed
    }
}

#[async_trait]
impl Transport for Smtp {
    fn concurrency(&self) -> usize {
        self.server.connections_max
    }

    fn batch_max(&self) -> usize {
        1
    }

    async fn deliver(&self, messages: Vec<Message>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            outcomes.push(self.deliver_one(&message).await);
        }
        outcomes
    }

    async fn probe(&self) -> Result<String, String> {
        let session = Session::open(&self.server, &self.host, self.step_timeout).await?;
        let text = format!("{} answers, {}", self.server, session.abilities());
        session.quit().await;
        Ok(text)
    }

    async fn close(&self) {
        let sessions = std::mem::take(&mut *self.idle());
        for (_, session) in sessions {
            session.quit().await;
        }
    }
}
