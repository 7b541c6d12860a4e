//! How the destination and the recipients' domains behind it fare, and what may be sent to them now.
//!
//! An outage of the destination costs one attempt a pause, not one a mail: what cannot be reached pauses, and after the
//! pause one mail is let through as a probe. When it gets through, the number of mails in flight grows from one
//! again, so that a server that has just come back is not run over. A recipient's domain that is busy is slowed down
//! alone, the others go on. A refusal for good is believed only beside mails that are taken ([`Evidence`]); what everybody
//! is told pauses the destination as well.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tracing::{error, info, warn};

use super::{
    Options,
    backoff::backoff,
    evidence::{Evidence, Judgement},
};
use crate::{
    clock::Monotonic,
    domain::{EmailAddress, Timestamp},
    env::Env,
    mail::{Outcome, Refusal, Scope},
    store::ledger::MailId,
};

mod snapshot;

pub use snapshot::{DomainState, RelayState, Snapshot};

/// So many failures that may be the relay's, or the domain's, without anything getting through in between, are.
const STRIKES: u32 = 3;
/// A destination that takes so many mails at once after a pause is back.
const WINDOW_MAX: usize = 64;
/// Domains in trouble that are remembered; beyond that the one that may be tried soonest is forgotten.
const DOMAINS_MAX: usize = 1_024;

/// The state of the destination; a cheap handle that the mailer and the operations page share.
#[derive(Clone)]
pub struct Destinations(Arc<Inner>);

struct Inner {
    name: String,
    env: Env,
    options: Options,
    paused: Gauge,
    slowed: Gauge,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    relay: Relay,
    evidence: Evidence,
    domains: HashMap<Box<str>, Domain>,
}

#[derive(Default)]
struct Relay {
    /// Failures in a row that may be its own.
    strikes: u32,
    /// Pauses in a row; 0 while it works.
    failures: u32,
    /// The end of the latest pause.
    until: Monotonic,
    since: Timestamp,
    reason: String,
    cause: Cause,
    /// After a pause: how many mails may be in flight.
    window: Option<usize>,
}

/// Why the destination is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Cause {
    /// It cannot be reached.
    #[default]
    Away,
    /// Authentication failed: somebody has to change something. Often enough tried, an account gets locked.
    Denied,
    /// It takes our login and none of our mails: somebody has to change something here, too, but asking costs nothing.
    Refused,
}

/// What a mail's outcome means for others and, when it was refused, for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted {
    /// How long to leave the destination, or the domain, alone.
    pub(super) pause: Duration,
    /// A refusal is believed: the mail is dead.
    pub(super) stands: bool,
}

/// A recipients' domain in trouble.
#[derive(Default)]
struct Domain {
    strikes: u32,
    failures: u32,
    until: Monotonic,
    since: Timestamp,
    reason: String,
    /// After a pause one mail is on its way; what becomes of it decides.
    probing: bool,
}

/// Whether mails may be leased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// As long as no more than these are in flight.
    Open(usize),
    /// One, to see whether the destination is back.
    Probe,
    /// None for this long.
    Closed(Duration),
}

impl Destinations {
    pub(super) fn new(name: String, env: Env, options: Options, [paused, slowed]: [Gauge; 2]) -> Self {
        Self(Arc::new(Inner { name, env, options, paused, slowed, state: Mutex::default() }))
    }

    /// Whether mails may be sent at all.
    pub(super) fn admit(&self) -> Admission {
        let Relay { failures, until, window, .. } = self.state().relay;
        match until.checked_sub(self.0.env.clock.monotonic()) {
            _ if failures == 0 => Admission::Open(window.unwrap_or(usize::MAX)),
            Some(rest) if rest > Duration::ZERO => Admission::Closed(rest),
            _ => Admission::Probe,
        }
    }

    /// How long a mail to this domain has to wait, with the reason; `None` when it may go.
    pub(super) fn wait_for(&self, domain: &str) -> Option<(Duration, String)> {
        let mut state = self.state();
        if state.domains.is_empty() {
            return None;
        }
        let domain = state.domains.get_mut(&*domain.to_lowercase()).filter(|domain| domain.failures > 0)?;
        let now = self.0.env.clock.monotonic();
        let pause = self.pause(domain.failures);
        match domain.until.checked_sub(now) {
            // spread, so that they do not all come back in one moment
            Some(rest) if rest > Duration::ZERO => {
                Some((rest + self.0.env.random.spread(pause), domain.reason.clone()))
            }
            _ => {
                // this one is the probe: the others wait for what becomes of it
                domain.until = now + pause;
                domain.probing = true;
                None
            }
        }
    }

    /// Notes how a mail ended.
    pub(super) fn note(&self, mail: MailId, to: &EmailAddress, outcome: &Outcome) -> Noted {
        if let Outcome::Refused(refusal) = outcome {
            return self.note_refusal(mail, to, refusal);
        }
        let domain = to.domain();
        let mut state = self.state();
        let pause = match outcome {
            Outcome::Sent(_) => {
                state.evidence.took(mail, domain, self.0.env.clock.monotonic());
                self.works(&mut state.relay);
                self.domain_works(&mut state, domain);
                Duration::ZERO
            }
            Outcome::Refused(_) | Outcome::Permanent(_) | Outcome::Transient(Scope::Mail, _) => {
                self.works(&mut state.relay);
                Duration::ZERO
            }
            Outcome::Transient(Scope::Domain, reason) => {
                self.works(&mut state.relay);
                self.domain_failed(&mut state, domain, reason, false)
            }
            Outcome::Busy(reason) => {
                let pause = self.domain_failed(&mut state, domain, reason, true);
                // when it says so whatever the domain, it speaks for itself
                pause.max(self.strike(&mut state.relay, reason))
            }
            Outcome::Transient(Scope::Relay, reason) | Outcome::Ambiguous(reason) => {
                self.strike(&mut state.relay, reason)
            }
            Outcome::Unreachable(reason) => self.failed(&mut state.relay, reason, Cause::Away),
            Outcome::Denied(reason) => self.failed(&mut state.relay, reason, Cause::Denied),
        };
        Noted { pause, stands: false }
    }

    fn note_refusal(&self, mail: MailId, to: &EmailAddress, refusal: &Refusal) -> Noted {
        let mut state = self.state();
        let judgement = state.evidence.judge(mail, to, refusal, self.0.env.clock.monotonic());
        // a probe that is refused is no sign that others would be taken
        let goes_on = state.relay.failures > 0 && state.relay.cause == Cause::Refused;
        let pause = match judgement {
            Judgement::HoldAll => self.failed(&mut state.relay, &refusal.text, Cause::Refused),
            Judgement::Hold | Judgement::HoldDomain if goes_on => {
                self.failed(&mut state.relay, &refusal.text, Cause::Refused)
            }
            Judgement::HoldDomain => {
                self.works(&mut state.relay);
                self.domain_failed(&mut state, to.domain(), &refusal.text, true)
            }
            Judgement::Hold | Judgement::Stands => {
                self.works(&mut state.relay);
                Duration::ZERO
            }
        };
        Noted { pause, stands: judgement == Judgement::Stands }
    }

    fn works(&self, relay: &mut Relay) {
        relay.strikes = 0;
        if relay.failures > 0 {
            info!(failures = relay.failures, "mail resumes");
            *relay = Relay { window: Some(1), ..Relay::default() };
            self.0.paused.set(0);
        }
        // grows with every mail that gets through, so it doubles with every round of them
        relay.window = relay.window.map(|window| window + 1).filter(|window| *window < WINDOW_MAX);
    }

    fn strike(&self, relay: &mut Relay, reason: &str) -> Duration {
        relay.strikes += 1;
        // a probe that fails in whatever way is an answer
        if relay.strikes >= STRIKES || relay.failures > 0 {
            return self.failed(relay, reason, relay.cause);
        }
        Duration::ZERO
    }

    /// Failures of what was begun before a pause do not prolong it.
    fn failed(&self, relay: &mut Relay, reason: &str, cause: Cause) -> Duration {
        let now = self.0.env.clock.monotonic();
        if relay.failures == 0 || relay.until <= now {
            let Options { retry_min, retry_max, pause_max, denied_pause, .. } = self.0.options;
            let (failures, random) = (relay.failures + 1, &self.0.env.random);
            let pause = match cause {
                Cause::Away => backoff(random, retry_min, pause_max, failures),
                Cause::Denied => denied_pause,
                Cause::Refused => backoff(random, retry_min, denied_pause.min(retry_max), failures),
            };
            let since = if relay.failures == 0 { self.0.env.clock.now() } else { relay.since };
            let until = now + pause;
            *relay = Relay { strikes: 0, failures, until, since, reason: reason.to_owned(), cause, window: None };
            self.0.paused.set(1);
            match cause {
                Cause::Away => warn!(reason, ?pause, failures, "mail is paused"),
                Cause::Denied => {
                    error!(reason, ?pause, failures, "mail is paused: the settings here or at the relay need a change");
                }
                // each probe says the same: once is enough
                Cause::Refused if failures == 1 => {
                    error!(
                        reason,
                        ?pause,
                        "mail is paused: the server refuses every recipient, so it is refusing this sender"
                    );
                }
                Cause::Refused => warn!(reason, ?pause, failures, "mail is still refused for every recipient"),
            }
        }
        relay.until.saturating_sub(now)
    }

    fn domain_failed(&self, state: &mut State, name: &str, reason: &str, at_once: bool) -> Duration {
        let (now, wall) = (self.0.env.clock.monotonic(), self.0.env.clock.now());
        make_room(&mut state.domains, name);
        let domain = state.domains.entry(name.to_lowercase().into()).or_default();
        domain.strikes += 1;
        reason.clone_into(&mut domain.reason);
        let slow = match domain.failures {
            0 => at_once || domain.strikes >= STRIKES,
            // failures of what was begun before the pause do not prolong it
            _ => domain.probing || domain.until <= now,
        };
        if slow {
            if domain.failures == 0 {
                domain.since = wall;
                info!(domain = name, reason, "a domain is slowed down");
            }
            domain.failures += 1;
            domain.until = now + self.pause(domain.failures);
            domain.probing = false;
        }
        let wait = if domain.failures > 0 { domain.until.saturating_sub(now) } else { Duration::ZERO };
        self.count_slowed(state);
        wait
    }

    fn domain_works(&self, state: &mut State, name: &str) {
        if state.domains.is_empty() {
            return;
        }
        if state.domains.remove(&*name.to_lowercase()).is_some_and(|domain| domain.failures > 0) {
            info!(domain = name, "a domain accepts mails again");
        }
        self.count_slowed(state);
    }

    /// Without the jitter: what waits is spread over a pause's length anyway.
    fn pause(&self, failures: u32) -> Duration {
        let Options { retry_min, retry_max, .. } = self.0.options;
        retry_min.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(retry_max).max(retry_min)
    }

    fn count_slowed(&self, state: &State) {
        self.0.slowed.set(state.domains.values().filter(|domain| domain.failures > 0).count() as i64);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner) // each change of it is whole or harmless
    }
}

/// Forgets a domain when there are too many: those that are hardly in trouble first.
fn make_room(domains: &mut HashMap<Box<str>, Domain>, name: &str) {
    if domains.len() < DOMAINS_MAX || domains.contains_key(&*name.to_lowercase()) {
        return;
    }
    let soonest = domains.iter().min_by_key(|(_, domain)| (domain.failures > 0, domain.until));
    if let Some(soonest) = soonest.map(|(name, _)| name.clone()) {
        domains.remove(&soonest);
    }
}

#[cfg(test)]
mod tests;
