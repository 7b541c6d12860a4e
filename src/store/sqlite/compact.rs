//! Compaction of the ledger: what is sent and old gives up its reply and attempts, and keeps its place in the history.
//!
//! By the key, on from where the last round stopped: ids grow with time, so that what is old lies together and no index
//! over times is needed. A row that is settled only after its turn keeps what it has, and so does the mail with a link, which
//! would hold up the rest whenever it is asked for again.

use rusqlite::{Connection, params};

use super::Result;
use crate::domain::Timestamp;

/// Looks at the next `limit` rows. Returns how many were compacted; `None` when all the rest is too young.
pub(super) fn slice(conn: &Connection, before: Timestamp, limit: u64) -> Result<Option<u64>> {
    let from: i64 = conn.prepare_cached("SELECT before FROM compacted")?.query_row([], |row| row.get(0))?;
    let Some(to) = end(conn, from, before, limit)? else { return Ok(None) };
    let compacted = conn
        .prepare_cached(
            "UPDATE history SET reply = NULL, tried_at = NULL, due_at = NULL, attempts = 0
             WHERE id >= ? AND id < ? AND id & 255 > 0 AND mail IN ('sent', 'dropped')",
        )?
        .execute([from, to])?;
    conn.prepare_cached("UPDATE compacted SET before = ?")?.execute([to])?;
    Ok(Some(compacted as u64))
}

/// The key before which the rows from `from` on are old enough, at most `limit` of them; `None` when not one is.
fn end(conn: &Connection, from: i64, before: Timestamp, limit: u64) -> Result<Option<i64>> {
    let mut select = conn.prepare_cached(
        "SELECT id, max(at, coalesce(tried_at, at)) FROM history WHERE id >= ? AND id & 255 > 0 ORDER BY id LIMIT ?",
    )?;
    let mut found = select.query(params![from, limit as i64])?;
    let mut end = None;
    while let Some(row) = found.next()? {
        if row.get::<_, i64>(1)? >= before.as_millis() {
            break;
        }
        end = Some(row.get::<_, i64>(0)? + 1);
    }
    Ok(end)
}
