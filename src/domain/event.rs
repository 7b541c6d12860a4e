use std::{sync::Arc, time::Duration};

use super::{EmailAddress, Order, Timestamp, command::CommandId, flow::Party};

/// Something happened to an order: it entered a state, or was changed in the one that it is in. An event explains itself:
/// whoever reads it needs neither the flow nor the other events.
///
/// Its identity is (order id, seq); a reader accepts seq = last + 1 and ignores what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEvent {
    /// The order as it was placed, whole.
    pub order: Arc<Order>,
    /// The address to which its mails go, once that was corrected.
    pub address: Option<EmailAddress>,
    /// The state's name.
    pub estado: Arc<str>,
    /// Counts the order's events, from 1.
    pub seq: u8,
    /// The state's place in the order's flow, from 1; an end beside the line has that of the state before.
    pub step: u8,
    /// The flow, `name@version`; records of version 1 name none.
    pub flow: Option<Arc<str>>,
    /// What happened.
    pub change: Change,
    /// When; on records of the old services, the time of the record.
    pub at: Timestamp,
    /// The state that follows; records of version 1 do not tell.
    pub next: Option<Arc<str>>,
    /// What the order waits for now.
    pub waits: Waits,
    /// How else its state can be left; records of version 1 do not tell.
    pub exits: Exits,
    /// The template of the mail about it, if it is mailed.
    pub mail: Option<Arc<str>>,
    /// Why it happened.
    pub cause: Cause,
    /// The words that somebody gave for it.
    pub reason: Option<Box<str>>,
    /// Fingerprints of the commands that made the order what it is, with the one that caused this event: none of them does
    /// anything again.
    pub commands: Box<[u64]>,
}

/// What happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It entered the state.
    Entered,
    /// Its time in the state was stopped.
    Held,
    /// Its time in the state goes on.
    Resumed,
    /// Its time in the state ends at another moment.
    Delayed,
    /// Its mails go to another address.
    Readdressed,
}

/// What an order waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Its time in the state, which is over then.
    Until(Timestamp),
    /// Somebody who moves it on.
    ForCommand,
    /// Somebody who lets it go on; then so much of its time is left, if it had one.
    Held(Option<Duration>),
    /// Nothing: its life is over.
    Closed(Closing),
    /// The record does not tell: an old service wrote it.
    Untold,
}

/// How a state can be left otherwise than by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exits {
    /// The least of the parties that may cancel.
    pub cancel: Option<Party>,
    /// Whether a command moves the order on.
    pub advance: bool,
    /// Whether it can be refused.
    pub refuse: bool,
    /// When somebody is expected to have moved it on.
    pub expect_at: Option<Timestamp>,
}

/// How an order's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closing {
    /// It went through all its states.
    Finished,
    /// The customer or the shop did not want it any more.
    Cancelled,
    /// The shop did not take it.
    Refused,
}

/// Why an event happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The order was placed.
    Placed,
    /// The time in the state before was over.
    Timer,
    /// Somebody said so.
    Command {
        /// Its id.
        id: CommandId,
        /// Who sent it.
        by: Box<str>,
    },
}

impl Waits {
    /// When the next state is due, if one is.
    pub const fn next_at(&self) -> Option<Timestamp> {
        match *self {
            Self::Until(due) => Some(due),
            _ => None,
        }
    }

    /// When the next state is due if the time ends so much later than it would: what is overdue would end now.
    pub fn delayed_by(&self, more: Duration, now: Timestamp) -> Timestamp {
        self.next_at().map_or(now, |due| due.max(now)) + more
    }

    /// How the order's life ended, if it did.
    pub const fn closes(&self) -> Option<Closing> {
        match *self {
            Self::Closed(closing) => Some(closing),
            _ => None,
        }
    }
}

impl Closing {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }

    /// The one with that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Finished, Self::Cancelled, Self::Refused].into_iter().find(|closing| closing.name() == name)
    }
}

impl Change {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entered => "entered",
            Self::Held => "held",
            Self::Resumed => "resumed",
            Self::Delayed => "delayed",
            Self::Readdressed => "readdressed",
        }
    }

    /// The one with that name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Entered, Self::Held, Self::Resumed, Self::Delayed, Self::Readdressed];
        all.into_iter().find(|change| change.name() == name)
    }
}

impl StateEvent {
    /// An event as version 1 told it: an order could only wait, so that every event was the next step of its flow, and the
    /// one after which nothing was due was the end.
    pub fn of_version_1(
        order: impl Into<Arc<Order>>,
        seq: u8,
        estado: impl Into<Arc<str>>,
        at: Timestamp,
        next_at: Option<Timestamp>,
    ) -> Self {
        let estado = estado.into();
        Self {
            order: order.into(),
            address: None,
            mail: Some(estado.clone()),
            estado,
            seq,
            step: seq,
            flow: None,
            change: Change::Entered,
            at,
            next: None,
            waits: next_at.map_or(Waits::Closed(Closing::Finished), Waits::Until),
            exits: Exits::default(),
            cause: if seq == 1 { Cause::Placed } else { Cause::Timer },
            reason: None,
            commands: Box::default(),
        }
    }

    /// When the next state is due, if one is and the record tells.
    pub const fn next_at(&self) -> Option<Timestamp> {
        self.waits.next_at()
    }

    /// How the order's life ended with this event, if it did.
    pub const fn closes(&self) -> Option<Closing> {
        self.waits.closes()
    }

    /// Where mails about it go.
    pub fn recipient(&self) -> &EmailAddress {
        self.address.as_ref().unwrap_or(&self.order.email)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overdue_is_delayed_from_now_on() {
        let (minute, now) = (Duration::from_mins(1), Timestamp::from_millis(1_764_000_000_000));
        for (waits, due) in [
            (Waits::Until(now + minute), now + minute * 21),
            (Waits::Until(now - minute), now + minute * 20),
            (Waits::ForCommand, now + minute * 20),
        ] {
            assert_eq!(waits.delayed_by(minute * 20, now), due, "{waits:?}");
        }
    }
}
