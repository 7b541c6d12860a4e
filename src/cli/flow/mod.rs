mod check;
mod diff;
mod show;
mod simulate;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Subcommand;

use super::Settings;
use crate::{
    config::Config,
    domain::{Flow, format_duration},
    flows,
};

/// `encargo flow`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a flow file, and tell what in it may not be meant
    #[command(after_help = "Example:\n  encargo flow check kitchen.toml")]
    Check(check::Check),
    /// Show the flow in force, or that of a file: its states, how each is left, who may cancel, what is mailed
    #[command(after_help = "Examples:\n  encargo flow show\n  encargo flow show kitchen.toml --json | jq .step")]
    Show(show::Show),
    /// Show what differs between two flow files, and what the change means for orders in flight
    #[command(after_help = "Example:\n  encargo flow diff kitchen-1.toml kitchen-2.toml")]
    Diff(diff::Diff),
    /// Send orders through a flow in virtual time: how long they take, and where they wait
    #[command(after_help = "Examples:\n  encargo flow simulate kitchen.toml\n  \
                            encargo flow simulate kitchen.toml --orders 100000 --rate 30/min --seed 7")]
    Simulate(simulate::Simulate),
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::Check(check) => check.run(settings),
            Self::Show(show) => show.run(settings),
            Self::Diff(diff) => diff.run(settings).await,
            Self::Simulate(simulate) => simulate.run(settings),
        }
    }
}

/// The flow of a file, or the one in force.
fn load(file: Option<&Path>, config: &Config) -> Result<Flow> {
    Ok(match file {
        Some(path) => flows::file::load(path)?,
        None => config.flow()?,
    })
}

/// A duration as people say it: what does not matter beside the rest is left out.
fn span(time: Duration) -> String {
    let rounded = match time.as_secs() {
        0..10 => Duration::from_millis(time.as_millis() as u64),
        10..36_000 => Duration::from_secs(time.as_secs()),
        _ => Duration::from_secs(time.as_secs() / 60 * 60),
    };
    format_duration(rounded)
}
