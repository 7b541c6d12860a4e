//! Opens what a server left, or still writes, for commands that look at it.

use std::{path::Path, sync::Arc};

use anyhow::{Result, bail};

use super::postgres;
use crate::{
    config::{Config, LogUrl, StoreUrl},
    eventlog::{EventLog, sqlite::SqliteLog},
    store::{Store, sqlite::SqliteStore},
};

/// The event log, to be read beside a server.
pub fn log(config: &Config) -> Result<Arc<dyn EventLog>> {
    match config.log_url() {
        LogUrl::Sqlite(path) => {
            require(&path, "event log", config)?;
            Ok(Arc::new(SqliteLog::open_read_only(&path)?))
        }
        #[cfg(feature = "kafka")]
        LogUrl::Kafka(brokers) => Ok(Arc::new(super::kafka::connect(config, brokers)?)),
        #[cfg(not(feature = "kafka"))]
        LogUrl::Kafka(_) => Err(super::without_kafka()),
    }
}

/// The store, to be read and decided upon beside a server.
pub async fn store(config: &Config) -> Result<Arc<dyn Store>> {
    match config.store_url() {
        StoreUrl::Sqlite(path) => {
            require(&path, "store", config)?;
            Ok(Arc::new(SqliteStore::open_tool(&path)?))
        }
        StoreUrl::Postgres(url) => Ok(Arc::new(postgres::open(config, url).await?)),
    }
}

/// Deletes topics of a cluster, with all that they hold: for whoever made them for a trial. Those of a file go with it.
pub async fn delete_topics(config: &Config, names: Vec<String>) -> Result<()> {
    match config.log_url() {
        LogUrl::Sqlite(_) => Ok(()),
        #[cfg(feature = "kafka")]
        LogUrl::Kafka(brokers) => {
            let log = super::kafka::connect(config, brokers)?;
            let delete = move || log.delete_topics(&names.iter().map(String::as_str).collect::<Vec<_>>());
            Ok(tokio::task::spawn_blocking(delete).await??)
        }
        #[cfg(not(feature = "kafka"))]
        LogUrl::Kafka(_) => {
            drop(names);
            Err(super::without_kafka())
        }
    }
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
