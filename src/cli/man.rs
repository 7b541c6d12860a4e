use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};

use super::{Cli, output::Out};

/// Flags of `encargo man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo man | man -l -\n  encargo man --out ~/.local/share/man/man1")]
pub(super) struct Man {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> Result<ExitCode> {
        let command = Cli::command().disable_help_subcommand(true);
        if let Some(folder) = self.out {
            fs::create_dir_all(&folder)
                .and_then(|()| clap_mangen::generate_to(command, &folder))
                .with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        let mut out = Out::new();
        out.raw(&page)?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
