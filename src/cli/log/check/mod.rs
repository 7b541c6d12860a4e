//! `encargo log check`: what is wrong with a cluster, for Encargo. It reads what the cluster says of itself, judges that, and
//! changes nothing.

mod brokers;
mod facts;
mod finding;
mod groups;
mod readers;
mod rights;
mod topics;

use std::process::ExitCode;

use anyhow::Result;

use self::{
    facts::Facts,
    finding::{Finding, Level},
    rights::Denials,
};
use crate::{
    app::kafka::connect,
    cli::output::{Out, Tone, explain},
    config::Config,
    domain::Lang,
    words::{fill, word},
};

/// The status when nothing is worse than a risk.
const RISKY: u8 = 3;

/// Checks the cluster at `brokers`, prints what was found, and says by the status how bad it is.
pub(super) fn check(config: &Config, brokers: String, flags: &super::Check) -> Result<ExitCode> {
    let (lang, as_json) = (flags.lang, flags.json);
    let log = connect(config, brokers.clone())?;
    let denials = Denials::ask(&log, config, readers::ours(config).into_iter().map(|(_, group, _)| group))?;
    let mut findings = denials.judge(config, flags.role, &brokers);
    let mut looked = 0;
    if !denials.hide_topics() {
        let facts = Facts::gather(&log, config, &brokers, &denials, flags.clocks)?;
        looked = facts.topics.len();
        findings.extend(facts.judge());
    }
    findings.sort_by_key(|finding| finding.level);
    let mut out = Out::new();
    for (finding, next) in findings.iter().zip(findings.iter().skip(1).map(Some).chain([None])) {
        // what one command mends has it once
        let has_same = next.is_some_and(|next| next.mend == finding.mend);
        if as_json { out.json(&finding.json(lang))? } else { tell(&mut out, finding, has_same, lang)? }
    }
    out.flush()?;
    let looked = [("topics", looked.to_string())];
    let key = if findings.is_empty() { "check_none" } else { "check_some" };
    let found = [("found", findings.len().to_string())];
    explain(&fill(word(lang, key), &[looked, found].concat()));
    Ok(match findings.first().map(|worst| worst.level) {
        None => ExitCode::SUCCESS,
        Some(Level::Risk) => ExitCode::from(RISKY),
        Some(Level::Fault) => ExitCode::FAILURE,
    })
}

fn tell(out: &mut Out, finding: &Finding, has_same: bool, lang: Lang) -> Result<()> {
    let (key, tone) = match finding.level {
        Level::Fault => ("check_fault", Tone::Bad),
        Level::Risk => ("check_risk", Tone::Busy),
    };
    out.line(&format!("{} {}", out.paint(tone, &format!("{}:", word(lang, key))), finding.text(lang)))?;
    let Some(command) = finding.mend.as_ref().filter(|_| !has_same) else { return Ok(()) };
    out.line(&out.paint(Tone::Dim, &format!("  {command}")))
}
