//! Idempotency keys and secrets.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tracing::warn;

use super::{Error, PATIENCE, Result, SqliteStore, rows};
use crate::{
    domain::Timestamp,
    store::keys::{Keys, Reservation, Reserved},
};

#[async_trait]
impl Keys for SqliteStore {
    async fn held(&self, key: &str, request: u64, at: Timestamp) -> Result<Option<Reserved>> {
        let key = key.to_owned();
        self.readers.read(move |conn| held(conn, &key, request, at)).await
    }

    async fn resume(&self, key: &str, request: u64, at: Timestamp, until: Timestamp) -> Result<Option<Reserved>> {
        let key = key.to_owned();
        self.writer.run(move |conn| resume(conn, &key, request, at, until)).await
    }

    async fn reserve(&self, reservation: Reservation) -> Result<Reserved> {
        self.writer.run(move |conn| reserve(conn, reservation)).await
    }

    async fn confirm(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        let sql = "UPDATE idempotency_keys SET value = NULL WHERE key = ?";
        // whoever asks the writer after this finds it noted, so the customer need not wait for the commit
        let noted =
            self.writer.run_in_company(PATIENCE, move |conn| Ok(conn.prepare_cached(sql)?.execute([key]).map(drop)?));
        tokio::spawn(async move {
            if let Err::<(), Error>(error) = noted.await {
                warn!(%error, "cannot note that an order with an idempotency key is placed");
            }
        });
        Ok(())
    }

    async fn release(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.writer.run(move |conn| release(conn, &key)).await
    }

    async fn secret(&self, name: &str, fresh: [u8; 16]) -> Result<[u8; 16]> {
        let (name, asked) = (name.to_owned(), name.to_owned());
        // a copy that cannot be written has its secret, too
        let known = self.readers.read(move |conn| known_secret(conn, &asked)).await?;
        match known {
            Some(known) => Ok(known),
            None => self.writer.run(move |conn| secret(conn, &name, fresh)).await,
        }
    }
}

fn reserve(conn: &Connection, reservation: Reservation) -> Result<Reserved> {
    let Reservation { key, request, order, value, track, at, until } = reservation;
    let inserted = conn
        .prepare_cached(
            "INSERT INTO idempotency_keys (key, request, order_id, value, track, reserved_at, until)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            key,
            request.cast_signed(),
            order.get() as i64,
            value,
            track,
            at.as_millis(),
            until.as_millis()
        ])?;
    if inserted == 1 {
        return Ok(Reserved::Run { order, value, track: Some(track), again: false });
    }
    let stands_for = resume(conn, &key, request, at, until)?;
    stands_for.ok_or_else(|| Error::Unavailable("the key disappeared while it was being read".into()))
}

fn resume(conn: &Connection, key: &str, request: u64, at: Timestamp, until: Timestamp) -> Result<Option<Reserved>> {
    let stands_for = held(conn, key, request, at)?;
    if matches!(stands_for, Some(Reserved::Run { .. })) {
        conn.prepare_cached(
            "UPDATE idempotency_keys SET runs = runs + 1, reserved_at = ?2, until = ?3 WHERE key = ?1",
        )?
        .execute(params![key, at.as_millis(), until.as_millis()])?;
    }
    Ok(stands_for)
}

fn held(conn: &Connection, key: &str, request: u64, at: Timestamp) -> Result<Option<Reserved>> {
    let mut select =
        conn.prepare_cached("SELECT order_id, request, value, until, track FROM idempotency_keys WHERE key = ?")?;
    let mut found = select.query([key])?;
    let Some(row) = found.next()? else { return Ok(None) };
    stands_for(row, request.cast_signed(), at.as_millis()).map(Some)
}

/// What a key that is there stands for.
fn stands_for(row: &Row, request: i64, at: i64) -> Result<Reserved> {
    let order = rows::order_id(row, 0)?;
    let (value, track): (Option<Vec<u8>>, _) = (row.get(2)?, row.get(4)?);
    if row.get::<_, i64>(1)? != request {
        return Ok(Reserved::Mismatch { is_done: value.is_none() });
    }
    Ok(match value {
        None => Reserved::Done { order, track },
        Some(_) if row.get::<_, i64>(3)? > at => Reserved::Running,
        Some(value) => Reserved::Run { order, value, track, again: true },
    })
}

/// Deletes a reservation that only one request ever had. After a takeover the first request may still append its
/// order, so id and value stay, open for the next takeover.
fn release(conn: &Connection, key: &str) -> Result<()> {
    let only = "DELETE FROM idempotency_keys WHERE key = ? AND value IS NOT NULL AND runs = 1";
    let open = "UPDATE idempotency_keys SET until = reserved_at WHERE key = ? AND value IS NOT NULL";
    if conn.prepare_cached(only)?.execute([key])? == 0 {
        conn.prepare_cached(open)?.execute([key])?;
    }
    Ok(())
}

fn known_secret(conn: &Connection, name: &str) -> Result<Option<[u8; 16]>> {
    let known = conn.query_row("SELECT value FROM secrets WHERE name = ?", [name], |row| row.get(0));
    Ok(known.optional()?)
}

fn secret(conn: &Connection, name: &str, fresh: [u8; 16]) -> Result<[u8; 16]> {
    conn.execute("INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", params![name, fresh])?;
    Ok(conn.query_row("SELECT value FROM secrets WHERE name = ?", [name], |row| row.get(0))?)
}

/// Deletes at most `limit` keys that were reserved before a time. Returns how many.
pub(super) fn prune(conn: &Connection, before: Timestamp, limit: u64) -> Result<u64> {
    let pruned = conn
        .prepare_cached(
            "DELETE FROM idempotency_keys WHERE key IN
                 (SELECT key FROM idempotency_keys WHERE reserved_at < ? ORDER BY reserved_at LIMIT ?)",
        )?
        .execute(params![before.as_millis(), limit as i64])?;
    Ok(pruned as u64)
}
