//! Mails in one round trip, where the server takes them by their length and commands by the group (RFC 3030 §2, RFC 2920):
//! envelope and mail leave in one write, a few mails together where BDAT has been taken before, and all replies come back together.
//!
//! Whoever loses the connection after that cannot say which of them the server has taken, so this is for sessions alone that
//! have answered a moment ago: an older one is asked first, by an envelope, whether it is still there.

use std::sync::atomic::Ordering::Relaxed;

use tracing::warn;

use super::{End, Path, Session, Step, broken, verdict};
use crate::mail::{
    Message, Outcome, Scope,
    smtp::{
        classify::refusal,
        connection::Failure,
        reply::Reply,
        wire::{self, Flaw},
    },
};

/// Most mails in one write: of a lost connection so many may be repeated.
const TOGETHER_MAX: usize = 8;
/// Most bytes in one write: what the buffers of two sockets hold, so that a server which writes its replies first reads on.
const TOGETHER_BYTES: usize = 64 << 10;

/// What became of one mail.
enum Answer {
    Of(Step, Outcome, Then),
    /// The server left before it was begun, with that reply to that step.
    Left(Step, Reply),
}

/// What the session is like after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Ready,
    /// What is left of the transaction is not said anywhere.
    ToReset,
    /// Nothing that follows can be told.
    OutOfStep,
    /// The server closes, and begins nothing that follows.
    Closing,
}

/// What the server says of envelope and mail.
enum Replies {
    /// The envelope was taken, and this is about the mail.
    Of(Reply),
    /// The first refusal of the envelope, with its step, and what came of the mail, which nobody was to have; nothing when the
    /// server left.
    Refused(Step, Reply, Option<Reply>),
}

impl Session {
    pub(super) async fn chunks(&mut self, messages: &[Message], used: bool) -> End {
        let count = match self.put(messages) {
            Ok(count) => count,
            Err(flaw) => return End::in_step(Step::Mail, Outcome::Permanent(format!("it was not sent: {flaw}"))),
        };
        self.mails += count as u32;
        match self.connection.flush().await {
            Ok(()) => {}
            // the end of the last chunk is the end of the write, so a failed one means that the server does not have that one
            Err(failure) if count > 1 => return End::Broken(unknown(&failure, count - 1).collect()),
            Err(Failure::Lost(_)) if used => return End::Stale,
            Err(failure) => return broken(&failure),
        }
        let mut ended = Vec::with_capacity(count);
        let mut then = Then::Ready;
        for (i, message) in messages[..count].iter().enumerate() {
            match self.answer(message, i > 0).await {
                Ok(Answer::Of(step, outcome, after)) => {
                    self.has_chunked |= matches!(outcome, Outcome::Sent(_));
                    ended.push((step, outcome));
                    then = after;
                }
                Ok(Answer::Left(..)) if i == 0 && used => return End::Stale,
                Ok(Answer::Left(step, reply)) => {
                    if i == 0 {
                        ended.push((step, refusal(step, &reply, &message.to, Path::of(message).international)));
                    }
                    then = Then::Closing;
                }
                Err(failure) => {
                    self.distrust(matches!(failure, Failure::Timeout(_)), "nothing");
                    ended.extend(unknown(&failure, count - i));
                    then = Then::OutOfStep;
                }
            }
            if matches!(then, Then::OutOfStep | Then::Closing) {
                break;
            }
        }
        match then {
            Then::Closing => End::Broken(ended),
            Then::OutOfStep => {
                ended.extend(unknown(&Failure::OutOfStep, count - ended.len()));
                End::Broken(ended)
            }
            // a reply too many, of which one was taken for the next; a server may well leave after its answer
            _ if self.connection.says_more() => End::Broken(unknown(&Failure::OutOfStep, count).collect()),
            Then::ToReset => self.reset(ended).await,
            Then::Ready => End::InStep(ended),
        }
    }

    /// Puts as many of these into the buffer as may go together; returns how many, or what is wrong with the first.
    fn put(&mut self, messages: &[Message]) -> Result<usize, Flaw> {
        let has_company = self.has_chunked && !self.is_doubtful() && messages[0].attempt == 1;
        let most = if has_company { TOGETHER_MAX } else { 1 };
        for (i, message) in messages.iter().take(most).enumerate() {
            let (path, begin) = (Path::of(message), self.connection.out.len());
            if i > 0 {
                let fits = begin + message.raw.len() <= TOGETHER_BYTES && (self.caps.smtputf8 || !path.international);
                // what was in others' company when that was lost goes by itself, so that a server which leaves without a word
                // costs a mail one attempt
                if !fits || message.attempt > 1 {
                    return Ok(i);
                }
                // whatever becomes of the one before (RFC 3030 §2 asks for it after a failed BDAT)
                self.connection.out.extend_from_slice(b"RSET\r\n");
            }
            for step in [Step::Mail, Step::Rcpt] {
                self.push(step, &path);
            }
            if let Err(flaw) = wire::append_chunk(&message.raw, &mut self.connection.out) {
                self.connection.out.truncate(begin);
                return if i > 0 { Ok(i) } else { Err(flaw) };
            }
        }
        Ok(messages.len().min(most))
    }

    /// Reads what the server says of one mail, behind its answer to RSET where one was sent.
    async fn answer(&mut self, message: &Message, after_reset: bool) -> Result<Answer, Failure> {
        if after_reset {
            match self.connection.read().await? {
                reply if reply.code == 250 => {}
                reply if reply.code == 421 => return Ok(Answer::Left(Step::Mail, reply)),
                _ => return Err(Failure::OutOfStep),
            }
        }
        let international = || Path::of(message).international;
        let (step, outcome, then) = match self.replies().await? {
            Replies::Refused(step, reply, _) if reply.code == 421 => return Ok(Answer::Left(step, reply)),
            Replies::Refused(step, reply, end) => {
                // 503 and replies out of place, or a mail taken for nobody: a new session is surer than RSET
                let is_in_step = reply.code >= 400 && reply.code != 503;
                let is_over = is_in_step && end.is_some_and(|end| end.code >= 400 && end.code != 421);
                let then = if is_over { Then::ToReset } else { Then::OutOfStep };
                (step, refusal(step, &reply, &message.to, international()), then)
            }
            // no verdict on the mail: the command itself is not known here, whatever EHLO said
            Replies::Of(end) if (500..=504).contains(&end.code) => {
                self.distrust(true, &end.describe());
                let outcome = Outcome::Transient(Scope::Relay, format!("BDAT: {}", end.describe()));
                (Step::End, outcome, Then::OutOfStep)
            }
            Replies::Of(end) => {
                let (outcome, goes_on) = verdict(&end, &message.to, end.code >= 400 && international());
                let then = match end.code {
                    421 => Then::Closing,
                    400.. => Then::ToReset,
                    _ if goes_on => Then::Ready,
                    _ => Then::OutOfStep,
                };
                (Step::End, outcome, then)
            }
        };
        Ok(Answer::Of(step, outcome, then))
    }

    async fn replies(&mut self) -> Result<Replies, Failure> {
        let mut refused = None;
        for step in [Step::Mail, Step::Rcpt] {
            let reply = self.connection.read().await?;
            let is_last = reply.code == 421;
            if refused.is_none() && !(250..=259).contains(&reply.code) {
                refused = Some((step, reply));
            }
            if is_last {
                break;
            }
        }
        match refused {
            None => self.connection.read_within(self.dot_timeout).await.map(Replies::Of),
            Some((step, reply)) if reply.code == 421 => Ok(Replies::Refused(step, reply, None)),
            // nobody was to have it, so it does not matter how that ended
            Some((step, reply)) => {
                let end = self.connection.read_within(self.dot_timeout).await.ok();
                Ok(Replies::Refused(step, reply, end))
            }
        }
    }

    /// Something between here and the server does not keep what EHLO promises: from now on mails go by DATA.
    fn distrust(&self, is_unknown: bool, said: &str) {
        if is_unknown && self.chunks.swap(false, Relaxed) {
            warn!(
                answer = said,
                "the mail server offers CHUNKING and does not take BDAT, mails go by DATA from now on"
            );
        }
    }
}

/// So many mails were written, and nobody can say whether they were taken.
fn unknown(failure: &Failure, mails: usize) -> impl Iterator<Item = (Step, Outcome)> {
    let outcome = Outcome::Ambiguous(format!("after the mail was written: {failure}"));
    std::iter::repeat_n((Step::End, outcome), mails)
}
