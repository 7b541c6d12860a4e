//! The mail with the link to an order.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Result, SqliteStore, ledger, rows,
    tally::{Kind, Tally},
};
use crate::store::{
    ledger::{MailId, MailStatus},
    links::{LINK, LinkRequest, Links},
};

#[async_trait]
impl Links for SqliteStore {
    async fn ask_link(&self, request: LinkRequest) -> Result<bool> {
        self.writer.run(move |conn| ask(conn, &request)).await
    }
}

fn ask(conn: &Connection, request: &LinkRequest) -> Result<bool> {
    let fits = "SELECT 1 FROM orders WHERE id = ? AND lower(coalesce(address, usermail)) = lower(?)";
    if !conn.prepare_cached(fits)?.exists(params![request.order.get() as i64, request.email.as_str()])? {
        return Ok(false);
    }
    let key = ledger::key(MailId::link(request.order));
    let mut last = conn.prepare_cached("SELECT mail, at, class FROM history WHERE id = ?")?;
    let mut tally = Tally::default();
    let last = last.query_row([key], |row| {
        let status = rows::mail_status(rows::optional_text(row, 0).ok().flatten());
        Ok((status, rows::time(row, 1), rows::class(row, 2)))
    });
    if let Some((Some(status), asked_at, class)) = last.optional()? {
        if status.is_unsettled() || asked_at? > request.unless_since {
            return Ok(false);
        }
        conn.prepare_cached("DELETE FROM dead_mails WHERE id = ?")?.execute([key])?;
        tally.add(Kind::Mail, status.name(), -1);
        tally.class(status.name(), class?, -1);
    }
    // attempts are counted on, so that a late settlement of the last one is void
    conn.prepare_cached(
        "INSERT INTO history (id, estado, at, last, mail, head, due_at, tried_at)
         VALUES (?1, ?2, ?3, 0, 'pending', 1, ?3, ?3)
         ON CONFLICT (id) DO UPDATE SET at = ?3, mail = 'pending', head = 1, due_at = ?3, tried_at = ?3, ambiguous = 0,
             class = NULL, reply = NULL, begun_at = NULL, tries = 0, copies = 0",
    )?
    .execute(params![key, LINK, request.at.as_millis()])?;
    tally.add(Kind::Mail, MailStatus::Pending.name(), 1);
    tally.write(conn)?;
    Ok(true)
}
