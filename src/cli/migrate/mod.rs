//! Moving over from the Python services and back: what stands in their topics and groups, and what to do next.

mod steps;
pub(super) mod survey;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use self::{
    steps::{Advice, Step},
    survey::Survey,
};
use super::{
    Settings,
    flags::LogFlag,
    open,
    output::{Out, Tone, count, explain, plain},
};

/// `encargo migrate`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at the topics and groups of the old services and ours, and say which step is next. Changes nothing. Ends with
    /// 0 when nothing is left to do, 3 when a step is, 1 when something is wrong
    Check(Check),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo migrate check --log kafka://localhost:9092\n  \
                        encargo migrate check --json | jq .next")]
pub(super) struct Check {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: LogFlag,
}

/// The status when a step is left to do.
const TO_DO: u8 = 3;

impl Command {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        let Self::Check(Check { json, log }) = self;
        let config = settings.load(&log.settings())?.config;
        if !config.log_url().is_shared() {
            bail!(
                "the old services are on Kafka and {} is not: name their brokers, --log kafka://HOST:PORT",
                config.log_url()
            );
        }
        let survey = Survey::take(&*open::log(&config)?, &config)?;
        let advice = steps::advise(&survey);
        if json {
            print_json(&survey, &advice)?;
        } else {
            print(&survey, &advice)?;
        }
        Ok(match (advice.troubles.is_empty(), advice.next) {
            (false, _) => ExitCode::FAILURE,
            (true, Step::Done) => ExitCode::SUCCESS,
            (true, _) => ExitCode::from(TO_DO),
        })
    }
}

fn print_json(survey: &Survey, advice: &Advice) -> Result<()> {
    let mut out = Out::new();
    out.json(&json!({
        "next": advice.next.name(), "do": advice.text, "troubles": advice.troubles,
        "highest_id": survey.highest_id, "next_id": survey.next_id, "ids_given_twice": survey.ids_given_twice,
        "orders": { "queued": survey.queued, "in_flight": survey.in_flight, "finished": survey.finished },
        "old": { "processing": survey.old.processing, "notifications": survey.old.notifications },
        "ours": { "fulfilment": survey.ours.processing, "tracking": survey.ours.notifications },
        "mail": { "twice": survey.mailed_twice, "since": survey.mail_since },
    }))?;
    out.flush()
}

fn print(survey: &Survey, advice: &Advice) -> Result<()> {
    let mut out = Out::new();
    let given = if survey.next_id > 1 { format!("; ours go on with {}", survey.next_id) } else { String::new() };
    out.field("highest id", &format!("{}{given}", survey.highest_id))?;
    out.field(
        "orders",
        &format!("{} queued, {} in flight, {} finished", survey.queued, survey.in_flight, survey.finished),
    )?;
    let who = |names: &[String]| match names {
        [] => "nobody".to_owned(),
        names => names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", "),
    };
    out.field("processing", &format!("old: {}; ours: {}", who(&survey.old.processing), who(&survey.ours.processing)))?;
    let (old, ours) = (&survey.old.notifications, &survey.ours.notifications);
    out.field("notifying", &format!("old: {}; ours: {}", who(old), who(ours)))?;
    let since =
        survey.mail_since.map_or_else(String::new, |since| format!("; with mail.since = \"{since}\": few or none"));
    out.field("mailed twice", &format!("{} by our settings now{since}", count(survey.mailed_twice, "state")))?;
    for trouble in &advice.troubles {
        out.line(&out.paint(Tone::Bad, &format!("wrong: {trouble}")))?;
    }
    out.line(&format!("{} {}", out.paint(Tone::Bold, &format!("next ({}):", advice.next.name())), advice.text))?;
    out.flush()?;
    if survey.unreadable > 0 {
        explain(&format!("{} could not be read and were passed over.", count(survey.unreadable, "record")));
    }
    Ok(())
}
