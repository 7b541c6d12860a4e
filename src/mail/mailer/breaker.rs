use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tracing::{info, warn};

use super::retry;
use crate::clock::Monotonic;

/// Pauses a destination that cannot be reached, so that an outage costs one attempt a pause and not one a mail.
///
/// The first failure pauses; after the pause one mail is let through as a probe, whose end decides between going on
/// and a pause of twice the length.
pub(super) struct Breaker {
    state: Mutex<State>,
    pause_min: Duration,
    pause_max: Duration,
    gauge: Gauge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// Pauses in a row; 0 while the destination works.
    failures: u32,
    /// The end of the latest pause.
    until: Monotonic,
}

/// Whether mails may be leased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// As many as there is room for.
    Open,
    /// One, to see whether the destination is back.
    Probe,
    /// None for this long.
    Closed(Duration),
}

impl Breaker {
    pub(super) fn new(pause_min: Duration, pause_max: Duration, gauge: Gauge) -> Self {
        Self { state: Mutex::default(), pause_min, pause_max, gauge }
    }

    pub(super) fn admit(&self, now: Monotonic) -> Admission {
        let State { failures, until } = *self.state();
        match until.checked_sub(now) {
            _ if failures == 0 => Admission::Open,
            Some(rest) if rest > Duration::ZERO => Admission::Closed(rest),
            _ => Admission::Probe,
        }
    }

    /// The destination could not be reached; returns the time until the pause ends. Failures of what was begun before
    /// the pause do not prolong it.
    pub(super) fn failed(&self, now: Monotonic, reason: &str) -> Duration {
        let mut state = self.state();
        if state.failures == 0 || state.until <= now {
            let pause = retry::backoff(self.pause_min, self.pause_max, state.failures + 1);
            *state = State { failures: state.failures + 1, until: now + pause };
            self.gauge.set(1);
            warn!(reason, pause = ?pause, failures = state.failures, "mail is paused");
        }
        state.until.saturating_sub(now)
    }

    /// The destination answered: there is no pause.
    pub(super) fn succeeded(&self) -> Duration {
        let mut state = self.state();
        if state.failures > 0 {
            info!(failures = state.failures, "mail goes on");
            *state = State::default();
            self.gauge.set(0);
        }
        Duration::ZERO
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // it is assigned whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_costs_one_probe_a_pause() {
        let second = Duration::from_secs(1);
        let breaker = Breaker::new(second, 8 * second, Gauge::default());
        assert_eq!(breaker.admit(second), Admission::Open);
        let pause = breaker.failed(second, "refused");
        assert!(pause >= second && pause <= 2 * second, "{pause:?}");
        assert_eq!(breaker.admit(second), Admission::Closed(pause));
        assert_eq!(breaker.failed(second, "refused"), pause, "those in the air do not prolong it");
        let mut now = second + pause;
        for _ in 0..9 {
            assert_eq!(breaker.admit(now), Admission::Probe);
            let pause = breaker.failed(now, "refused");
            assert!(pause <= 8 * second, "{pause:?}");
            now += pause;
        }
        breaker.succeeded();
        assert_eq!(breaker.admit(now), Admission::Open);
        assert!(breaker.failed(now, "refused") <= 2 * second, "it starts anew");
    }
}
