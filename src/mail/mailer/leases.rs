//! What this mailer has leased and not settled. Leases are short, so that others soon take over what a dead mailer held;
//! an attempt may last for as long as RFC 5321 gives a server. So leases are renewed, in the queue and under way.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::{info, warn};

use crate::{
    clock::{Clock, Monotonic},
    domain::Timestamp,
    store::{
        Ledger,
        ledger::{Mail, MailId},
    },
};

/// A lease is renewed when this part of it is over, which leaves time for further tries when the store is away.
const RENEW_AFTER: u32 = 4;
/// Such a further try comes after this part of it.
const RETRY_AFTER: u32 = 32;

pub(super) struct Leases {
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    length: Duration,
    held: Mutex<HashMap<MailId, Held>>,
}

#[derive(Clone, Copy)]
struct Held {
    attempt: u32,
    /// The end of the lease on the clock that the store compares.
    until: Timestamp,
    /// The same on the clock that does not jump.
    expires: Monotonic,
}

impl Leases {
    pub(super) fn new(ledger: Arc<dyn Ledger>, clock: Clock, length: Duration) -> Self {
        Self { ledger, clock, length, held: Mutex::default() }
    }

    /// Leases due mails.
    pub(super) async fn take(&self, limit: usize) -> crate::store::Result<Vec<Mail>> {
        let (now, until, expires) = self.span();
        let mails = self.ledger.lease(now, until, limit).await?;
        self.hold(&mails, until, expires);
        Ok(mails)
    }

    /// Mails that somebody else has leased for this mailer.
    pub(super) fn hold(&self, mails: &[Mail], until: Timestamp, expires: Monotonic) {
        self.held().extend(mails.iter().map(|mail| (mail.id, Held { attempt: mail.attempt, until, expires })));
    }

    /// What is left of a mail's lease; nothing when it has run out or is somebody else's.
    pub(super) fn left(&self, mail: &Mail) -> Duration {
        let held = self.held().get(&mail.id).copied().filter(|held| held.attempt == mail.attempt);
        held.map_or(Duration::ZERO, |Held { until, expires, .. }| {
            until.since(self.clock.now()).min(expires.saturating_sub(self.clock.monotonic()))
        })
    }

    /// Waits until the lease of one of these mails is lost.
    pub(super) async fn lost(&self, mails: &[Mail]) {
        loop {
            match mails.iter().map(|mail| self.left(mail)).min() {
                Some(left) if !left.is_zero() => self.clock.sleep(left).await,
                _ => return,
            }
        }
    }

    /// Forgets mails whose results are written, or that belong to somebody else.
    pub(super) fn release(&self, ids: impl IntoIterator<Item = MailId>) {
        let mut held = self.held();
        for id in ids {
            held.remove(&id);
        }
    }

    /// Renews what is held, for as long as it is polled. A store that is slow puts no renewal off.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let begun = self.clock.monotonic();
            let part = if self.renew().await { RENEW_AFTER } else { RETRY_AFTER };
            let due = begun + self.length / part;
            self.clock.sleep_until(due).await;
        }
    }

    /// Returns whether the store could do it.
    async fn renew(&self) -> bool {
        let (_, until, expires) = self.span();
        let begun = expires.saturating_sub(self.length / RENEW_AFTER);
        let aged = |held: &Held| held.expires <= begun;
        let attempts: Vec<_> =
            self.held().iter().filter(|(_, held)| aged(held)).map(|(id, held)| (*id, held.attempt)).collect();
        if attempts.is_empty() {
            return true;
        }
        let renewed: HashSet<MailId> = match self.ledger.renew(attempts.clone(), until).await {
            Ok(renewed) => renewed.into_iter().collect(),
            Err(error) => {
                warn!(%error, mails = attempts.len(), "leases of mails cannot be renewed now");
                return false;
            }
        };
        let mut held = self.held();
        for (id, attempt) in attempts {
            // it may have been settled meanwhile, or be another attempt already
            let Some(lease) = held.get_mut(&id).filter(|lease| lease.attempt == attempt) else { continue };
            if renewed.contains(&id) {
                (lease.until, lease.expires) = (until, expires);
            } else {
                held.remove(&id);
                info!(order.id = %id.order, mail.seq = id.seq, attempt, "the lease of a mail was lost");
            }
        }
        true
    }

    /// Now, and the end of a lease that begins now, on both clocks.
    fn span(&self) -> (Timestamp, Timestamp, Monotonic) {
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        (now, now + self.length, monotonic + self.length)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<MailId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner) // each change is one call on the map
    }
}
