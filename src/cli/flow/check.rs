use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use crate::{
    cli::{
        Settings,
        output::{Out, Tone, count, plain},
    },
    domain::{
        Flow,
        flow::{Exception, Leave, Party},
    },
    flows, mail,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// File to check
    file: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// A flow that is fine, for programs.
#[derive(Serialize)]
struct CheckedJson<'a> {
    file: &'a str,
    name: &'a str,
    version: u32,
    /// How many states it has.
    states: usize,
    /// What tells its content from any other.
    content: String,
    /// What is allowed, and may not be meant all the same.
    notes: &'a [String],
}

impl Check {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        let flow = flows::file::load(&self.file)?;
        let config = settings.load(&[])?.config;
        let folder = Some(config.mail.templates.as_path()).filter(|path| !path.as_os_str().is_empty());
        let file = self.file.display().to_string();
        let untold = mail::check_templates(&flow, folder).with_context(|| format!("{file} cannot be run"))?;
        let notes = notes(&flow, &untold);
        let mut out = Out::new();
        if self.json {
            out.json(&CheckedJson {
                file: &file,
                name: flow.name(),
                version: flow.version(),
                states: flow.steps().len(),
                content: format!("{:016x}", flow.fingerprint()),
                notes: &notes,
            })?;
        } else {
            let states = count(flow.steps().len() as u64, "state");
            out.line(&format!("{} is fine: {}, {states}", plain(&file), flow.id()))?;
            for note in notes {
                out.line(&format!("{}  {note}", out.paint(Tone::Busy, "note")))?;
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What is allowed, and may not be meant all the same.
fn notes(flow: &Flow, untold: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for step in flow.steps() {
        if matches!(step.leave, Some(Leave::Command { expect: None })) {
            notes.push(format!(
                "{} waits for a command and has no expect: customers see no time, and no order is ever late there",
                step.state
            ));
        }
        let exceptions = step.dwell().map(|dwell| dwell.exceptions.as_slice()).unwrap_or_default();
        for exception in exceptions.iter().skip_while(|exception| !fits_all(exception)).skip(1) {
            let words = exception.products.key().or(exception.products.name()).unwrap_or_default();
            notes.push(format!(
                "{}: products like {words:?} come after those of * and never have their dwell",
                step.state
            ));
        }
    }
    if flow.steps().len() > 1 && (1..flow.last_seq()).all(|seq| !flow.may_cancel(seq, Party::Customer)) {
        notes.push("customers can cancel in no state: the shop has to do it for them".to_owned());
    }
    for state in untold {
        notes.push(format!("{state} is mailed with the generic text: there is no template for it"));
    }
    notes
}

/// Whether an exception leaves no product for those after it.
fn fits_all(exception: &Exception) -> bool {
    let any = |text: Option<String>| text.is_none_or(|text| text == "*");
    any(exception.products.key()) && any(exception.products.name())
}
