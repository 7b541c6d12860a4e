//! The command line: one file per command.

mod up;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::config::{self, Loaded};

/// Encargo takes orders over HTTP, moves each one through its states on time, and tells the customer at every state.
#[derive(Debug, Parser)]
#[command(name = "encargo", version, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
}

/// Settings that every command understands; each wins over its environment variable and the file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct Settings {
    /// Configuration file [default: encargo.toml in the working folder, if there]
    #[arg(long, global = true, value_name = "FILE", env = "ENCARGO_CONFIG")]
    config: Option<PathBuf>,
    /// Data folder [default: encargo-data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in this process: intake, fulfilment, tracking, mail
    Up(up::Up),
}

impl Cli {
    /// Carries the command out.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Up(up) => {
                let loaded = self.settings.load(&up.settings())?;
                up.run(loaded)
            }
        }
    }
}

impl Settings {
    /// All layers, with these flags on top.
    fn load(&self, flags: &[(&'static str, Option<String>)]) -> Result<Loaded> {
        let flags: Vec<_> = [("data", self.data.clone())]
            .into_iter()
            .chain(flags.iter().cloned())
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        config::load(self.config.as_deref(), &flags)
    }
}
