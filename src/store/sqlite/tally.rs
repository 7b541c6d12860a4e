use rusqlite::Connection;

use super::Result;
use crate::{
    domain::{Closing, Timestamp},
    store::{
        ledger::Class,
        overview::{Counted, minute_name},
    },
};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Orders in a state that is not the last, by state.
    Open,
    /// Orders in their last state, by state.
    Finished,
    /// Orders that ended otherwise, by state.
    Cancelled,
    /// Mails, by status.
    Mail,
    /// Mails that were tried and not accepted, by status and class.
    Class,
    /// Addresses that are suppressed; one nameless count.
    Suppressed,
    /// Attempts that may have repeated a mail; one nameless count.
    Repeated,
    /// Orders that were placed in a minute, by minute.
    MinutePlaced,
    /// Orders that went through all their states in a minute.
    MinuteFinished,
    /// Orders that ended otherwise in a minute.
    MinuteCancelled,
}

/// What is counted of each minute.
pub(super) const MINUTES: [(Kind, Counted); 3] = [
    (Kind::MinutePlaced, Counted::Placed),
    (Kind::MinuteFinished, Counted::Finished),
    (Kind::MinuteCancelled, Counted::Cancelled),
];

impl Kind {
    /// Where an order is counted that ended like this, or has not ended.
    pub(super) const fn of_order(closing: Option<Closing>) -> Self {
        match closing {
            None => Self::Open,
            Some(Closing::Finished) => Self::Finished,
            Some(Closing::Cancelled | Closing::Refused) => Self::Cancelled,
        }
    }

    /// How the orders ended that are counted there; one stands for the other of those that end beside the line.
    pub(super) const fn closing(self) -> Option<Closing> {
        match self {
            Self::Finished => Some(Closing::Finished),
            Self::Cancelled => Some(Closing::Cancelled),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Mail => "mail",
            Self::Class => "class",
            Self::Suppressed => "suppressed",
            Self::Repeated => "repeated",
            Self::MinutePlaced => "minute/placed",
            Self::MinuteFinished => "minute/finished",
            Self::MinuteCancelled => "minute/cancelled",
        }
    }
}

/// Collects the changes of one transaction, and writes each count once.
#[derive(Default)]
pub(super) struct Tally(Vec<(Kind, Box<str>, i64)>);

impl Tally {
    /// Adds to a count.
    pub(super) fn add(&mut self, kind: Kind, name: &str, by: i64) {
        // a handful of counts: a search in a list is faster than a map
        match self.0.iter_mut().find(|(k, n, _)| *k == kind && **n == *name) {
            Some((_, _, delta)) => *delta += by,
            None => self.0.push((kind, name.into(), by)),
        }
    }

    /// Counts an order in the minute in which it was placed.
    pub(super) fn placed(&mut self, at: Timestamp) {
        self.add(Kind::MinutePlaced, &minute_name(at), 1);
    }

    /// Counts an order in the minute in which it ended, and no longer in the one in which it had ended before.
    pub(super) fn ended(&mut self, closing: Closing, at: Timestamp, by: i64) {
        let kind = if closing == Closing::Finished { Kind::MinuteFinished } else { Kind::MinuteCancelled };
        self.add(kind, &minute_name(at), by);
    }

    /// Adds to the count of a class of mails, if they have one.
    pub(super) fn class(&mut self, status: &str, class: Option<Class>, by: i64) {
        if let Some(class) = class {
            self.add(Kind::Class, &format!("{status}/{}", class.name()), by);
        }
    }

    /// Writes the changes.
    pub(super) fn write(self, conn: &Connection) -> Result<()> {
        let mut add = conn.prepare_cached(
            "INSERT INTO tally (kind, name, n) VALUES (?1, ?2, ?3) ON CONFLICT (kind, name) DO UPDATE SET n = n + ?3",
        )?;
        for (kind, name, delta) in self.0 {
            if delta != 0 {
                add.execute((kind.name(), name, delta))?;
            }
        }
        Ok(())
    }
}

/// The counts of a kind that are not zero.
pub(super) fn read(conn: &Connection, kind: Kind) -> Result<Vec<(Box<str>, u64)>> {
    let mut select = conn.prepare_cached("SELECT name, n FROM tally WHERE kind = ? AND n > 0")?;
    let counts = select.query_map([kind.name()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
    Ok(counts.collect::<rusqlite::Result<_>>()?)
}
