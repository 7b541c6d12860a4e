//! `encargo log check`: what is wrong with a cluster, for Encargo. It reads what the cluster says of itself, judges that, and
//! changes nothing.

mod facts;
mod finding;
mod topics;

use std::process::ExitCode;

use anyhow::Result;

use self::{
    facts::Facts,
    finding::{Finding, Level},
};
use crate::{
    cli::output::{Out, Tone, explain},
    config::Config,
    domain::Lang,
    words::{fill, word},
};

/// The status when nothing is worse than a risk.
const RISKY: u8 = 3;

/// Checks the cluster at `brokers`, prints what was found, and says by the status how bad it is.
pub(super) fn check(config: &Config, brokers: String, lang: Lang, as_json: bool) -> Result<ExitCode> {
    let facts = Facts::gather(config, brokers)?;
    let mut findings = facts.judge();
    findings.sort_by_key(|finding| finding.level);
    let mut out = Out::new();
    for finding in &findings {
        if as_json { out.json(&finding.json(lang))? } else { tell(&mut out, finding, lang)? }
    }
    out.flush()?;
    let looked = [("topics", facts.topics.len().to_string())];
    let key = if findings.is_empty() { "check_none" } else { "check_some" };
    let found = [("found", findings.len().to_string())];
    explain(&fill(word(lang, key), &[looked, found].concat()));
    Ok(match findings.first().map(|worst| worst.level) {
        None => ExitCode::SUCCESS,
        Some(Level::Risk) => ExitCode::from(RISKY),
        Some(Level::Fault) => ExitCode::FAILURE,
    })
}

fn tell(out: &mut Out, finding: &Finding, lang: Lang) -> Result<()> {
    let (key, tone) = match finding.level {
        Level::Fault => ("check_fault", Tone::Bad),
        Level::Risk => ("check_risk", Tone::Busy),
    };
    out.line(&format!("{} {}", out.paint(tone, &format!("{}:", word(lang, key))), finding.text(lang)))?;
    let Some(command) = &finding.mend else { return Ok(()) };
    out.line(&out.paint(Tone::Dim, &format!("  {command}")))
}
