//! Opens what a server left, or still writes, for the commands that look at it.

use std::{path::Path, sync::Arc};

use anyhow::{Result, bail};

pub(super) use super::flags::StoreFlag;
use crate::{
    config::{Config, LogUrl, StoreUrl},
    eventlog::{EventLog, sqlite::SqliteLog},
    store::{Store, sqlite::SqliteStore},
};

/// The event log, to be read beside a server.
pub(super) fn log(config: &Config) -> Result<Arc<dyn EventLog>> {
    let path = match config.log_url() {
        LogUrl::Sqlite(path) => path,
        #[cfg(feature = "kafka")]
        LogUrl::Kafka(brokers) => return Ok(Arc::new(crate::app::kafka::connect(config, brokers)?)),
        #[cfg(not(feature = "kafka"))]
        LogUrl::Kafka(_) => return Err(crate::app::without_kafka()),
    };
    require(&path, "event log", config)?;
    Ok(Arc::new(SqliteLog::open_read_only(&path)?))
}

/// The store, to be read and decided upon beside a server.
#[expect(clippy::unused_async, reason = "PostgreSQL will wait")]
pub(super) async fn store(config: &Config) -> Result<Arc<dyn Store>> {
    let path = match config.store_url() {
        StoreUrl::Sqlite(path) => path,
        StoreUrl::Postgres(_) => bail!("PostgreSQL is not there yet"),
    };
    require(&path, "store", config)?;
    Ok(Arc::new(SqliteStore::open_tool(&path)?))
}

fn require(path: &Path, what: &str, config: &Config) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let place = if path.starts_with(&config.data) && !config.data.exists() {
        format!("there is no data folder {}", config.data.display())
    } else {
        format!("there is no {what} at {}", path.display())
    };
    bail!("{place}\n  `encargo up` creates it; if one runs with another folder, name that with --data DIR")
}
