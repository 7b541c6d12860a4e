//! The mail ledger. The head of a lane is the first unsettled mail of an order; every change here keeps the column
//! `head` true to that, and only heads are leased.

mod lanes;
mod lease;
mod settle;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

pub(super) use self::{
    lanes::{drop_waiting, key, redrive, say_dropped, wait_behind},
    lease::{is_any_due, lease},
};
use super::{
    PATIENCE, Result, SqliteStore, rows,
    tally::{self, Kind, Tally},
};
use crate::{
    domain::Timestamp,
    store::ledger::{
        Class, Leasing, Ledger, LedgerCounts, Mail, MailId, MailStatus, SETTLED_GOOD, Settled, Settlement,
    },
};

#[async_trait]
impl Ledger for SqliteStore {
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
        self.writer.run(move |conn| lease(conn, now, Leasing { until, limit })).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Settled> {
        let is_enough = settlements.len() >= SETTLED_GOOD;
        let settle = move |conn: &Connection| settle::settle(conn, &settlements);
        if is_enough {
            return self.writer.run(settle).await;
        }
        // what a crash in this time leaves unwritten counts as ambiguous
        self.writer.run_in_company(PATIENCE, settle).await
    }

    async fn renew(&self, attempts: Vec<(MailId, u32)>, until: Timestamp) -> Result<Vec<MailId>> {
        self.writer.run(move |conn| renew(conn, &attempts, until)).await
    }

    async fn expire_leases(&self, now: Timestamp) -> Result<u64> {
        self.writer.run(move |conn| expire(conn, now)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.readers.read(next_due).await
    }

    async fn ledger_counts(&self) -> Result<LedgerCounts> {
        self.readers.read(counts).await
    }
}

fn renew(conn: &Connection, attempts: &[(MailId, u32)], until: Timestamp) -> Result<Vec<MailId>> {
    let sql = "UPDATE history SET due_at = ?3 WHERE id = ?1 AND mail = 'sending' AND attempts = ?2";
    let mut renew = conn.prepare_cached(sql)?;
    let mut held = Vec::with_capacity(attempts.len());
    for (id, attempt) in attempts {
        if renew.execute(params![key(*id), attempt, until.as_millis()])? == 1 {
            held.push(*id);
        }
    }
    Ok(held)
}

fn expire(conn: &Connection, now: Timestamp) -> Result<u64> {
    let expired = conn
        .prepare_cached(
            "UPDATE history INDEXED BY mail_due SET mail = 'pending', ambiguous = 1, due_at = ?, class = 'unanswered'
             WHERE head > 0 AND mail = 'sending'",
        )?
        .execute([now.as_millis()])?;
    let mut tally = Tally::default();
    tally.add(Kind::Mail, MailStatus::Sending.name(), -(expired as i64));
    tally.add(Kind::Mail, MailStatus::Pending.name(), expired as i64);
    tally.class(MailStatus::Pending.name(), Some(Class::Unanswered), expired as i64);
    tally.write(conn)?;
    Ok(expired as u64)
}

fn next_due(conn: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT due_at FROM history INDEXED BY mail_due WHERE head > 0 AND head = 1 ORDER BY due_at LIMIT 1";
    let due: Option<i64> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(due.map(Timestamp::from_millis))
}

/// From its name in the tally.
fn counted_class(name: &str, n: u64) -> Option<(MailStatus, Class, u64)> {
    let (status, class) = name.split_once('/')?;
    Some((rows::mail_status(Some(status))?, Class::named(class)?, n))
}

pub(super) fn counts(conn: &Connection) -> Result<LedgerCounts> {
    let by_name = tally::read(conn, Kind::Mail)?;
    let count =
        |status: MailStatus| by_name.iter().find(|(name, _)| **name == *status.name()).map(|(_, n)| (status, *n));
    // within a lane, the head's state is the oldest
    let oldest: Option<i64> = conn
        .prepare_cached("SELECT min(at) FROM history INDEXED BY mail_due WHERE head > 0")?
        .query_row([], |row| row.get(0))?;
    Ok(LedgerCounts {
        by_status: MailStatus::ALL.into_iter().filter_map(count).collect(),
        by_class: tally::read(conn, Kind::Class)?.iter().filter_map(|(name, n)| counted_class(name, *n)).collect(),
        suppressed: tally::read(conn, Kind::Suppressed)?.iter().map(|(_, n)| n).sum(),
        repeated: tally::read(conn, Kind::Repeated)?.iter().map(|(_, n)| n).sum(),
        oldest_unsettled_at: oldest.map(Timestamp::from_millis),
    })
}
