use anyhow::{Result, bail};

use crate::config::Config;
pub use crate::role::Role;

/// Refuses a log or a store that other processes, with the other roles, could not use at the same time.
pub(super) fn require_shared(roles: &[Role], config: &Config) -> Result<()> {
    if Role::ALL.iter().all(|role| roles.contains(role)) {
        return Ok(());
    }
    let role = roles.first().map_or("", |role| role.name());
    let (log, store) = (config.log_url(), config.store_url());
    if roles.iter().any(|role| role.needs_log()) && !log.is_shared() {
        bail!(
            "`encargo {role}` is one of several processes, and they cannot share the event log {log}: give all of them \
             --log kafka://HOST:PORT, or run everything in one process with `encargo up`"
        );
    }
    if roles.iter().any(|role| role.needs_store()) && !store.is_shared() {
        bail!(
            "`encargo {role}` is one of several processes, and they cannot share the store {store}: give all of them \
             --store postgres://USER@HOST/DATABASE, or run everything in one process with `encargo up`"
        );
    }
    Ok(())
}
