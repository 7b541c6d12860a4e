use std::time::Duration;

use super::{POLL, Scenario};
use crate::{
    forecast::{BUCKET, Forecast, PAST, TooShort, WEEK},
    role::Role,
    scale::{Observed, Scaler},
};

/// How the number of instances is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// As many as the busiest five minutes take, always.
    Fixed,
    /// By what comes and waits.
    Reactive,
    /// By the forecast alone.
    Forecast,
    /// By the forecast and by what comes and waits, whichever wants more.
    Both,
    /// By what will come: nobody can, but nobody can do better.
    Oracle,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fixed, Self::Reactive, Self::Forecast, Self::Both, Self::Oracle];

    /// For programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Reactive => "reactive",
            Self::Forecast => "forecast",
            Self::Both => "forecast+lag",
            Self::Oracle => "oracle",
        }
    }

    const fn foretells(self) -> bool {
        matches!(self, Self::Forecast | Self::Both)
    }
}

/// A policy at work.
pub(super) struct Chooser<'a> {
    policy: Policy,
    scenario: &'a Scenario<'a>,
    scaler: Scaler,
    /// What is foretold, with the bucket at which its past ends.
    forecast: Option<(usize, Forecast)>,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(policy: Policy, scenario: &'a Scenario<'a>) -> Result<Self, TooShort> {
        let mut chooser =
            Self { policy, scenario, scaler: Scaler::new(Role::Fulfilment, &scenario.settings()), forecast: None };
        chooser.foretell(scenario.from)?;
        Ok(chooser)
    }

    /// How many there are when it begins: all of them choose what is right then.
    pub(super) fn first(&self) -> u32 {
        match self.policy {
            Policy::Fixed => self.most(),
            _ => self.enough(self.scenario.rate(self.scenario.from)),
        }
    }

    /// How many are wanted by what is seen in a bucket.
    pub(super) fn wanted(&mut self, seen: Observed, bucket: usize, now: Duration) -> Result<u32, TooShort> {
        self.foretell(bucket)?;
        let ahead = self.ahead(bucket, now);
        let seen = match self.policy {
            Policy::Fixed => return Ok(self.most()),
            Policy::Reactive => seen,
            Policy::Both => Observed { arriving: seen.arriving.max(ahead), ..seen },
            Policy::Forecast | Policy::Oracle => {
                Observed { arriving: ahead, shares: seen.shares, ..Observed::default() }
            }
        };
        Ok(self.scaler.decide(seen, now).wanted)
    }

    /// Renews the forecast with each bucket, and its trial on the past with each week.
    fn foretell(&mut self, bucket: usize) -> Result<(), TooShort> {
        let Scenario { history, special, from, .. } = self.scenario;
        if !self.policy.foretells() || self.forecast.as_ref().is_some_and(|(end, _)| *end == bucket) {
            return Ok(());
        }
        let past = history.window(bucket, PAST);
        let forecast = match &self.forecast {
            Some((_, forecast)) if !(bucket - from).is_multiple_of(WEEK) => forecast.moved_on(&past, special),
            _ => Forecast::new(&past, special)?,
        };
        self.forecast = Some((bucket, forecast));
        Ok(())
    }

    /// The highest rate until an instance that is started at the next look would work.
    fn ahead(&self, bucket: usize, now: Duration) -> f64 {
        let rules = &self.scenario.rules;
        let until = now + rules.start + rules.pause + Duration::from_secs(POLL);
        let last = self.scenario.from + (until.as_secs() / BUCKET.as_secs()) as usize;
        let rate = |at: usize| match &self.forecast {
            Some((_, forecast)) => forecast.expected(at - bucket).p90 / BUCKET.as_secs_f64(),
            None => self.scenario.rate(at),
        };
        (bucket..=last).map(rate).fold(0.0, f64::max)
    }

    fn most(&self) -> u32 {
        let rates = (self.scenario.from..self.scenario.history.len()).map(|bucket| self.scenario.rate(bucket));
        self.enough(rates.fold(0.0, f64::max))
    }

    fn enough(&self, rate: f64) -> u32 {
        let able = self.scenario.capacity * self.scenario.rules.load;
        ((rate / able).ceil() as u32).clamp(1, self.scenario.partitions)
    }
}
