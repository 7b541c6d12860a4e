//! The life of an order: what may happen to it next, and where it stands afterwards.
//!
//! [`decide`] is asked before something happens, by whoever owns the order; [`OrderState::apply`] takes what has happened,
//! wherever it is read. Nobody else knows the rule. It is pure: no log, no clock, no timer of its own.

use std::{sync::Arc, time::Duration};

use super::{
    Cause, Change, Closing, EmailAddress, Exits, Flow, Order, Product, StateEvent, Timestamp, Waits,
    command::{Action, Command, Onward, OrderStatus, Refusal},
    flow::{End, Party, Step},
};

/// Where an order stands: all that its next event depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderState {
    /// What was placed: its fingerprint is the order's identity, which no later event changes.
    pub order: Arc<Order>,
    /// The flow that it began with, and stays with.
    pub flow: Arc<Flow>,
    /// The corrected address, if it was corrected.
    pub address: Option<EmailAddress>,
    /// Number of its latest event.
    pub seq: u8,
    /// The place in the flow of the state that it is in; an end beside the line has that of the state before.
    pub step: u8,
    /// When its latest event happened.
    pub at: Timestamp,
    /// What it waits for.
    pub waits: Waits,
    /// When somebody is expected to have moved it on.
    pub expect_at: Option<Timestamp>,
    /// Fingerprints of the commands that changed it.
    pub commands: Box<[u64]>,
}

/// How an event relates to where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It moved the order on; some events before it may be missing.
    Advanced {
        /// How many.
        missing: u8,
    },
    /// A later one was there: it has its place in the history, and the order stays where it is.
    Late,
    /// It is the latest itself, or no event of an order at all.
    Repeat,
    /// It is about another order under the same id.
    Conflict,
}

/// Longest time into the future that an order is delayed.
const DELAY_MAX: Duration = Duration::from_hours(24 * 3650);
/// Most events of an order that leave it in its state; the others find their numbers below 256 whatever the flow.
pub const AMENDMENTS_MAX: u8 = u8::MAX - Flow::STEPS_MAX as u8 - 1;

impl Relation {
    /// The same with a history to look into: what came late and is in it already is a repeat.
    #[must_use]
    pub fn unless_known(self, is_known: bool) -> Self {
        if self == Self::Late && is_known { Self::Repeat } else { self }
    }
}

/// Compares an event with what is known: the latest event's number, and what was placed.
///
/// An event before the latest may be known or not; only a history can tell.
pub fn relate(known: Option<(u8, u64)>, event: &StateEvent) -> Relation {
    match known {
        _ if event.seq == 0 => Relation::Repeat, // counted from 1, so there is no such event
        None => Relation::Advanced { missing: event.seq.saturating_sub(1) },
        Some((_, placed)) if placed != event.order.fingerprint() => Relation::Conflict,
        Some((seq, _)) if event.seq > seq => Relation::Advanced { missing: event.seq - seq - 1 },
        Some((seq, _)) if event.seq == seq => Relation::Repeat,
        Some(_) => Relation::Late,
    }
}

/// The first event of an order.
pub fn place(order: Arc<Order>, flow: &Arc<Flow>, now: Timestamp) -> StateEvent {
    enter(order, flow, (1, 1), now, Cause::Placed)
}

/// The event that comes when an order's time in its state is over. The state looks no shorter than its time by the wall
/// clock, too, which can be set back.
pub fn time_is_over(state: &OrderState, now: Timestamp) -> Option<StateEvent> {
    let Waits::Until(due) = state.waits else { return None };
    Some(go_on(state, now.max(due)))
}

/// What a command does, or why it changes nothing; no event when it was done before.
pub fn decide(state: &OrderState, command: &Command, now: Timestamp) -> Result<Option<StateEvent>, Refusal> {
    if state.commands.contains(&command.id.fingerprint()) {
        return Ok(None);
    }
    if let Waits::Closed(closing) = state.waits {
        return Err(Refusal::Closed(closing));
    }
    let (flow, now) = (&state.flow, now.max(state.at)); // the wall clock may have been set back
    let mut event = match &command.action {
        Action::Cancel if !flow.may_cancel(state.step, command.party) => return Err(Refusal::TooLate),
        Action::Cancel => end(state, flow.cancelled(), Closing::Cancelled),
        _ if command.party < Party::Operator => return Err(Refusal::NotYours),
        Action::Advance(_) if matches!(state.waits, Waits::Held(_)) => return Err(Refusal::Held),
        Action::Advance(Onward::Refused) => end(state, flow.refused().ok_or(Refusal::NoSuchEnd)?, Closing::Refused),
        Action::Advance(Onward::Next) => {
            if !flow.step(state.step).is_some_and(Step::takes_command) {
                return Err(Refusal::OnlyByTimer);
            }
            go_on(state, now)
        }
        amendment => amend(state, amendment, now)?,
    };
    event.at = now;
    event.cause = Cause::Command { id: command.id.clone(), by: command.by.clone() };
    event.reason.clone_from(&command.reason);
    event.commands = state.commands.iter().copied().chain([command.id.fingerprint()]).collect();
    Ok(Some(event))
}

/// An event after which the order is in the state in which it was.
fn amend(state: &OrderState, action: &Action, now: Timestamp) -> Result<StateEvent, Refusal> {
    // one number is kept for letting a held order go on
    let most = AMENDMENTS_MAX - u8::from(*action != Action::Resume);
    if state.seq.saturating_sub(state.step) >= most {
        return Err(Refusal::TooMany);
    }
    let (change, waits) = match (action, state.waits) {
        (Action::Hold, Waits::Held(_)) => return Err(Refusal::Held),
        (Action::Hold, Waits::Until(due)) => (Change::Held, Waits::Held(Some(due.since(now)))),
        (Action::Hold, _) => (Change::Held, Waits::Held(None)),
        (Action::Resume, Waits::Held(left)) => {
            (Change::Resumed, left.map_or(Waits::ForCommand, |left| Waits::Until(now + left)))
        }
        (Action::Resume, _) => return Err(Refusal::NotHeld),
        (Action::Delay(until), _) if *until <= now || *until > now + DELAY_MAX => return Err(Refusal::Time),
        (Action::Delay(until), Waits::Until(_)) => (Change::Delayed, Waits::Until(*until)),
        (Action::Delay(_), Waits::Held(_)) => return Err(Refusal::Held),
        (Action::Delay(_), _) => return Err(Refusal::NoTimer),
        (Action::Readdress(address), waits) if state.address.as_ref().unwrap_or(&state.order.email) != address => {
            (Change::Readdressed, waits)
        }
        _ => return Err(Refusal::SameAddress),
    };
    let step = state.flow.step(state.step);
    let next = state.flow.step(state.step + 1).map(|next| next.state.clone());
    // what was promised when it entered the state holds, but that nobody is waited for while it is held
    let expect_at =
        if change == Change::Resumed { expected(&state.flow, state.step, waits, now) } else { state.expect_at };
    Ok(StateEvent {
        order: state.order.clone(),
        address: if let Action::Readdress(address) = action { Some(address.clone()) } else { state.address.clone() },
        estado: step.map_or_else(|| "".into(), |step| step.state.clone()),
        seq: state.seq + 1,
        step: state.step,
        flow: Some(state.flow.id()),
        change,
        at: now,
        next,
        waits,
        exits: exits(&state.flow, state.step, waits, expect_at),
        mail: None,
        cause: Cause::Timer,
        reason: None,
        commands: state.commands.clone(),
    })
}

/// The next state of the line.
fn go_on(state: &OrderState, at: Timestamp) -> StateEvent {
    let OrderState { order, flow, address, seq, step, commands, .. } = state;
    let event = enter(order.clone(), flow, (seq + 1, step + 1), at, Cause::Timer);
    StateEvent { address: address.clone(), commands: commands.clone(), ..event }
}

fn enter(order: Arc<Order>, flow: &Flow, (seq, step): (u8, u8), at: Timestamp, cause: Cause) -> StateEvent {
    let entered = flow.step(step).expect("an order moves on to a state of its flow");
    let next = flow.step(step + 1).map(|next| next.state.clone());
    let waits = waits(flow, step, &order.product, at);
    StateEvent {
        estado: entered.state.clone(),
        seq,
        step,
        flow: Some(flow.id()),
        change: Change::Entered,
        at,
        next,
        waits,
        exits: exits(flow, step, waits, expected(flow, step, waits, at)),
        mail: entered.mail.clone(),
        cause,
        reason: None,
        order,
        address: None,
        commands: Box::default(),
    }
}

/// What an order waits for once it has entered a state of the line at that time.
pub fn waits(flow: &Flow, step: u8, product: &Product, at: Timestamp) -> Waits {
    match (flow.step(step + 1), flow.dwell_of(step, product)) {
        (None, _) => Waits::Closed(Closing::Finished),
        (Some(_), Some(dwell)) => Waits::Until(at + dwell),
        (Some(_), None) => Waits::ForCommand,
    }
}

/// Where an order stands, as those see it who may want something of it.
pub fn status(state: &OrderState) -> OrderStatus {
    let flow = &state.flow;
    let end = match state.waits {
        Waits::Closed(Closing::Cancelled) => Some(flow.cancelled()),
        Waits::Closed(Closing::Refused) => flow.refused(),
        _ => None,
    };
    let estado = end.map(|end| &end.state).or(flow.step(state.step).map(|step| &step.state));
    OrderStatus {
        estado: estado.map_or_else(Box::default, |estado| (&**estado).into()),
        seq: state.seq,
        waits: state.waits,
        exits: exits(flow, state.step, state.waits, state.expect_at),
    }
}

/// When somebody is expected to have moved an order on that has waited like this since a time.
pub fn expected(flow: &Flow, step: u8, waits: Waits, since: Timestamp) -> Option<Timestamp> {
    let is_waited_for = !matches!(waits, Waits::Held(_) | Waits::Closed(_));
    flow.step(step).filter(|_| is_waited_for)?.expect().map(|expect| since + expect)
}

/// How else it can leave that state.
fn exits(flow: &Flow, step: u8, waits: Waits, expect_at: Option<Timestamp>) -> Exits {
    let (Some(step), false) = (flow.step(step), matches!(waits, Waits::Closed(_))) else { return Exits::default() };
    let goes_on = !matches!(waits, Waits::Held(_));
    Exits {
        cancel: step.cancel,
        advance: goes_on && step.takes_command(),
        refuse: goes_on && flow.refused().is_some(),
        expect_at: expect_at.filter(|_| goes_on),
    }
}

fn end(state: &OrderState, end: &End, closing: Closing) -> StateEvent {
    StateEvent {
        order: state.order.clone(),
        address: state.address.clone(),
        estado: end.state.clone(),
        seq: state.seq + 1,
        step: state.step,
        flow: Some(state.flow.id()),
        change: Change::Entered,
        at: state.at,
        next: None,
        waits: Waits::Closed(closing),
        exits: Exits::default(),
        mail: end.mail.clone(),
        cause: Cause::Timer,
        reason: None,
        commands: state.commands.clone(),
    }
}

impl OrderState {
    /// Where an order stands after one of its events, whatever was before it.
    pub fn after(event: &StateEvent, flow: &Arc<Flow>) -> Self {
        Self {
            order: event.order.clone(),
            flow: flow.clone(),
            address: event.address.clone(),
            seq: event.seq,
            step: event.step,
            at: event.at,
            waits: event.waits,
            expect_at: event.exits.expect_at,
            commands: event.commands.clone(),
        }
    }

    /// Takes an event; only one that moves the order on changes where it stands.
    pub fn apply(&mut self, event: &StateEvent) -> Relation {
        let relation = relate(Some((self.seq, self.order.fingerprint())), event);
        if matches!(relation, Relation::Advanced { .. }) {
            *self = Self::after(event, &self.flow);
        }
        relation
    }
}

#[cfg(test)]
mod tests;
