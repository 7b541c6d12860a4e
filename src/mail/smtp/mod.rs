//! SMTP: a pool of sessions that are used again, and the sorting of what the server answers.
//!
//! The mailer makes no more calls at once than [`Transport::concurrency`] says, and each call holds one session; a server that
//! takes fewer is content with fewer for a while. TCP_NODELAY is set and body and final dot leave in one write: with Nagle's
//! algorithm or a separate dot each mail would wait 40 ms for a delayed acknowledgement.

mod capabilities;
mod classify;
mod connection;
mod handshake;
mod login;
mod rate;
mod reply;
mod seats;
mod secret;
mod session;
mod tls;
mod wire;

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use self::{
    handshake::{ConnectError, Opener},
    rate::Rate,
    seats::Seats,
    session::{End, Session},
    tls::Connector,
};
use super::{Message, Outcome, Result, Scope, SmtpServer, Timeouts, Tls, Transport};
use crate::clock::Clock;
use async_trait::async_trait;

/// A session idle for longer than this is closed before the server does it in the middle of a command.
const IDLE_MAX: Duration = Duration::from_secs(20);

pub(super) struct Smtp {
    opener: Opener,
    rate: Option<Rate>,
    clock: Clock,
    /// The one that took a mail last comes last.
    idle: Mutex<Vec<Session>>,
    seats: Seats,
}

/// Most mails in one call: so many are composed at a time, and go out one behind the other.
const BATCH_MAX: usize = 16;

impl Smtp {
    /// Reads the authorities' file, if there is one; `host` is how this host introduces itself.
    pub(super) fn new(server: SmtpServer, host: String, timeouts: Timeouts, clock: Clock) -> Result<Self> {
        let tls = if server.tls == Tls::None { None } else { Some(Connector::new(&server)?) };
        let rate = server.rate_max.map(|rate| Rate::new(rate, clock.clone()));
        let seats = Seats::new(server.connections_max);
        let chunks = Arc::new(AtomicBool::new(true));
        Ok(Self { opener: Opener { server, host, timeouts, tls, chunks }, rate, clock, idle: Mutex::default(), seats })
    }

    /// Hands over the first of these, and perhaps some after it.
    async fn deliver_some(&self, mut messages: &[Message]) -> Vec<Outcome> {
        if let Some(rate) = &self.rate {
            rate.turn().await;
            messages = &messages[..1];
        }
        let failed_before = messages[0].attempt > 1;
        if let Some(mut session) = self.take_idle(failed_before).await {
            // that an old session has ended says nothing about the server: only a new one counts then
            match session.send(self.within_limit(messages, &session), self.clock.monotonic()).await {
                End::Stale => {}
                end => return self.finish(session, end).await,
            }
        }
        match self.open(failed_before).await {
            Err(not_open) => vec![not_open.into()],
            Ok(mut session) => {
                let end = session.send(self.within_limit(messages, &session), self.clock.monotonic()).await;
                self.finish(session, end).await
            }
        }
    }

    /// Those that the session may take before it is closed.
    fn within_limit<'a>(&self, messages: &'a [Message], session: &Session) -> &'a [Message] {
        let most = self.opener.server.mails_per_connection_max.saturating_sub(session.mails()) as usize;
        &messages[..messages.len().min(most.max(1))]
    }

    /// A session that was not there before, or has just come free while the server takes no more of them.
    async fn open(&self, failed_before: bool) -> std::result::Result<Session, ConnectError> {
        let failures = self.seats.failures();
        loop {
            let freed = self.seats.freed();
            if let Some(seat) = self.seats.take(self.clock.monotonic()) {
                match Session::open(&self.opener, seat, self.clock.monotonic()).await {
                    Err(ConnectError::Crowded(_)) if self.seats.shrink(self.clock.monotonic()) => {}
                    Err(error) => {
                        self.seats.fail(&error);
                        return Err(error);
                    }
                    opened => return opened,
                }
            } else {
                freed.await;
            }
            if let Some(session) = self.take_idle(failed_before).await {
                return Ok(session);
            }
            if let Some(error) = self.seats.failure_since(failures) {
                return Err(error);
            }
        }
    }

    async fn finish(&self, mut session: Session, end: End) -> Vec<Outcome> {
        let ended = match end {
            End::InStep(ended) => {
                let now = self.clock.monotonic();
                for (step, outcome) in &ended {
                    session.prove(*step, outcome, now);
                }
                if session.is_sound() && session.mails() < self.opener.server.mails_per_connection_max {
                    let mut idle = self.idle();
                    let place = idle.partition_point(|other| other.proven_at() <= session.proven_at());
                    idle.insert(place, session);
                    self.seats.free_one();
                } else {
                    session.quit().await;
                }
                ended
            }
            End::Broken(ended) => ended,
            End::Stale => {
                let text = format!("{} closed the connection", self.opener.server);
                return vec![Outcome::Transient(Scope::Relay, text)];
            }
        };
        let outcomes: Vec<_> = ended.into_iter().map(|(_, outcome)| outcome).collect();
        outcomes.iter().filter(|outcome| is_sent(outcome)).for_each(|_| self.seats.grow());
        outcomes
    }

    /// The session that took a mail last, so that the others age and go when fewer are needed. An uncertain one comes after
    /// all others and is not for a mail that failed before: it makes way for a new one.
    async fn take_idle(&self, failed_before: bool) -> Option<Session> {
        let oldest = self.clock.monotonic().saturating_sub(IDLE_MAX);
        let session = {
            let mut idle = self.idle();
            idle.retain(|session| session.proven_at() >= oldest);
            match idle.iter().rposition(|session| !session.is_doubtful()) {
                Some(sound) => Some(idle.remove(sound)),
                None => idle.pop(),
            }
        };
        match session {
            Some(session) if failed_before && session.is_doubtful() => {
                session.quit().await;
                None
            }
            session => session,
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner) // a list of sessions is never half changed
    }
}

#[async_trait]
impl Transport for Smtp {
    fn name(&self) -> String {
        super::Destination::Smtp(self.opener.server.clone()).to_string()
    }

    fn concurrency(&self) -> usize {
        self.opener.server.connections_max
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn rate_max(&self) -> Option<NonZeroU32> {
        self.opener.server.rate_max
    }

    async fn deliver(&self, messages: Vec<Message>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        while outcomes.len() < messages.len() && outcomes.iter().all(is_sent) {
            outcomes.extend(self.deliver_some(&messages[outcomes.len()..]).await);
        }
        outcomes
    }

    async fn probe(&self) -> std::result::Result<String, String> {
        let seat = self.seats.extra();
        let session =
            Session::open(&self.opener, seat, self.clock.monotonic()).await.map_err(|not_open| match not_open {
                ConnectError::Crowded(reason) | ConnectError::Unreachable(reason) | ConnectError::Denied(reason) => {
                    reason
                }
            })?;
        let server = &self.opener.server;
        let secured = match (server.tls, &server.login) {
            (Tls::None, _) => ", in clear text",
            (_, None) => " under TLS",
            (_, Some(_)) => " under TLS, takes the login",
        };
        let text = format!("{server} answers{secured}, {}", session.abilities());
        session.quit().await;
        Ok(text)
    }

    async fn close(&self) {
        let sessions = std::mem::take(&mut *self.idle());
        for session in sessions {
            session.quit().await;
        }
    }
}

fn is_sent(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Sent(_))
}
