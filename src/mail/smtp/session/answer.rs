//! What a server says of a mail that came with its envelope, by its length.

use super::{Path, Session, Step, verdict};
use crate::mail::{
    Message, Outcome, Scope,
    smtp::{classify::refusal, connection::Failure, reply::Reply},
};

/// What became of one mail.
pub(super) enum Answer {
    Ended(Step, Outcome, Afterwards),
    /// The server said goodbye and took no mail, with that reply to that step.
    Left(Step, Reply),
}

/// What the session is like after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    Ready,
    /// What is left of the transaction is not said anywhere.
    ToReset,
    /// Nothing else that was said can be trusted.
    OutOfStep,
    /// The server says goodbye.
    Closing,
    /// The connection has ended.
    Lost,
}

/// What the server says of envelope and mail.
enum Replies {
    /// The envelope was taken, and this is about the mail.
    OfMail(Reply),
    /// The first refusal of the envelope, with its step, and what came behind it: the mail, on its way already, had no recipient.
    Refused(Step, Reply, Behind),
    /// A goodbye in the place of an answer to the envelope.
    Left(Step, Reply),
}

/// What came behind a refusal.
enum Behind {
    /// An answer to the mail, by its code.
    Answer(u16),
    Goodbye,
    TheEnd,
    /// No answer in time, or something else than one.
    Nothing,
}

impl Session {
    /// Reads what the server says of one mail, behind its answer to RSET where one was sent.
    pub(super) async fn answer(&mut self, message: &Message, after_reset: bool) -> Result<Answer, Failure> {
        if after_reset {
            match self.connection.read().await? {
                reply if reply.code == 250 => {}
                reply if reply.code == 421 => return Ok(Answer::Left(Step::Mail, reply)),
                _ => return Err(Failure::OutOfStep),
            }
        }
        let refused = |step, reply| refusal(step, &reply, &message.to, Path::of(message).international);
        let (step, outcome, then) = match self.replies().await? {
            Replies::Left(step, reply) => return Ok(Answer::Left(step, reply)),
            Replies::Refused(step, reply, behind) => {
                let then = match behind {
                    Behind::Goodbye => Afterwards::Closing,
                    Behind::TheEnd => Afterwards::Lost,
                    // a mail that nobody was to have is not taken: one of these replies is another's
                    Behind::Answer(..400) => return Err(Failure::OutOfStep),
                    // after 503 and replies out of place a new session is surer than RSET
                    Behind::Answer(_) if reply.code >= 400 && reply.code != 503 => Afterwards::ToReset,
                    Behind::Answer(_) | Behind::Nothing => Afterwards::OutOfStep,
                };
                (step, refused(step, reply), then)
            }
            // no verdict on the mail: the command itself is not known here, whatever EHLO said
            Replies::OfMail(end) if end.code == 503 || !self.has_chunked && (500..=504).contains(&end.code) => {
                self.distrust(&end.describe());
                let outcome = Outcome::Transient(Scope::Relay, format!("BDAT: {}", end.describe()));
                (Step::End, outcome, Afterwards::OutOfStep)
            }
            // that is about an address (RFC 3463 §3.2), so the answer to the mail is still to come
            Replies::OfMail(end) if end.code < 400 && matches!(end.status, Some((2, 1, _))) => {
                return Err(Failure::OutOfStep);
            }
            Replies::OfMail(end) => {
                let (outcome, goes_on) = verdict(&end, &message.to, end.code >= 400 && Path::of(message).international);
                let then = match end.code {
                    421 => Afterwards::Closing,
                    400.. => Afterwards::ToReset,
                    _ if goes_on => Afterwards::Ready,
                    _ => {
                        self.distrust(&end.describe());
                        Afterwards::OutOfStep
                    }
                };
                (Step::End, outcome, then)
            }
        };
        Ok(Answer::Ended(step, outcome, then))
    }

    async fn replies(&mut self) -> Result<Replies, Failure> {
        let mail = match self.connection.read().await? {
            reply if reply.code == 421 => return Ok(Replies::Left(Step::Mail, reply)),
            reply => refusing(reply),
        };
        let rcpt = match (mail, self.connection.read().await) {
            (Some(mail), rcpt) => {
                let behind = match rcpt {
                    Ok(reply) if reply.code != 421 => self.behind_refusal().await,
                    other => behind(other),
                };
                return Ok(Replies::Refused(Step::Mail, mail, behind));
            }
            (None, rcpt) => rcpt?,
        };
        if rcpt.code == 421 {
            return Ok(Replies::Left(Step::Rcpt, rcpt));
        }
        match refusing(rcpt) {
            Some(rcpt) => Ok(Replies::Refused(Step::Rcpt, rcpt, self.behind_refusal().await)),
            None => self.connection.read_within(self.dot_timeout).await.map(Replies::OfMail),
        }
    }

    /// What the server says of a mail without a recipient, which it need not queue anywhere.
    async fn behind_refusal(&mut self) -> Behind {
        let behind = behind(self.connection.read().await);
        if let Behind::Nothing = behind {
            self.distrust("nothing, after a refusal");
        }
        behind
    }
}

/// The reply, where it is none to an envelope that was taken.
fn refusing(reply: Reply) -> Option<Reply> {
    Some(reply).filter(|reply| !(250..=259).contains(&reply.code))
}

fn behind(read: Result<Reply, Failure>) -> Behind {
    match read {
        Ok(reply) if reply.code == 421 => Behind::Goodbye,
        Ok(reply) => Behind::Answer(reply.code),
        Err(Failure::Lost(_)) => Behind::TheEnd,
        Err(_) => Behind::Nothing,
    }
}
