use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Deps, Options,
    destinations::{Admission, Destinations, Noted},
    leases::Leases,
    retry,
    settler::Settled,
};
use crate::{
    mail::{Message, Outcome},
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
    pub(super) async fn run(self, queue: Arc<Mutex<mpsc::Receiver<Mail>>>, halt: CancellationToken) {
        let batch_max = self.deps.transport.batch_max();
        let mut batch = Vec::with_capacity(batch_max);
        loop {
            let take = async { queue.lock().await.recv_many(&mut batch, batch_max).await };
            let taken = tokio::select! {
                biased;
                () = halt.cancelled() => 0,
                taken = take => taken,
            };
            if taken == 0 {
                return;
            }
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    async fn send(&self, batch: Vec<Mail>) {
        if let Admission::Closed(pause) = self.destinations.admit() {
            for mail in batch {
                let reason = Outcome::Unreachable("the destination is paused".into());
                self.settle(&mail, reason, Noted { pause, stands: false });
            }
            return;
        }
        let (mails, messages) = self.compose(batch).await;
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
                    let _ = self.done.send(Settled::Lost(mail.id)); // as in `end`
                }
                return;
            }
        };
        let seconds = self.deps.env.clock.monotonic().saturating_sub(begun).as_secs_f64();
        self.deps.metrics.send_seconds.observe(seconds);
        for (mail, outcome) in mails.iter().zip(outcomes) {
            self.deps.metrics.failed(&outcome);
            let noted = self.destinations.note(mail.id, mail.recipient(), &outcome);
            self.settle(mail, outcome, noted);
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
                    if mail.ambiguous {
                        self.deps.metrics.repeated.inc();
                    }
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
        match &verdict {
            Verdict::Sent(reply) => {
                metrics.sent.inc();
                debug!(order.id = %order, mail.seq = seq, attempt, reply, "mail sent");
            }
            Verdict::Retry(at, reason) => {
                metrics.retried.inc();
                debug!(order.id = %order, mail.seq = seq, attempt, %reason, %at, "mail will be tried again");
            }
            Verdict::Unknown(at, reason) => {
                metrics.retried.inc();
                info!(order.id = %order, mail.seq = seq, attempt, %reason, %at, "mail may be sent twice");
            }
            Verdict::Dead(reason) => {
                metrics.dead.inc();
                warn!(order.id = %order, mail.seq = seq, attempt, %reason, "mail is dead");
            }
        }
        let _ = self.done.send(Settled::new(mail, verdict)); // the settler is gone only when the mailer fails as a whole
    }
}
