//! `encargo contract check`: do two versions understand each other.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::SCHEMAS;
use crate::{
    cli::output::{Out, explain},
    contract::{self, Break, Direction},
    files,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// A JSON Schema, a folder as exported, or a folder of such folders, numbered
    old: PathBuf,
    /// The same of the newer version [default: that of this program]
    new: Option<PathBuf>,
    /// Who must understand whom
    #[arg(long, value_enum, default_value_t = Mode::Forward)]
    mode: Mode,
    /// Nobody writes fields that the contract does not name: adding one breaks nobody
    #[arg(long)]
    own_names: bool,
    /// Print one line of JSON for each break
    #[arg(long)]
    json: bool,
}

/// As schema registries call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Mode {
    /// New readers understand what the last version wrote
    Backward,
    /// The same of every version
    BackwardTransitive,
    /// Readers of the last version understand what the new one writes
    Forward,
    /// The same of every version
    ForwardTransitive,
    /// Both
    Full,
    /// Both, with every version
    FullTransitive,
}

impl Mode {
    pub(super) fn direction(self) -> Direction {
        let backward = !matches!(self, Self::Forward | Self::ForwardTransitive);
        let forward = !matches!(self, Self::Backward | Self::BackwardTransitive);
        Direction { backward, forward }
    }

    pub(super) fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }
}

/// Schemas by name.
type Schemas = BTreeMap<String, Value>;

impl Check {
    pub(super) fn run(self) -> Result<ExitCode> {
        let new = match &self.new {
            Some(path) => version(path)?,
            None => contract::schemas().map(|(name, schema)| (name.to_owned(), schema)).collect(),
        };
        let versions = versions(&self.old)?;
        let first = if self.mode.is_transitive() { 0 } else { versions.len() - 1 };
        let mut out = Out::new();
        let mut broken = 0;
        for path in &versions[first..] {
            for (format, old) in version(path)? {
                // two files are compared whatever they are called
                let is_file = path.is_file() && new.len() == 1;
                let new = if is_file { new.values().next() } else { new.get(&format) };
                let breaks = match new {
                    Some(new) => contract::breaks(&old, new, self.mode.direction())
                        .with_context(|| format!("cannot compare {format} with that of {}", path.display()))?,
                    None => bail!("{} has the format {format}, and the newer version does not", path.display()),
                };
                for found in breaks.iter().filter(|found| !(self.own_names && found.is_new_name)) {
                    broken += 1;
                    self.print(path, &format, found, &mut out)?;
                }
            }
        }
        out.flush()?;
        if broken == 0 {
            explain(&format!("No reader breaks: compared with {}", listed(&versions[first..])));
        }
        Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A break for programs.
#[derive(Serialize)]
struct BreakJson<'a> {
    /// The older version.
    version: &'a str,
    format: &'a str,
    /// Where in the schema, as a JSON Pointer.
    pointer: &'a str,
    reason: &'a str,
    /// `new readers` or `old readers`.
    breaks: &'static str,
}

impl Check {
    fn print(&self, version: &Path, format: &str, found: &Break, out: &mut Out) -> Result<()> {
        let version = version.display().to_string();
        if !self.json {
            return out.line(&format!("{version}: {format} {found}"));
        }
        let breaks = if found.backward { "new readers" } else { "old readers" };
        let Break { pointer, reason, .. } = found;
        out.json(&BreakJson { version: &version, format, pointer, reason, breaks })
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The versions in a folder of numbered ones, oldest first; otherwise that one itself.
fn versions(path: &Path) -> Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) {
                numbered.push((number, entry.path()));
            }
        }
    }
    numbered.sort();
    let numbered: Vec<_> = numbered.into_iter().map(|(_, path)| path).collect();
    Ok(if numbered.is_empty() { vec![path.to_owned()] } else { numbered })
}

/// The schemas of a version: of a folder as it is exported, or a single one.
fn version(path: &Path) -> Result<Schemas> {
    if !path.is_dir() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Schemas::from([(name, schema(path)?)]));
    }
    let folder = path.join(SCHEMAS);
    let mut schemas = Schemas::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            schemas.extend(version(&path)?);
        }
    }
    if schemas.is_empty() {
        bail!("{} has no schemas", folder.display());
    }
    Ok(schemas)
}

/// A schema that is larger is none that somebody reads by.
const SIZE_MAX: u64 = 16 << 20;

fn schema(path: &Path) -> Result<Value> {
    let text = files::read(path, SIZE_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}
