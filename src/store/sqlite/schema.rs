//! The tables and their versions.

use std::path::Path;

use refinery::error::Kind;
use rusqlite::Connection;

use super::{Error, Result};

mod embedded {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

/// Brings the tables up to date.
pub(super) fn migrate(path: &Path, conn: &mut Connection) -> Result<()> {
    embedded::migrations::runner().run(conn).map_err(|error| refused(path, &error))?;
    Ok(())
}

/// Refuses a file whose tables are not of this version; a tool must not change them under a server.
pub(super) fn check(path: &Path, conn: &mut Connection) -> Result<()> {
    let runner = embedded::migrations::runner();
    let ours = runner.get_migrations().iter().map(refinery::Migration::version).max();
    let theirs = runner.get_last_applied_migration(conn).map_err(|error| refused(path, &error))?;
    let theirs = theirs.map(|migration| migration.version());
    if theirs == ours {
        return Ok(());
    }
    let remedy = if theirs > ours { "use that version" } else { "run `encargo up` of this version once" };
    Err(Error::Fatal(format!("{} was written by another version of Encargo: {remedy}", path.display())))
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
