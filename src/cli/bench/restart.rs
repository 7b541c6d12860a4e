//! `encargo bench restart`: many orders in flight, `kill -9`, and how long until the timers that came due meanwhile have fired.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Shared, customers, document::Document, figures::Verdict, measure::Trial, page, system::System};
use crate::{
    bench::{load::Pace, usage::machine},
    cli::{
        Settings,
        flags::{LogFlag, StoreFlag},
        output::StatusLine,
    },
    domain::Step,
};

/// Dwell of each state, within which all orders must be placed.
const DWELL: Duration = Duration::from_secs(10);
/// Connections that fill the flow.
const CONNECTIONS: usize = 64;
/// How often it is asked whether timers have fired.
const ASK: Duration = Duration::from_millis(10);
/// Share of the dwell within which the orders must be placed, so that none goes on before the kill.
const FILL_MAX: f64 = 0.8;
/// Longest wait for them.
const FIRE_MAX: Duration = Duration::from_mins(5);

/// Flags of `encargo bench restart`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  encargo bench restart --orders 150000 --dwell 30s --no-mail")]
pub(super) struct Restart {
    /// Orders in flight when it is killed; they must all be placed within one dwell
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    orders: u64,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    log: LogFlag,
    #[command(flatten)]
    store: StoreFlag,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    version: &'static str,
    machine: String,
    audit: Verdict,
    orders: u64,
    /// None when the audit objects.
    recovery: Option<Recovery>,
}

/// Seconds from the start of the new process, and bytes.
#[derive(Debug, Serialize)]
struct Recovery {
    ready_s: f64,
    first_timer_s: f64,
    all_timers_s: f64,
    memory_before: u64,
    memory_after: u64,
}

impl Restart {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let status = StatusLine::new();
        let places = vec![self.log.setting(), self.store.setting()];
        let mut system = System::own(settings, &self.shared.own(DWELL, places)).await?;
        let all = customers("1010")?;
        let dwell = system.flow()?.step(1).map_or(Duration::ZERO, Step::usual_dwell);
        let began = Instant::now();
        status.show(&format!("placing {} orders", self.orders));
        let load = Trial {
            customers: all.clone(),
            pace: Pace::Count(self.orders),
            connections: CONNECTIONS,
            about: dwell,
            settle: Duration::ZERO,
        };
        let outcome = load.load(&system).run(Arc::default(), CancellationToken::new()).await;
        if let Some(complaint) = outcome.complaint() {
            bail!("the system does not take these orders: {complaint}");
        }
        let placed = began.elapsed();
        if placed > dwell.mul_f64(FILL_MAX) {
            bail!(
                "{} orders took {placed:.1?}, too long for their dwell of {dwell:?}: give a longer --dwell",
                self.orders
            );
        }
        let orders = outcome.accepted().count() as u64;
        if orders == 0 {
            bail!("no order was acknowledged, so none is in flight");
        }
        let memory_before = memory(&system).await?;
        let recovery = recover(&mut system, began + placed + dwell, orders as f64, &status).await?;
        let recovery = Recovery { memory_before, ..recovery };
        status.show("the others go on to their end");
        let is_over = system.settle(orders as f64, FIRE_MAX + dwell * 4, |_, _| {}).await?;
        let audit = system.audit(outcome.acknowledged(&all), &all, is_over).await;
        let audit = Verdict::of(orders, audit.map_err(|error| format!("{error:#}")).as_ref());
        let is_kept = audit.is_kept();
        let (version, machine) = (env!("CARGO_PKG_VERSION"), machine().to_string());
        let found = Found { version, machine, audit, orders, recovery: is_kept.then_some(recovery) };
        drop((status, system));
        self.shared.output.show(&found, &found.document(&self.shared))?;
        Ok(ExitCode::from(u8::from(!is_kept)))
    }
}

async fn memory(system: &System) -> Result<u64> {
    Ok(system.read().await?.usage.unwrap_or_default().memory)
}

/// Kills the system, and starts it when all first timers are due.
async fn recover(system: &mut System, all_due: Instant, orders: f64, status: &StatusLine) -> Result<Recovery> {
    status.show("killed; its timers come due");
    let ready = system.restart_at(all_due).await?;
    let began = Instant::now().checked_sub(ready).context("the clock began today")?;
    let state = system.flow()?.step(2).map(|step| step.state.clone()).unwrap_or_default();
    let sample = format!("encargo_order_transitions_total{{estado=\"{state}\"}}");
    let mut first = None;
    loop {
        let fired = system.scrape().await?.value(&sample);
        let now = began.elapsed();
        if fired > 0.0 {
            first.get_or_insert(now);
        }
        if let (Some(first), true) = (first, fired >= orders) {
            return Ok(Recovery {
                ready_s: ready.as_secs_f64(),
                first_timer_s: first.as_secs_f64(),
                all_timers_s: now.as_secs_f64(),
                memory_before: 0,
                memory_after: memory(system).await?,
            });
        }
        if now > FIRE_MAX {
            bail!("{fired} of {orders} timers had fired {FIRE_MAX:?} after the start");
        }
        tokio::time::sleep(ASK).await;
    }
}

impl Found {
    fn document(&self, shared: &Shared) -> Document {
        let mut document = page::verdict(shared.output.lang, &self.audit);
        document.text(page::measured_on(shared.output.lang));
        let Some(recovery) = &self.recovery else { return document };
        document.heading("bench_restart");
        document.say("bench_restart_done", &[("n", document.count(self.orders))]);
        let rows = [
            ("bench_restart_ready", recovery.ready_s, 2, "s"),
            ("bench_restart_first", recovery.first_timer_s, 2, "s"),
            ("bench_restart_all", recovery.all_timers_s, 2, "s"),
            ("bench_restart_before", recovery.memory_before as f64 / 1e6, 0, "MB"),
            ("bench_restart_after", recovery.memory_after as f64 / 1e6, 0, "MB"),
        ];
        let row = |(key, value, digits, unit): (&str, f64, usize, &str)| {
            vec![document.word(key).to_owned(), format!("{} {unit}", document.decimal(value, digits))]
        };
        let rows = rows.into_iter().map(row).collect();
        document.table(&["", "bench_value"], rows);
        document
    }
}
