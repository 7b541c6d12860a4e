//! The mail with the link to an order.

use async_trait::async_trait;

use super::{
    PgStore, ledger, rows,
    session::{Session, Transaction},
    tally::Tally,
};
use crate::store::{
    Result,
    ledger::{MailId, MailStatus},
    links::{LINK, LinkRequest, Links},
};

#[async_trait]
impl Links for PgStore {
    async fn ask_link(&self, request: LinkRequest) -> Result<bool> {
        self.run(|client| Box::pin(ask(client, request))).await
    }
}

async fn ask(client: &mut Session, request: LinkRequest) -> Result<bool> {
    let tx = client.transaction().await?;
    // whoever adds to the ledger holds the lock on the order
    let fits = "SELECT FROM orders WHERE id = $1 AND lower(coalesce(address, usermail) COLLATE \"C\") = lower($2 COLLATE \"C\")
                FOR NO KEY UPDATE";
    let order = request.order.get() as i64;
    if tx.query_opt(&tx.prepare(fits).await?, &[&order, &request.email.as_str()]).await?.is_none() {
        return Ok(false);
    }
    let (key, at) = (ledger::key(MailId::link(request.order)), request.at.as_millis());
    let last = "SELECT h.at, l.id IS NOT NULL FROM history h LEFT JOIN lane l ON l.id = h.id WHERE h.id = $1";
    let last = tx.query_opt(&tx.prepare(last).await?, &[&key]).await?;
    let mut tally = Tally::default();
    let mut attempts = 0;
    if let Some(last) = &last {
        if last.get(1) || rows::time(last, 0) > request.unless_since {
            return Ok(false);
        }
        attempts = take_settled(&tx, key, &mut tally).await?;
    }
    let history = "INSERT INTO history (id, estado, at, last, mail) VALUES ($1, $2, $3, false, true)
                   ON CONFLICT (id) DO UPDATE SET at = $3";
    tx.execute(&tx.prepare(history).await?, &[&key, &LINK, &at]).await?;
    let lane = "INSERT INTO lane (id, at, head, due_at, sending, attempts, ambiguous) VALUES ($1, $2, 1, $2, false, $3, false)";
    tx.execute(&tx.prepare(lane).await?, &[&key, &at, &attempts]).await?;
    tally.mail(MailStatus::Pending, 1);
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Takes away what became of the last one. Returns its attempts, which are counted on so that a late settlement is void.
async fn take_settled(tx: &Transaction<'_>, key: i64, tally: &mut Tally) -> Result<i32> {
    let dead = "DELETE FROM dead_mails WHERE id = $1 RETURNING attempts, dropped, class";
    if let Some(dead) = tx.query_opt(&tx.prepare(dead).await?, &[&key]).await? {
        let status = if dead.get(1) { MailStatus::Dropped } else { MailStatus::Dead };
        tally.mail(status, -1);
        tally.class(status, rows::class(&dead, 2), -1);
        return Ok(dead.get(0));
    }
    // one that is compacted has no row any more, and no attempt that could still be settled
    tally.mail(MailStatus::Sent, -1);
    let sent = tx.query_opt(&tx.prepare("DELETE FROM sent WHERE id = $1 RETURNING attempts").await?, &[&key]).await?;
    Ok(sent.map_or(0, |sent| sent.get(0)))
}
