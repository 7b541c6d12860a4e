//! The tables and their versions.

use deadpool_postgres::{
    Object,
    tokio_postgres::{self, Client},
};
use refinery::error::Kind;
use tracing::warn;

use super::super::{Error, Result};

mod embedded {
    refinery::embed_migrations!("src/store/postgres/migrations");
}

/// The oldest version that is tested.
const VERSION_MIN: i32 = 140_000;
/// Whoever holds this advisory lock may change the tables.
const LOCK: i64 = i64::from_be_bytes(*b"encargo\0");

/// Brings the tables up to date; of several processes that start at once, one does it and the others wait.
pub(super) async fn migrate(client: &mut Object) -> Result<()> {
    let client: &mut Client = client;
    check_server(client).await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let migrated = embedded::migrations::runner().run_async(client).await;
    // also when that failed: the connection goes back to the pool
    let unlocked = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    migrated.map_err(refused)?;
    unlocked?;
    Ok(())
}

async fn check_server(client: &Client) -> Result<()> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
                    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'",
            &[],
        )
        .await?;
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
