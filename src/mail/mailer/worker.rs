use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Deps, Options,
    destinations::{Admission, Destinations, Noted},
    leases::Leases,
    queue::Queue,
    retry,
    settler::Settled,
    span,
};
use crate::{
    domain::TraceParent,
    mail::{Message, Outcome, Scope},
    store::ledger::{Class, Mail, Reason, Verdict},
};

/// A mail is begun only while more than this part of its lease is left.
const LEASE_MARGIN: u32 = 4;
/// Composed in one go before others get the thread.
const COMPOSE_MAX: usize = 32;

/// Composes and delivers; as many run as the transport takes calls at once.
pub(super) struct Worker {
    pub(super) deps: Deps,
    pub(super) options: Options,
    pub(super) destinations: Destinations,
    pub(super) leases: Arc<Leases>,
    pub(super) done: mpsc::UnboundedSender<Settled>,
}

impl Worker {
    /// Runs until `halt`, and then finishes what it has begun.
    pub(super) async fn run(self, queue: Arc<Queue>, halt: CancellationToken) {
        let (batch_max, together) = (self.deps.transport.batch_max(), self.deps.transport.sends_together());
        while !halt.is_cancelled() {
            let batch = if together { queue.take_most(batch_max) } else { queue.take(batch_max) };
            if batch.is_empty() {
                tokio::select! {
                    biased;
                    () = halt.cancelled() => return,
                    () = queue.more() => {}
                }
            } else {
                self.send(batch, &queue).await;
            }
        }
    }

    async fn send(&self, mut batch: Vec<Mail>, queue: &Queue) {
        while !batch.is_empty() {
            if let Admission::Closed(pause) = self.destinations.admit() {
                for mail in batch {
                    let reason = Outcome::Unreachable("the destination is paused".into());
                    self.settle(&mail, reason, Noted { pause, stands: false });
                }
                return;
            }
            let (mut mails, messages) = self.compose(batch).await;
            if messages.is_empty() {
                return;
            }
            #[cfg(debug_assertions)]
            {
                let twice = messages.iter().filter(|message| crate::flaws::repeats(message.id.order.get()));
                self.deps.transport.deliver(twice.cloned().collect()).await;
            }
            let begun = self.deps.env.clock.monotonic();
            let outcomes = tokio::select! {
                biased;
                outcomes = self.deps.transport.deliver(messages) => outcomes,
                // the next holder of the lease decides; what this attempt did is unknown
                () = self.leases.lost(&mails) => {
                    warn!(mails = mails.len(), "no result before the lease ended");
                    for mail in mails {
                        self.begun(&mail);
                        let _ = self.done.send(Settled::Lost(mail.id)); // as in `end`
                    }
                    return;
                }
            };
            let time = self.deps.env.clock.monotonic().saturating_sub(begun);
            queue.note(outcomes.len(), time);
            // what was not begun goes on, or waits, by what became of the one before it
            batch = mails.split_off(outcomes.len());
            let mut struck = Vec::new();
            for (mail, outcome) in mails.iter().zip(outcomes) {
                self.begun(mail);
                self.deps.metrics.send_seconds.observe((time / mails.len() as u32).as_secs_f64());
                self.deps.metrics.failed(&outcome);
                let metrics = &self.deps.metrics;
                metrics.spans.add(mail.order.trace, |trace| {
                    let ended = self.deps.env.clock.exactly();
                    span::of(mail, &outcome, trace, metrics.spans.id(), ended.saturating_sub(time), time)
                });
                let noted = self.note(mail, &outcome, &mut struck);
                self.settle(mail, outcome, noted);
            }
        }
    }

    /// What a mail's outcome means for others. When several mails of one call fail in the same way, and through no fault of their own,
    /// that is one event: it counts against the relay or the domain once.
    fn note(&self, mail: &Mail, outcome: &Outcome, struck: &mut Vec<(Option<String>, Noted)>) -> Noted {
        let note = || self.destinations.note(mail.id, mail.recipient(), outcome);
        let domain = match outcome {
            Outcome::Ambiguous(_) | Outcome::Transient(Scope::Relay, _) => None,
            Outcome::Transient(Scope::Domain, _) => Some(mail.recipient().domain().to_lowercase()),
            _ => {
                struck.clear();
                return note();
            }
        };
        if let Some((_, noted)) = struck.iter().find(|(other, _)| *other == domain) {
            return *noted;
        }
        let noted = note();
        struck.push((domain, noted));
        noted
    }

    /// Counts an attempt that may repeat one before it.
    fn begun(&self, mail: &Mail) {
        if mail.ambiguous {
            self.deps.metrics.repeated.inc();
        }
    }

    /// The messages of those that can be sent.
    async fn compose(&self, batch: Vec<Mail>) -> (Vec<Mail>, Vec<Message>) {
        let (mut mails, mut messages) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let margin = self.options.lease / LEASE_MARGIN;
        for (i, mail) in batch.into_iter().enumerate() {
            // what cannot be sent in time is given back, which keeps it from counting as ambiguous
            if self.leases.left(&mail) <= margin {
                debug!(order.id = %mail.id.order, mail.seq = mail.id.seq, "the lease ends before the mail was begun");
                let _ = self.done.send(Settled::not_begun(&mail, self.deps.env.clock.now())); // as in `end`
                continue;
            }
            if let Some(suppressed) = &mail.suppressed {
                let text = format!("the address is suppressed since {}: {}", suppressed.at, suppressed.reason);
                self.end(&mail, Verdict::Dead(Reason::new(Class::Suppressed, text)));
                continue;
            }
            if let Some((pause, reason)) = self.destinations.wait_for(mail.recipient().domain()) {
                let reason = Outcome::Busy(format!("its domain is slowed down: {reason}"));
                self.settle(&mail, reason, Noted { pause, stands: false });
                continue;
            }
            match self.deps.composer.compose(&mail) {
                Err(e) => {
                    let reason = Reason::new(Class::Composing, format!("cannot be composed: {e}"));
                    self.end(&mail, Verdict::Dead(reason));
                }
                Ok(message) => {
                    mails.push(mail);
                    messages.push(message);
                }
            }
            if i % COMPOSE_MAX == COMPOSE_MAX - 1 {
                tokio::task::yield_now().await;
            }
        }
        (mails, messages)
    }

    /// Sends a mail's result to the settler.
    fn settle(&self, mail: &Mail, outcome: Outcome, noted: Noted) {
        self.end(mail, retry::verdict(mail, outcome, &self.deps.env, noted, &self.options));
    }

    fn end(&self, mail: &Mail, verdict: Verdict) {
        let metrics = &self.deps.metrics;
        let (order, seq, attempt) = (mail.id.order, mail.id.seq, mail.attempt);
        let trace_id = || mail.order.trace.map(TraceParent::trace_id);
        match &verdict {
            Verdict::Sent(reply) => {
                metrics.sent.inc();
                debug!(order.id = %order, mail.seq = seq, attempt, reply, trace_id = trace_id(), "mail sent");
            }
            Verdict::Retry(at, reason) => {
                metrics.retried.inc();
                debug!(order.id = %order, mail.seq = seq, attempt, %reason, %at, trace_id = trace_id(), "mail will be tried again");
            }
            Verdict::Unknown(at, reason) => {
                metrics.retried.inc();
                info!(order.id = %order, mail.seq = seq, attempt, %reason, %at, trace_id = trace_id(), "mail may be sent twice");
            }
            Verdict::Dead(reason) => {
                metrics.dead.inc();
                warn!(order.id = %order, mail.seq = seq, attempt, %reason, trace_id = trace_id(), "mail is dead");
            }
        }
        let _ = self.done.send(Settled::new(mail, verdict)); // the settler is gone only when the mailer fails as a whole
    }
}
