use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use crate::{
    cli::{
        Settings,
        output::{Out, Tone},
        table::{Cell, Table},
    },
    domain::{
        Flow,
        flow::{End, Step},
    },
    flows,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// Flow file [default: the flow in force]
    file: Option<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        let flow = super::load(self.file.as_deref(), &settings.load(&[])?.config)?;
        let mut out = Out::new();
        if self.json {
            out.line(&flow.to_json())?;
        } else {
            let content = out.paint(Tone::Dim, &format!("content {:016x}", flow.fingerprint()));
            out.line(&format!("{}  {content}", out.paint(Tone::Bold, &flow.id())))?;
            table(&flow).print(&mut out)?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(flow: &Flow) -> Table<7> {
    let mut table = Table::new([">", "STATE", "LEFT BY", "AFTER", "EXPECTED", "CANCELLED BY", "MAIL"]).whole();
    for (place, step) in (1_u64..).zip(flow.steps()) {
        let is_end = step.leave.is_none();
        let tone = if is_end { Tone::Good } else { Tone::Plain };
        let left = if is_end { "(the end)".to_owned() } else { word(step, "leave") };
        let dwell = word(step, "dwell");
        let who = match word(step, "cancel").as_str() {
            "customer" => "customer, operator".to_owned(),
            other => other.to_owned(),
        };
        table.row([
            place.into(),
            Cell::from(&*step.state).tone(tone),
            left.into(),
            dwell.into(),
            word(step, "expect").into(),
            who.into(),
            mail(step.mail.as_deref()),
        ]);
        for exception in step.dwell().into_iter().flat_map(|dwell| &dwell.exceptions) {
            let words = Cell::from(flows::exception(exception)).tone(Tone::Dim);
            table.row(["".into(), "".into(), "".into(), words, "".into(), "".into(), "".into()]);
        }
    }
    let ends = [("(cancelled)", Some(flow.cancelled())), ("(refused)", flow.refused())];
    for (kind, End { state, mail: template }) in ends.into_iter().filter_map(|(kind, end)| Some((kind, end?))) {
        let state = Cell::from(&**state).tone(Tone::Busy);
        table.row(["".into(), state, kind.into(), "".into(), "".into(), "".into(), mail(template.as_deref())]);
    }
    table
}

fn word(step: &Step, key: &str) -> String {
    flows::keys(step).into_iter().find(|(other, _)| *other == key).map(|(_, words)| words).unwrap_or_default()
}

fn mail(template: Option<&str>) -> Cell {
    template.map_or_else(|| Cell::from("none").tone(Tone::Dim), Cell::from)
}
