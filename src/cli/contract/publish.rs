//! `encargo contract publish`: the formats to a schema registry.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum as _};
use serde::Serialize;
use serde_json::Value;

use super::check::Mode;
use crate::{
    app,
    cli::{
        Settings,
        output::{Out, Tone, count, explain, plain},
    },
    contract, files,
    registry::{Error, Registry, Version},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Publish {
    /// The registry's address, with the path of its API [default: registry.url]
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// Its user, for basic authentication [default: registry.user]
    #[arg(long)]
    user: Option<String>,
    /// A file with that user's password [default: registry.password]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A PEM file with certificates to trust besides the system's [default: registry.ca]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// The rule that each subject gets, and by which this version is judged
    #[arg(long, value_enum, default_value_t = Mode::Forward)]
    mode: Mode,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON for each subject
    #[arg(long)]
    json: bool,
}

/// A password is shorter.
const PASSWORD_MAX: u64 = 64 << 10;

/// What there is to do for a subject.
enum Verdict {
    New,
    /// It is there already.
    Same(Version),
    Compatible,
    /// It breaks a reader, in words that begin with the pointer.
    Refused(Vec<String>),
}

/// A subject, and what becomes of it.
struct Subject {
    name: String,
    schema: Value,
    /// Its rule so far, if it has one of its own.
    level: Option<String>,
    verdict: Verdict,
}

/// A subject for programs.
#[derive(Serialize)]
struct SubjectJson<'a> {
    subject: &'a str,
    /// `new`, `same`, `compatible` or `refused`.
    verdict: &'static str,
    /// What breaks a reader, each with the version that it is about.
    reasons: &'a [String],
    /// The rule that it gets, and the one of its own that it has.
    level: &'a str,
    level_before: Option<&'a str>,
    /// The schema's number in the registry, once it has one.
    id: Option<u32>,
}

impl Publish {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let password = match &self.password_file {
            Some(path) => {
                let text =
                    files::read_text(path, PASSWORD_MAX).with_context(|| format!("cannot read {}", path.display()))?;
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            None => None,
        };
        let flags = [
            ("registry.url", self.registry.clone()),
            ("registry.user", self.user.clone()),
            ("registry.password", password),
            ("registry.ca", self.ca_file.clone()),
        ];
        let config = settings.load(&flags)?.config;
        let Some(options) = app::contract::registry(&config) else {
            bail!("which registry? Give --registry URL, or set registry.url");
        };
        let registry = Registry::new(&options)?;
        let mut subjects = Vec::new();
        for (name, schema) in contract::subjects(&app::contract::deployment(&config)) {
            subjects.push(self.judge(&registry, name, schema).await?);
        }
        let refused = subjects.iter().filter(|subject| matches!(subject.verdict, Verdict::Refused(_))).count();
        let is_to_be_done = !self.dry_run && refused == 0;
        let mut out = Out::new();
        for subject in &subjects {
            let id = if is_to_be_done { Some(self.publish(&registry, subject).await?) } else { None };
            self.print(subject, id, &mut out)?;
        }
        out.flush()?;
        let told = match (refused, self.dry_run) {
            (0, true) => "Nothing was changed: --dry-run".to_owned(),
            (0, false) => format!("The registry has {} of this version", count(subjects.len() as u64, "subject")),
            _ => format!("Nothing was changed: {} refused", count(refused as u64, "subject")),
        };
        explain(&told);
        Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// As registries call it.
    fn level(&self) -> String {
        self.mode.to_possible_value().expect("no mode is hidden").get_name().to_uppercase()
    }

    async fn judge(&self, registry: &Registry, name: String, schema: Value) -> Result<Subject> {
        let level = registry.level(&name).await?;
        let versions = registry.versions(&name).await?;
        let verdict = match registry.registered(&name, &schema).await? {
            _ if versions.is_empty() => Verdict::New,
            Some(version) => Verdict::Same(version),
            None => {
                let mut reasons = self.compare(registry, &name, &versions, &schema).await?;
                // by another rule its verdict would be another one
                if reasons.is_empty() && level.as_ref() == Some(&self.level()) {
                    let judged = registry.judge(&name, &schema).await?;
                    reasons.extend(judged.messages.into_iter().filter(|_| !judged.is_compatible));
                    if !judged.is_compatible && reasons.is_empty() {
                        reasons.push("the registry does not say why".to_owned());
                    }
                }
                if reasons.is_empty() { Verdict::Compatible } else { Verdict::Refused(reasons) }
            }
        };
        Ok(Subject { name, schema, level, verdict })
    }

    /// What breaks, by our own rules, which tell where.
    async fn compare(&self, registry: &Registry, name: &str, versions: &[u32], schema: &Value) -> Result<Vec<String>> {
        let first = if self.mode.is_transitive() { 0 } else { versions.len() - 1 };
        let mut reasons = Vec::new();
        for &number in &versions[first..] {
            let old = registry.version(name, number).await?.schema;
            if old.kind != "JSON" {
                let kind = &old.kind;
                reasons.push(format!("version {number} is a schema for {kind}, which none for JSON can follow"));
                continue;
            }
            let old = serde_json::from_str(&old.text).with_context(|| format!("{name} {number} is not JSON"))?;
            let breaks = contract::breaks(&old, schema, self.mode.direction())
                .with_context(|| format!("cannot compare with version {number} of {name}"))?;
            reasons.extend(breaks.iter().map(|found| format!("version {number}: {found}")));
        }
        Ok(reasons)
    }

    /// Sets the rule first, so that the registry judges by it what comes.
    async fn publish(&self, registry: &Registry, subject: &Subject) -> Result<u32> {
        let Subject { name, schema, level, verdict } = subject;
        if level.as_ref() != Some(&self.level()) {
            registry.set_level(name, &self.level()).await?;
        }
        if let Verdict::Same(version) = verdict {
            return Ok(version.id);
        }
        Ok(registry.register(name, schema).await.map_err(|error| match error {
            Error::Refused { url, what, why, status, code } => {
                let why = format!("{why}; what was published before it stays");
                Error::Refused { url, what, why, status, code }
            }
            other => other,
        })?)
    }

    fn print(&self, subject: &Subject, id: Option<u32>, out: &mut Out) -> Result<()> {
        let none = Vec::new();
        let (name, tone, reasons) = match &subject.verdict {
            Verdict::New => ("new", Tone::Good, &none),
            Verdict::Same(_) => ("same", Tone::Dim, &none),
            Verdict::Compatible => ("compatible", Tone::Good, &none),
            Verdict::Refused(reasons) => ("refused", Tone::Bad, reasons),
        };
        let level = self.level();
        let before = subject.level.as_ref().filter(|before| **before != level);
        if self.json {
            let id = id.or(if let Verdict::Same(version) = &subject.verdict { Some(version.id) } else { None });
            let level_before = subject.level.as_deref();
            let subject = &*subject.name;
            return out.json(&SubjectJson { subject, verdict: name, reasons, level: &level, level_before, id });
        }
        let level = match before {
            Some(before) => format!("{} becomes {level}", plain(before)),
            None => level,
        };
        let id = id.map(|id| format!(", id {id}")).unwrap_or_default();
        out.line(&format!("{}: {}{id} ({level})", subject.name, out.paint(tone, name)))?;
        for reason in reasons {
            out.line(&format!("  {}", plain(reason)))?;
        }
        Ok(())
    }
}
