use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Settings, flags::ServerFlags, serve};
use crate::app::Role;

/// Flags of `encargo up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo up\n  encargo up --dwell 1s --mail smtp://localhost:1025\n  \
                        encargo up --catalog products.csv --intake-listen 0.0.0.0:3000\n  \
                        encargo up --log kafka://k1:9092 --store postgres://encargo@db/encargo")]
pub(super) struct Up {
    /// Print the addresses as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

impl Up {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        serve::run(settings, &Role::ALL, &self.server.settings(), self.json)
    }
}
