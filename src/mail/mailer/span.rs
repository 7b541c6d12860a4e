//! An attempt to send a mail as a span of its order's trace.

use std::time::Duration;

use crate::{
    domain::{SpanId, TraceParent},
    mail::{Outcome, metrics::reason},
    spans::{Kind, Span},
    store::ledger::Mail,
};

/// Of an attempt with that outcome. What servers say quotes addresses, so only their codes are told.
pub(super) fn of(
    mail: &Mail,
    outcome: &Outcome,
    trace: TraceParent,
    id: SpanId,
    begun: Duration,
    took: Duration,
) -> Span {
    let failure = reason(outcome);
    let mut attributes = vec![
        ("encargo.order.id", mail.id.order.get().into()),
        ("encargo.order.state", mail.estado.to_string().into()),
        ("encargo.mail.seq", u32::from(mail.id.seq).into()),
        ("encargo.mail.attempt", mail.attempt.into()),
        ("encargo.mail.result", failure.unwrap_or("sent").into()),
    ];
    if let Some(code) = code(said(outcome)) {
        attributes.push(("network.protocol.name", "smtp".into()));
        attributes.push(("encargo.mail.reply_code", code.into()));
    }
    Span {
        id,
        parent: Some(trace.event(mail.id.order, mail.id.seq)),
        kind: Kind::Client,
        name: format!("mail {}", mail.template).into(),
        begun,
        took,
        attributes,
        failure: failure.map(Into::into),
    }
}

fn said(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Sent(text)
        | Outcome::Transient(_, text)
        | Outcome::Busy(text)
        | Outcome::Unreachable(text)
        | Outcome::Denied(text)
        | Outcome::Permanent(text)
        | Outcome::Ambiguous(text) => text,
        Outcome::Refused(refusal) => &refusal.text,
    }
}

/// A reply's code, which stands at the beginning, or behind the command that it answers.
fn code(text: &str) -> Option<u32> {
    let is_code = |word: &&str| {
        word.len() == 3 && matches!(word.as_bytes(), [b'2'..=b'5', rest @ ..] if rest.iter().all(u8::is_ascii_digit))
    };
    text.split_whitespace().take(4).find(is_code)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_attempt_says_why_and_names_nobody() {
        let mail = crate::store::handover::tests::mail(2);
        let trace = TraceParent::from_random([7; 24]);
        let said = "RCPT TO: 550 5.1.1 <ana@example.org>: no such user".to_owned();
        let (begun, took) = (Duration::from_secs(5), Duration::from_millis(3));
        let span = of(&mail, &Outcome::Permanent(said), trace, [1; 8], begun, took);
        assert_eq!((span.failure.as_deref(), span.begun, span.took), (Some("refused"), begun, took));
        assert!(span.attributes.contains(&("encargo.mail.result", "refused".into())), "{span:?}");
        assert!(span.attributes.contains(&("encargo.mail.reply_code", 550_u32.into())), "{span:?}");
        assert!(!format!("{span:?}").contains("example.org"), "{span:?}");
        let sent = of(&mail, &Outcome::Sent("250 2.0.0 Ok".into()), trace, [1; 8], begun, took);
        assert_eq!((sent.failure, sent.parent), (None, span.parent));
    }

    #[test]
    fn replies_have_codes() {
        for (text, expected) in [
            ("250 2.0.0 Ok: queued as 4F1", Some(250)),
            ("RCPT TO: 550 5.1.1 <ana@example.org>: no such user", Some(550)),
            ("end of mail: 451 try later", Some(451)),
            ("new/1764000000.M1.1", None),
            ("nothing listens there (os error 111)", None),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }
}
