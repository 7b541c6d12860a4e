//! The auditor's own model of an order's life: what may follow what, and not before when.

use super::{Report, Rules};
use crate::audit::{Event, Line};

/// Where an order stands after some of its events.
struct Life<'a> {
    /// Place of its state in the line, from 0.
    place: usize,
    /// When its time in the state is over; `None` when it waits for somebody.
    due: Option<i64>,
    /// Whether it is held, and how much of its time was left then, if it had one.
    is_held: bool,
    left: Option<i64>,
    /// The state in which its life ended.
    end: Option<&'a str>,
}

/// I2: the states of the line, in order, once each, none before its time has passed or somebody has said so; held, delayed
/// and readdressed only between; and after an end nothing at all.
pub(super) fn judge(id: u64, history: &[&Event], line: &Line, rules: &Rules, report: &mut Report) {
    if history.iter().any(|event| event.position.0 != history[0].position.0) {
        report.object("I2", id, "has events in more than one partition");
    }
    let mut life: Option<Life> = None;
    for (number, event) in (1..).zip(history) {
        if event.seq.is_some_and(|seq| seq != number) {
            report.object("I2", id, &format!("has event {number} as number {:?}", event.seq));
        }
        if event.command.is_some() && history[..number as usize - 1].iter().any(|other| other.command == event.command)
        {
            report.object("I2", id, &format!("did command {:?} twice", event.command));
        }
        match step(life, event, line, rules, report) {
            Ok(next) => life = Some(next),
            Err(text) => return report.object("I2", id, &text),
        }
    }
    let Some(life) = life else { return };
    match (history[history.len() - 1].closes.as_deref(), life.end) {
        (Some("finished"), Some(state)) => {
            report.finished += 1;
            if line.last().is_none_or(|(last, _)| last != state) {
                report.object("I2", id, &format!("is finished in {state:?}"));
            }
        }
        (None, Some(_)) => report.finished += 1,
        (Some(_), Some(_)) => report.cancelled += 1,
        (_, None) if rules.all_finished => {
            report.object("I2", id, &format!("stopped at {:?}", line[life.place].0));
        }
        (_, None) => {}
    }
}

/// What an event makes of a life, or what is wrong with it.
fn step<'a>(
    life: Option<Life<'a>>,
    event: &'a Event,
    line: &Line,
    rules: &Rules,
    report: &mut Report,
) -> Result<Life<'a>, String> {
    let Some(life) = life else {
        return match (event.change.is_none() && event.command.is_none(), line.first()) {
            (true, Some((first, _))) if *first == event.estado => Ok(enter(0, event, line)),
            _ => Err(format!("begins with {:?}", event.estado)),
        };
    };
    if let Some(end) = life.end {
        return Err(format!("has state {:?} after its end, {end:?}", event.estado));
    }
    let state = &line[life.place].0;
    if let Some(change) = &event.change {
        return amend(life, state, change, event);
    }
    let in_line = line.iter().position(|(estado, _)| *estado == event.estado);
    match (in_line, event.closes.as_deref()) {
        (Some(place), None | Some("finished")) if place == life.place + 1 => {
            leave(&life, state, event, rules, report);
            Ok(enter(place, event, line))
        }
        (None, Some("cancelled" | "refused")) if event.command.is_some() => {
            Ok(Life { end: Some(&event.estado), due: None, ..life })
        }
        (None, Some(closing)) => Err(format!("is {closing} in {:?}, and by no command", event.estado)),
        (..) => match line.get(life.place + 1) {
            Some((next, _)) => Err(format!("has state {:?} where {next:?} belongs", event.estado)),
            None => Err(format!("has state {:?} after its last", event.estado)),
        },
    }
}

fn enter<'a>(place: usize, event: &'a Event, line: &Line) -> Life<'a> {
    let is_last = place + 1 == line.len();
    let has_timer = !is_last && event.waits.as_deref() != Some("command");
    let due = line[place].1.filter(|_| has_timer).map(|dwell| event.at + dwell.as_millis() as i64);
    Life { place, due, is_held: false, left: None, end: is_last.then_some(&event.estado) }
}

/// A state that is left by a timer was not left early, and not too late.
fn leave(life: &Life, state: &str, event: &Event, rules: &Rules, report: &mut Report) {
    if life.is_held {
        report.object("I2", event.id, &format!("left {state:?} while it was held"));
    }
    if event.command.is_some() {
        return;
    }
    let Some(due) = life.due else {
        return report.object("I2", event.id, &format!("left {state:?}, where it waited for a command, without one"));
    };
    let late = event.at - due;
    if late < 0 {
        report.object("I2", event.id, &format!("left {state:?} {} ms before its time was over", -late));
    }
    report.late_ms.push(late);
    if rules.late_max.is_some_and(|max| late > max.as_millis() as i64) {
        report.object("I2", event.id, &format!("left {state:?} {late} ms late"));
    }
}

/// A change that leaves an order in its state.
fn amend<'a>(life: Life<'a>, state: &str, change: &str, event: &'a Event) -> Result<Life<'a>, String> {
    if event.estado != *state {
        return Err(format!("was {change} in {:?}, and is in {state:?}", event.estado));
    }
    if event.command.is_none() {
        return Err(format!("was {change} by no command"));
    }
    let life = match (change, life.is_held) {
        ("held", false) => Life { is_held: true, left: life.due.map(|due| (due - event.at).max(0)), due: None, ..life },
        ("resumed", true) => Life { is_held: false, due: life.left.map(|left| event.at + left), ..life },
        ("delayed", false) if life.due.is_some() && event.next_at.is_some() => Life { due: event.next_at, ..life },
        ("readdressed", _) => life,
        _ => return Err(format!("was {change} as it stood")),
    };
    if event.next_at != life.due {
        return Err(format!("was {change}, and tells that it is due at {:?}, not at {:?}", event.next_at, life.due));
    }
    Ok(life)
}
