//! The operator's view of the ledger.

use async_trait::async_trait;
use deadpool_postgres::tokio_postgres::types::ToSql;

use super::{PgStore, resend, rows, session::Session, suppressed};
use crate::{
    domain::{EmailAddress, OrderId},
    store::{
        Result,
        ledger::Suppression,
        mails::{MailEntry, Mails, Resend, SuppressedQuery},
    },
};

#[async_trait]
impl Mails for PgStore {
    async fn mails_of(&self, order: OrderId) -> Result<Vec<MailEntry>> {
        let from = format!("history h {} LEFT JOIN sent s ON s.id = h.id", rows::MAIL_JOINS);
        let condition = "h.id >= $1 AND h.id < $1 + 256 AND h.mail ORDER BY h.id";
        self.run(|client| Box::pin(entries(client, from, condition, rows::key(order, 0)))).await
    }

    async fn resend(&self, resend: Resend) -> Result<bool> {
        self.run(|client| Box::pin(resend::resend(client, resend))).await
    }

    async fn resends_of(&self, order: OrderId) -> Result<Vec<Resend>> {
        self.run(|client| Box::pin(resend::of(client, order))).await
    }

    async fn mails_waiting(&self, limit: usize) -> Result<Vec<MailEntry>> {
        let from = "lane l JOIN history h ON h.id = l.id LEFT JOIN dead_mails d ON d.id = l.id
                    LEFT JOIN sent s ON s.id = l.id";
        let condition = "l.head = 1 ORDER BY l.due_at, l.id LIMIT $1";
        self.run(|client| Box::pin(entries(client, from.to_owned(), condition, limit as i64))).await
    }

    async fn suppressed(&self, query: SuppressedQuery) -> Result<Vec<Suppression>> {
        self.run(|client| Box::pin(suppressed::list(client, query))).await
    }

    async fn suppression(&self, address: &EmailAddress) -> Result<Option<Suppression>> {
        let address = address.clone();
        self.run(|client| Box::pin(suppressed::one(client, address))).await
    }

    async fn release_address(&self, address: &EmailAddress) -> Result<bool> {
        let address = address.clone();
        self.run(|client| Box::pin(suppressed::release(client, address))).await
    }
}

/// Each mail from wherever it is: waiting, sent, dead.
async fn entries(
    client: &mut Session,
    from: String,
    condition: &'static str,
    param: impl ToSql + Sync + Send,
) -> Result<Vec<MailEntry>> {
    let sql = format!(
        "SELECT h.id, h.estado, {}, h.at, l.due_at, coalesce(l.attempts, d.attempts, s.attempts, 0),
                coalesce(l.ambiguous, d.ambiguous, s.ambiguous, false),
                coalesce(l.tried_at, d.tried_at, s.tried_at), coalesce(l.class, d.class),
                coalesce(l.reply, d.reply, s.reply)
         FROM {from} WHERE {condition}",
        rows::MAIL_STATUS
    );
    let found = client.query(&client.prepare(&sql).await?, &[&param]).await?;
    let mut entries = Vec::with_capacity(found.len());
    for row in &found {
        let Some(status) = rows::mail_status(row, 2) else { continue };
        let attempts = row.get::<_, i32>(5) as u32;
        entries.push(MailEntry {
            id: rows::mail_id(row.get(0))?,
            estado: row.get::<_, &str>(1).into(),
            status,
            at: rows::time(row, 3),
            due_at: rows::optional_time(row, 4),
            attempts,
            ambiguous: row.get(6),
            // of one that was dropped before its first attempt it is the time of that
            tried_at: rows::optional_time(row, 7).filter(|_| attempts > 0),
            class: rows::class(row, 8),
            reply: row.get(9),
        });
    }
    Ok(entries)
}
