use anyhow::{Result, bail};

use crate::config::Config;

/// A part of the work that a process can do alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes orders over HTTP and writes them to the log.
    Intake,
    /// Walks orders through their states, from the log to the log.
    Fulfilment,
    /// Projects the log into the store and answers lookups.
    Tracking,
    /// Sends what the ledger in the store holds.
    Mail,
}

impl Role {
    /// All of them, as `encargo up` runs them.
    pub const ALL: [Self; 4] = [Self::Intake, Self::Fulfilment, Self::Tracking, Self::Mail];

    /// Its name, which is its command.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Fulfilment => "fulfilment",
            Self::Tracking => "tracking",
            Self::Mail => "mail",
        }
    }

    /// Whether it reads or writes the event log.
    pub const fn needs_log(self) -> bool {
        !matches!(self, Self::Mail)
    }

    /// Whether it reads or writes the store.
    pub const fn needs_store(self) -> bool {
        !matches!(self, Self::Fulfilment)
    }
}

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
