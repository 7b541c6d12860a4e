//! The read model: how far it is, one order, lists, counts.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, Params, ToSql, params_from_iter};

use super::{
    Result, SqliteStore, apply, outcomes, rows,
    tally::{self, Kind},
};
use crate::{
    domain::{CommandId, CommandOutcome, EmailAddress, OrderId, Timestamp},
    eventlog::TopicPartition,
    store::{
        columns,
        orders::{Applied, Batch, HistoryEntry, OrderCounts, OrderView, Orders, Query},
    },
};

/// Of dead mails, those about states; seq 0 is the mail with the link.
pub(super) const OF_STATES: &str = "id & 255 > 0";

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
        self.readers.read(move |conn| list(conn, &query)).await
    }

    async fn order_counts(&self) -> Result<OrderCounts> {
        self.readers.read(counts).await
    }

    async fn outcome(&self, command: &CommandId) -> Result<Option<CommandOutcome>> {
        let command = command.clone();
        self.readers.read(move |conn| outcomes::of(conn, &command)).await
    }
}

fn offsets(conn: &Connection, group: &str) -> Result<Vec<(TopicPartition, u64)>> {
    let mut select = conn.prepare_cached("SELECT topic, partition, offset FROM projected WHERE group_name = ?")?;
    let offsets = select.query_map([group], |row| {
        let tp = TopicPartition { topic: row.get(0)?, partition: row.get(1)? };
        Ok((tp, row.get::<_, i64>(2)? as u64))
    })?;
    Ok(offsets.collect::<rusqlite::Result<_>>()?)
}

fn order(conn: &Connection, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>> {
    let Some(view) = views(conn, "orders o", "o.id = ?", [id.get() as i64])?.pop() else {
        return Ok(None);
    };
    let mut select = conn.prepare_cached(
        "SELECT seq, estado, at, mail, change, by, command, reason, next_at, record_offset
         FROM history WHERE id > ?1 AND id < ?1 + 256 ORDER BY id",
    )?;
    let mut found = select.query([rows::key(id, 0)])?;
    let mut history = Vec::new();
    while let Some(row) = found.next()? {
        history.push(HistoryEntry {
            seq: row.get(0)?,
            estado: row.get(1)?,
            change: columns::change(rows::optional_text(row, 4)?),
            at: rows::time(row, 2)?,
            due: rows::optional_time(row, 8)?,
            offset: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
            by: row.get(5)?,
            command: row.get(6)?,
            reason: row.get(7)?,
            mail: rows::mail_status(rows::optional_text(row, 3)?),
        });
    }
    Ok(Some((view, history)))
}

/// Lists by the key backwards: of all orders, or of what is in flight where only that can match.
fn list(conn: &Connection, query: &Query) -> Result<Vec<OrderView>> {
    let Query { estado, overdue_at, entered_before, usermail, product, mail_refused, below, limit } = query;
    let below = below.map_or(OrderId::MAX + 1, OrderId::get) as i64;
    let limit = *limit as i64;
    let [overdue_at, entered_before] = [overdue_at, entered_before].map(|time| time.map(Timestamp::as_millis));
    // a state in which orders end is looked for among all; those that only lead on, in flight
    let is_in_flight = overdue_at.is_some() || estado.is_some() && !is_an_end(conn, estado.as_deref())?;
    let (from, key) =
        if is_in_flight { ("in_flight f CROSS JOIN orders o ON o.id = f.id", "f.id") } else { ("orders o", "o.id") };
    let mut conditions = vec![format!("{key} < ?1")];
    let mut params: Vec<&dyn ToSql> = vec![&below, &limit];
    if let Some(estado) = estado {
        params.push(estado);
        conditions.push(format!("h.estado = ?{}", params.len()));
    }
    if let Some(overdue_at) = &overdue_at {
        params.push(overdue_at);
        conditions.push(format!("(h.next_at < ?{0} OR h.expect_at < ?{0})", params.len()));
    }
    if let Some(entered_before) = &entered_before {
        params.push(entered_before);
        conditions.push(format!("h.at < ?{}", params.len()));
    }
    let address = usermail.as_ref().map(EmailAddress::as_str);
    if let Some(address) = &address {
        params.push(address);
        conditions.push(format!("lower(?{}) IN (lower(o.usermail), lower(o.address))", params.len()));
    }
    if let Some(product) = product {
        params.push(product);
        conditions.push(format!("(o.gameid = ?{0} OR instr(lower(o.name), lower(?{0})) > 0)", params.len()));
    }
    if *mail_refused {
        conditions.push(format!("{key} IN (SELECT id >> 8 FROM dead_mails WHERE {OF_STATES})"));
    }
    views(conn, from, &format!("{} ORDER BY {key} DESC LIMIT ?2", conditions.join(" AND ")), params_from_iter(params))
}

/// Whether the life of any order has ended in this state.
fn is_an_end(conn: &Connection, state: Option<&str>) -> Result<bool> {
    for kind in [Kind::Finished, Kind::Cancelled] {
        if tally::read(conn, kind)?.iter().any(|(end, _)| Some(&**end) == state) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The orders of `from` that meet `condition`, each with the last row of its history as `h`.
fn views(conn: &Connection, from: &str, condition: &str, params: impl Params) -> Result<Vec<OrderView>> {
    let sql = format!(
        "SELECT {}, {}, {} FROM {from} CROSS JOIN history h ON h.id = (
             SELECT max(id) FROM history WHERE id > o.id << 8 AND id < (o.id + 1) << 8)
         WHERE {condition}",
        rows::ORDER_COLUMNS,
        rows::WAITS_COLUMNS,
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

pub(super) fn counts(conn: &Connection) -> Result<OrderCounts> {
    let mut counts = OrderCounts::default();
    for kind in [Kind::Open, Kind::Finished, Kind::Cancelled] {
        for (state, n) in tally::read(conn, kind)? {
            counts.add(&state, kind.closing(), n);
        }
    }
    Ok(counts)
}
