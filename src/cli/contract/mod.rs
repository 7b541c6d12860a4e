mod check;
mod publish;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use self::{check::Check, publish::Publish};
use super::{
    Settings,
    output::{Out, explain},
    table::Table,
};
use crate::{app, contract};

/// `encargo contract`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the formats of records, the JSON Schema of one, or all topics as an AsyncAPI document
    #[command(
        after_help = "Examples:\n  encargo contract show\n  encargo contract show state\n  encargo contract show asyncapi"
    )]
    Show(Show),
    /// Write the formats of this version into a folder
    #[command(after_help = "Example:\n  encargo contract export contracts/2")]
    Export(Export),
    /// Say whether readers and writers of two versions understand each other
    #[command(after_help = "Examples:\n  encargo contract check contracts\n  \
                            encargo contract check contracts/1 contracts/2 --mode full --own-names\n  \
                            encargo contract check old.json new.json --mode backward")]
    Check(Check),
    /// Give the formats to a schema registry, unless one of them would break a reader
    ///
    /// Each topic has two subjects there, TOPIC-value and TOPIC-key. All are judged before anything is changed.
    #[command(after_help = "Examples:\n  encargo contract publish --registry http://localhost:8081 --dry-run\n  \
                            encargo contract publish --registry https://registry.example --user encargo --password-file FILE")]
    Publish(Publish),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// A format, asyncapi, or one of openapi-intake, openapi-tracking and openapi-ops
    document: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Folder to write into; created when missing
    folder: PathBuf,
}

impl Command {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::Show(show) => show.run(settings),
            Self::Export(export) => export.run(settings),
            Self::Check(check) => check.run(),
            Self::Publish(publish) => super::wait(publish.run(settings)),
        }
    }
}

impl Show {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let mut out = Out::new();
        let Some(name) = self.document else {
            let mut table = Table::new(["FORMAT", "WHAT"]).whole();
            for (name, schema) in contract::schemas() {
                let told =
                    schema["description"].as_str().and_then(|told| told.split("\n\n").next()).unwrap_or_default();
                table.row([name.into(), told.replace('\n', " ").into()]);
            }
            table.print(&mut out)?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        };
        let documents = documents(settings)?;
        let stem = |path: &str| path.trim_start_matches("schemas/").trim_end_matches(".json").to_owned();
        let Some((_, document)) = documents.iter().find(|(path, _)| stem(path) == name) else {
            let names = documents.iter().map(|(path, _)| stem(path)).collect::<Vec<_>>().join(", ");
            bail!("there is no document {name}; there are {names}");
        };
        out.raw(pretty(document).as_bytes())?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// All of them, with the topics' names of these settings.
fn documents(settings: &Settings) -> Result<Vec<(String, Value)>> {
    Ok(app::contract::documents(&settings.load(&[])?.config))
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

/// Where schemas lie in an exported folder.
const SCHEMAS: &str = "schemas";

impl Export {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let folder = self.folder.join(SCHEMAS);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for (name, document) in documents(settings)? {
            let path = self.folder.join(name);
            fs::write(&path, pretty(&document)).with_context(|| format!("cannot write {}", path.display()))?;
        }
        explain(&format!("Wrote {}", self.folder.display()));
        Ok(ExitCode::SUCCESS)
    }
}
