//! The operator's view of the ledger.

use async_trait::async_trait;
use rusqlite::{Connection, Params};

use super::{Result, SqliteStore, resend, rows, suppressed};
use crate::{
    domain::{EmailAddress, OrderId},
    store::{
        ledger::Suppression,
        mails::{MailEntry, Mails, Resend, SuppressedQuery},
    },
};

#[async_trait]
impl Mails for SqliteStore {
    async fn mails_of(&self, order: OrderId) -> Result<Vec<MailEntry>> {
        let condition = "id >= ?1 AND id < ?1 + 256 AND mail IS NOT NULL ORDER BY id";
        self.readers.read(move |conn| entries(conn, "history", condition, [rows::key(order, 0)])).await
    }

    async fn resend(&self, resend: Resend) -> Result<bool> {
        self.writer.run(move |conn| resend::resend(conn, &resend)).await
    }

    async fn resends_of(&self, order: OrderId) -> Result<Vec<Resend>> {
        self.readers.read(move |conn| resend::of(conn, order)).await
    }

    async fn mails_waiting(&self, limit: usize) -> Result<Vec<MailEntry>> {
        let (due, condition) = ("history INDEXED BY mail_due", "head > 0 AND head = 1 ORDER BY due_at LIMIT ?");
        self.readers.read(move |conn| entries(conn, due, condition, [limit as i64])).await
    }

    async fn suppressed(&self, query: SuppressedQuery) -> Result<Vec<Suppression>> {
        self.readers.read(move |conn| suppressed::list(conn, &query)).await
    }

    async fn suppression(&self, address: &EmailAddress) -> Result<Option<Suppression>> {
        let address = address.clone();
        self.readers.read(move |conn| suppressed::one(conn, &address)).await
    }

    async fn release_address(&self, address: &EmailAddress) -> Result<bool> {
        let address = address.clone();
        self.writer.run(move |conn| suppressed::release(conn, &address)).await
    }
}

fn entries(conn: &Connection, from: &str, condition: &str, params: impl Params) -> Result<Vec<MailEntry>> {
    let sql = format!(
        "SELECT id, estado, mail, at, due_at, attempts, ambiguous, tried_at, class, reply FROM {from} WHERE {condition}"
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut found = select.query(params)?;
    let mut entries = Vec::new();
    while let Some(row) = found.next()? {
        let Some(status) = rows::mail_status(rows::optional_text(row, 2)?) else { continue };
        let waits = status.is_unsettled();
        let attempts = row.get(5)?;
        entries.push(MailEntry {
            id: rows::mail_id(row, 0)?,
            estado: rows::text(row, 1)?.into(),
            status,
            at: rows::time(row, 3)?,
            due_at: rows::optional_time(row, 4)?.filter(|_| waits),
            attempts,
            ambiguous: row.get(6)?,
            // before the first attempt it is the time when the mail was made
            tried_at: rows::optional_time(row, 7)?.filter(|_| attempts > 0),
            class: rows::class(row, 8)?,
            reply: row.get(9)?,
        });
    }
    Ok(entries)
}
