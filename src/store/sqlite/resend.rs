//! The last mail of an order is sent again.

use rusqlite::{Connection, params};

use super::{
    Result, ledger, rows,
    tally::{Kind, Tally},
};
use crate::{
    domain::OrderId,
    store::{ledger::MailStatus, mails::Resend},
};

pub(super) fn resend(conn: &Connection, resend: &Resend) -> Result<bool> {
    let Resend { id, attempts, at, by, reason } = resend;
    let key = ledger::key(*id);
    let fits = "SELECT 1 FROM history WHERE id = ?1 AND mail = 'sent' AND attempts = ?2
         AND NOT EXISTS (SELECT 1 FROM history WHERE id > ?1 AND id < ?3 AND mail IS NOT NULL)";
    let end = rows::key(id.order, 0) + 256;
    if id.is_link() || !conn.prepare_cached(fits)?.exists(params![key, attempts, end])? {
        return Ok(false);
    }
    ledger::redrive(conn, *id, *at)?;
    // the first copy has arrived: the next attempt is a repeat, and counted as one
    conn.execute("UPDATE history SET ambiguous = 1 WHERE id = ?", [key])?;
    conn.execute(
        "INSERT INTO resends (id, attempts, at, by, reason) VALUES (?, ?, ?, ?, ?)",
        params![key, attempts, at.as_millis(), by, reason],
    )?;
    let mut tally = Tally::default();
    tally.add(Kind::Mail, MailStatus::Sent.name(), -1);
    tally.add(Kind::Mail, MailStatus::Pending.name(), 1);
    tally.write(conn)?;
    Ok(true)
}

pub(super) fn of(conn: &Connection, order: OrderId) -> Result<Vec<Resend>> {
    let sql = "SELECT id, attempts, at, by, reason FROM resends WHERE id >= ?1 AND id < ?1 + 256 ORDER BY rowid";
    let mut select = conn.prepare_cached(sql)?;
    let mut found = select.query([rows::key(order, 0)])?;
    let mut resends = Vec::new();
    while let Some(row) = found.next()? {
        resends.push(Resend {
            id: rows::mail_id(row, 0)?,
            attempts: row.get(1)?,
            at: rows::time(row, 2)?,
            by: rows::text(row, 3)?.into(),
            reason: rows::optional_text(row, 4)?.map(Into::into),
        });
    }
    Ok(resends)
}
