//! What the columns of a history say, in both databases. NULL is what an event of version 1 says, so that rows which were
//! written before the others were invented are read as what they are.

use crate::domain::{
    Cause, Change, Closing, CommandOutcome, Exits, StateEvent, Timestamp, Waits, command::Verdict, flow::Party, wire,
};

/// An event as columns, beside its key, its state and its time.
pub(super) struct Columns<'a> {
    pub(super) next_at: Option<i64>,
    /// The order's life is over.
    pub(super) last: bool,
    /// How, when it did not go through all its states.
    pub(super) closes: Option<&'static str>,
    /// What it waits for, when that is neither a time nor nothing.
    pub(super) waits: Option<&'static str>,
    pub(super) left_ms: Option<i64>,
    /// Its place in the flow, when that is not the number of the event.
    pub(super) step: Option<u8>,
    /// What happened, when it did not enter the state.
    pub(super) change: Option<&'static str>,
    /// See [`exits`].
    pub(super) exits: Option<u8>,
    pub(super) expect_at: Option<i64>,
    pub(super) next: Option<&'a str>,
    pub(super) by: Option<&'a str>,
    pub(super) command: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    /// The template of its mail, when that has not the state's name.
    pub(super) template: Option<&'a str>,
}

const OPERATOR_CANCELS: u8 = 1;
const CUSTOMER_CANCELS: u8 = 2;
const ADVANCE: u8 = 4;
const REFUSE: u8 = 8;

impl<'a> Columns<'a> {
    pub(super) fn of(event: &'a StateEvent) -> Self {
        let (command, by) = match &event.cause {
            Cause::Command { id, by } => (Some(id.as_str()), Some(&**by)),
            Cause::Placed | Cause::Timer => (None, None),
        };
        let left = if let Waits::Held(left) = event.waits { left } else { None };
        Self {
            next_at: event.next_at().map(Timestamp::as_millis),
            last: event.closes().is_some(),
            closes: event.closes().filter(|closing| *closing != Closing::Finished).map(Closing::name),
            waits: wire::waits_name(event.waits),
            left_ms: left.map(|left| left.as_millis() as i64),
            step: Some(event.step).filter(|step| *step != event.seq),
            change: Some(event.change).filter(|change| *change != Change::Entered).map(Change::name),
            exits: exit_bits(event.exits),
            expect_at: event.exits.expect_at.map(Timestamp::as_millis),
            next: event.next.as_deref(),
            by,
            command,
            reason: event.reason.as_deref(),
            template: event.mail.as_deref().filter(|template| *template != &*event.estado),
        }
    }
}

/// How else a state can be left, as one number: 1 the operator may cancel, 2 the customer may, too, 4 a command moves the
/// order on, 8 it can be refused.
fn exit_bits(exits: Exits) -> Option<u8> {
    let cancel = match exits.cancel {
        None => 0,
        Some(Party::Operator) => OPERATOR_CANCELS,
        Some(Party::Customer) => OPERATOR_CANCELS | CUSTOMER_CANCELS,
    };
    let bits = cancel | if exits.advance { ADVANCE } else { 0 } | if exits.refuse { REFUSE } else { 0 };
    Some(bits).filter(|bits| *bits != 0)
}

/// From the column `exits`, and when somebody is expected.
pub(super) fn exits(bits: Option<u8>, expect_at: Option<Timestamp>) -> Exits {
    let has = |bit| bits.unwrap_or_default() & bit != 0;
    let cancel = match (has(CUSTOMER_CANCELS), has(OPERATOR_CANCELS)) {
        (true, _) => Some(Party::Customer),
        (false, true) => Some(Party::Operator),
        (false, false) => None,
    };
    Exits { cancel, advance: has(ADVANCE), refuse: has(REFUSE), expect_at }
}

/// How an order's life ended, from the columns `last` and `closes`.
pub(super) fn closing(last: bool, closes: Option<&str>) -> Option<Closing> {
    last.then(|| closes.and_then(Closing::named).unwrap_or(Closing::Finished))
}

/// What an order waits for, from the columns `next_at`, `waits` and `left_ms`, and how its life ended.
pub(super) fn waits(
    closing: Option<Closing>,
    next_at: Option<Timestamp>,
    waits: Option<&str>,
    left_ms: Option<i64>,
) -> Waits {
    let closes = closing.map(Closing::name);
    wire::read_waits(closes, next_at, waits, left_ms.map(i64::cast_unsigned)).unwrap_or(Waits::Untold)
}

/// What happened, from the column `change`.
pub(super) fn change(name: Option<&str>) -> Change {
    name.and_then(Change::named).unwrap_or(Change::Entered)
}

/// Whether an outcome stays, whatever else is said of its command later.
pub(super) const fn stays(outcome: &CommandOutcome) -> bool {
    matches!(outcome.verdict, Verdict::Done | Verdict::Repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_out_has_its_number() {
        for cancel in [None, Some(Party::Operator), Some(Party::Customer)] {
            for (advance, refuse) in [(false, false), (true, false), (false, true), (true, true)] {
                let all = Exits { cancel, advance, refuse, expect_at: None };
                assert_eq!(exits(exit_bits(all), None), all);
            }
        }
        assert_eq!(exit_bits(Exits::default()), None, "as in rows of before");
    }
}
