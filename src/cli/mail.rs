use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::{
    Settings,
    output::{Out, Tone, explain},
    queue, resend, suppressed,
};
use crate::{
    app,
    clock::Clock,
    domain::{EmailAddress, Lang},
    mail,
    store::links::LINK,
};

/// Longest that `check` waits for one step of a mail server.
const TIMEOUTS: mail::Timeouts =
    mail::Timeouts { connect: Duration::from_secs(10), step: Duration::from_secs(10), dot: Duration::from_mins(10) };

/// `encargo mail`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the mail about a state, with a sample order
    #[command(after_help = "Examples:\n  encargo mail preview --state recibido\n  \
                            encargo mail preview --state finalizado --lang en --out finalizado.html\n  \
                            encargo mail preview --lang es --format raw")]
    Preview(Preview),
    /// Check that every mail can be made and that the destination takes mails (SMTP: address, TLS, login); sends nothing
    /// without --to
    #[command(after_help = "Examples:\n  encargo mail check\n  encargo mail check --mail smtp://localhost:25\n  \
                            encargo mail check --to you@example.org")]
    Check(Check),
    /// List the mails that wait for their next attempt, first due first
    Queue(queue::Queue),
    /// Send the last mail of an order again, for a customer who says that it has not come
    Resend(resend::Resend),
    /// Look at the addresses that get no mail any more, and release them
    #[command(subcommand)]
    Suppressed(suppressed::Command),
}

#[derive(Debug, Args)]
pub(super) struct Preview {
    /// State that the mail is about
    #[arg(long, default_value = "recibido")]
    state: String,
    /// Language: es or en [default: mail.lang]
    #[arg(long)]
    lang: Option<Lang>,
    /// What of the mail to show [default: by the ending of --out, .html or .eml, else text]
    #[arg(long, value_enum)]
    format: Option<Format>,
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
    /// Send a test mail to this address over SMTP
    #[arg(long, value_name = "ADDRESS")]
    to: Option<EmailAddress>,
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
            Self::Queue(queue) => queue.run(settings).await,
            Self::Resend(resend) => resend.run(settings).await,
            Self::Suppressed(command) => command.run(settings).await,
        }
    }
}

impl Format {
    fn of(path: Option<&Path>) -> Self {
        let ending = path.and_then(Path::extension).and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "html" | "htm" => Self::Html,
            "eml" => Self::Raw,
            _ => Self::Text,
        }
    }
}

impl Preview {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&[("mail.templates", self.templates.templates)])?.config;
        let format = match self.format.unwrap_or_else(|| Format::of(self.out.as_deref())) {
            Format::Text => mail::Format::Text,
            Format::Html => mail::Format::Html,
            Format::Raw => mail::Format::Raw,
        };
        let lang = self.lang.unwrap_or(config.mail.lang);
        let flow = config.flow()?;
        let states: Vec<_> = flow.states().collect();
        if !states.contains(&&*self.state) && self.state != LINK {
            explain(&format!(
                "{:?} is none of the states {}; this is the mail of a state without a text of its own",
                self.state,
                states.join(", ")
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

/// What was checked, for programs.
#[derive(Serialize)]
struct CheckedJson<'a> {
    /// Where mails go, without secrets.
    destination: String,
    fine: &'a [String],
    problems: &'a [String],
}

impl Check {
    async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let flags = [("mail.url", self.mail), ("mail.templates", self.templates.templates)];
        let config = settings.load(&flags)?.config;
        let destination = config.mail_url();
        if self.to.is_some() && !matches!(destination, mail::Destination::Smtp(_)) {
            bail!(
                "a test mail goes over SMTP, and mail goes to {destination} here\n  name a server: --mail smtp://HOST:PORT"
            );
        }
        let (composing, clock) = (app::sample_composing(&config)?, Clock::system());
        let report = mail::check(composing, &destination, self.to, TIMEOUTS, &clock).await;
        let mut out = Out::new();
        if self.json {
            let (fine, problems) = (&report.fine, &report.problems);
            out.json(&CheckedJson { destination: destination.to_string(), fine, problems })?;
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
