//! Mails in one round trip, where the server takes them by their length and commands by the group (RFC 3030 §2, RFC 2920):
//! envelope and mail leave in one write, a few mails together where BDAT has been taken before, and all replies come back together.
//!
//! Whoever loses the connection after that cannot say which of them the server has taken, so only sessions that answered a moment
//! ago get mails in this way: an older one is asked first, by an envelope, whether it is still there.

use std::{fmt::Display, sync::atomic::Ordering::Relaxed, time::Duration};

use tracing::warn;

use super::{
    End, Path, Session, Step,
    answer::{Afterwards, Answer},
    broken,
};
use crate::mail::{
    Message, Outcome,
    smtp::{
        classify::refusal,
        connection::Failure,
        wire::{self, Flaw},
    },
};

/// Most mails in one write, and so the most that one lost connection may repeat.
const TOGETHER_MAX: usize = 8;
/// Most bytes in one write: what the buffers of two sockets hold, so that a server which writes its replies first reads on.
const TOGETHER_BYTES: usize = 64 << 10;
/// A server that says goodbye closes the connection within this time.
const GOODBYE: Duration = Duration::from_secs(5);

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
            afterwards = match self.answer(message, !ended.is_empty()).await {
                Ok(Answer::Ended(step, outcome, afterwards)) => {
                    self.has_chunked |= matches!(outcome, Outcome::Sent(_));
                    ended.push((step, outcome));
                    afterwards
                }
                Ok(Answer::Left(step, reply)) => {
                    return match self.part(ended, count).await {
                        End::Broken(ended) if ended.is_empty() && used => End::Stale,
                        End::Broken(ended) if ended.is_empty() => {
                            End::broken(step, refusal(step, &reply, &message.to, Path::of(message).international))
                        }
                        end => end,
                    };
                }
                Err(Failure::Lost(_)) => Afterwards::Lost,
                // any reply before it may be of another mail
                Err(failure) => return self.out_of_step(&failure, count),
            };
            match afterwards {
                Afterwards::Ready | Afterwards::ToReset => {}
                Afterwards::Closing if ended.len() < count => return self.part(ended, count).await,
                Afterwards::OutOfStep if count > 1 => return self.out_of_step(&Failure::OutOfStep, count),
                Afterwards::Closing | Afterwards::OutOfStep => return End::Broken(ended),
                // what it has said stands, and nothing is known of the rest
                Afterwards::Lost => {
                    ended.extend(unknown(&"the connection was lost", count - ended.len()));
                    return End::Broken(ended);
                }
            }
        }
        if self.connection.says_more() {
            // some say goodbye behind one refusal too many; else one of the replies before was taken for another
            let says_goodbye = afterwards == Afterwards::ToReset
                && self.connection.read_within(GOODBYE).await.is_ok_and(|reply| reply.code == 421);
            return if says_goodbye { End::Broken(ended) } else { self.out_of_step(&Failure::OutOfStep, count) };
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

    /// After a goodbye: what was said before it stands, and what is behind it was not begun where the connection ends there. A server
    /// that goes on takes it.
    async fn part(&mut self, mut ended: Vec<(Step, Outcome)>, count: usize) -> End {
        match self.connection.read_within(GOODBYE).await {
            Err(Failure::Lost(_)) => End::Broken(ended),
            Err(Failure::Timeout(_)) if count == 1 => End::Broken(ended),
            Err(failure @ Failure::Timeout(_)) => {
                ended.extend(unknown(&failure, count - ended.len()));
                End::Broken(ended)
            }
            Ok(_) | Err(_) => self.out_of_step(&Failure::OutOfStep, count),
        }
    }

    /// A reply too many or too few, so that each of them may be of another mail.
    fn out_of_step(&self, failure: &Failure, count: usize) -> End {
        self.distrust(&failure.to_string());
        End::Broken(unknown(failure, count))
    }

    /// Something between here and the server does not keep what EHLO promises: from now on mails go by DATA.
    pub(super) fn distrust(&self, said: &str) {
        if self.chunks.swap(false, Relaxed) {
            warn!(
                said,
                "the mail server offers CHUNKING and does not answer BDAT as it should, mails go by DATA from now on"
            );
        }
    }
}

/// So many mails were on their way, and nobody can say whether they were taken.
fn unknown(why: &dyn Display, count: usize) -> Vec<(Step, Outcome)> {
    vec![(Step::End, Outcome::Ambiguous(format!("after the mail was written: {why}"))); count]
}
