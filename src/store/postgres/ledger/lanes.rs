//! The mails of an order, one behind the other: which is the first, and which are dropped.

use crate::{
    domain::Timestamp,
    store::{
        Result,
        ledger::{MailId, MailStatus, Reason},
        postgres::{rows, session::Transaction, tally::Tally},
    },
};

/// Locks what waits in the lanes of these keys. Of two mails of one order that are settled at the same moment (an earlier
/// one came late while the other was in flight), the second sees what the first has left.
pub(super) async fn lock(tx: &Transaction<'_>, keys: &[i64]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let sql = "SELECT FROM unnest($1::bigint[]) AS o(id)
         JOIN lane l ON l.id > o.id << 8 AND l.id < (o.id + 1) << 8 FOR UPDATE OF l";
    tx.execute(&tx.prepare(sql).await?, &[&orders(keys)]).await?;
    Ok(())
}

/// The orders of these keys, once each and sorted.
fn orders(keys: &[i64]) -> Vec<i64> {
    let mut orders: Vec<i64> = keys.iter().map(|key| key >> 8).collect();
    orders.sort_unstable();
    orders.dedup();
    orders
}

/// Makes the first unsettled mail in the lanes of these keys their head.
pub(in crate::store::postgres) async fn promote(tx: &Transaction<'_>, keys: &[i64]) -> Result<u64> {
    if keys.is_empty() {
        return Ok(0);
    }
    // nearly always there is none
    let sql = "UPDATE lane l SET head = 1
         FROM unnest($1::bigint[]) AS o(id), LATERAL (
             SELECT n.id FROM lane n WHERE n.id > o.id << 8 AND n.id < (o.id + 1) << 8 ORDER BY n.id LIMIT 1) AS first
         WHERE l.id BETWEEN first.id AND first.id AND l.head <> 1";
    Ok(tx.execute(&tx.prepare(sql).await?, &[&orders(keys)]).await?)
}

/// The key of a mail.
pub(in crate::store::postgres) const fn key(id: MailId) -> i64 {
    rows::key(id.order, id.seq)
}

/// Drops mails that wait; they are counted as such by whoever knows what they were.
pub(in crate::store::postgres) async fn drop_waiting(
    tx: &Transaction<'_>,
    keys: &[i64],
    now: Timestamp,
    tally: &mut Tally,
) -> Result<()> {
    let sql = "WITH gone AS (DELETE FROM lane l USING unnest($1::bigint[]) AS d(id) WHERE l.id BETWEEN d.id AND d.id
                             RETURNING l.id, l.tried_at, l.attempts, l.ambiguous)
         INSERT INTO dead_mails (id, dropped, tried_at, attempts, ambiguous, class, reply)
         SELECT id, true, coalesce(tried_at, $2), attempts, ambiguous, $3, $4 FROM gone";
    insert_dropped(tx, sql, keys, now, tally).await
}

/// Notes mails that are dropped from the start.
pub(in crate::store::postgres) async fn insert_unsent(
    tx: &Transaction<'_>,
    keys: &[i64],
    now: Timestamp,
    tally: &mut Tally,
) -> Result<()> {
    let sql = "INSERT INTO dead_mails (id, dropped, tried_at, attempts, ambiguous, class, reply)
         SELECT id, true, $2, 0, false, $3, $4 FROM unnest($1::bigint[]) AS d(id)";
    insert_dropped(tx, sql, keys, now, tally).await
}

async fn insert_dropped(
    tx: &Transaction<'_>,
    sql: &str,
    keys: &[i64],
    now: Timestamp,
    tally: &mut Tally,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let Reason { class, text } = Reason::cancelled();
    let dropped = tx.execute(&tx.prepare(sql).await?, &[&keys, &now.as_millis(), &class.name(), &text]).await?;
    tally.mail(MailStatus::Dropped, dropped as i64);
    tally.class(MailStatus::Dropped, Some(class), dropped as i64);
    Ok(())
}
