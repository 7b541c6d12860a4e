//! Addresses that no longer get mail.

use rusqlite::{Connection, Params, params};

use super::{
    Result, rows,
    tally::{Kind, Tally},
};
use crate::{
    domain::{EmailAddress, OrderId},
    store::{ledger::Suppression, mails::SuppressedQuery},
};

/// Suppresses the address of a mail that was just settled as refused. Returns 1, or 0 when it is suppressed already.
pub(super) fn insert(conn: &Connection, key: i64, address: &EmailAddress, reason: &str) -> Result<i64> {
    let added = conn
        .prepare_cached(
            "INSERT INTO suppressed (address, at, reason, mail)
             SELECT lower(?2), tried_at, ?3, id FROM history WHERE id = ?1 ON CONFLICT DO NOTHING",
        )?
        .execute(params![key, address.as_str(), reason])?;
    Ok(added as i64)
}

pub(super) fn list(conn: &Connection, query: &SuppressedQuery) -> Result<Vec<Suppression>> {
    let after = query.after.as_ref().map_or("", EmailAddress::as_str);
    let condition = "address > lower(?1) AND (?2 IS NULL OR instr(address, lower(?2)))
         AND (?3 IS NULL OR instr(lower(reason), lower(?3))) ORDER BY address LIMIT ?4";
    select(conn, condition, params![after, query.containing, query.reason, query.limit as i64])
}

pub(super) fn one(conn: &Connection, address: &EmailAddress) -> Result<Option<Suppression>> {
    Ok(select(conn, "address = lower(?)", [address.as_str()])?.pop())
}

pub(super) fn release(conn: &Connection, address: &EmailAddress) -> Result<bool> {
    let gone = conn.execute("DELETE FROM suppressed WHERE address = lower(?)", [address.as_str()])?;
    count_released(conn, gone)?;
    Ok(gone == 1)
}

/// The same for the address to which an order's mails go.
pub(super) fn release_recipient(conn: &Connection, order: OrderId) -> Result<()> {
    let sql =
        "DELETE FROM suppressed WHERE address = (SELECT lower(coalesce(address, usermail)) FROM orders WHERE id = ?)";
    let gone = conn.prepare_cached(sql)?.execute([order.get() as i64])?;
    count_released(conn, gone)
}

fn count_released(conn: &Connection, gone: usize) -> Result<()> {
    let mut tally = Tally::default();
    tally.add(Kind::Suppressed, "", -(gone as i64));
    tally.write(conn)
}

fn select(conn: &Connection, condition: &str, params: impl Params) -> Result<Vec<Suppression>> {
    let sql = format!("SELECT address, at, reason, mail FROM suppressed WHERE {condition}");
    let mut select = conn.prepare_cached(&sql)?;
    let mut found = select.query(params)?;
    let mut list = Vec::new();
    while let Some(row) = found.next()? {
        list.extend(rows::suppression(row, 0)?);
    }
    Ok(list)
}
