//! The read model: how far it is, one order, lists, counts.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use deadpool_postgres::tokio_postgres::types::ToSql;

use super::{
    PgStore, apply,
    ledger::LeaseCall,
    offsets, outcomes, rows,
    session::Session,
    tally::{self, Kind},
};
use crate::{
    domain::{CommandId, CommandOutcome, EmailAddress, OrderId, Timestamp},
    eventlog::TopicPartition,
    store::{
        Result, columns,
        orders::{Applied, Batch, HistoryEntry, OrderCounts, OrderView, Orders, Query},
    },
};

/// Of settled mails, those about states that were refused for good; seq 0 is the mail with the link.
pub(super) const REFUSED: &str = "NOT dropped AND id & 255 > 0";

#[async_trait]
impl Orders for PgStore {
    async fn offsets(&self, group: &str) -> Result<Vec<(TopicPartition, u64)>> {
        let group = group.to_owned();
        self.run(|client| Box::pin(async move { offsets::offsets(client, &group).await })).await
    }

    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied> {
        let taking = batch.lease.map(|leasing| LeaseCall::new(leasing.until)).transpose()?;
        let applied =
            self.run(|client| Box::pin(async move { apply::apply(client, &batch, taking.as_ref()).await })).await;
        if applied.is_err() {
            self.uncertain.lock().unwrap_or_else(PoisonError::into_inner).extend(taking);
        }
        applied
    }

    async fn order(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>> {
        self.run(|client| Box::pin(view(client, id))).await
    }

    async fn orders(&self, query: Query) -> Result<Vec<OrderView>> {
        self.run(|client| Box::pin(list(client, query))).await
    }

    async fn order_counts(&self) -> Result<OrderCounts> {
        self.run(|client| Box::pin(counts(client))).await
    }

    async fn outcome(&self, command: &CommandId) -> Result<Option<CommandOutcome>> {
        let command = command.clone();
        self.run(|client| Box::pin(async move { outcomes::of(client, &command).await })).await
    }
}

/// One statement, so that view and history are of the same moment.
async fn view(client: &mut Session, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>> {
    let sql = format!(
        "SELECT {}, {}, {}, {}, h.change, h.by, h.command, h.reason, h.record_offset FROM orders o JOIN history h ON h.id > o.id << 8 AND h.id < (o.id + 1) << 8 {}
         WHERE o.id = $1 ORDER BY h.id",
        rows::ORDER_COLUMNS,
        rows::WAITS_COLUMNS,
        rows::VIEW_COLUMNS,
        rows::MAIL_STATUS,
        rows::MAIL_JOINS
    );
    let found = client.query(&client.prepare(&sql).await?, &[&(id.get() as i64)]).await?;
    let Some(last) = found.last() else { return Ok(None) };
    let line = |row| {
        let OrderView { seq, estado, at, waits, .. } = rows::order_view(row)?;
        let text = |column| row.get::<_, Option<&str>>(rows::AFTER_VIEW + column);
        let [by, command, reason] = [2, 3, 4].map(|column| text(column).map(Into::into));
        let (mail, offset) =
            (rows::mail_status(row, rows::AFTER_VIEW), row.get::<_, Option<i64>>(rows::AFTER_VIEW + 5));
        let (change, due, offset) = (columns::change(text(1)), waits.next_at(), offset.map(i64::cast_unsigned));
        Ok(HistoryEntry { seq, estado, change, at, due, offset, by, command, reason, mail })
    };
    let history = found.iter().map(line).collect::<Result<_>>()?;
    Ok(Some((rows::order_view(last)?, history)))
}

/// Lists by the key backwards: of all orders, or of what is in flight where only that can match.
async fn list(client: &mut Session, query: Query) -> Result<Vec<OrderView>> {
    let state = query.estado.as_deref();
    // a state in which orders end is looked for among all; those that only lead on, in flight
    let in_flight = query.overdue_at.is_some() || state.is_some() && !is_an_end(client, state).await?;
    let from = if in_flight { "in_flight f JOIN orders o ON o.id = f.id" } else { "orders o" };
    let key = if in_flight { "f.id" } else { "o.id" };
    let mut conditions = vec![format!("{key} < $1")];
    let below = query.below.map_or(OrderId::MAX + 1, OrderId::get) as i64;
    let limit = query.limit as i64;
    let [overdue_at, entered_before] =
        [query.overdue_at, query.entered_before].map(|time| time.map(Timestamp::as_millis));
    let usermail = query.usermail.as_ref().map(EmailAddress::as_str);
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&below, &limit];
    if let Some(state) = &state {
        params.push(state);
        conditions.push(format!("h.estado = ${}", params.len()));
    }
    if let Some(overdue_at) = &overdue_at {
        params.push(overdue_at);
        conditions.push(format!("(h.next_at < ${0} OR h.expect_at < ${0})", params.len()));
    }
    if let Some(entered_before) = &entered_before {
        params.push(entered_before);
        conditions.push(format!("h.at < ${}", params.len()));
    }
    if let Some(usermail) = &usermail {
        params.push(usermail);
        let placed_or_corrected = "(lower(o.usermail COLLATE \"C\"), lower(o.address COLLATE \"C\"))";
        conditions.push(format!("lower(${} COLLATE \"C\") IN {placed_or_corrected}", params.len()));
    }
    if let Some(product) = &query.product {
        params.push(product);
        let text = format!("lower(${} COLLATE \"C\")", params.len());
        conditions
            .push(format!("(o.gameid = ${} OR position({text} IN lower(o.name COLLATE \"C\")) > 0)", params.len()));
    }
    if query.mail_refused {
        conditions.push(format!("{key} IN (SELECT id >> 8 FROM dead_mails WHERE {REFUSED})"));
    }
    let sql = format!(
        "SELECT {}, {}, {} FROM {from} CROSS JOIN LATERAL (
             SELECT * FROM history WHERE id > o.id << 8 AND id < (o.id + 1) << 8 ORDER BY id DESC LIMIT 1) h
         WHERE {} ORDER BY {key} DESC LIMIT $2",
        rows::ORDER_COLUMNS,
        rows::WAITS_COLUMNS,
        rows::VIEW_COLUMNS,
        conditions.join(" AND ")
    );
    let found = client.query(&client.prepare(&sql).await?, &params).await?;
    found.iter().map(rows::order_view).collect()
}

/// Whether the life of any order has ended in this state.
async fn is_an_end(client: &Session, state: Option<&str>) -> Result<bool> {
    let ends = tally::read(client, &[Kind::Finished, Kind::Cancelled]).await?;
    Ok(ends.iter().any(|(_, end, _)| Some(end.as_str()) == state))
}

async fn counts(client: &mut Session) -> Result<OrderCounts> {
    let mut counts = OrderCounts::default();
    for (kind, state, n) in tally::read(client, &[Kind::Open, Kind::Finished, Kind::Cancelled]).await? {
        counts.add(&state, kind.closing(), n);
    }
    Ok(counts)
}
