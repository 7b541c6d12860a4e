//! Opens what the services work with; every error says what to do.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use tracing::{info, warn};

use crate::{
    catalog::Catalog,
    config::{Config, LogUrl, StoreUrl},
    eventlog::{
        EventLog, TopicSpec,
        sqlite::{Options as LogOptions, SqliteLog},
    },
    files,
    store::{
        Store,
        sqlite::{Options as StoreOptions, SqliteStore},
    },
};

pub(super) fn catalog(config: &Config) -> Result<Catalog> {
    if config.catalog.path.as_os_str().is_empty() {
        return Ok(Catalog::sample());
    }
    let catalog = Catalog::load(&config.catalog.path)?;
    info!(products = catalog.len(), path = %config.catalog.path.display(), "catalogue loaded");
    Ok(catalog)
}

/// Creates the data folder if anything is kept there.
pub(super) fn data_folder(config: &Config) -> Result<()> {
    let is_used = !config.log_url().is_shared() || !config.store_url().is_shared();
    if is_used {
        folder(&config.data)?;
        tell_who_may_look(&config.data);
    }
    Ok(())
}

/// A word about a folder that was made for everybody, by an older version or on purpose. It is not changed here: who
/// let somebody in may want that.
fn tell_who_may_look(path: &Path) {
    if let Some(mode) = files::open_to_others(path) {
        let path = path.display();
        warn!(
            "others on this machine may look into {path} (its mode is {mode}), which holds customers' addresses and the \
             secret behind tracking links: `chmod 700 {path}` shuts them out"
        );
    }
}

fn folder(path: &Path) -> Result<()> {
    files::create_folder(path)
        .with_context(|| format!("cannot create the data folder {}: choose another with --data DIR", path.display()))
}

/// The event log with its topics.
pub(super) async fn log(config: Config) -> Result<Arc<dyn EventLog>> {
    tokio::task::spawn_blocking(move || blocking_log(&config)).await.context("opening the event log")?
}

fn blocking_log(config: &Config) -> Result<Arc<dyn EventLog>> {
    match config.log_url() {
        LogUrl::Sqlite(path) => local_log(config, &path),
        LogUrl::Kafka(brokers) => cluster_log(config, brokers),
    }
}

#[cfg(feature = "kafka")]
fn cluster_log(config: &Config, brokers: String) -> Result<Arc<dyn EventLog>> {
    Ok(Arc::new(super::kafka::open(config, brokers)?))
}

#[cfg(not(feature = "kafka"))]
fn cluster_log(_: &Config, _: String) -> Result<Arc<dyn EventLog>> {
    Err(super::without_kafka())
}

fn local_log(config: &Config, path: &Path) -> Result<Arc<dyn EventLog>> {
    create_parent(path)?;
    let options = LogOptions { waiting_max: config.log.queue_max, ..LogOptions::default() };
    let log: Arc<dyn EventLog> = Arc::new(SqliteLog::open(path, options)?);
    let topics = &config.topics;
    for (name, partitions) in [
        (&topics.orders, config.log.partitions),
        (&topics.states, config.log.partitions),
        (&topics.commands, config.log.partitions),
        (&topics.outcomes, config.log.partitions),
        (&topics.dead, 1),
        (&topics.ids, 1),
    ] {
        log.create(&TopicSpec { name: name.clone(), partitions })
            .with_context(|| format!("cannot prepare topic {name}"))?;
    }
    Ok(log)
}

/// The store with its tables.
pub(super) async fn store(config: Config) -> Result<Arc<dyn Store>> {
    match config.store_url() {
        StoreUrl::Sqlite(path) => {
            let waiting_max = config.store.queue_max;
            tokio::task::spawn_blocking(move || local_store(&path, waiting_max)).await.context("opening the store")?
        }
        StoreUrl::Postgres(url) => Ok(Arc::new(super::postgres::open(&config, url).await?)),
    }
}

/// The secret behind the tracking handles, which all processes on a store share; `fresh` becomes it in a new store.
pub(super) async fn secret(store: Arc<dyn Store>, fresh: [u8; 16]) -> Result<[u8; 16]> {
    Ok(store.secret("handle", fresh).await?)
}

/// The deployment's own part of the ids of its mails, the same for all processes on a store and after every restart. It is
/// public, so it is no part of the other secret.
pub(super) async fn deployment(store: Arc<dyn Store>, fresh: [u8; 16]) -> Result<String> {
    let bytes = store.secret("deployment", fresh).await?;
    let (half, _) = bytes.split_at(8);
    Ok(format!("{:016x}", u64::from_be_bytes(half.try_into().expect("eight bytes"))))
}

fn local_store(path: &Path, waiting_max: usize) -> Result<Arc<dyn Store>> {
    create_parent(path)?;
    let options = StoreOptions { waiting_max, ..StoreOptions::default() };
    Ok(Arc::new(SqliteStore::open(path, options)?))
}

fn create_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), folder)
}

pub(super) fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    Ok(bytes)
}
