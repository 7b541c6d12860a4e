//! Mails in one round trip, where the server takes them by their length and commands by the group (RFC 3030 §2, RFC 2920):
//! envelope and mail leave in one write, a few mails together where BDAT has been taken before, and all replies come back together.
//!
//! Whoever loses the connection after that cannot say which of them the server has taken, so only sessions that answered a moment
//! ago get mails in this way: an older one is asked first, by an envelope, whether it is still there.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

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

/// Most mails in one write, and so the most that one lost connection may repeat.
const TOGETHER_MAX: usize = 8;
/// Most bytes in one write: what the buffers of two sockets hold, so that a server which writes its replies first reads on.
const TOGETHER_BYTES: usize = 64 << 10;
/// A server that says goodbye has closed the connection by then.
const GOODBYE: Duration = Duration::from_secs(5);

/// What became of one mail.
enum Answer {
    Ended(Step, Outcome, Afterwards),
    /// The server left before it was begun, with that reply to that step.
    Left(Step, Reply),
}

/// What the session is like after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Ready,
    /// What is left of the transaction is not said anywhere.
    ToReset,
    /// Nothing else that was said can be trusted.
    OutOfStep,
    /// The server says goodbye.
    Closing,
}

/// What the server says of envelope and mail.
enum Replies {
    /// The envelope was taken, and this is about the mail.
    OfMail(Reply),
    /// The first refusal of the envelope, with its step, and the reply to the mail itself, which had no recipient; nothing when there
    /// was none in time.
    Refused(Step, Reply, Option<Reply>),
    /// The envelope was refused, and then the server said goodbye.
    RefusedAndLeft(Step, Reply),
}

impl Session {
    /// Sends the first of these in one write, and with it those that may go together.
    pub(super) async fn send_together(&mut self, messages: &[Message], used: bool) -> End {
        let count = match self.fill_write(messages) {
            Ok(count) => count,
            Err(flaw) => return End::in_step(Step::Mail, Outcome::Permanent(format!("it was not sent: {flaw}"))),
        };
        self.mails += count as u32;
        match self.connection.flush().await {
            Ok(()) => {}
            // the end of the last chunk is the end of the write, so a failed one means that the server does not have that one
            Err(failure) if count > 1 => return End::Broken(unknown(&failure, count - 1)),
            Err(Failure::Lost(_)) if used => return End::Stale,
            Err(failure) => return broken(&failure),
        }
        self.hear(&messages[..count], used).await
    }

    /// Reads what the server says of all of these.
    async fn hear(&mut self, messages: &[Message], used: bool) -> End {
        let count = messages.len();
        let (mut ended, mut afterwards) = (Vec::with_capacity(count), Afterwards::Ready);
        for message in messages {
            match self.answer(message, !ended.is_empty()).await {
                Ok(Answer::Ended(step, outcome, then)) => {
                    self.has_chunked |= matches!(outcome, Outcome::Sent(_));
                    ended.push((step, outcome));
                    afterwards = then;
                }
                Ok(Answer::Left(step, reply)) => {
                    if !self.has_left(count - ended.len() - 1).await {
                        return End::Broken(unknown(&Failure::OutOfStep, count));
                    }
                    if ended.is_empty() && used {
                        return End::Stale;
                    }
                    if ended.is_empty() {
                        ended.push((step, refusal(step, &reply, &message.to, Path::of(message).international)));
                    }
                    return End::Broken(ended);
                }
                // what it has said stands, and nothing is known of the rest
                Err(failure @ Failure::Lost(_)) => {
                    ended.extend(unknown(&failure, count - ended.len()));
                    return End::Broken(ended);
                }
                // a reply too many or too few, so that any before it may be of another mail
                Err(failure) => {
                    self.distrust(matches!(failure, Failure::Timeout(_)), "nothing");
                    return End::Broken(unknown(&failure, count));
                }
            }
            match afterwards {
                Afterwards::Closing if self.has_left(count - ended.len()).await => return End::Broken(ended),
                Afterwards::OutOfStep if count == 1 => return End::Broken(ended),
                Afterwards::OutOfStep | Afterwards::Closing => {
                    return End::Broken(unknown(&Failure::OutOfStep, count));
                }
                Afterwards::ToReset | Afterwards::Ready => {}
            }
        }
        // after a refusal alone, the answer to RSET tells
        let is_asked = count == 1 && afterwards == Afterwards::ToReset;
        if !is_asked && self.connection.says_more() {
            // some say goodbye behind one refusal too many; else one of the replies before was taken for another
            let says_goodbye = afterwards == Afterwards::ToReset
                && self.connection.read_within(GOODBYE).await.is_ok_and(|reply| reply.code == 421);
            return End::Broken(if says_goodbye { ended } else { unknown(&Failure::OutOfStep, count) });
        }
        if afterwards == Afterwards::ToReset { self.reset(ended).await } else { End::InStep(ended) }
    }

    /// Puts as many of these into the buffer as may go together; returns how many, or what is wrong with the first.
    fn fill_write(&mut self, messages: &[Message]) -> Result<usize, Flaw> {
        let has_company = self.has_chunked && !self.is_doubtful() && !messages[0].ambiguous;
        let most = if has_company { TOGETHER_MAX } else { 1 };
        for (i, message) in messages.iter().take(most).enumerate() {
            let (path, begin) = (Path::of(message), self.connection.out.len());
            if i > 0 {
                // what does not fit goes by itself, and hears there what is wrong with it
                let fits = begin + message.raw.len() <= TOGETHER_BYTES && (self.caps.smtputf8 || !path.international);
                // what was lost with others goes by itself, so that a server which leaves without a word costs a mail one copy
                if !fits || message.ambiguous {
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

    /// Whether a server that said goodbye meant it: so many mails are on their way behind that, and one that goes on takes them.
    async fn has_left(&mut self, behind: usize) -> bool {
        behind == 0 || matches!(self.connection.read_within(GOODBYE).await, Err(Failure::Lost(_)))
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
        let refused = |step, reply| refusal(step, &reply, &message.to, Path::of(message).international);
        let (step, outcome, then) = match self.replies().await? {
            Replies::Refused(step, reply, _) if reply.code == 421 => return Ok(Answer::Left(step, reply)),
            Replies::RefusedAndLeft(step, reply) => (step, refused(step, reply), Afterwards::Closing),
            Replies::Refused(step, reply, end) => {
                // 503 and replies out of place, or a mail taken for nobody: a new session is surer than RSET
                let is_in_step = reply.code >= 400 && reply.code != 503;
                let is_over = is_in_step && end.is_some_and(|end| end.code >= 400);
                let then = if is_over { Afterwards::ToReset } else { Afterwards::OutOfStep };
                (step, refused(step, reply), then)
            }
            // no verdict on the mail: the command itself is not known here, whatever EHLO said
            Replies::OfMail(end) if (500..=504).contains(&end.code) => {
                self.distrust(true, &end.describe());
                let outcome = Outcome::Transient(Scope::Relay, format!("BDAT: {}", end.describe()));
                (Step::End, outcome, Afterwards::OutOfStep)
            }
            Replies::OfMail(end) => {
                let international = end.code >= 400 && Path::of(message).international;
                let (outcome, goes_on) = verdict(&end, &message.to, international);
                let then = match end.code {
                    421 => Afterwards::Closing,
                    400.. => Afterwards::ToReset,
                    _ if goes_on => Afterwards::Ready,
                    _ => Afterwards::OutOfStep,
                };
                (Step::End, outcome, then)
            }
        };
        Ok(Answer::Ended(step, outcome, then))
    }

    async fn replies(&mut self) -> Result<Replies, Failure> {
        let mut refused = None;
        for step in [Step::Mail, Step::Rcpt] {
            let reply = self.connection.read().await?;
            refused = match refused {
                Some((first, why)) if reply.code == 421 => return Ok(Replies::RefusedAndLeft(first, why)),
                None if reply.code == 421 => return Ok(Replies::Refused(step, reply, None)),
                None if !(250..=259).contains(&reply.code) => Some((step, reply)),
                refused => refused,
            };
        }
        let Some((step, reply)) = refused else {
            return self.connection.read_within(self.dot_timeout).await.map(Replies::OfMail);
        };
        // nobody was to have it, so it does not matter how that ended
        Ok(match self.connection.read_within(self.dot_timeout).await.ok() {
            Some(end) if end.code == 421 => Replies::RefusedAndLeft(step, reply),
            end => Replies::Refused(step, reply, end),
        })
    }

    /// Something between here and the server does not keep what EHLO promises: from now on mails go by DATA.
    fn distrust(&self, is_unknown: bool, said: &str) {
        if is_unknown && self.chunks.swap(false, Relaxed) {
            warn!(
                answer = said,
                "the mail server offers CHUNKING and does not answer BDAT as it should, mails go by DATA from now on"
            );
        }
    }
}

/// So many mails were on their way, and nobody can say whether they were taken.
fn unknown(failure: &Failure, count: usize) -> Vec<(Step, Outcome)> {
    vec![(Step::End, Outcome::Ambiguous(format!("after the mail was written: {failure}"))); count]
}
