use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::{
    cli::{
        Settings, open,
        output::{Out, Tone, count, explain, plain},
        table::{Cell, Table},
    },
    config::Config,
    domain::Flow,
    flows::{
        self,
        diff::{Change, Meaning},
    },
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// Flow file that is in use
    before: PathBuf,
    /// Flow file that is to come in its place
    after: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

impl Diff {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let (before, after) = (flows::file::load(&self.before)?, flows::file::load(&self.after)?);
        let config = settings.load(&self.store.settings())?.config;
        let changes = flows::diff::compare(&before, &after);
        let meaning = flows::diff::meaning(&before, &after);
        let counted = in_flight(&before, &config).await;
        let mut out = Out::new();
        if self.json {
            out.json(&DiffJson {
                before: &before.id(),
                after: &after.id(),
                meaning: name(meaning),
                changes: changes.iter().map(ChangeJson::from).collect(),
                in_flight: counted.ok().map(BTreeMap::from_iter),
            })?;
            out.flush()?;
        } else {
            print(&mut out, &before, &after, changes)?;
            for line in words(meaning, &before, &after) {
                explain(&line);
            }
            match counted {
                Ok(counts) if counts.is_empty() => explain("No orders are in flight in these states."),
                Ok(counts) => explain(&format!("In flight now: {}.", list(&counts))),
                Err(error) => {
                    let error = error.to_string();
                    explain(&format!(
                        "Orders in flight are not counted: {}.",
                        error.lines().next().unwrap_or_default()
                    ));
                }
            }
        }
        Ok(if meaning == Meaning::Refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// How many orders are in each state of a flow that they still have to leave.
async fn in_flight(flow: &Flow, config: &Config) -> Result<Vec<(String, u64)>> {
    let counts = open::store(config).await?.order_counts().await?.by_state;
    let steps = flow.steps().iter().filter(|step| step.leave.is_some());
    let number = |state: &str| counts.iter().find(|(other, _)| **other == *state).map_or(0, |(_, number)| *number);
    let all = steps.map(|step| (step.state.to_string(), number(&step.state)));
    Ok(all.filter(|(_, number)| *number > 0).collect())
}

fn list(counts: &[(String, u64)]) -> String {
    let one = |(state, number): &(String, u64)| format!("{} in {}", count(*number, "order"), plain(state));
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What differs, for programs.
#[derive(Serialize)]
struct DiffJson<'a> {
    /// Name and version of the flow that is in use.
    before: &'a str,
    /// Of the other one.
    after: &'a str,
    /// What becomes of orders: `same`, `refused`, `newer`, `older`, `other-name`.
    meaning: &'static str,
    changes: Vec<ChangeJson<'a>>,
    /// Orders that are in flight, by state; nothing where they cannot be counted.
    in_flight: Option<BTreeMap<String, u64>>,
}

/// A difference: what each of the two says, if it does.
#[derive(Serialize)]
struct ChangeJson<'a> {
    state: &'a str,
    key: &'static str,
    before: Option<&'a str>,
    after: Option<&'a str>,
}

impl<'a> From<&'a Change> for ChangeJson<'a> {
    fn from(Change { state, key, before, after }: &'a Change) -> Self {
        Self { state, key, before: before.as_deref(), after: after.as_deref() }
    }
}

fn print(out: &mut Out, before: &Flow, after: &Flow, changes: Vec<Change>) -> Result<()> {
    let mut table = Table::new(["STATE", "KEY", "BEFORE", "AFTER"]).whole();
    for Change { state, key, before, after } in changes {
        let side = |text: Option<String>, tone| {
            text.map_or_else(|| Cell::from("-").tone(Tone::Dim), |t| Cell::from(t).tone(tone))
        };
        table.row([plain(&state).into(), key.into(), side(before, Tone::Bad), side(after, Tone::Good)]);
    }
    out.line(&out.paint(Tone::Bold, &format!("{} → {}", before.id(), after.id())))?;
    table.print(out)?;
    out.flush()
}

const fn name(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Same => "same",
        Meaning::Refused => "refused",
        Meaning::Newer => "newer",
        Meaning::Older => "older",
        Meaning::OtherName => "other-name",
    }
}

fn words(meaning: Meaning, before: &Flow, after: &Flow) -> Vec<String> {
    let (old, new) = (before.id(), after.id());
    let go_on = format!("Orders in flight go on under {old} to their end; new ones begin under {new}.");
    match meaning {
        Meaning::Same => vec!["Both say the same: nothing changes.".to_owned()],
        Meaning::Newer => vec![go_on],
        Meaning::OtherName => {
            vec![go_on, format!("{new} has another name, so it is no version of {}.", before.name())]
        }
        Meaning::Refused => vec![format!(
            "Both are {old}, and one version cannot mean two things: where the first is in use, the second is refused. \
             Give it version = {}.",
            before.version() + 1
        )],
        Meaning::Older => vec![format!(
            "{new} is older than {old}: where that is in use, new orders go on beginning under it. To go back, give the older \
             steps version = {}.",
            before.version() + 1
        )],
    }
}
