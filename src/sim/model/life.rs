//! The life of an order as the model has it: what may follow what, when, and by whom.

use serde_json::Value;

use crate::{
    domain::Timestamp,
    sim::line::{Left, Line},
};

/// An event or a command as it stands in its record.
#[derive(Clone, Copy)]
pub(super) struct Event<'a>(pub(super) &'a Value);

impl<'a> Event<'a> {
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0[name].as_str()
    }

    /// In milliseconds since the epoch.
    pub(super) fn time(self, name: &str) -> Option<i64> {
        Some(self.text(name)?.parse::<Timestamp>().ok()?.as_millis())
    }
}

#[derive(Debug)]
pub(super) struct Order {
    pub(super) partition: u32,
    /// The version of the flow that it began with.
    pub(super) flow: String,
    events: u64,
    /// How many states of the line it has entered.
    pub(super) places: usize,
    /// When its time is over; nothing while it waits for somebody.
    pub(super) due: Option<i64>,
    pub(super) is_held: bool,
    /// How much of its time was left when it was held, if it had one.
    left: Option<i64>,
    pub(super) is_over: bool,
    pub(super) is_cancelled: bool,
    /// Where its latest event stands.
    pub(super) offset: u64,
}

impl Order {
    pub(super) fn new(partition: u32, flow: &str) -> Self {
        Self {
            partition,
            flow: flow.to_owned(),
            events: 0,
            places: 0,
            due: None,
            is_held: false,
            left: None,
            is_over: false,
            is_cancelled: false,
            offset: 0,
        }
    }

    /// Takes the order's next event, or says what is wrong with it; `command` is what was wanted.
    pub(super) fn take(&mut self, line: &Line, event: Event<'_>, command: Option<&Value>) -> Result<(), String> {
        let command = command.map(Event);
        if self.is_over || event.0["seq"].as_u64() != Some(self.events + 1) {
            return Err(format!("is over, or not number {}", self.events + 1));
        }
        if event.text("flow") != Some(&self.flow) {
            return Err(format!("began under {}", self.flow));
        }
        let at = event.time("at").ok_or("has no time")?;
        match (event.text("change"), command) {
            (Some(change), Some(command)) => self.amend(line, change, (event, at), command)?,
            (Some(_), None) => return Err("nobody wanted it".into()),
            (None, command) if event.text("estado") == Some("cancelado") => self.cancel(line, command)?,
            (None, command) => self.enter(line, (event, at), command)?,
        }
        if event.time("next_at") != self.due || event.text("waits") != self.waits() {
            let told = (event.text("waits"), event.time("next_at"));
            return Err(format!("tells {told:?}, and waits for {:?} until {:?}", self.waits(), self.due));
        }
        self.events += 1;
        Ok(())
    }

    /// Whether its latest event is its first.
    pub(super) const fn is_new(&self) -> bool {
        self.events == 1
    }

    fn waits(&self) -> Option<&'static str> {
        match (self.is_over, self.is_held, self.due) {
            (false, true, _) => Some("held"),
            (false, false, None) => Some("command"),
            _ => None,
        }
    }

    /// The next state of the line: not early, and by whom that state lets it be.
    fn enter(&mut self, line: &Line, (event, at): (Event<'_>, i64), by: Option<Event<'_>>) -> Result<(), String> {
        let next = line.states.get(self.places);
        let Some((_, left)) = next.filter(|(state, _)| Some(*state) == event.text("estado")) else {
            return Err(format!("{next:?} is next"));
        };
        let before = self.places.checked_sub(1).and_then(|place| line.states[place].1);
        let is_allowed = match (before, by) {
            (None, by) => by.is_none(),
            (Some(left), Some(command)) => command.text("do") == Some("advance") && !matches!(left, Left::Timer(_)),
            (Some(left), None) => left != Left::Command && self.due.is_some_and(|due| at >= due),
        };
        if !is_allowed || self.is_held {
            return Err(format!("early at {at}, or by whom it must not be: {before:?}, {:?}", self.due));
        }
        self.places += 1;
        self.is_over = left.is_none();
        self.due = left.and_then(Left::dwell).map(|dwell| at + dwell.as_millis() as i64);
        Ok(())
    }

    /// The customer may not in the state before the last, unless it is the first.
    fn cancel(&mut self, line: &Line, by: Option<Event<'_>>) -> Result<(), String> {
        let command = by.filter(|command| command.text("do") == Some("cancel")).ok_or("nobody cancelled it")?;
        if command.text("party") != Some("operator") && self.places > 1 && self.places + 1 >= line.states.len() {
            return Err("its customer could not any more".into());
        }
        (self.is_over, self.is_cancelled, self.due) = (true, true, None);
        Ok(())
    }

    /// A change that leaves it in its state.
    fn amend(
        &mut self,
        line: &Line,
        change: &str,
        (event, at): (Event<'_>, i64),
        command: Event<'_>,
    ) -> Result<(), String> {
        if self.places.checked_sub(1).map(|place| line.states[place].0) != event.text("estado") {
            return Err("is in another state".into());
        }
        match (change, command.text("do"), self.is_held) {
            ("held", Some("hold"), false) => {
                (self.is_held, self.left) = (true, self.due.map(|due| (due - at).max(0)));
                self.due = None;
            }
            ("resumed", Some("resume"), true) => {
                (self.is_held, self.due) = (false, self.left.map(|left| at + left));
            }
            ("delayed", Some("delay"), false) if self.due.is_some() => self.due = command.time("until"),
            ("readdressed", Some("address"), _) if event.text("usermail") == command.text("usermail") => {}
            (_, wanted, _) => return Err(format!("{wanted:?} was wanted as it stood")),
        }
        let left = self.left.filter(|_| self.is_held);
        if event.0["left_ms"].as_i64() != left {
            return Err(format!("tells that {} ms are left, not {left:?}", event.0["left_ms"]));
        }
        Ok(())
    }
}
