//! Moving over from the Python services and back: what stands in their topics and groups, and what to do next.

mod steps;
pub(super) mod survey;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

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
use crate::domain::Timestamp;

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
    let Survey { queued, in_flight, finished, old, ours, .. } = survey;
    out.json(&AdviceJson {
        next: advice.next.name(),
        text: &advice.text,
        troubles: &advice.troubles,
        highest_id: survey.highest_id,
        next_id: survey.next_id,
        ids_given_twice: survey.ids_given_twice,
        orders: OrdersJson { queued: *queued, in_flight: *in_flight, finished: *finished },
        old: OldJson { processing: &old.processing, notifications: &old.notifications },
        ours: OursJson { fulfilment: &ours.processing, tracking: &ours.notifications },
        mail: MailJson { twice: survey.mailed_twice, since: survey.mail_since },
    })?;
    out.flush()
}

/// What was found and what is to be done, for programs.
#[derive(Serialize)]
struct AdviceJson<'a> {
    /// The step that is next.
    next: &'static str,
    /// The same in words.
    #[serde(rename = "do")]
    text: &'a str,
    /// What is wrong.
    troubles: &'a [String],
    highest_id: u64,
    /// The number that our intake would give next.
    next_id: u64,
    /// Numbers under which two different orders stand.
    ids_given_twice: u64,
    orders: OrdersJson,
    old: OldJson<'a>,
    ours: OursJson<'a>,
    mail: MailJson,
}

/// How many orders stand where.
#[derive(Serialize)]
struct OrdersJson {
    queued: u64,
    in_flight: u64,
    finished: u64,
}

/// The members of the old services' groups.
#[derive(Serialize)]
struct OldJson<'a> {
    processing: &'a [String],
    notifications: &'a [String],
}

/// The members of our groups.
#[derive(Serialize)]
struct OursJson<'a> {
    fulfilment: &'a [String],
    tracking: &'a [String],
}

/// Mails about states that an old service has told of.
#[derive(Serialize)]
struct MailJson {
    /// How many there would be.
    twice: u64,
    /// From when on ours have to mail.
    since: Option<Timestamp>,
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
