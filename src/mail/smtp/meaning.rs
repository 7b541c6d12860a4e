//! What a refusal means. RFC 5321 §4.2.1: 4yz may succeed later, 5yz never will; the enhanced code (RFC 3463) and the
//! command tell whom it is about.

use super::reply::Reply;
use crate::{
    domain::EmailAddress,
    mail::{Outcome, Whose},
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
    let text = format!("{}: {}", step.name(), reply.describe_for(to));
    match (reply.code, step) {
        // the login is missing or wrong, or TLS is: no mail gets through, whichever it is
        (530 | 534 | 535 | 538, _) => Outcome::Denied(text),
        // before it knew whom the mail is for
        (421, Step::Mail) => Outcome::Unreachable(text),
        (421, _) => Outcome::Busy(text),
        (400..=499, Step::Mail) => Outcome::Transient(Whose::Relay, text),
        (450 | 451, _) => Outcome::Transient(Whose::Domain, text),
        // an old meaning of 552 is "too many recipients", and a full mailbox empties: RFC 5321 §4.5.3.1.10
        (400..=499, _) | (552, Step::Rcpt) => Outcome::Transient(Whose::Mail, text),
        (500..=599, Step::Mail) if !international => Outcome::Denied(text),
        (503, _) => Outcome::Transient(Whose::Relay, text),
        (500..=599, _) if is_of_the_address(step, reply) => Outcome::BadAddress(text),
        (500..=599, _) => Outcome::Permanent(text),
        // 2yz or 3yz out of place: the two sides are out of step, which a new session mends
        _ => Outcome::Transient(Whose::Relay, text),
    }
}

/// Whether every later mail to the address would be refused as well. When in doubt it is not.
fn is_of_the_address(step: Step, reply: &Reply) -> bool {
    match reply.status {
        // bad mailbox, bad domain, bad syntax, moved, null MX; mailbox disabled
        Some((_, 1, 1 | 2 | 3 | 6 | 10) | (_, 2, 1)) => true,
        Some(_) => false,
        None => step == Step::Rcpt && matches!(reply.code, 550 | 551 | 553),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(step: Step, line: &str) -> &'static str {
        let bytes = format!("{line}\r\n");
        let (_, reply) = super::super::reply::Reader::default().read(bytes.as_bytes()).unwrap();
        match refusal(step, &reply.unwrap(), &"ana@example.org".parse().unwrap(), false) {
            Outcome::Sent(_) => "sent",
            Outcome::Transient(Whose::Mail, _) => "later",
            Outcome::Transient(Whose::Domain, _) => "later, domain",
            Outcome::Transient(Whose::Relay, _) => "later, relay",
            Outcome::Busy(_) => "busy",
            Outcome::Unreachable(_) => "unreachable",
            Outcome::Denied(_) => "denied",
            Outcome::Permanent(_) => "dead",
            Outcome::BadAddress(_) => "bad address",
            Outcome::Ambiguous(_) => "ambiguous",
        }
    }

    #[test]
    fn each_step_and_code_has_its_meaning() {
        use Step::{Data, End, Mail, Rcpt};
        for (step, line, expected) in [
            (Mail, "421 4.3.2 closing", "unreachable"),
            (Rcpt, "421 4.7.0 slow down", "busy"),
            (Data, "421 x", "busy"),
            (End, "421 x", "busy"),
            (Mail, "451 x", "later, relay"),
            (Mail, "452 4.3.1 full", "later, relay"),
            (Rcpt, "450 4.2.0 greylisted", "later, domain"),
            (Rcpt, "451 4.7.1 greylisted", "later, domain"),
            (Rcpt, "452 4.2.2 over quota", "later"),
            (End, "451 x", "later, domain"),
            (End, "452 x", "later"),
            (Rcpt, "552 5.2.2 over quota", "later"),
            (End, "552 5.3.4 too big", "dead"),
            (Mail, "530 5.7.0 authenticate", "denied"),
            (Rcpt, "530 5.7.0 authenticate", "denied"),
            (End, "535 5.7.8 no", "denied"),
            (Mail, "550 5.7.1 sender refused", "denied"),
            (Mail, "553 5.1.8 sender refused", "denied"),
            (Rcpt, "550 no such user", "bad address"),
            (Rcpt, "550 5.1.1 no such user", "bad address"),
            (Rcpt, "550 5.1.10 null MX", "bad address"),
            (Rcpt, "553 no such user", "bad address"),
            (Rcpt, "550 5.2.1 disabled", "bad address"),
            (Rcpt, "550 5.7.1 relaying denied", "dead"),
            (Rcpt, "550 5.2.2 over quota", "dead"),
            (Rcpt, "554 listed", "dead"),
            (Rcpt, "501 5.5.4 syntax", "dead"),
            (Rcpt, "503 5.5.1 MAIL first", "later, relay"),
            (Data, "554 no valid recipients", "dead"),
            (Data, "550 no", "dead"),
            (Data, "250 ok", "later, relay"),
            (End, "550 5.7.1 spam", "dead"),
            (End, "550 5.1.1 no such user after all", "bad address"),
            (End, "554 5.6.0 content", "dead"),
            (Rcpt, "354 go on", "later, relay"),
        ] {
            assert_eq!(kind(step, line), expected, "{step:?} {line}");
        }
    }

    #[test]
    fn that_a_server_minds_smtputf8_is_not_the_senders_fault() {
        let reply = Reply { code: 553, status: Some((5, 6, 7)), text: "5.6.7 no".into() };
        let outcome = refusal(Step::Mail, &reply, &"josé@example.org".parse().unwrap(), true);
        assert_eq!(outcome, Outcome::Permanent("MAIL FROM: 553 5.6.7 no".into()));
    }
}
