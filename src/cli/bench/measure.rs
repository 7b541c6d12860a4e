//! A load on a system, watched from its first order to its last mail.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::system::{Audit, Reading, System, waiting};
use crate::{
    bench::load::{Customers, Load, Outcome, Pace, Progress},
    cli::output::StatusLine,
};

/// Between two samples at least, and how many there are at most while orders come.
const SAMPLE_MIN: Duration = Duration::from_millis(250);
const SAMPLES_MAX: u32 = 120;

/// How the system stood at a time. Counts are since the load began.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// Seconds since the load began.
    pub at: f64,
    /// Orders acknowledged; those refused or without an answer.
    pub accepted: u64,
    pub failed: u64,
    /// Orders through all their states.
    pub finished: f64,
    /// Mails that arrived.
    pub mails: u64,
    /// Orders in flight; records that a consumer is behind; mails that wait.
    pub in_flight: f64,
    pub behind: f64,
    pub waiting: f64,
    /// CPU seconds, and bytes of memory; 0 where the process cannot be seen.
    pub cpu: f64,
    pub memory: u64,
}

/// All that was seen.
pub(super) struct Measured {
    pub outcome: Outcome,
    pub samples: Vec<Sample>,
    /// At the beginning, when the last order was placed, and when all was over.
    pub before: Reading,
    pub loaded: Reading,
    pub after: Reading,
    /// Seconds from the first order to the last, and until all was over.
    pub seconds: f64,
    pub seconds_all: f64,
    /// What the auditor found, or why it could not look.
    pub audit: Result<Audit, String>,
}

/// What is done to the system.
#[derive(Clone)]
pub(super) struct Trial {
    pub customers: Customers,
    pub pace: Pace,
    pub connections: usize,
    /// How long the load takes about, for the pace of the samples.
    pub about: Duration,
    /// Longest wait until all is over.
    pub settle: Duration,
}

impl Trial {
    pub(super) fn load(&self, system: &System) -> Load {
        Load {
            host: system.host.clone(),
            connections: self.connections,
            ..Load::new(system.intakes.clone(), self.customers.clone(), self.pace.clone())
        }
    }

    /// Runs the load, waits until all is over, and lets the auditor look.
    pub(super) async fn run(&self, system: &System) -> Result<Measured> {
        let status = StatusLine::new();
        let (before, began) = (system.read().await?, Instant::now());
        let (outcome, samples) = self.watched(system, &before, &status).await?;
        let (loaded, seconds) = (system.read().await?, began.elapsed().as_secs_f64());
        if let Some(complaint) = outcome.complaint() {
            bail!("the system does not take these orders: {complaint}");
        }
        let tell = |in_flight, mails| {
            status.show(&format!("all placed; {in_flight} orders in flight, {mails} mails wait"));
        };
        let orders = before.scrape.value("encargo_orders{state=\"accepted\"}") + outcome.accepted().count() as f64;
        let is_over = system.settle(orders, self.settle, tell).await?;
        let (after, seconds_all) = (system.read().await?, began.elapsed().as_secs_f64());
        status.show("the auditor recounts log, store and mails");
        let audit = system
            .audit(outcome.acknowledged(&self.customers), &self.customers, is_over)
            .await
            .map_err(|error| format!("{error:#}"));
        Ok(Measured { outcome, samples, before, loaded, after, seconds, seconds_all, audit })
    }

    async fn watched(&self, system: &System, before: &Reading, status: &StatusLine) -> Result<(Outcome, Vec<Sample>)> {
        let (progress, stop, began) = (Arc::<Progress>::default(), CancellationToken::new(), Instant::now());
        let guard = stop.clone().drop_guard();
        let mut running = tokio::spawn(self.load(system).run(progress.clone(), stop));
        let every = (self.about / SAMPLES_MAX).max(SAMPLE_MIN);
        let mut samples = vec![sample(before, before, &progress, began)];
        let outcome = loop {
            tokio::select! {
                outcome = &mut running => break outcome?,
                () = tokio::time::sleep(every) => {}
            }
            samples.push(sample(&system.read().await?, before, &progress, began));
            status.show(&line(&samples, self.about));
        };
        drop(guard);
        samples.push(sample(&system.read().await?, before, &progress, began));
        Ok((outcome, samples))
    }
}

fn sample(now: &Reading, before: &Reading, progress: &Progress, began: Instant) -> Sample {
    let usage = now.usage.clone().unwrap_or_default();
    Sample {
        at: began.elapsed().as_secs_f64(),
        accepted: progress.accepted.load(Relaxed),
        failed: progress.refused.load(Relaxed) + progress.lost.load(Relaxed),
        finished: now.scrape.since(&before.scrape, "encargo_orders{state=\"finished\"}"),
        mails: now.mails - before.mails,
        in_flight: now.scrape.value("encargo_orders{state=\"in_flight\"}"),
        behind: now.scrape.value("encargo_intake_backlog_records"),
        waiting: waiting(&now.scrape),
        cpu: usage.cpu - before.usage.as_ref().map_or(0.0, |usage| usage.cpu),
        memory: usage.memory,
    }
}

/// How it goes, in a line.
fn line(samples: &[Sample], about: Duration) -> String {
    let [.., earlier, now] = samples else { return String::new() };
    let rate = |of: fn(&Sample) -> f64| (of(now) - of(earlier)) / (now.at - earlier.at).max(1e-3);
    format!(
        "{:.0} of {:.0} s   {:.0} orders/s accepted, {:.0}/s complete, {:.0} mails/s   {:.0} in flight, {:.0} mails wait, {} refused",
        now.at,
        about.as_secs_f64(),
        rate(|sample| sample.accepted as f64),
        rate(|sample| sample.finished),
        rate(|sample| sample.mails as f64),
        now.in_flight,
        now.waiting,
        now.failed
    )
}

/// How much something grew per second, over time.
pub(super) fn per_second(samples: &[Sample], of: fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    let rate = |two: &[Sample]| (two[1].at, (of(&two[1]) - of(&two[0])) / (two[1].at - two[0].at).max(1e-3));
    samples.windows(2).filter(|two| two[1].at - two[0].at > SAMPLE_MIN.as_secs_f64() / 2.0).map(rate).collect()
}
