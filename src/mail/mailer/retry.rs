//! What an outcome means for the ledger row.

use std::time::Duration;

use super::{Options, backoff::backoff, destinations::Noted};
use crate::{
    env::Env,
    mail::{About, Outcome},
    store::ledger::{Class, Mail, Reason, Verdict},
};

/// Attempts before which nothing is given up, however long they took.
const TRIES_MIN: u32 = 5;

/// The verdict on an attempt that ended just now; `noted` says how long to leave the destination, or the recipient's
/// domain, alone, and whether a refusal stands.
pub(super) fn verdict(mail: &Mail, outcome: Outcome, env: &Env, noted: Noted, options: &Options) -> Verdict {
    let now = env.clock.now();
    let pause = noted.pause;
    let deadline = mail.begun_at + options.deadline;
    // the last attempt is made at the deadline; greylisting alone takes a few, also when all of that time was an outage
    let retry_at = |delay: Duration| {
        if now < deadline { Some((now + delay).min(deadline)) } else { (mail.tries < TRIES_MIN).then(|| now + delay) }
    };
    let gave_up = |reason| {
        let text = format!("given up after {} attempts, the last one: {reason}", mail.tries);
        Verdict::Dead(Reason::new(Class::Expired, text))
    };
    let backoff = || backoff(&env.random, options.retry_min, options.retry_max, mail.attempt).max(pause);
    match outcome {
        Outcome::Sent(reply) => Verdict::Sent(reply),
        Outcome::Permanent(reason) => Verdict::Dead(Reason::new(Class::Refused, reason)),
        Outcome::Refused(refusal) if noted.stands => {
            let class = if refusal.about == About::Mailbox { Class::Address } else { Class::Refused };
            Verdict::Dead(Reason::new(class, refusal.text))
        }
        Outcome::Refused(refusal) => match retry_at(backoff()) {
            Some(at) => Verdict::Retry(at, Reason::new(Class::Held, refusal.text)),
            None => gave_up(refusal.text),
        },
        Outcome::Transient(_, reason) | Outcome::Busy(reason) => match retry_at(backoff()) {
            Some(at) => Verdict::Retry(at, Reason::new(Class::Deferred, reason)),
            None => gave_up(reason),
        },
        Outcome::Unreachable(reason) | Outcome::Denied(reason) => match retry_at(pause) {
            Some(at) => Verdict::Retry(at, Reason::new(Class::Unreachable, reason)),
            None => gave_up(reason),
        },
        Outcome::Ambiguous(reason) if mail.copies + 1 >= options.copies_max => {
            let times = mail.copies + 1;
            let text = format!("handed over {times} times without an answer, and each copy may have arrived: {reason}");
            Verdict::Dead(Reason::new(Class::Unanswered, text))
        }
        Outcome::Ambiguous(reason) => match retry_at(backoff()) {
            Some(at) => Verdict::Unknown(at, Reason::new(Class::Unanswered, reason)),
            None => gave_up(format!("{reason} (it may have been accepted)")),
        },
    }
}
