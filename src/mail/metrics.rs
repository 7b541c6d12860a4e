use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{About, Outcome};
use crate::spans::Spans;

/// The mailer's metrics; a cheap handle.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Attempts that were accepted.
    pub sent: Counter,
    /// Attempts that will be repeated later.
    pub retried: Counter,
    /// Attempts that ended in a dead letter.
    pub dead: Counter,
    /// Attempts made although an earlier one may have been accepted; counted besides their own result.
    pub repeated: Counter,
    /// Mails leased and not settled yet.
    pub in_flight: Gauge,
    /// Time from hand-over to the answer, per call of the transport.
    pub send_seconds: Histogram,
    /// 1 while the destination cannot be reached.
    pub paused: Gauge,
    /// Recipients' domains that are slowed down.
    pub slowed: Gauge,
    failures: Family<[(&'static str, &'static str); 1], Counter>,
    /// Where attempts are told of, too.
    pub spans: Spans,
}

impl Metrics {
    /// Makes the metrics and adds them, by their full names, to a registry without prefix.
    pub fn register(registry: &mut Registry) -> Self {
        let mails = Family::<[(&str, &str); 1], Counter>::default();
        let result = |name| mails.get_or_create(&[("result", name)]).clone();
        let new = Self {
            sent: result("sent"),
            retried: result("retried"),
            dead: result("dead"),
            repeated: result("repeated"),
            in_flight: Gauge::default(),
            // from a loopback server's 0.1 ms to a patient relay's minute
            send_seconds: Histogram::new([0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]),
            paused: Gauge::default(),
            slowed: Gauge::default(),
            failures: Family::default(),
            spans: Spans::default(),
        };
        registry.register("encargo_mails", "Attempts to send a mail, by result", mails);
        registry.register("encargo_mails_in_flight", "Mails leased and not settled yet", new.in_flight.clone());
        let seconds = new.send_seconds.clone();
        registry.register("encargo_mail_send_duration_seconds", "Time from hand-over to the answer", seconds);
        let paused = new.paused.clone();
        registry.register("encargo_mail_paused", "1 while the destination cannot be reached", paused);
        let slowed = new.slowed.clone();
        registry.register("encargo_mail_domains_slowed", "Recipients' domains that are slowed down", slowed);
        let failures = new.failures.clone();
        for reason in ["deferred", "busy", "unreachable", "denied", "address", "refused", "unanswered"] {
            drop(failures.get_or_create(&[("reason", reason)])); // so that a rise from nothing is seen
        }
        registry.register("encargo_mail_failures", "Attempts that did not end in acceptance, by reason", failures);
        new
    }

    /// Tells of attempts there, too.
    #[must_use]
    pub fn spanning(self, spans: &Spans) -> Self {
        Self { spans: spans.clone(), ..self }
    }

    /// Counts an attempt that was not accepted.
    pub fn failed(&self, outcome: &Outcome) {
        if let Some(reason) = reason(outcome) {
            self.failures.get_or_create(&[("reason", reason)]).inc();
        }
    }
}

/// Why an attempt was not accepted, as a word of few.
pub(super) fn reason(outcome: &Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::Sent(_) => return None,
        Outcome::Transient(..) => "deferred",
        Outcome::Busy(_) => "busy",
        Outcome::Unreachable(_) => "unreachable",
        Outcome::Denied(_) => "denied",
        Outcome::Refused(refusal) => match refusal.about {
            About::All | About::Us => "denied",
            About::Mailbox => "address",
            About::Unclear => "refused",
        },
        Outcome::Permanent(_) => "refused",
        Outcome::Ambiguous(_) => "unanswered",
    })
}
