//! What became of commands.

use std::collections::BTreeMap;

use super::{
    super::{Error, Result},
    session::{Session, Transaction},
};
use crate::{
    domain::{CommandId, CommandOutcome, Timestamp, wire},
    store::columns,
};

/// Keeps outcomes, unless those that are there stay.
pub(super) async fn insert(tx: &Transaction<'_>, outcomes: &[CommandOutcome]) -> Result<()> {
    if outcomes.is_empty() {
        return Ok(());
    }
    // a statement takes a row once, and locks are taken in one order everywhere
    let mut last = BTreeMap::<&CommandId, &CommandOutcome>::new();
    for outcome in outcomes {
        let kept = last.entry(&outcome.command).or_insert(outcome);
        if !columns::stays(kept) {
            *kept = outcome;
        }
    }
    let commands: Vec<&str> = last.keys().map(|command| command.as_str()).collect();
    let at: Vec<i64> = last.values().map(|outcome| outcome.at.as_millis()).collect();
    let stay: Vec<bool> = last.values().map(|outcome| columns::stays(outcome)).collect();
    let values: Vec<Vec<u8>> = last.values().map(|outcome| wire::encode_outcome(outcome)).collect();
    let keep = "INSERT INTO outcomes (command, at, stays, value)
         SELECT * FROM unnest($1::text[], $2::bigint[], $3::bool[], $4::bytea[])
         ON CONFLICT (command) DO UPDATE SET at = excluded.at, stays = excluded.stays, value = excluded.value
         WHERE NOT outcomes.stays";
    tx.execute(&tx.prepare(keep).await?, &[&commands, &at, &stay, &values]).await?;
    Ok(())
}

/// What became of a command.
pub(super) async fn of(client: &Session, command: &CommandId) -> Result<Option<CommandOutcome>> {
    let select = client.prepare("SELECT value FROM outcomes WHERE command = $1").await?;
    let found = client.query_opt(&select, &[&command.as_str()]).await?;
    found.map(|row| read(command, row.get(0))).transpose()
}

fn read(command: &CommandId, value: &[u8]) -> Result<CommandOutcome> {
    wire::decode_outcome(value)
        .map_err(|cause| Error::Fatal(format!("what the store holds of the command {command} cannot be read: {cause}")))
}

/// Deletes the next outcomes that were decided before a time. Returns how many; zero when there are no more.
pub(super) async fn prune(client: &mut Session, before: Timestamp) -> Result<u64> {
    let prune = "DELETE FROM outcomes WHERE command = ANY(ARRAY(
                     SELECT command FROM outcomes WHERE at < $1 ORDER BY at LIMIT 2000 FOR UPDATE SKIP LOCKED))";
    Ok(client.execute(&client.prepare(prune).await?, &[&before.as_millis()]).await?)
}
