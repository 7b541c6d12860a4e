mod answer;
mod chunk;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    capabilities::Capabilities,
    classify::{Step, refusal},
    connection::{Connection, Failure},
    handshake::{ConnectError, Opener},
    reply::Reply,
    seats::Seat,
    wire,
};
use crate::{
    clock::Monotonic,
    domain::EmailAddress,
    mail::{Message, Outcome, Scope},
};

/// A session that answered no longer ago takes the next mail in one write.
const FRESH: Duration = Duration::from_secs(1);
/// After so many failures in a row that were not about a recipient, the session itself is at fault.
const FAILURES_MAX: u32 = 2;

/// A connection that takes mails.
pub(super) struct Session {
    connection: Connection,
    _seat: Seat,
    caps: Capabilities,
    /// Whether the server keeps its word about CHUNKING; shared by all its sessions.
    chunks: Arc<AtomicBool>,
    dot_timeout: Duration,
    /// Whether it has taken a mail by its length.
    has_chunked: bool,
    mails: u32,
    failures: u32,
    proven_at: Monotonic,
}

/// How an attempt to send mails left the session, with what became of each that was begun, in their order, and the step at which
/// that was known.
pub(super) enum End {
    /// Ready for the next mail.
    InStep(Vec<(Step, Outcome)>),
    /// Not to be used again.
    Broken(Vec<(Step, Outcome)>),
    /// It had ended before the first mail was begun.
    Stale,
}

impl End {
    fn in_step(step: Step, outcome: Outcome) -> Self {
        Self::InStep(vec![(step, outcome)])
    }

    fn broken(step: Step, outcome: Outcome) -> Self {
        Self::Broken(vec![(step, outcome)])
    }
}

/// How the server took MAIL, RCPT and DATA.
enum Envelope {
    /// It waits for the mail.
    Accepted,
    /// The first refusal, with its step.
    Refused(Step, Reply),
    /// The same, but it waits for the mail nevertheless.
    AcceptedAfterRefusal(Step, Reply),
}

/// The addresses as they are written, and whether that takes SMTPUTF8.
struct Path<'a> {
    from: std::borrow::Cow<'a, str>,
    to: std::borrow::Cow<'a, str>,
    international: bool,
}

impl<'a> Path<'a> {
    /// In ASCII where that is possible, because every server takes that.
    fn of(message: &'a Message) -> Self {
        let (from, to) = (message.from.to_ascii(), message.to.to_ascii());
        let international = from.is_none() || to.is_none() || !message.raw.is_ascii();
        let from = from.unwrap_or_else(|| message.from.as_str().into());
        Self { from, to: to.unwrap_or_else(|| message.to.as_str().into()), international }
    }
}

impl Session {
    /// `now` is when it counts as proven, until a mail is accepted on it.
    pub(super) async fn open(opener: &Opener, seat: Seat, now: Monotonic) -> Result<Self, ConnectError> {
        let (connection, caps) = opener.open().await?;
        let (chunks, dot_timeout) = (opener.chunks.clone(), opener.timeouts.dot);
        Ok(Self {
            connection,
            _seat: seat,
            caps,
            chunks,
            dot_timeout,
            has_chunked: false,
            mails: 0,
            failures: 0,
            proven_at: now,
        })
    }

    /// When it last took a mail. A failure makes it no younger.
    pub(super) fn proven_at(&self) -> Monotonic {
        self.proven_at
    }

    /// Whether its last mail failed through no fault of a recipient, so that another session may fare better: relays
    /// answer `451 4.4.2` to every dot on a connection whose far side is stale.
    pub(super) fn is_doubtful(&self) -> bool {
        self.failures > 0
    }

    /// Notes how a mail ended.
    pub(super) fn prove(&mut self, step: Step, outcome: &Outcome, now: Monotonic) {
        match outcome {
            Outcome::Sent(_) => (self.failures, self.proven_at) = (0, now),
            Outcome::Transient(..) | Outcome::Busy(_) if step != Step::Rcpt => self.failures += 1,
            _ => {}
        }
    }

    /// Whether it may take another mail.
    pub(super) fn is_sound(&self) -> bool {
        self.failures < FAILURES_MAX
    }

    /// Mails begun so far.
    pub(super) fn mails(&self) -> u32 {
        self.mails
    }

    /// What the server offers, for an operator.
    pub(super) fn abilities(&self) -> &'static str {
        match (self.caps.pipelining, self.caps.smtputf8) {
            (true, true) => "offers pipelining and non-ASCII addresses",
            (true, false) => "offers pipelining",
            (false, true) => "offers non-ASCII addresses",
            (false, false) => "offers neither pipelining nor non-ASCII addresses",
        }
    }

    /// Sends the first of these mails, and those after it that may go with it in one write.
    pub(super) async fn send(&mut self, messages: &[Message], now: Monotonic) -> End {
        let message = &messages[0];
        let path = Path::of(message);
        if path.international && !self.caps.smtputf8 {
            let reason = "the address has non-ASCII characters, which the server does not take (no SMTPUTF8)";
            return End::in_step(Step::Mail, Outcome::Permanent(reason.into()));
        }
        let used = self.mails > 0;
        if !self.connection.is_quiet() {
            // it says goodbye, or something of which nobody knows what it answers
            return if used { End::Stale } else { broken(&Failure::OutOfStep) };
        }
        let is_fresh = now.saturating_sub(self.proven_at) <= FRESH;
        if is_fresh && self.caps.pipelining && self.caps.chunking && self.chunks.load(Relaxed) {
            return self.send_together(messages, used).await;
        }
        self.mails += 1;
        match self.envelope(&path).await {
            Ok(Envelope::Accepted) => self.data(message, &path).await,
            Ok(Envelope::Refused(_, reply)) if used && reply.code == 421 => End::Stale,
            Ok(Envelope::Refused(step, reply)) => {
                let outcome = refusal(step, &reply, &message.to, path.international);
                // 503 and replies out of place: a new session is surer than RSET
                let in_step = reply.code >= 400 && !matches!(reply.code, 421 | 503);
                if in_step { self.reset(vec![(step, outcome)]).await } else { End::broken(step, outcome) }
            }
            Ok(Envelope::AcceptedAfterRefusal(step, reply)) => {
                End::broken(step, refusal(step, &reply, &message.to, path.international))
            }
            Err(Failure::Lost(_)) if used => End::Stale,
            Err(failure) => broken(&failure),
        }
    }

    /// MAIL, RCPT and DATA: together where the server allows that (RFC 2920), else one after the other.
    async fn envelope(&mut self, path: &Path<'_>) -> Result<Envelope, Failure> {
        let mut refused = None;
        if self.caps.pipelining {
            for step in [Step::Mail, Step::Rcpt, Step::Data] {
                self.push(step, path);
            }
            self.connection.flush().await?;
        }
        for step in [Step::Mail, Step::Rcpt, Step::Data] {
            if !self.caps.pipelining {
                self.push(step, path);
                self.connection.flush().await?;
            }
            let reply = self.connection.read().await?;
            if reply.code == 421 {
                // nothing follows it
                return Ok(Envelope::Refused(step, reply));
            }
            let accepted = if step == Step::Data { reply.code == 354 } else { (250..=259).contains(&reply.code) };
            refused = match refused {
                None if accepted => None,
                None => Some((step, reply)),
                // it would take a mail without a recipient; only closing the connection surely ends that
                Some((step, first)) if reply.code == 354 => return Ok(Envelope::AcceptedAfterRefusal(step, first)),
                first => first,
            };
            if refused.is_some() && !self.caps.pipelining {
                break;
            }
        }
        Ok(refused.map_or(Envelope::Accepted, |(step, reply)| Envelope::Refused(step, reply)))
    }

    fn push(&mut self, step: Step, path: &Path<'_>) {
        let out = &mut self.connection.out;
        // the addresses are checked where they are made: no character of them ends a command
        let parts: [&str; 3] = match step {
            Step::Mail if path.international => ["MAIL FROM:<", &path.from, "> BODY=8BITMIME SMTPUTF8\r\n"],
            Step::Mail => ["MAIL FROM:<", &path.from, ">\r\n"],
            Step::Rcpt => ["RCPT TO:<", &path.to, ">\r\n"],
            Step::Data | Step::End => ["DATA\r\n", "", ""],
        };
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The mail itself, and what becomes of it.
    async fn data(&mut self, message: &Message, path: &Path<'_>) -> End {
        // an answer too many now would be taken for the one after the dot
        if !self.connection.is_quiet() {
            return broken(&Failure::OutOfStep);
        }
        if let Err(flaw) = wire::append(&message.raw, &mut self.connection.out) {
            // the server waits for a mail, and only closing the connection surely ends that
            return End::broken(Step::End, Outcome::Permanent(format!("it was not sent: {flaw}")));
        }
        // the dot goes last and with the rest, so a failed write means that the server does not have it
        if let Err(e) = self.connection.flush().await {
            return End::broken(
                Step::End,
                Outcome::Transient(Scope::Relay, format!("while the mail was written: {e}")),
            );
        }
        match self.connection.read_within(self.dot_timeout).await {
            Ok(answer) => match verdict(&answer, &message.to, path.international) {
                (outcome, true) => End::in_step(Step::End, outcome),
                (outcome, false) => End::broken(Step::End, outcome),
            },
            Err(e) => End::broken(Step::End, Outcome::Ambiguous(format!("after the mail was written: {e}"))),
        }
    }

    /// After a refusal: back to a state in which the next mail can begin.
    async fn reset(&mut self, ended: Vec<(Step, Outcome)>) -> End {
        match self.connection.ask("RSET").await {
            Ok(answer) if answer.code == 250 => End::InStep(ended),
            _ => End::Broken(ended),
        }
    }

    /// Says goodbye, without waiting for the answer.
    pub(super) async fn quit(mut self) {
        self.connection.out.extend_from_slice(b"QUIT\r\n");
        let _ = self.connection.flush().await; // the session is over either way
    }
}

/// What the answer to a whole mail says, and whether the session goes on after it.
fn verdict(answer: &Reply, to: &EmailAddress, international: bool) -> (Outcome, bool) {
    match answer.code {
        200..=299 => (Outcome::Sent(answer.describe()), true),
        400..=599 => (refusal(Step::End, answer, to, international), answer.code != 421),
        _ => (Outcome::Ambiguous(format!("end of mail: {}", answer.describe())), false),
    }
}

fn broken(failure: &Failure) -> End {
    End::broken(Step::Mail, Outcome::Transient(Scope::Relay, format!("before the mail was written: {failure}")))
}
