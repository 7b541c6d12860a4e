//! Where the database is, and how it is talked to.

use std::{path::PathBuf, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
    tokio_postgres::{
        Config,
        config::{SslMode, TargetSessionAttrs},
    },
};

use super::{super::Error, Result, tls};

/// The PostgreSQL store's settings.
#[derive(Clone)]
pub struct Options {
    /// `postgres://[user[:password]@]host[,host2][:port]/database[?sslmode=…]`; several hosts are tried until one writes.
    pub url: String,
    /// The password, when it is not in the address.
    pub password: Option<String>,
    /// A file of certificates (PEM) to trust besides the system's. With `sslmode=require` it has the server's checked.
    pub ca: Option<PathBuf>,
    /// Most connections; more calls wait.
    pub pool_max: usize,
    /// Longest time to open a connection, and to wait for a free one.
    pub connect_timeout: Duration,
    /// Longest time of one call, waiting for locks included.
    pub call_timeout: Duration,
}

impl Options {
    /// The defaults, for a database.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            ca: None,
            pool_max: 8,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
        }
    }
}

impl std::fmt::Debug for Options {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("pool_max", &self.pool_max).field("ca", &self.ca).finish_non_exhaustive()
    }
}

/// How strictly the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    Disable,
    Prefer,
    Require,
    VerifyFull,
}

/// Every session works like this: plans go by the keys and indexes of the schema, whatever the statistics say; nothing
/// waits without end; a commit that was answered is on disk, even where the database is set to be careless. No bitmaps: they
/// give up the order of an index, and look at all its dead entries each time.
///
/// The keys of a batch are met by `BETWEEN k AND k`. By `=` the planner may walk a whole index for a merge, and does when a
/// table was last counted in a moment in which it was nearly empty: the tables of mails that wait are, until a backlog comes.
const SESSION: &str = "
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET plan_cache_mode = force_generic_plan; SET jit = off;
    SET default_transaction_isolation = 'read committed'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s'; SET client_connection_check_interval = '5s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// A pool that has no connection yet.
pub(super) fn pool(options: &Options) -> Result<Pool> {
    let (url, protection) = split_sslmode(&options.url)?;
    // the parser's own error would quote the address, and the password in it
    let invalid = |_| Error::Fatal("the store's address is not a valid postgres:// URL".into());
    let mut config: Config = url.parse().map_err(invalid)?;
    config
        .ssl_mode(match protection {
            Protection::Disable => SslMode::Disable,
            Protection::Prefer => SslMode::Prefer,
            Protection::Require | Protection::VerifyFull => SslMode::Require,
        })
        .connect_timeout(options.connect_timeout)
        .tcp_user_timeout(options.call_timeout)
        .keepalives_idle(Duration::from_secs(15))
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    if let Some(password) = &options.password {
        config.password(password);
    }
    if config.get_application_name().is_none() {
        config.application_name("encargo");
    }
    if config.get_user().is_none() {
        return Err(Error::Fatal("the store's address names no user: postgres://USER@HOST/DATABASE".into()));
    }
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config, tls::connector(protection, options.ca.as_deref())?, recycling);
    let session = format!("{SESSION}; SET statement_timeout = {}", options.call_timeout.as_millis());
    let prepare = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        let session = session.clone();
        Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
    });
    Pool::builder(manager)
        .max_size(options.pool_max.max(2))
        .wait_timeout(Some(options.connect_timeout))
        .create_timeout(Some(options.connect_timeout))
        .recycle_timeout(Some(options.connect_timeout))
        .runtime(Runtime::Tokio1)
        .post_create(prepare)
        .build()
        .map_err(|error| Error::Fatal(format!("cannot make a pool of connections: {error}")))
}

/// Takes `sslmode` out of the address: the driver does not know `verify-full`.
fn split_sslmode(url: &str) -> Result<(String, Protection)> {
    let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), Protection::Prefer)) };
    let (mut rest, mut protection) = (Vec::new(), Protection::Prefer);
    for parameter in query.split('&') {
        protection = match parameter.strip_prefix("sslmode=") {
            None => {
                rest.push(parameter);
                continue;
            }
            Some("disable") => Protection::Disable,
            Some("prefer") => Protection::Prefer,
            Some("require") => Protection::Require,
            Some("verify-full") => Protection::VerifyFull,
            Some(other) => {
                let other = other.to_owned();
                return Err(Error::Fatal(format!(
                    "sslmode={other} in the store's address: must be disable, prefer, require or verify-full"
                )));
            }
        };
    }
    Ok((if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) }, protection))
}

/// What a pool's failure means for the caller.
pub(super) fn pool_error(error: PoolError) -> Error {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
        PoolError::Timeout(_) => Error::Unavailable("no connection to the database in time".into()),
        other => Error::Unavailable(format!("no connection to the database: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_is_taken_out_of_the_address() {
        let split = |url: &str| split_sslmode(url).unwrap();
        assert_eq!(split("postgres://a@b/c"), ("postgres://a@b/c".into(), Protection::Prefer));
        assert_eq!(split("postgres://a@b/c?sslmode=disable"), ("postgres://a@b/c".into(), Protection::Disable));
        let (url, protection) = split("postgres://a@b/c?x=1&sslmode=verify-full&y=2");
        assert_eq!((&*url, protection), ("postgres://a@b/c?x=1&y=2", Protection::VerifyFull));
        assert!(split_sslmode("postgres://a@b/c?sslmode=verify-ca").is_err());
    }

    #[test]
    fn a_bad_address_is_refused_without_quoting_it() {
        for url in
            ["postgres://ana:hunter2@host:port/db", "postgres://host/db", "postgres://ana:hunter2@h/d?nonsense=1"]
        {
            let Err(Error::Fatal(text)) = pool(&Options::new(url)) else { panic!("{url}") };
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(!format!("{:?}", Options::new("postgres://ana:hunter2@h/d")).contains("hunter2"));
    }
}
