use super::{Cause, Destinations};
use crate::domain::Timestamp;

/// How the destination fares, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The destination, without secrets: `smtp://relay.example:587`.
    pub name: String,
    /// Whether it takes mails.
    pub state: RelayState,
    /// Recipients' domains that are slowed down, those that wait longest first.
    pub domains: Vec<DomainState>,
}

/// Whether the destination takes mails. Reasons have no whole address in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayState {
    /// It does, as far as is known.
    Working,
    /// It is back from a pause, and no more than these mails are in flight.
    Returning(usize),
    /// It cannot be reached.
    Paused {
        /// What went wrong last.
        reason: String,
        /// Since when.
        since: Timestamp,
        /// When one mail will be tried.
        probe_at: Timestamp,
        /// Pauses in a row.
        failures: u32,
    },
    /// It wants none of our mails until somebody changes something: a password, a certificate, a sender, a right.
    Denied {
        /// What it said.
        reason: String,
        /// Since when.
        since: Timestamp,
        /// When one mail will be tried.
        probe_at: Timestamp,
        /// Refusals in a row.
        failures: u32,
    },
}

/// A recipients' domain that is slowed down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainState {
    /// The domain.
    pub domain: String,
    /// What it said last.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When one mail will be tried.
    pub probe_at: Timestamp,
    /// Slow-downs in a row.
    pub failures: u32,
}

impl Destinations {
    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        let (now, monotonic) = (self.0.env.clock.now(), self.0.env.clock.monotonic());
        let state = self.state();
        let at = |until: crate::clock::Monotonic| now + until.saturating_sub(monotonic);
        let mut domains: Vec<_> = state
            .domains
            .iter()
            .filter(|(_, domain)| domain.failures > 0)
            .map(|(name, domain)| DomainState {
                domain: name.to_string(),
                reason: domain.reason.clone(),
                since: domain.since,
                probe_at: at(domain.until),
                failures: domain.failures,
            })
            .collect();
        domains.sort_by(|a, b| (b.probe_at, &a.domain).cmp(&(a.probe_at, &b.domain)));
        let relay = &state.relay;
        let (reason, since, probe_at, failures) = (relay.reason.clone(), relay.since, at(relay.until), relay.failures);
        let state = match (failures, relay.cause, relay.window) {
            (0, _, None) => RelayState::Working,
            (0, _, Some(window)) => RelayState::Returning(window),
            (_, Cause::Away, _) => RelayState::Paused { reason, since, probe_at, failures },
            (_, Cause::Denied | Cause::Refused, _) => RelayState::Denied { reason, since, probe_at, failures },
        };
        Snapshot { name: self.0.name.clone(), state, domains }
    }
}
