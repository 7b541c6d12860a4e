use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    Settings,
    output::{Out, Tone, explain},
};
use crate::{app, clock::Clock, domain::Lang, mail};

/// Longest that `check` waits for one step of a mail server.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// `encargo mail`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the mail about a state, with a sample order
    #[command(after_help = "Examples:\n  encargo mail preview --state recibido\n  \
                            encargo mail preview --state finalizado --lang en --format html --out finalizado.html")]
    Preview(Preview),
    /// Check that every mail can be made and that the destination takes mails; sends nothing
    #[command(after_help = "Examples:\n  encargo mail check\n  encargo mail check --mail smtp://localhost:25")]
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Preview {
    /// State that the mail is about
    #[arg(long, default_value = "recibido")]
    state: String,
    /// Language: es or en [default: mail.lang]
    #[arg(long)]
    lang: Option<Lang>,
    /// What of the mail to show
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    templates: TemplatesFlag,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Subject and text part
    Text,
    /// HTML part
    Html,
    /// The whole message
    Raw,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Mail: maildir:DIR, smtp://HOST:PORT, none: [env: ENCARGO_MAIL]
    #[arg(long, value_name = "URL", help_heading = "Settings")]
    mail: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    templates: TemplatesFlag,
}

#[derive(Debug, Args)]
struct TemplatesFlag {
    /// Folder with templates that replace the built-in ones [env: ENCARGO_MAIL_TEMPLATES]
    #[arg(long, value_name = "DIR", help_heading = "Settings")]
    templates: Option<String>,
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::Preview(preview) => preview.run(settings),
            Self::Check(check) => check.run(settings).await,
        }
    }
}

impl Preview {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&[("mail.templates", self.templates.templates)])?.config;
        let format = match self.format {
            Format::Text => mail::Format::Text,
            Format::Html => mail::Format::Html,
            Format::Raw => mail::Format::Raw,
        };
        let lang = self.lang.unwrap_or(config.mail.lang);
        if !config.flow.states.contains(&self.state) {
            explain(&format!(
                "{:?} is none of the states {}; this is the mail of a state without a text of its own",
                self.state,
                config.flow.states.join(", ")
            ));
        }
        let mut bytes = mail::preview(app::sample_composing(&config)?, &self.state, lang, format)?;
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        if let Some(path) = self.out {
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
            explain(&format!("Wrote {}", path.display()));
        } else {
            let mut out = Out::new();
            out.raw(&bytes)?;
            out.flush()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Check {
    async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let flags = [("mail.url", self.mail), ("mail.templates", self.templates.templates)];
        let config = settings.load(&flags)?.config;
        let destination = config.mail_url();
        let report = mail::check(app::sample_composing(&config)?, &destination, STEP_TIMEOUT, &Clock::system()).await;
        let mut out = Out::new();
        if self.json {
            out.json(&json!({
                "destination": destination.to_string(), "fine": report.fine, "problems": report.problems,
            }))?;
        } else {
            for (tone, mark, lines) in [(Tone::Good, "ok", &report.fine), (Tone::Bad, "failed", &report.problems)] {
                for line in lines {
                    out.line(&format!("{}  {line}", out.paint(tone, &format!("{mark:<6}"))))?;
                }
            }
        }
        out.flush()?;
        Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
