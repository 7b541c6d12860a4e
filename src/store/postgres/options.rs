//! Where the database is, and how it is talked to.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
    tokio_postgres::{
        Config,
        config::{SslMode, TargetSessionAttrs},
    },
};

use tracing::{info, warn};

use super::{
    super::Error,
    Result,
    pooler::{self, Pooling},
    session::Session,
    tls::{self, Protection},
    url::Address,
};

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
    /// Whether there is a pooler in between.
    pub pooling: Pooling,
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
            pooling: Pooling::Auto,
        }
    }
}

impl std::fmt::Debug for Options {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("pool_max", &self.pool_max).field("ca", &self.ca).finish_non_exhaustive()
    }
}

/// Every transaction works like this: plans go by the keys and indexes of the schema, whatever the statistics say; nothing
/// waits without end; a commit that was answered is on disk, even where the database is set to be careless. No bitmaps: they
/// give up the order of an index, and look at all its dead entries each time.
///
/// The keys of a batch are met by `BETWEEN k AND k`. By `=` the planner may walk a whole index for a merge, and does when a
/// table was last counted in a moment in which it was nearly empty: the tables of mails that wait are, until a backlog comes.
const SETTINGS: [&str; 10] = [
    "enable_seqscan = off",
    "enable_bitmapscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "plan_cache_mode = force_generic_plan",
    "jit = off",
    "transaction_isolation = 'read committed'",
    "lock_timeout = '10s'",
    "idle_in_transaction_session_timeout = '30s'",
    "client_connection_check_interval = '5s'",
];
const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', IS_LOCAL) WHERE current_setting('synchronous_commit') = 'off'";

/// Connections, made when they are needed.
pub(super) struct Connections {
    pool: Pool,
    /// Whether a pooler was found; then for all of them.
    pooled: Arc<AtomicBool>,
    /// What begins a transaction behind one.
    begin: String,
    has_schema: bool,
}

impl Connections {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let address = Address::parse(&options.url)?;
        if !address.ignored.is_empty() {
            warn!(
                parameters = address.ignored.join(", "),
                "parameters of the store's address that mean nothing here are ignored"
            );
        }
        let ca = options.ca.as_deref().or(address.ca.as_deref());
        let manager = manager(options, &address, ca)?;
        let pooling =
            if address.pooled && options.pooling == Pooling::Auto { Pooling::Transaction } else { options.pooling };
        let pooled = Arc::new(AtomicBool::new(pooling == Pooling::Transaction));
        let mut settings: Vec<String> = SETTINGS.map(String::from).into();
        settings.push(format!("statement_timeout = {}", options.call_timeout.as_millis()));
        let has_schema = address.schema.as_deref().is_some_and(|schema| schema != "public");
        settings.extend(address.schema.map(|schema| format!("search_path = {schema}")));
        let (session, found) = (for_session(&settings), pooled.clone());
        let prepare = Hook::async_fn(move |client: &mut ClientWrapper, _| {
            let (session, pooled) = (session.clone(), found.clone());
            Box::pin(async move {
                if pooling == Pooling::Auto
                    && !pooled.load(Relaxed)
                    && pooler::is_between(client).await.map_err(HookError::Backend)?
                {
                    info!("the database is behind a connection pooler: no session state is used");
                    pooled.store(true, Relaxed);
                }
                if pooled.load(Relaxed) {
                    return Ok(());
                }
                client.batch_execute(&session).await.map_err(HookError::Backend)
            })
        });
        let pool = Pool::builder(manager)
            .max_size(address.pool_max.unwrap_or(options.pool_max).max(2))
            .wait_timeout(Some(options.connect_timeout))
            .create_timeout(Some(options.connect_timeout))
            .recycle_timeout(Some(options.connect_timeout))
            .runtime(Runtime::Tokio1)
            .post_create(prepare)
            .build()
            .map_err(|error| Error::Fatal(format!("cannot make a pool of connections: {error}")))?;
        Ok(Self { pool, pooled, begin: for_transaction(&settings), has_schema })
    }

    pub(super) async fn get(&self) -> Result<Session> {
        let client = self.pool.get().await.map_err(pool_error)?;
        if self.has_schema && self.pooled.load(Relaxed) {
            let what = "the parameter schema in the store's address needs a session, and a pooler is in between: leave it out, \
                        and set it there (ALTER ROLE … SET search_path = …)";
            return Err(Error::Fatal(what.into()));
        }
        Ok(Session::new(client, self.pooled.load(Relaxed).then(|| self.begin.clone())))
    }
}

fn for_session(settings: &[String]) -> String {
    let set = settings.iter().fold(String::new(), |text, setting| text + "SET " + setting + "; ");
    // a session has a default, which a transaction overrides
    set.replace("SET transaction_isolation", "SET default_transaction_isolation")
        + &DURABLE.replace("IS_LOCAL", "false")
}

fn for_transaction(settings: &[String]) -> String {
    settings.iter().fold("BEGIN; ".to_owned(), |text, setting| text + "SET LOCAL " + setting + "; ")
        + &DURABLE.replace("IS_LOCAL", "true")
}

fn manager(options: &Options, address: &Address, ca: Option<&Path>) -> Result<Manager> {
    let protection = address.protection;
    // the parser's own error would quote the address, and the password in it
    let invalid = |_| {
        Error::Fatal(
            "the store's address is not a valid postgres:// URL: is the port a number, and is @ : / ? % in user and password \
             written %40 %3A %2F %3F %25?"
                .into(),
        )
    };
    let mut config: Config = address.url.parse().map_err(invalid)?;
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
    Ok(Manager::from_config(config, tls::connector(protection, ca)?, recycling))
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
    fn a_bad_address_is_refused_without_quoting_it() {
        for url in
            ["postgres://ana:hunter2@host:port/db", "postgres://host/db", "postgres://ana:hunter2@h/d?nonsense=1"]
        {
            let Err(Error::Fatal(text)) = Connections::new(&Options::new(url)) else { panic!("{url}") };
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(!format!("{:?}", Options::new("postgres://ana:hunter2@h/d")).contains("hunter2"));
    }
}
