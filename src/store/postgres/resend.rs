//! The last mail of an order is sent again.

use deadpool_postgres::tokio_postgres::{Row, types::ToSql};

use super::{dead::lock_lane, ledger, rows, session::Session, tally::Tally};
use crate::{
    domain::OrderId,
    store::{Result, ledger::MailStatus, mails::Resend},
};

pub(super) async fn resend(client: &mut Session, resend: Resend) -> Result<bool> {
    let Resend { id, attempts, at, by, reason } = resend;
    if id.is_link() {
        return Ok(false);
    }
    let (key, end) = (ledger::key(id), rows::key(id.order, 0) + 256);
    let tx = client.transaction().await?;
    lock_lane(&tx, id.order).await?;
    // one that was compacted is nowhere any more. The first copy has arrived: the next attempt is a repeat, and counted as one
    let back = "WITH s AS (
             SELECT h.id, h.at, s.tried_at, coalesce(s.attempts, 0) AS attempts, s.reply
             FROM history h LEFT JOIN sent s ON s.id = h.id
             WHERE h.id = $1 AND h.mail AND coalesce(s.attempts, 0) = $2
                 AND NOT EXISTS (SELECT FROM lane WHERE id = $1) AND NOT EXISTS (SELECT FROM dead_mails WHERE id = $1)
                 AND NOT EXISTS (SELECT FROM history WHERE id > $1 AND id < $3 AND mail)),
         gone AS (DELETE FROM sent USING s WHERE sent.id = s.id)
         INSERT INTO lane (id, at, head, sending, due_at, tried_at, attempts, ambiguous, reply)
         SELECT id, at, 0, false, $4, tried_at, attempts, true, reply FROM s";
    let params: [&(dyn ToSql + Sync); 4] = [&key, &(attempts as i32), &end, &at.as_millis()];
    if tx.execute(&tx.prepare(back).await?, &params).await? == 0 {
        return Ok(false);
    }
    ledger::promote(&tx, &[key]).await?;
    let note = "INSERT INTO resends (id, attempts, at, by, reason) VALUES ($1, $2, $3, $4, $5)";
    let (by, reason) = (rows::text(&by), reason.as_deref().map(rows::text));
    let params: [&(dyn ToSql + Sync); 5] = [&key, &(attempts as i32), &at.as_millis(), &&*by, &reason.as_deref()];
    tx.execute(&tx.prepare(note).await?, &params).await?;
    let mut tally = Tally::default();
    tally.mail(MailStatus::Sent, -1);
    tally.mail(MailStatus::Pending, 1);
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn of(client: &mut Session, order: OrderId) -> Result<Vec<Resend>> {
    let sql = "SELECT id, attempts, at, by, reason FROM resends WHERE id >= $1 AND id < $1 + 256 ORDER BY at, attempts";
    let found = client.query(&client.prepare(sql).await?, &[&rows::key(order, 0)]).await?;
    let resend = |row: &Row| {
        Ok(Resend {
            id: rows::mail_id(row.get(0))?,
            attempts: row.get::<_, i32>(1) as u32,
            at: rows::time(row, 2),
            by: row.get::<_, &str>(3).into(),
            reason: row.get::<_, Option<&str>>(4).map(Into::into),
        })
    };
    found.iter().map(resend).collect()
}
