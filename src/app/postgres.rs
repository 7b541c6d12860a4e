//! The store on PostgreSQL, opened as the settings say.

use crate::{
    config::Config,
    store::{
        Result,
        postgres::{Options, PgStore},
    },
};

/// Connects, and brings the tables up to date.
pub(super) async fn open(config: &Config, url: String) -> Result<PgStore> {
    let store = &config.store;
    PgStore::open(Options {
        password: Some(store.password.clone()).filter(|password| !password.is_empty()),
        ca: Some(store.ca.clone()).filter(|path| !path.as_os_str().is_empty()),
        pool_max: store.pool_max,
        pooling: store.pool,
        ..Options::new(url)
    })
    .await
}
