use std::{
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Settings,
    flags::ServerFlags,
    output::{Out, Tone, explain, plain},
    table::{Cell, Table},
};
use crate::{
    config::{self, FILE},
    files,
};

/// `encargo config`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the settings in force and where each comes from; secrets are hidden
    #[command(after_help = "Examples:\n  encargo config show\n  encargo config show --changed\n  \
                            encargo config show --dwell 2s --json | jq -r .key")]
    Show(Box<Show>),
    /// Check a configuration file
    #[command(after_help = "Example:\n  encargo config check encargo.toml")]
    Check(Check),
    /// Write a commented configuration file with the defaults
    #[command(after_help = "Examples:\n  encargo config init\n  encargo config init - | less")]
    Init(Init),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Only what differs from the defaults
    #[arg(long)]
    changed: bool,
    /// Print one line of JSON per key
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// File to check [default: that of --config, else encargo.toml]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// File to write; - is standard output
    #[arg(default_value = FILE)]
    file: PathBuf,
}

impl Command {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::Show(show) => show.run(settings),
            Self::Check(check) => check.run(settings),
            Self::Init(init) => init.run(),
        }
    }
}

/// A setting for programs.
#[derive(Serialize)]
struct EntryJson<'a, V> {
    key: &'a str,
    /// Whatever type it is of; secrets are masked.
    value: &'a V,
    /// What set it.
    from: String,
}

impl Show {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let loaded = settings.load(&self.server.settings())?;
        let mut out = Out::new();
        let mut table = Table::new(["KEY", "FROM", "VALUE"]).whole();
        for (key, entry) in loaded.layers.shown().filter(|(_, entry)| entry.changed || !self.changed) {
            if self.json {
                out.json(&EntryJson { key, value: &entry.value, from: entry.origin.to_string() })?;
            } else {
                let (from, value) = (plain(&entry.origin.to_string()), plain(&entry.value.to_string()));
                let tone = if entry.changed { Tone::Bold } else { Tone::Plain };
                table.row([key.into(), Cell::from(from).tone(Tone::Dim), Cell::from(value).tone(tone)]);
            }
        }
        table.print(&mut out)?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Check {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let file = self.file.as_deref().or(settings.config.as_deref()).unwrap_or(Path::new(FILE));
        config::check(file)?;
        explain(&format!("{} is fine", file.display()));
        Ok(ExitCode::SUCCESS)
    }
}

impl Init {
    fn run(self) -> Result<ExitCode> {
        if self.file == Path::new("-") {
            let mut out = Out::new();
            out.raw(config::DEFAULT.as_bytes())?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        let path = self.file.display();
        let mut file = match files::private().write(true).create_new(true).open(&self.file) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                bail!("{path} exists already and was left unchanged; name another file, or - to print the defaults")
            }
            Err(e) => return Err(e).with_context(|| format!("cannot write {path}")),
        };
        file.write_all(config::DEFAULT.as_bytes()).with_context(|| format!("cannot write {path}"))?;
        explain(&format!("Wrote {path}. Delete what you do not change; `encargo config show` shows what is in force."));
        Ok(ExitCode::SUCCESS)
    }
}
