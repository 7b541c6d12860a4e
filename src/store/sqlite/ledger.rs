//! The mail ledger. The head of a lane is the first unsettled mail of an order; every change here keeps the column
//! `head` true to that, and only heads are leased.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    Result, SqliteStore, rows,
    tally::{self, Kind, Tally},
};
use crate::{
    domain::Timestamp,
    store::ledger::{Ledger, LedgerCounts, Mail, MailStatus, Settlement, Verdict},
};

#[async_trait]
impl Ledger for SqliteStore {
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
        self.writer.run(move |conn| lease(conn, now, until, limit)).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<u64> {
        self.writer.run(move |conn| settle(conn, &settlements)).await
    }

    async fn expire_leases(&self, now: Timestamp) -> Result<u64> {
        self.writer.run(move |conn| expire(conn, now)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT min(due_at) FROM history INDEXED BY mail_due WHERE head = 1";
        self.readers
            .read(|conn| Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0))?))
            .await
            .map(|due| due.map(Timestamp::from_millis))
    }

    async fn ledger_counts(&self) -> Result<LedgerCounts> {
        self.readers.read(counts).await
    }
}

fn lease(conn: &Connection, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
    let mails = due(conn, now, limit)?;
    let mut mark = conn.prepare_cached(
        "UPDATE history SET mail = 'sending', attempts = ?3, ambiguous = ?4, due_at = ?5, tried_at = ?6
         WHERE order_id = ?1 AND seq = ?2",
    )?;
    for Mail { id, attempt, ambiguous, .. } in &mails {
        let (now, until) = (now.as_millis(), until.as_millis());
        mark.execute(params![id.order.get() as i64, id.seq, attempt, ambiguous, until, now])?;
    }
    Ok(mails)
}

/// The mails that are due, as they are once leased.
fn due(conn: &Connection, now: Timestamp, limit: usize) -> Result<Vec<Mail>> {
    const FIRST: usize = rows::ORDER_COLUMN_COUNT;
    let sql = format!(
        "SELECT {}, h.order_id, h.seq, h.estado, h.at, h.next_at, h.mail, h.attempts, h.ambiguous
         FROM history h INDEXED BY mail_due JOIN orders o ON o.id = h.order_id
         WHERE h.head = 1 AND h.due_at <= ? ORDER BY h.due_at LIMIT ?",
        rows::ORDER_COLUMNS
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut found = select.query(params![now.as_millis(), limit as i64])?;
    let (mut mails, mut tally) = (Vec::new(), Tally::default());
    while let Some(row) = found.next()? {
        let status = rows::text(row, FIRST + 5)?;
        // a lease that ran out
        let unsettled = status == MailStatus::Sending.name();
        let mail = Mail {
            order: rows::order(row)?,
            id: rows::mail_id(row, FIRST)?,
            estado: rows::text(row, FIRST + 2)?.into(),
            at: rows::time(row, FIRST + 3)?,
            next_at: rows::optional_time(row, FIRST + 4)?,
            attempt: row.get::<_, u32>(FIRST + 6)? + 1,
            ambiguous: unsettled || row.get(FIRST + 7)?,
        };
        tally.add(Kind::Mail, status, -1);
        tally.add(Kind::Mail, MailStatus::Sending.name(), 1);
        tally.add(Kind::Repeated, "", i64::from(mail.ambiguous));
        mails.push(mail);
    }
    tally.write(conn)?;
    Ok(mails)
}

fn settle(conn: &Connection, settlements: &[Settlement]) -> Result<u64> {
    let mut end = conn.prepare_cached(
        "UPDATE history SET mail = ?4, reply = ?5, head = 0
         WHERE order_id = ?1 AND seq = ?2 AND mail = 'sending' AND attempts = ?3",
    )?;
    let mut retry = conn.prepare_cached(
        "UPDATE history SET mail = ?4, reply = ?5, due_at = ?6, ambiguous = ambiguous OR ?7
         WHERE order_id = ?1 AND seq = ?2 AND mail = 'sending' AND attempts = ?3",
    )?;
    let mut promote = conn.prepare_cached(
        "UPDATE history SET head = 1 WHERE order_id = ?1 AND head = 0 AND seq = (
             SELECT min(seq) FROM history WHERE order_id = ?1 AND mail IN ('pending', 'sending'))",
    )?;
    let (mut settled, mut tally) = (0, Tally::default());
    for Settlement { id, attempt, verdict } in settlements {
        let (order, seq) = (id.order.get() as i64, id.seq);
        let (status, changed) = match verdict {
            Verdict::Sent(reply) => (MailStatus::Sent, end.execute(params![order, seq, attempt, "sent", reply])?),
            Verdict::Dead(reason) => (MailStatus::Dead, end.execute(params![order, seq, attempt, "dead", reason])?),
            Verdict::Retry(at, reason) | Verdict::Unknown(at, reason) => {
                let unknown = matches!(verdict, Verdict::Unknown(..));
                let values = params![order, seq, attempt, "pending", reason, at.as_millis(), unknown];
                (MailStatus::Pending, retry.execute(values)?)
            }
        };
        if changed == 0 {
            continue;
        }
        settled += 1;
        tally.add(Kind::Mail, MailStatus::Sending.name(), -1);
        tally.add(Kind::Mail, status.name(), 1);
        if status != MailStatus::Pending {
            promote.execute([order])?;
        }
    }
    tally.write(conn)?;
    Ok(settled)
}

fn expire(conn: &Connection, now: Timestamp) -> Result<u64> {
    let mut expired = 0;
    for (index, head) in [("mail_due", 1), ("mail_overtaken", 0)] {
        let sql = format!(
            "UPDATE history INDEXED BY {index} SET mail = 'pending', ambiguous = 1, due_at = ?
             WHERE mail = 'sending' AND head = {head}"
        );
        expired += conn.prepare_cached(&sql)?.execute([now.as_millis()])?;
    }
    let mut tally = Tally::default();
    tally.add(Kind::Mail, MailStatus::Sending.name(), -(expired as i64));
    tally.add(Kind::Mail, MailStatus::Pending.name(), expired as i64);
    tally.write(conn)?;
    Ok(expired as u64)
}

fn counts(conn: &Connection) -> Result<LedgerCounts> {
    let by_name = tally::read(conn, Kind::Mail)?;
    let count =
        |status: MailStatus| by_name.iter().find(|(name, _)| **name == *status.name()).map(|(_, n)| (status, *n));
    // within a lane, the head's state is the oldest
    let oldest: Option<i64> = conn
        .prepare_cached("SELECT min(at) FROM history INDEXED BY mail_due WHERE head = 1")?
        .query_row([], |row| row.get(0))?;
    Ok(LedgerCounts {
        by_status: MailStatus::ALL.into_iter().filter_map(count).collect(),
        repeated: tally::read(conn, Kind::Repeated)?.iter().map(|(_, n)| n).sum(),
        oldest_unsettled_at: oldest.map(Timestamp::from_millis),
    })
}
