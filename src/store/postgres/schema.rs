//! The tables and their versions.

use std::time::Duration;

use deadpool_postgres::tokio_postgres::{self, Client, error::SqlState};
use refinery::error::Kind;
use tokio::time::timeout;
use tracing::warn;

use super::{
    super::{Error, Result},
    session::Session,
};

mod embedded {
    refinery::embed_migrations!("src/store/postgres/migrations");
}

/// The oldest version that is tested.
const VERSION_MIN: i32 = 140_000;
/// Whoever holds this advisory lock may change the tables.
const LOCK: i64 = i64::from_be_bytes(*b"encargo\0");
/// How long it is waited for: shorter than a call of the store may take.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// What a lock that goes astray is a sign of.
const POOLED: &str = "a pooler in transaction mode is in between: write store.pool = \"transaction\"";

/// Brings the tables up to date; of several processes that start at once, one does it and the others wait.
pub(super) async fn migrate(session: &mut Session) -> Result<()> {
    check_server(session).await?;
    session.end(true).await?;
    if session.is_pooled() {
        return migrate_unlocked(session).await;
    }
    let client: &mut Client = session.client();
    lock(client).await?;
    let migrated = embedded::migrations::runner().run_async(client).await;
    // also when that failed: the connection goes back to the pool
    let unlocked = client.query_one("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    // whoever holds the lock meets nobody, and still has it at the end
    if matches!(&migrated, Err(error) if was_faster(error)) || matches!(&unlocked, Ok(row) if !row.get::<_, bool>(0)) {
        return Err(Error::Fatal(format!("the lock on the tables was in another session: {POOLED}")));
    }
    migrated.map_err(refused)?;
    unlocked?;
    Ok(())
}

/// A session that a pooler has put under another client never lets go of its lock, so the wait has an end.
async fn lock(client: &Client) -> Result<()> {
    match timeout(LOCK_WAIT, client.execute("SELECT pg_advisory_lock($1)", &[&LOCK])).await {
        Ok(locked) => Ok(locked.map(drop)?),
        Err(_) => Err(Error::Unavailable(format!(
            "another process has held the lock on the tables for {LOCK_WAIT:?}: if none is starting, {POOLED}"
        ))),
    }
}

/// Behind a pooler a lock would stay with a session that is somebody else's next. Each version's changes are one transaction,
/// so of several processes at once one goes through, and the others find the tables there: they look again.
async fn migrate_unlocked(session: &mut Session) -> Result<()> {
    let client: &mut Client = session.client();
    match embedded::migrations::runner().run_async(client).await {
        Err(error) if was_faster(&error) => {
            Err(Error::Unavailable("another process is setting up the tables at this moment".into()))
        }
        done => done.map(drop).map_err(refused),
    }
}

/// Whether the tables came while they were made.
fn was_faster(error: &refinery::Error) -> bool {
    let Kind::Connection(_, cause) = error.kind() else { return false };
    let code = cause.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    code.is_some_and(|code| {
        [SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT, SqlState::DUPLICATE_COLUMN, SqlState::UNIQUE_VIOLATION]
            .contains(code)
    })
}

async fn check_server(session: &Session) -> Result<()> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
                    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'";
    let row = session.query_one(&session.prepare(sql).await?, &[]).await?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < VERSION_MIN {
        return Err(Error::Fatal(format!("PostgreSQL {} is too old: 14 or newer is needed", version / 10_000)));
    }
    if encoding != "UTF8" {
        return Err(Error::Fatal(format!("the database's encoding is {encoding}: create it with ENCODING 'UTF8'")));
    }
    if !row.get::<_, bool>(2) {
        warn!("the database runs with fsync or full_page_writes off: a power failure can lose what was confirmed");
    }
    Ok(())
}

fn refused(error: refinery::Error) -> Error {
    match error.kind() {
        Kind::MissingVersion(_) | Kind::DivergentVersion(..) => Error::Fatal(
            "the database was written by a newer version of Encargo, or is not a store: use that version, or another database"
                .into(),
        ),
        Kind::Connection(_, cause) => match cause.downcast_ref::<tokio_postgres::Error>().map(Error::from) {
            Some(Error::Fatal(cause)) => Error::Fatal(format!("cannot set up the tables: {cause}")),
            Some(other) => other,
            None => Error::Unavailable(format!("cannot set up the tables: {cause}")),
        },
        _ => Error::Fatal(format!("cannot set up the tables: {error}")),
    }
}
