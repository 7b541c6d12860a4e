//! How everything stands, at a glance.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    Result, SqliteStore, dead, ledger, orders, rows,
    tally::{self, Kind},
};
use crate::{
    domain::Timestamp,
    store::overview::{Flights, Minute, Minutes, Overview, Snapshot, minute_name},
};

#[async_trait]
impl Overview for SqliteStore {
    async fn snapshot(&self, now: Timestamp) -> Result<Snapshot> {
        self.readers.read(move |conn| snapshot(conn, now)).await
    }

    async fn minutes(&self, from: Timestamp) -> Result<Vec<Minute>> {
        self.readers.read(move |conn| minutes(conn, from)).await
    }
}

/// All of one moment, as every read is.
fn snapshot(conn: &Connection, now: Timestamp) -> Result<Snapshot> {
    let mut snapshot = Snapshot {
        counts: orders::counts(conn)?,
        mails: ledger::counts(conn)?,
        mail_refused: mail_refused(conn)?,
        dead_records: dead::record_count(conn)?,
        ..Snapshot::default()
    };
    flights(conn, now)?.finish(&mut snapshot);
    Ok(snapshot)
}

fn mail_refused(conn: &Connection) -> Result<u64> {
    let sql = format!("SELECT count(DISTINCT id >> 8) FROM dead_mails WHERE {}", orders::OF_STATES);
    let count: i64 = conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

fn flights(conn: &Connection, now: Timestamp) -> Result<Flights> {
    let mut select = conn.prepare_cached(
        "SELECT f.id, h.estado, coalesce(h.step, h.seq), h.at, coalesce(h.next_at, h.expect_at)
         FROM in_flight f CROSS JOIN history h ON h.id = (
             SELECT max(id) FROM history WHERE id > f.id << 8 AND id < (f.id + 1) << 8)",
    )?;
    let mut found = select.query([])?;
    let mut flights = Flights::default();
    while let Some(row) = found.next()? {
        let times = (rows::time(row, 3)?, rows::optional_time(row, 4)?);
        flights.add(rows::order_id(row, 0)?, (rows::text(row, 1)?, row.get(2)?), times, now);
    }
    Ok(flights)
}

fn minutes(conn: &Connection, from: Timestamp) -> Result<Vec<Minute>> {
    let mut minutes = Minutes::default();
    let mut select =
        conn.prepare_cached("SELECT name, n FROM tally WHERE kind = ? AND name >= ? AND n > 0 ORDER BY name")?;
    for (kind, counted) in tally::MINUTES {
        let mut found = select.query(params![kind.name(), minute_name(from)])?;
        while let Some(row) = found.next()? {
            minutes.add(counted, rows::text(row, 0)?, row.get::<_, i64>(1)? as u64);
        }
    }
    Ok(minutes.finish())
}

/// Forgets the minutes before a time.
pub(super) fn prune(conn: &Connection, before: Timestamp) -> Result<()> {
    let mut delete = conn.prepare_cached("DELETE FROM tally WHERE kind = ? AND name < ?")?;
    for (kind, _) in tally::MINUTES {
        delete.execute(params![Kind::name(kind), minute_name(before)])?;
    }
    Ok(())
}
