//! A mail in one round trip, where the server takes it by its length and commands by the group (RFC 3030 §2, RFC 2920): envelope
//! and mail leave in one write, and all replies come back together.
//!
//! Whoever loses the connection after that cannot say whether the server has taken the mail, so this is for sessions alone that
//! have answered a moment ago: an older one is asked first, by an envelope, whether it is still there.

use std::sync::atomic::Ordering::Relaxed;

use tracing::warn;

use super::{End, Path, Session, Step, broken, verdict};
use crate::mail::{
    Message, Outcome, Scope,
    smtp::{classify::refusal, connection::Failure, reply::Reply, wire},
};

/// What the server says of it all.
enum Replies {
    /// The envelope was taken, and this is about the mail.
    Of(Reply),
    /// The first refusal of the envelope, with its step, and what came of the mail, which nobody was to have; nothing when the
    /// server left.
    Refused(Step, Reply, Option<Reply>),
}

impl Session {
    pub(super) async fn chunk(&mut self, message: &Message, path: &Path<'_>, used: bool) -> End {
        for step in [Step::Mail, Step::Rcpt] {
            self.push(step, path);
        }
        if let Err(flaw) = wire::append_chunk(&message.raw, &mut self.connection.out) {
            self.connection.out.clear();
            return End::InStep(Step::Mail, Outcome::Permanent(format!("it was not sent: {flaw}")));
        }
        // the end of the chunk is the end of the write, so a failed one means that the server does not have it
        match self.connection.flush().await {
            Ok(()) => {}
            Err(Failure::Lost(_)) if used => return End::Stale,
            Err(failure) => return broken(&failure),
        }
        match self.replies().await {
            Err(failure) => {
                self.distrust(matches!(failure, Failure::Timeout(_)), "nothing");
                End::Broken(Outcome::Ambiguous(format!("after the mail was written: {failure}")))
            }
            Ok(Replies::Refused(_, reply, None)) if used && reply.code == 421 => End::Stale,
            Ok(Replies::Refused(step, reply, end)) => {
                let outcome = refusal(step, &reply, &message.to, path.international);
                // 503 and replies out of place, or a mail taken for nobody: a new session is surer than RSET
                let is_in_step = reply.code >= 400 && reply.code != 503;
                if is_in_step && end.is_some_and(|end| end.code >= 400 && end.code != 421) {
                    self.reset(step, outcome).await
                } else {
                    End::Broken(outcome)
                }
            }
            // no verdict on the mail: the command itself is not known here, whatever EHLO said
            Ok(Replies::Of(end)) if (500..=504).contains(&end.code) => {
                self.distrust(true, &end.describe());
                End::Broken(Outcome::Transient(Scope::Relay, format!("BDAT: {}", end.describe())))
            }
            // a reply too many, of which one was taken for the last; a server may well leave after its answer
            Ok(Replies::Of(_)) if self.connection.says_more() => {
                End::Broken(Outcome::Ambiguous(format!("end of mail: {}", Failure::OutOfStep)))
            }
            Ok(Replies::Of(end)) => match verdict(&end, &message.to, path.international) {
                // what is left of the transaction after that is not said anywhere
                End::InStep(step, outcome) if end.code >= 400 => self.reset(step, outcome).await,
                end => end,
            },
        }
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
