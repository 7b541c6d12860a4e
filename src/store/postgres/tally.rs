use std::collections::BTreeMap;

use super::session::{Session, Transaction};
use crate::{
    domain::{Closing, Timestamp},
    store::{
        Result,
        ledger::{Class, MailStatus},
        overview::{Counted, minute_name},
    },
};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Orders that ended otherwise than in their last state, by state.
    Cancelled,
    /// Mails that were tried and not accepted, by status and class.
    Class,
    /// Orders in their last state, by state.
    Finished,
    /// Mails, by status.
    Mail,
    /// Orders that ended otherwise than in their last state in a minute, by minute.
    MinuteCancelled,
    /// Orders that went through all their states in a minute.
    MinuteFinished,
    /// Orders that were placed in a minute.
    MinutePlaced,
    /// Orders in a state that is not the last, by state.
    Open,
    /// Attempts that may have repeated a mail; one nameless count.
    Repeated,
    /// Addresses that are suppressed; one nameless count.
    Suppressed,
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
            Self::Cancelled => "cancelled",
            Self::Class => "class",
            Self::Finished => "finished",
            Self::Mail => "mail",
            Self::MinuteCancelled => "minute/cancelled",
            Self::MinuteFinished => "minute/finished",
            Self::MinutePlaced => "minute/placed",
            Self::Open => "open",
            Self::Repeated => "repeated",
            Self::Suppressed => "suppressed",
        }
    }
}

/// Collects the changes of one transaction, and writes each count once.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<(Kind, String), i64>);

impl Tally {
    /// Adds to a count.
    pub(super) fn add(&mut self, kind: Kind, name: &str, by: i64) {
        if by != 0 {
            *self.0.entry((kind, name.to_owned())).or_default() += by;
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

    /// Adds to a count of mails.
    pub(super) fn mail(&mut self, status: MailStatus, by: i64) {
        self.add(Kind::Mail, status.name(), by);
    }

    /// Adds to the count of a class of mails, if they have one.
    pub(super) fn class(&mut self, status: MailStatus, class: Option<Class>, by: i64) {
        if let Some(class) = class {
            self.add(Kind::Class, &format!("{}/{}", status.name(), class.name()), by);
        }
    }

    /// Writes the changes, in the order of the names, so that two transactions never wait for each other in a circle.
    pub(super) async fn write(self, tx: &Transaction<'_>) -> Result<()> {
        let changed = self.0.into_iter().filter(|(_, n)| *n != 0);
        let (names, counts): (Vec<_>, Vec<i64>) = changed.unzip();
        if counts.is_empty() {
            return Ok(());
        }
        let kinds: Vec<&str> = names.iter().map(|(kind, _)| kind.name()).collect();
        let names: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
        let add = tx
            .prepare(
                "WITH d AS (SELECT kind, name, (pg_backend_pid() % 64)::smallint AS slot, n
                            FROM unnest($1::text[], $2::text[], $3::bigint[]) AS d(kind, name, n)),
                 m AS (INSERT INTO minutes (kind, name, slot, n) SELECT * FROM d WHERE kind LIKE 'minute/%'
                       ON CONFLICT (kind, name, slot) DO UPDATE SET n = minutes.n + EXCLUDED.n)
                 INSERT INTO tally (kind, name, slot, n) SELECT * FROM d WHERE kind NOT LIKE 'minute/%'
                 ON CONFLICT (kind, name, slot) DO UPDATE SET n = tally.n + EXCLUDED.n",
            )
            .await?;
        tx.execute(&add, &[&kinds, &names, &counts]).await?;
        Ok(())
    }
}

/// The counts of some kinds that are not zero, by kind and name, of one moment.
pub(super) async fn read(client: &Session, kinds: &[Kind]) -> Result<Vec<(Kind, String, u64)>> {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let select = client
        .prepare(
            "SELECT kind, name, sum(n)::bigint FROM tally WHERE kind = ANY($1) GROUP BY kind, name HAVING sum(n) > 0",
        )
        .await?;
    let found = client.query(&select, &[&names]).await?;
    let count = |row: &deadpool_postgres::tokio_postgres::Row| {
        let kind = kinds.iter().find(|kind| kind.name() == row.get::<_, &str>(0))?;
        Some((*kind, row.get(1), row.get::<_, i64>(2) as u64))
    };
    Ok(found.iter().filter_map(count).collect())
}
