//! The read model: how far it is, one order, lists, counts.

use async_trait::async_trait;
use rusqlite::{Connection, Params, params};

use super::{
    Result, SqliteStore, apply, rows,
    tally::{self, Kind},
};
use crate::{
    domain::OrderId,
    eventlog::TopicPartition,
    store::orders::{Applied, Batch, HistoryEntry, OrderCounts, OrderView, Orders, Query},
};

#[async_trait]
impl Orders for SqliteStore {
    async fn offsets(&self, group: &str) -> Result<Vec<(TopicPartition, u64)>> {
        let group = group.to_owned();
        self.readers.read(move |conn| offsets(conn, &group)).await
    }

    async fn apply(&self, batch: Batch) -> Result<Applied> {
        self.writer.run(move |conn| apply::apply(conn, &batch)).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>> {
        self.readers.read(move |conn| order(conn, id)).await
    }

    async fn orders(&self, query: Query) -> Result<Vec<OrderView>> {
        self.readers.read(move |conn| list(conn, &query)).await
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
    let Some(view) = views(conn, "orders o WHERE o.id = ?", [id.get() as i64])?.pop() else {
        return Ok(None);
    };
    let mut select =
        conn.prepare_cached("SELECT seq, estado, at, mail FROM history WHERE order_id = ? ORDER BY seq")?;
    let mut found = select.query([id.get() as i64])?;
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

/// Lists by the key backwards, or by the index of what is in flight, so that a page of either is found at once.
fn list(conn: &Connection, query: &Query) -> Result<Vec<OrderView>> {
    let below = query.below.map_or(OrderId::MAX + 1, OrderId::get) as i64;
    let limit = query.limit as i64;
    let open = |condition: &str, value: Option<i64>| {
        let from = format!(
            "orders o INDEXED BY orders_open WHERE o.finished = 0 AND o.id < ?1 AND {condition}
             AND (?3 IS NULL OR o.estado = ?3) ORDER BY o.id DESC LIMIT ?4"
        );
        views(conn, &from, params![below, value, query.estado, limit])
    };
    if let Some(overdue_at) = query.overdue_at {
        return open("o.next_at < ?2", Some(overdue_at.as_millis()));
    }
    let Some(estado) = &query.estado else {
        return views(conn, "orders o WHERE o.id < ? ORDER BY o.id DESC LIMIT ?", params![below, limit]);
    };
    let mut found = open("?2 IS NULL", None)?;
    // finished orders have no index by state; the count tells when there is nothing to look for
    if tally::read(conn, Kind::Finished)?.iter().any(|(state, _)| **state == **estado) {
        let from = "orders o WHERE o.finished = 1 AND o.id < ? AND o.estado = ? ORDER BY o.id DESC LIMIT ?";
        found.extend(views(conn, from, params![below, estado, limit])?);
        found.sort_unstable_by_key(|view| std::cmp::Reverse(view.order.id));
        found.truncate(query.limit);
    }
    Ok(found)
}

fn views(conn: &Connection, from: &str, params: impl Params) -> Result<Vec<OrderView>> {
    let sql = format!("SELECT {}, {} FROM {from}", rows::ORDER_COLUMNS, rows::VIEW_COLUMNS);
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
