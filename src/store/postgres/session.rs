//! A connection as a call uses it, to the database itself or to a pooler before it.
//!
//! Behind a pooler in transaction mode (PgBouncer, and what providers put there) each transaction may be on another session
//! of the server. So nothing outlives one there: every call is inside transactions, the settings are made anew in each
//! (SET LOCAL), and statements are prepared and closed within it. That costs round trips, so a direct connection keeps its
//! settings and its statements.

use std::{
    ops::Deref,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use deadpool_postgres::{ClientWrapper, Object, tokio_postgres::Statement};

use super::super::Result;

/// A connection for one call.
pub(super) struct Session {
    client: Object,
    /// What begins every transaction behind a pooler; `None` on a direct connection.
    begin: Option<String>,
    /// Whether a transaction is open.
    open: AtomicBool,
    /// Whether it was given up.
    given_up: AtomicBool,
}

impl Session {
    pub(super) fn new(client: Object, begin: Option<String>) -> Self {
        Self { client, begin, open: AtomicBool::new(false), given_up: AtomicBool::new(false) }
    }

    /// Whether a pooler may be in between.
    pub(super) fn is_pooled(&self) -> bool {
        self.begin.is_some()
    }

    /// A statement that is good until the transaction ends, and longer where that is possible.
    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement> {
        if self.is_pooled() {
            self.begin().await?;
            return Ok(self.client.prepare(sql).await?);
        }
        Ok(self.client.prepare_cached(sql).await?)
    }

    /// Several statements as one.
    pub(super) async fn transaction(&self) -> Result<Transaction<'_>> {
        self.begin().await?;
        Ok(Transaction(self))
    }

    async fn begin(&self) -> Result<()> {
        if !self.open.load(Relaxed) {
            self.client.batch_execute(self.begin.as_deref().unwrap_or("BEGIN")).await?;
            self.open.store(true, Relaxed);
        }
        Ok(())
    }

    async fn close(&self, how: &str) -> Result<()> {
        if self.open.swap(false, Relaxed) {
            self.client.batch_execute(how).await?;
        }
        Ok(())
    }

    /// Ends what a call has left open: done where single statements went well, undone otherwise.
    pub(super) async fn end(&self, well: bool) -> Result<()> {
        self.close(if well && !self.given_up.load(Relaxed) { "COMMIT" } else { "ROLLBACK" }).await
    }

    /// The connection itself, for what makes its own transactions.
    pub(super) fn client(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }

    pub(super) fn into_inner(self) -> Object {
        self.client
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

/// An open transaction. One that is dropped is undone at the end of its call.
pub(super) struct Transaction<'a>(&'a Session);

impl Transaction<'_> {
    pub(super) async fn commit(self) -> Result<()> {
        self.0.close("COMMIT").await
    }

    pub(super) async fn rollback(self) -> Result<()> {
        self.0.close("ROLLBACK").await
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.0.open.load(Relaxed) {
            self.0.given_up.store(true, Relaxed);
        }
    }
}

impl Deref for Transaction<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.0
    }
}
