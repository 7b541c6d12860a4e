//! An order as its customer reads it: what was, what is, and what is to come, as far as that is known.

use std::time::Duration;

use crate::{
    domain::{
        Change, Closing, Flow, Timestamp, Waits,
        command::{Verb, allows},
        flow::{Leave, Party},
    },
    store::orders::{HistoryEntry, OrderView},
};

/// How much later than due a state may come before a customer is told that it is late.
const LATE_AFTER: Duration = Duration::from_secs(5);
/// Tiles that a state has on the strip.
const TILES: u64 = 4;

/// Where a state stands as seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Past,
    Now,
    Ahead,
    /// Will not be.
    Off,
}

impl Place {
    /// As style sheet and programs know it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Past => "past",
            Self::Now => "now",
            Self::Ahead => "ahead",
            Self::Off => "off",
        }
    }
}

/// When something was or will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    At(Timestamp),
    About(Timestamp),
    AnyMoment,
    Unknown,
    Never,
}

/// A state of the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) state: String,
    pub(super) place: Place,
    pub(super) when: When,
    /// So many petals of its flower are painted, of four.
    pub(super) petals: u8,
}

/// How it stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// On time, or nobody knows better.
    GoesOn,
    /// The next state should have come then.
    Late(Timestamp),
    /// Somebody has to move it on; when that is expected, if the flow says so.
    Waits(Option<Timestamp>),
    /// Somebody has stopped it for now.
    Held,
    Closed(Closing),
}

#[derive(Debug)]
pub(super) struct Journey {
    pub(super) status: Status,
    pub(super) steps: Vec<Step>,
    /// The step that it is in, or was in when it ended, from 1.
    pub(super) at: usize,
    /// Tiles of the strip that are painted.
    pub(super) painted: u64,
    /// When it is complete, if that can be told.
    pub(super) ends: Option<Timestamp>,
    pub(super) may_cancel: bool,
    /// Until when that is so: the first state in which it is not, and when that comes.
    pub(super) cancel_until: Option<(String, When)>,
}

impl Journey {
    /// Without the flow that the order follows, only what has happened is told.
    pub(super) fn of(view: &OrderView, history: &[HistoryEntry], flow: Option<&Flow>, now: Timestamp) -> Self {
        let status = status(view, now);
        let flow = flow.filter(|flow| is_in(view, flow));
        let entered = |state: &str| {
            let entries = history.iter().filter(|entry| entry.change == Change::Entered && *entry.estado == *state);
            entries.map(|entry| entry.at).next_back()
        };
        let (steps, at) = match flow {
            Some(flow) => (line(view, flow, status, entered), usize::from(view.step)),
            None => {
                let steps = known(view, history);
                let at = steps.len();
                (steps, at)
            }
        };
        let painted = painted(view, at, now, status);
        let last = steps.last().map(|step| step.when);
        let ends = match (last, status) {
            (Some(When::About(at)), Status::GoesOn | Status::Waits(_)) if flow.is_some() => Some(at),
            _ => None,
        };
        let may_cancel = allows(view.waits, view.exits, Party::Customer, Verb::Cancel);
        let cancel_until = flow.filter(|_| may_cancel).and_then(|flow| {
            let from = view.step + 1;
            let place = (from..=flow.last_seq()).find(|place| !flow.may_cancel(*place, Party::Customer))?;
            let step = &steps[usize::from(place) - 1];
            Some((step.state.clone(), step.when))
        });
        Self { status, steps, at, painted, ends, may_cancel, cancel_until }
    }
}

/// Whether an order goes through a flow as the flow is known here.
fn is_in(view: &OrderView, flow: &Flow) -> bool {
    let is_beside = matches!(view.closes(), Some(Closing::Cancelled | Closing::Refused));
    flow.step(view.step).is_some_and(|step| is_beside || *step.state == *view.estado)
}

fn status(view: &OrderView, now: Timestamp) -> Status {
    let is_over = |due: Timestamp| now > due + LATE_AFTER;
    match view.waits {
        Waits::Closed(closing) => Status::Closed(closing),
        Waits::Held(_) => Status::Held,
        Waits::Until(due) if is_over(due) => Status::Late(due),
        Waits::ForCommand => match view.exits.expect_at {
            Some(expected) if is_over(expected) => Status::Late(expected),
            expected => Status::Waits(expected),
        },
        Waits::Until(_) | Waits::Untold => Status::GoesOn,
    }
}

/// All states of a flow.
fn line(view: &OrderView, flow: &Flow, status: Status, entered: impl Fn(&str) -> Option<Timestamp>) -> Vec<Step> {
    let count = flow.steps().len();
    let is_beside = matches!(status, Status::Closed(Closing::Cancelled | Closing::Refused));
    let mut next = match status {
        Status::Late(_) => When::AnyMoment,
        _ if is_beside => When::Never,
        _ => view.next_at().or(view.exits.expect_at).map_or(When::Unknown, When::About),
    };
    let mut steps = Vec::with_capacity(count);
    for (index, step) in flow.steps().iter().enumerate() {
        let number = index + 1;
        let here = usize::from(view.step);
        let (place, when) = if number <= here {
            // where an order was when its life ended beside the line is past, too
            let place = if number == here && !is_beside { Place::Now } else { Place::Past };
            (place, entered(&step.state).map_or(When::Unknown, When::At))
        } else {
            let when = next;
            next = after(when, step.leave.as_ref(), view);
            (if is_beside { Place::Off } else { Place::Ahead }, when)
        };
        steps.push(Step { state: step.state.to_string(), place, when, petals: petals(number, count) });
    }
    steps
}

/// When the state after one comes, which itself comes then.
fn after(entered: When, leave: Option<&Leave>, view: &OrderView) -> When {
    let (When::About(at), Some(leave)) = (entered, leave) else {
        return if entered == When::Never { When::Never } else { When::Unknown };
    };
    let product = &view.order.product;
    match leave {
        Leave::Timer(dwell) | Leave::Either { dwell, expect: None } => When::About(at + dwell.of(product)),
        // it is moved on by then at the latest
        Leave::Either { dwell, expect: Some(expect) } => When::About(at + dwell.of(product).min(*expect)),
        Leave::Command { expect } => expect.map_or(When::Unknown, |expect| When::About(at + expect)),
    }
}

/// The states that an order is known to have been in.
fn known(view: &OrderView, history: &[HistoryEntry]) -> Vec<Step> {
    let is_beside = matches!(view.closes(), Some(Closing::Cancelled | Closing::Refused));
    let entered = history.iter().filter(|entry| entry.change == Change::Entered);
    // an end beside the line is told by the page itself
    let entered: Vec<_> = entered.filter(|entry| !is_beside || entry.estado != view.estado).collect();
    let count = entered.len().max(if view.closes().is_some() { 1 } else { 4 });
    let steps = entered.iter().enumerate().map(|(index, entry)| Step {
        state: entry.estado.to_string(),
        place: if index + 1 == entered.len() && !is_beside { Place::Now } else { Place::Past },
        when: When::At(entry.at),
        petals: petals(index + 1, count),
    });
    steps.collect()
}

/// One of so many states as a flower of four petals.
pub(super) fn petals(number: usize, count: usize) -> u8 {
    (4 * number).div_ceil(count.max(1)).min(4) as u8
}

/// The tiles of states that are past, and of this one as many as its time has passed; the last one when it is left.
fn painted(view: &OrderView, at: usize, now: Timestamp, status: Status) -> u64 {
    let before = TILES * (at as u64).saturating_sub(1);
    let share = |until: Timestamp| {
        let (whole, passed) = (until.since(view.at).as_millis().max(1), now.since(view.at).as_millis());
        (u128::from(TILES) * passed / whole).min(u128::from(TILES) - 1) as u64
    };
    before
        + match (status, view.waits) {
            (Status::Closed(Closing::Finished), _) => TILES,
            (Status::Late(_), _) => TILES - 1,
            (_, Waits::Until(due)) => share(due),
            (Status::Waits(Some(expected)), _) => share(expected),
            _ => TILES / 2,
        }
}

#[cfg(test)]
mod tests;
