//! What became of commands.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Error, Result};
use crate::{
    domain::{CommandId, CommandOutcome, Timestamp, wire},
    store::columns,
};

/// Keeps an outcome, unless the one that is there stays.
pub(super) fn insert(conn: &Connection, outcome: &CommandOutcome) -> Result<()> {
    let keep = "INSERT INTO outcomes (command, at, stays, value) VALUES (?, ?, ?, ?)
         ON CONFLICT (command) DO UPDATE SET at = excluded.at, stays = excluded.stays, value = excluded.value
         WHERE NOT outcomes.stays";
    let (command, at) = (outcome.command.as_str(), outcome.at.as_millis());
    let params = params![command, at, columns::stays(outcome), wire::encode_outcome(outcome)];
    conn.prepare_cached(keep)?.execute(params)?;
    Ok(())
}

/// What became of a command.
pub(super) fn of(conn: &Connection, command: &CommandId) -> Result<Option<CommandOutcome>> {
    let mut select = conn.prepare_cached("SELECT value FROM outcomes WHERE command = ?")?;
    let found: Option<Vec<u8>> = select.query_row([command.as_str()], |row| row.get(0)).optional()?;
    found.map(|value| read(command, &value)).transpose()
}

fn read(command: &CommandId, value: &[u8]) -> Result<CommandOutcome> {
    wire::decode_outcome(value)
        .map_err(|cause| Error::Fatal(format!("what the store holds of the command {command} cannot be read: {cause}")))
}

/// Deletes at most `limit` outcomes that were decided before a time. Returns how many.
pub(super) fn prune(conn: &Connection, before: Timestamp, limit: u64) -> Result<u64> {
    let prune = "DELETE FROM outcomes WHERE command IN (SELECT command FROM outcomes WHERE at < ? ORDER BY at LIMIT ?)";
    Ok(conn.prepare_cached(prune)?.execute(params![before.as_millis(), limit as i64])? as u64)
}
