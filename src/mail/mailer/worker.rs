use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Deps, Options,
    destinations::{Admission, Destinations, Noted},
    retry,
    settler::Settled,
};
use crate::{
    clock::Monotonic,
    domain::Timestamp,
    mail::{Message, Outcome},
    store::ledger::{Class, Mail, Reason, Settlement, Verdict},
};

/// A mail is begun only while more than this part of its lease is left.
const LEASE_MARGIN: u32 = 4;
/// Composed in one go before others get the thread.
const COMPOSE_MAX: usize = 32;

/// A mail and how long it may be sent.
pub(super) struct Leased {
    pub(super) mail: Mail,
    /// The end of the lease on the clock that the store compares.
    pub(super) until: Timestamp,
    /// The same on the clock that does not jump.
    pub(super) expires: Monotonic,
}

impl Leased {
    /// Gives a mail back that was not begun.
    pub(super) fn hand_back(self, now: Timestamp) -> Settled {
        settled(&self.mail, Verdict::Retry(now, Reason::new(Class::Stopped, "not begun in time")))
    }
}

/// Composes and delivers; as many run as the transport takes calls at once.
pub(super) struct Worker {
    deps: Deps,
    options: Options,
    destinations: Destinations,
    done: mpsc::UnboundedSender<Settled>,
}

impl Worker {
    pub(super) fn new(
        deps: Deps,
        options: Options,
        destinations: Destinations,
        done: mpsc::UnboundedSender<Settled>,
    ) -> Self {
        Self { deps, options, destinations, done }
    }

    /// Runs until `halt`, and then finishes what it has begun.
    pub(super) async fn run(self, queue: Arc<Mutex<mpsc::Receiver<Leased>>>, halt: CancellationToken) {
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

    async fn send(&self, batch: Vec<Leased>) {
        if let Admission::Closed(pause) = self.destinations.admit() {
            for leased in batch {
                let reason = Outcome::Unreachable("the destination is paused".into());
                self.settle(&leased.mail, reason, Noted { pause, stands: false });
            }
            return;
        }
        let (mails, messages, expires) = self.compose(batch).await;
        if messages.is_empty() {
            return;
        }
        let begun = self.deps.clock.monotonic();
        let outcomes = tokio::select! {
            outcomes = self.deps.transport.deliver(messages) => outcomes,
            // the next holder of the lease decides; what this attempt did is unknown
            () = self.deps.clock.sleep(expires.saturating_sub(begun)) => {
                warn!(mails = mails.len(), "no result before the lease ended");
                for _ in mails {
                    self.release();
                }
                return;
            }
        };
        let seconds = self.deps.clock.monotonic().saturating_sub(begun).as_secs_f64();
        self.deps.metrics.send_seconds.observe(seconds);
        for (mail, outcome) in mails.iter().zip(outcomes) {
            self.deps.metrics.failed(&outcome);
            let noted = self.destinations.note(mail.id, &mail.order.email, &outcome);
            self.settle(mail, outcome, noted);
        }
    }

    /// The messages of those that can be sent, and the end of the first lease among them.
    async fn compose(&self, batch: Vec<Leased>) -> (Vec<Mail>, Vec<Message>, Monotonic) {
        let (mut mails, mut messages) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut first = Monotonic::MAX;
        let margin = self.options.lease / LEASE_MARGIN;
        let (now, monotonic) = (self.deps.clock.now(), self.deps.clock.monotonic());
        for (i, Leased { mail, until, expires }) in batch.into_iter().enumerate() {
            // what cannot be sent in time is given back, which keeps it from counting as ambiguous
            if now + margin >= until || monotonic + margin >= expires {
                debug!(order.id = %mail.id.order, mail.seq = mail.id.seq, "the lease ends before the mail was begun");
                let _ = self.done.send(Leased { mail, until, expires }.hand_back(now)); // as in `settle`
                continue;
            }
            if let Some(suppressed) = &mail.suppressed {
                let text = format!("the address is suppressed since {}: {}", suppressed.at, suppressed.reason);
                self.end(&mail, Verdict::Dead(Reason::new(Class::Suppressed, text)));
                continue;
            }
            if let Some((pause, reason)) = self.destinations.wait_for(mail.order.email.domain()) {
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
                    first = first.min(expires);
                    mails.push(mail);
                    messages.push(message);
                }
            }
            if i % COMPOSE_MAX == COMPOSE_MAX - 1 {
                tokio::task::yield_now().await;
            }
        }
        (mails, messages, first)
    }

    /// Sends a mail's result to the settler.
    fn settle(&self, mail: &Mail, outcome: Outcome, noted: Noted) {
        self.end(mail, retry::verdict(mail, outcome, self.deps.clock.now(), noted, &self.options));
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
        let _ = self.done.send(settled(mail, verdict)); // the settler is gone only when the mailer fails as a whole
    }

    /// A mail leaves the air without a result.
    fn release(&self) {
        let _ = self.done.send(Settled(None)); // as above
    }
}

fn settled(mail: &Mail, verdict: Verdict) -> Settled {
    Settled(Some(Settlement { id: mail.id, attempt: mail.attempt, verdict }))
}
