//! Compaction of the ledger: what is sent and old gives up its reply and attempts, and keeps its place in the history.

use super::{super::Result, session::Session};
use crate::domain::Timestamp;

/// Most rows in one transaction.
const SLICE: i64 = 20_000;

/// Takes the next old rows. Returns how many; zero when there are no more.
pub(super) async fn slice(client: &mut Session, before: Timestamp) -> Result<u64> {
    let sent = "DELETE FROM sent WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM sent WHERE tried_at < $1 ORDER BY tried_at LIMIT $2 FOR UPDATE SKIP LOCKED))";
    let dropped = "UPDATE dead_mails SET tried_at = NULL, attempts = 0, reply = NULL WHERE id = ANY(ARRAY(
                       SELECT id FROM dead_mails WHERE dropped AND tried_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
    let before = before.as_millis();
    let tx = client.transaction().await?;
    let mut compacted = 0;
    for sql in [sent, dropped] {
        compacted += tx.execute(&tx.prepare(sql).await?, &[&before, &SLICE]).await?;
    }
    tx.commit().await?;
    Ok(compacted)
}
