use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::span;
use crate::{
    catalog::Catalog,
    cli::{
        Settings,
        output::{Out, Tone, count, explain},
        table::{Cell, Table},
    },
    domain::Flow,
    flows::simulate::{Report, Spread, StepReport, Trial, run},
    web::Rate,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Simulate {
    /// Flow file [default: the flow in force]
    file: Option<PathBuf>,
    /// Orders to send through the flow
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    orders: u32,
    /// How many are placed, at random, per s, min, h or d
    #[arg(long, default_value = "60/min")]
    rate: Rate,
    /// The same seed gives the same figures
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Catalogue: a CSV file with appid,name,price [env: ENCARGO_CATALOG]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    catalog: Option<String>,
}

impl Simulate {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&[("catalog.path", self.catalog)])?.config;
        let flow = super::load(self.file.as_deref(), &config)?;
        let path = &config.catalog.path;
        let catalog = if path.as_os_str().is_empty() { Catalog::sample() } else { Catalog::load(path)? };
        let products: Vec<_> = (1..=catalog.len()).filter_map(|row| catalog.row(row).cloned()).collect();
        let (gap, seed) = (self.rate.gap(), self.seed);
        let report = run(&Trial { flow: &flow, orders: self.orders, gap, products: &products, seed })?;
        let mut out = Out::new();
        if self.json {
            out.json(&as_json(&flow, self.orders, seed, &report))?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        table(&flow, &report).print(&mut out)?;
        out.flush()?;
        explain(&format!(
            "{} of {}, seed {seed}; at most {} in flight at once. Times are those of the flow alone: no order waits for a busy cook.",
            count(u64::from(self.orders), "order"),
            flow.id(),
            report.in_flight_max
        ));
        if flow.steps().iter().any(|step| step.expect().is_some()) {
            explain("How long commands take is drawn from an exponential distribution with expect as its mean.");
        }
        if flow.steps().iter().any(|step| step.dwell().is_some_and(|dwell| !dwell.exceptions.is_empty())) {
            explain(&format!("Each of {} is ordered as often as the others.", count(products.len() as u64, "product")));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(flow: &Flow, report: &Report) -> Table<9> {
    let titles = ["STATE", "LEFT BY", ">SHARE", ">HALF", ">90 %", ">99 %", ">ALL", ">AT ONCE", ""];
    let mut table = Table::new(titles).whole();
    for step in &report.steps {
        let left = by(flow, step);
        let bar = Cell::from("▇".repeat((step.share * 20.0).round() as usize)).tone(Tone::Busy);
        let share = format!("{:.0} %", step.share * 100.0);
        let [half, most, nearly, all] = times(&step.spread);
        let (state, left, share) = ((&*step.state).into(), left.into(), share.into());
        table.row([state, left, share, half, most, nearly, all, u64::from(step.waiting_max).into(), bar]);
    }
    let [half, most, nearly, all] = times(&report.whole);
    let whole = Cell::from("(whole)").tone(Tone::Bold);
    table.row([
        whole,
        "".into(),
        "".into(),
        half,
        most,
        nearly,
        all,
        u64::from(report.in_flight_max).into(),
        "".into(),
    ]);
    table
}

/// What ended the step, and where both could, how often it was the command.
fn by(flow: &Flow, report: &StepReport) -> String {
    let step = flow.seq_of(&report.state).and_then(|seq| flow.step(seq));
    match step {
        Some(step) if step.takes_command() && step.dwell().is_some() => {
            format!("timer, or {} commands", report.by_command)
        }
        Some(step) if step.takes_command() => "command".to_owned(),
        _ => "timer".to_owned(),
    }
}

fn times(spread: &Spread) -> [Cell; 4] {
    [spread.p50, spread.p90, spread.p99, spread.max].map(|time| span(time).into())
}

/// A report for programs.
#[derive(Serialize)]
struct ReportJson {
    /// Its name and version.
    flow: String,
    orders: u32,
    seed: u64,
    /// From the first state to the end.
    time: SpreadJson,
    steps: Vec<StepJson>,
    /// Most orders in flight at the same time.
    in_flight_max: u32,
    /// From the first order to the end of the last.
    lasted_ms: u64,
}

/// A step for programs.
#[derive(Serialize)]
struct StepJson {
    state: String,
    /// How long orders were in it.
    time: SpreadJson,
    /// Which part of all time they spent in it, from 0 to 1.
    share: f64,
    /// How many left it because a command came.
    by_command: u32,
    /// Most orders in it at the same time.
    at_once_max: u32,
}

/// Some durations: these parts of them are not longer.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "programs read the unit in the name")]
struct SpreadJson {
    p50_ms: u64,
    p90_ms: u64,
    p99_ms: u64,
    max_ms: u64,
}

impl From<&Spread> for SpreadJson {
    fn from(of: &Spread) -> Self {
        let [p50_ms, p90_ms, p99_ms, max_ms] = [of.p50, of.p90, of.p99, of.max].map(millis);
        Self { p50_ms, p90_ms, p99_ms, max_ms }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

fn as_json(flow: &Flow, orders: u32, seed: u64, report: &Report) -> ReportJson {
    let step = |step: &StepReport| StepJson {
        state: step.state.clone(),
        time: (&step.spread).into(),
        share: step.share,
        by_command: step.by_command,
        at_once_max: step.waiting_max,
    };
    ReportJson {
        flow: flow.id().to_string(),
        orders,
        seed,
        time: (&report.whole).into(),
        steps: report.steps.iter().map(step).collect(),
        in_flight_max: report.in_flight_max,
        lasted_ms: millis(report.lasted),
    }
}
