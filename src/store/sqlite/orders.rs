//! The read model: how far it is, one order, lists, counts.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, Params, params};

use super::{
    Result, SqliteStore, apply, rows,
    tally::{self, Kind},
};
use crate::{
    domain::{EmailAddress, OrderId, Timestamp},
    eventlog::TopicPartition,
    store::orders::{Applied, Batch, HistoryEntry, OrderCounts, OrderView, Orders, Query},
};

#[async_trait]
impl Orders for SqliteStore {
    async fn offsets(&self, group: &str) -> Result<Vec<(TopicPartition, u64)>> {
        let group = group.to_owned();
        self.readers.read(move |conn| offsets(conn, &group)).await
    }

    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied> {
        self.writer.run(move |conn| apply::apply(conn, &batch)).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>> {
        self.readers.read(move |conn| order(conn, id)).await
    }

    async fn orders(&self, query: Query) -> Result<Vec<OrderView>> {
        self.readers
            .read(move |conn| match &query.usermail {
                Some(address) => list_of(conn, &query, address),
                None => list(conn, &query),
            })
            .await
    }

    async fn order_counts(&self) -> Result<OrderCounts> {
        self.readers.read(counts).await
    }
}

fn offsets(conn: &Connection, group: &str) -> Result<Vec<(TopicPartition, u64)>> {
    let mut select = conn.prepare_cached("SELECT topic, partition, offset FROM projected WHERE group_name = ?")?;
    let offsets = select.query_map([group], |row| {
        let of = TopicPartition { topic: row.get(0)?, partition: row.get(1)? };
        Ok((of, row.get::<_, i64>(2)? as u64))
    })?;
    Ok(offsets.collect::<rusqlite::Result<_>>()?)
}

fn order(conn: &Connection, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>> {
    let Some(view) = views(conn, "orders o", "o.id = ?", [id.get() as i64])?.pop() else {
        return Ok(None);
    };
    let mut select =
        conn.prepare_cached("SELECT seq, estado, at, mail FROM history WHERE id > ?1 AND id < ?1 + 256 ORDER BY id")?;
    let mut found = select.query([rows::key(id, 0)])?;
    let mut history = Vec::new();
    while let Some(row) = found.next()? {
        history.push(HistoryEntry {
            seq: row.get(0)?,
            estado: row.get(1)?,
            at: rows::time(row, 2)?,
            mail: rows::mail_status(rows::optional_text(row, 3)?),
        });
    }
    Ok(Some((view, history)))
}

/// Lists by the key backwards: of all orders, or of what is in flight where only that can match.
fn list(conn: &Connection, query: &Query) -> Result<Vec<OrderView>> {
    const ALL: &str = "orders o";
    const IN_FLIGHT: &str = "in_flight f CROSS JOIN orders o ON o.id = f.id";
    let below = query.below.map_or(OrderId::MAX + 1, OrderId::get) as i64;
    let overdue_at = query.overdue_at.map(Timestamp::as_millis);
    let limit = query.limit as i64;
    let state = query.estado.as_deref();
    let state_params = params![below, state, limit];
    match (overdue_at, state) {
        (None, None) => views(conn, ALL, "o.id < ? ORDER BY o.id DESC LIMIT ?", params![below, limit]),
        // a state in which orders end is looked for among all; those that only lead on, in flight
        (None, Some(_)) if has_finished(conn, state)? => {
            views(conn, ALL, "o.id < ? AND h.estado = ? ORDER BY o.id DESC LIMIT ?", state_params)
        }
        (None, Some(_)) => views(conn, IN_FLIGHT, "f.id < ? AND h.estado = ? ORDER BY f.id DESC LIMIT ?", state_params),
        (Some(_), _) => {
            let condition =
                "f.id < ?1 AND (?2 IS NULL OR h.estado = ?2) AND h.next_at < ?4 ORDER BY f.id DESC LIMIT ?3";
            views(conn, IN_FLIGHT, condition, params![below, state, limit, overdue_at])
        }
    }
}

/// Those of an address, found by looking through all.
fn list_of(conn: &Connection, query: &Query, address: &EmailAddress) -> Result<Vec<OrderView>> {
    let condition = "o.id < ?1 AND lower(o.usermail) = lower(?5) AND (?2 IS NULL OR h.estado = ?2)
         AND (?4 IS NULL OR (NOT h.last AND h.next_at < ?4)) ORDER BY o.id DESC LIMIT ?3";
    let below = query.below.map_or(OrderId::MAX + 1, OrderId::get) as i64;
    let overdue_at = query.overdue_at.map(Timestamp::as_millis);
    let limit = query.limit as i64;
    views(conn, "orders o", condition, params![below, query.estado, limit, overdue_at, address.as_str()])
}

/// Whether any order has finished in this state.
fn has_finished(conn: &Connection, state: Option<&str>) -> Result<bool> {
    Ok(tally::read(conn, Kind::Finished)?.iter().any(|(finished, _)| Some(&**finished) == state))
}

/// The orders of `from` that meet `condition`, each with the last row of its history as `h`.
fn views(conn: &Connection, from: &str, condition: &str, params: impl Params) -> Result<Vec<OrderView>> {
    let sql = format!(
        "SELECT {}, {} FROM {from} CROSS JOIN history h ON h.id = (
             SELECT max(id) FROM history WHERE id > o.id << 8 AND id < (o.id + 1) << 8)
         WHERE {condition}",
        rows::ORDER_COLUMNS,
        rows::VIEW_COLUMNS
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut found = select.query(params)?;
    let mut views = Vec::new();
    while let Some(row) = found.next()? {
        views.push(rows::order_view(row)?);
    }
    Ok(views)
}

fn counts(conn: &Connection) -> Result<OrderCounts> {
    let mut by_state = tally::read(conn, Kind::Open)?;
    let mut finished = 0;
    for (state, n) in tally::read(conn, Kind::Finished)? {
        finished += n;
        // after a change of the flow, a state can be the last for some orders and not for others
        match by_state.iter_mut().find(|(other, _)| *other == state) {
            Some((_, count)) => *count += n,
            None => by_state.push((state, n)),
        }
    }
    Ok(OrderCounts { total: by_state.iter().map(|(_, n)| n).sum(), by_state, finished })
}
