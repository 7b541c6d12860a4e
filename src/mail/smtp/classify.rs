//! What a refusal means. RFC 5321 §4.2.1: 4yz may succeed later, 5yz never will; the enhanced code (RFC 3463), the
//! command and the words tell whom it is about. What real servers say stands in the table of the tests.

use super::reply::Reply;
use crate::{
    domain::EmailAddress,
    mail::{About, Outcome, Refusal, Scope},
};

/// A command that a mail can fail at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Mail,
    Rcpt,
    Data,
    /// The final dot.
    End,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Mail => "MAIL FROM",
            Self::Rcpt => "RCPT TO",
            Self::Data => "DATA",
            Self::End => "end of mail",
        }
    }
}

/// What a reply that ends an attempt means for the mail, its recipient's domain or the relay. `international` mails
/// use SMTPUTF8, which a server may take badly without minding the sender.
pub(super) fn refusal(step: Step, reply: &Reply, to: &EmailAddress, international: bool) -> Outcome {
    let text = format!("{}: {}", step.name(), reply.describe());
    match (reply.code, step) {
        // the login is refused, or TLS is missing: no mail gets through, whichever it is
        (534 | 535 | 538, _) => Outcome::Denied(text),
        // before it knew whom the mail is for
        (421, Step::Mail) => Outcome::Unreachable(text),
        (421, _) => Outcome::Busy(text),
        (400..=499, Step::Mail) => Outcome::Transient(Scope::Relay, text),
        (450 | 451, _) => Outcome::Transient(Scope::Domain, text),
        // an old meaning of 552 is "too many recipients", and a full mailbox empties: RFC 5321 §4.5.3.1.10
        (400..=499, _) | (552, Step::Rcpt) => Outcome::Transient(Scope::Mail, text),
        (500..=599, _) if is_of_a_full_mailbox(step, reply) => Outcome::Transient(Scope::Mail, text),
        (500..=599, _) if reply.code != 503 => {
            let about = about(step, reply, international);
            Outcome::Refused(Refusal { about, words: words(reply, to), text })
        }
        // 503, or 2yz or 3yz out of place: the two sides are out of step, which a new session mends
        _ => Outcome::Transient(Scope::Relay, text),
    }
}

fn is_of_a_full_mailbox(step: Step, reply: &Reply) -> bool {
    step != Step::Mail && matches!(reply.status, Some((_, 2, 2)))
}

/// When in doubt it is about nobody in particular.
fn about(step: Step, reply: &Reply, international: bool) -> About {
    if reply.code == 530 || (step == Step::Mail && !international) {
        return About::All;
    }
    let text = said(reply).collect::<Vec<_>>().join(" ").to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    match reply.status {
        // a host that takes no mail at all (RFC 7504)
        _ if reply.code == 521 || says(OF_US) => About::Us,
        // bad sender; login; Exchange Online: send as, relay, traffic of the tenant; Gmail: sending limit
        Some((_, 1, 7 | 8 | 90) | (_, 7, 8 | 9 | 57 | 60 | 64 | 700..=799) | (_, 4, 5)) => About::Us,
        // no such mailbox, moved, null MX or not found by Exchange
        Some((_, 1, 1 | 6 | 10)) if !says(DOUBTFUL) => About::Mailbox,
        // Gmail says 5.2.1 also when somebody receives too much at once
        Some((_, 2, 1)) if says(CLOSED) && !says(DOUBTFUL) => About::Mailbox,
        _ => About::Unclear,
    }
}

/// Said of who sends, whatever the code beside it.
const OF_US: &[&str] = &[
    "access denied to relay",
    "authentication checks",
    "authentication required",
    "authentication is required",
    "authenticate first",
    "must authenticate",
    "must be authenticated",
    "not authenticated",
    "client host",
    "client was not authenticated",
    "address is not verified",
    "credentials for relay",
    "daily user sending",
    "dmarc policy",
    "do not relay",
    "helo command rejected",
    "no permission to send",
    "not allowed to relay",
    "not allowed to send",
    "not authorised to send",
    "not authorized to perform",
    "not authorized to send",
    "not owned by user",
    "not permitted to relay",
    "open relay",
    "permissions to send as",
    "relay access denied",
    "relay denied",
    "relay not allowed",
    "relay not permitted",
    "relay prohibited",
    "relay is prohibited",
    "relaying denied",
    "relaying is prohibited",
    "relaying not allowed",
    "relaying not permitted",
    "relaying prohibited",
    "permanently deferred",
    "requires all senders",
    "reverse dns",
    "send as denied",
    "sendasdenied",
    "sender address rejected",
    "sender denied",
    "sender is not allowed",
    "sender not allowed",
    "sender not authorized",
    "sender rejected",
    "sender unauthorized",
    "sender verif",
    "sending limit",
    "sending paused",
    "sending quota",
    "sending suspended",
    "spamhaus",
    "spf record",
    "too many messages from you",
    "unable to relay",
    "unauthenticated",
    "unauthorized relay",
    "verify sender",
];

/// Said of a mailbox that was there and is closed.
const CLOSED: &[&str] =
    &["addressee unknown", "closed", "deactivated", "disabled", "does not exist", "inactive", "no longer", "suspended"];

/// With these a code about the mailbox is used for something else: a rate, a rule, a guess.
const DOUBTFUL: &[&str] = &[
    "access denied",
    "block",
    "greylist",
    "limit",
    "policy",
    "quota",
    "rate",
    "relay ",
    "reputation",
    "sender",
    "spam",
    "temporar",
    "too many",
    "try again",
    "unverified",
    "verification",
];

/// The words of a reply, without the code that some servers write before each line again.
fn said(reply: &Reply) -> impl Iterator<Item = &str> {
    let is_code = |word: &str| word.contains('.') && word.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    let lines = reply.text.lines().map(str::split_whitespace);
    lines.flat_map(move |words| {
        words.enumerate().filter(move |(i, word)| *i > 0 || !is_code(word)).map(|(_, word)| word)
    })
}

/// Code and words of a reply as it would say them to anybody else.
fn words(reply: &Reply, to: &EmailAddress) -> String {
    let mut words = reply.code.to_string();
    if let Some((class, subject, detail)) = reply.status {
        words = format!("{words} {class}.{subject}.{detail}");
    }
    let trimmed = said(reply).map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    // names, numbers, links and what a server counts its mails by differ each time
    let general = trimmed.filter(|word| {
        word.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '-' | '/'))
            && !word.eq_ignore_ascii_case(to.local())
    });
    for word in general.filter(|word| !word.is_empty()) {
        words.push(' ');
        words += &word.to_lowercase();
    }
    words
}

#[cfg(test)]
mod tests;
