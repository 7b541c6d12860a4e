//! The tables and their versions.

use std::path::Path;

use refinery::error::Kind;
use rusqlite::Connection;

use super::{Error, Result};
use crate::sqlite;

mod embedded {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

/// Brings the tables up to date.
pub(super) fn migrate(path: &Path, conn: &mut Connection) -> Result<()> {
    embedded::migrations::runner().run(conn).map_err(|error| refused(path, &error))?;
    Ok(())
}

/// Refuses a file whose tables are not of this version; a tool must not change them under a server.
pub(super) fn check(path: &Path, conn: &Connection) -> Result<()> {
    let runner = embedded::migrations::runner();
    let ours = runner.get_migrations().iter().map(refinery::Migration::version).max();
    let theirs = applied(conn).map_err(|error| sqlite::describe(path, error))?;
    if theirs == ours {
        return Ok(());
    }
    let remedy = if theirs > ours { "use that version" } else { "run `encargo up` of this version once" };
    Err(Error::Fatal(format!("{} is not a store of this version of Encargo: {remedy}", path.display())))
}

/// The last version that was brought in; `None` in a file that is empty or of something else.
fn applied(conn: &Connection) -> rusqlite::Result<Option<i32>> {
    let known = "SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'";
    if conn.query_row(known, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(None);
    }
    conn.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))
}

fn refused(path: &Path, error: &refinery::Error) -> Error {
    let path = path.display();
    Error::Fatal(match error.kind() {
        Kind::MissingVersion(_) | Kind::DivergentVersion(..) => {
            format!(
                "{path} was written by a newer version of Encargo, or is not a store: use that version, or another --data folder"
            )
        }
        Kind::Connection(_, cause) => format!("cannot set up the tables of {path}: {cause}"),
        _ => format!("cannot set up the tables of {path}: {error}"),
    })
}
