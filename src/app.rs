//! Puts the parts together: opens everything before any work, runs the services, and stops them in order.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::Notify,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    catalog::Catalog,
    clock::Clock,
    config::{Config, LogUrl, MailUrl, StoreUrl},
    domain::{Flow, HandleKey},
    eventlog::{EventLog, TopicSpec, sqlite::SqliteLog},
    fulfilment::{self, Processor, retention},
    intake::{self, Intake},
    mail::{self, Composer, Mailer, Transport},
    ops::Ops,
    store::{Keys, Store, sqlite::SqliteStore},
    tracking::{self, Api, ApiOptions, Projection},
    web,
};

/// How often old records and keys are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How often chosen dead letters are looked for.
const REDRIVE_EVERY: Duration = Duration::from_secs(1);

/// Encargo at work.
pub struct App {
    /// Where the listeners are.
    pub addresses: Addresses,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The store.
    pub store: Arc<dyn Store>,
    listeners: Services,
    workers: Services,
    deadline: Duration,
}

/// Where the listeners are, with the ports that were picked for port 0.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Intake.
    pub intake: SocketAddr,
    /// Tracking.
    pub tracking: SocketAddr,
    /// Operations.
    pub ops: SocketAddr,
}

impl App {
    /// Opens everything and starts all services. Fails, with nothing started, when a part of the set-up is bad.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self> {
        let flow = Arc::new(config.flow()?);
        let catalog = Arc::new(load_catalog(config)?);
        prepare_folder(&config.data)?;
        let (intake_listener, tracking_listener, ops_listener) =
            (bind(config.intake.listen).await?, bind(config.tracking.listen).await?, bind(config.ops.listen).await?);
        let addresses = Addresses {
            intake: intake_listener.local_addr()?,
            tracking: tracking_listener.local_addr()?,
            ops: ops_listener.local_addr()?,
        };
        let log = open_log(config)?;
        let store = open_store(config)?;
        let handles = HandleKey::new(store.secret("handle", random()?).await?);
        let mut registry = Registry::default();

        let fulfilment_metrics = fulfilment::Metrics::new(&mut registry);
        let processor = Processor::new(
            fulfilment::Deps { log: log.clone(), clock: clock.clone(), metrics: fulfilment_metrics.clone() },
            fulfilment_options(config, flow.clone()),
        )?;
        let projected = Arc::new(Notify::new());
        let tracking_metrics = tracking::Metrics::new(&mut registry);
        let projection = Projection::new(
            tracking::Deps {
                log: log.clone(),
                store: store.clone(),
                clock: clock.clone(),
                projected: projected.clone(),
                metrics: tracking_metrics.clone(),
            },
            tracking::Options {
                flow: flow.clone(),
                states: config.topics.states.clone(),
                dead: config.topics.dead.clone(),
                mail: !matches!(config.mail_url(), MailUrl::None),
                slot: 0,
            },
            Handle::current(),
        );
        let mailer = start_mailer(config, &store, &clock, &projected, &handles, &mut registry, addresses)?;
        let intake = Intake::new(
            intake::Deps {
                log: log.clone(),
                store: store.clone(),
                catalog,
                clock: clock.clone(),
                handles: handles.clone(),
            },
            intake_options(config, addresses),
            &mut registry,
        );

        let mut listeners = Services::default();
        let mut workers = Services::default();
        workers.blocking("fulfilment", move |stop| Ok(processor.run(stop)?));
        workers.blocking("tracking", move |stop| Ok(projection.run(stop)?));
        if let Some(mailer) = mailer {
            workers.spawn("mail", move |stop| async move { Ok(mailer.run(stop).await?) });
        }
        workers.spawn("housekeeping", {
            let (log, store, clock, config) = (log.clone(), store.clone(), clock.clone(), config.clone());
            move |stop| housekeeping(log, store, clock, config, stop)
        });
        let limits = web::Limits::from(&config.http);
        let checks: Vec<crate::ops::Check> = vec![
            ("fulfilment", Arc::new(move || fulfilment_metrics.is_ready())),
            ("tracking", Arc::new(move || tracking_metrics.is_ready())),
        ];
        let ops = Ops { log: log.clone(), store: store.clone(), clock, registry: Arc::new(registry), checks };
        let api_options = ApiOptions {
            open: addresses.tracking.ip().is_loopback(),
            api_key: Some(config.tracking.api_key.clone()).filter(|key| !key.is_empty()),
        };
        let api = Api::new(store.clone(), handles, api_options);
        let routers = [
            ("intake", intake_listener, intake.router()),
            ("tracking", tracking_listener, api.router()),
            ("operations", ops_listener, ops.router()),
        ];
        for (name, listener, router) in routers {
            let limits = limits.clone();
            listeners.spawn(name, move |stop| async move { Ok(web::serve(listener, router, limits, stop).await?) });
        }
        workers.spawn("intake", move |stop| async move { Ok(intake.run(stop).await?) });
        Ok(Self { addresses, log, store, listeners, workers, deadline: config.shutdown_deadline })
    }

    /// Waits until a service ends by itself, which none should; that is an error.
    pub async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.listeners.failed() => error,
            error = self.workers.failed() => error,
        }
    }

    /// Stops in order: no new requests, finish those in the air, then the workers; with a deadline.
    pub async fn stop(self) -> Result<()> {
        let Self { listeners, workers, deadline, log, store, .. } = self;
        let orderly = async {
            listeners.stop().await?;
            workers.stop().await
        };
        let ended = tokio::time::timeout(deadline, orderly).await;
        // closing writes what is queued
        let closed = tokio::task::spawn_blocking(move || drop((log, store)));
        closed.await.context("closing the log and the store")?;
        match ended {
            Ok(result) => result,
            Err(_) => bail!("not everything had stopped after {deadline:?}; nothing that was acknowledged is lost"),
        }
    }
}

/// Tasks that run together and stop together.
#[derive(Default)]
struct Services {
    stop: CancellationToken,
    tasks: JoinSet<(&'static str, Result<()>)>,
}

impl Services {
    fn spawn<F>(&mut self, name: &'static str, service: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let service = service(self.stop.clone());
        self.tasks.spawn(async move { (name, service.await) });
    }

    /// A service that blocks its thread.
    fn blocking(
        &mut self,
        name: &'static str,
        service: impl FnOnce(&CancellationToken) -> Result<()> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.tasks.spawn_blocking(move || (name, service(&stop)));
    }

    async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(ended) => describe(ended).err().unwrap_or_else(|| anyhow::anyhow!("a service ended by itself")),
            None => std::future::pending().await,
        }
    }

    async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = describe(ended) {
                error!("{error:#}");
                first = first.and(Err(error));
            }
        }
        first
    }
}

fn describe(ended: std::result::Result<(&'static str, Result<()>), JoinError>) -> Result<()> {
    match ended {
        Ok((name, result)) => result.with_context(|| format!("{name} failed")),
        Err(panic) => Err(anyhow::Error::new(panic).context("a service panicked")),
    }
}

/// Deletes what is past its time and drives chosen dead letters again. None of it is urgent: a failure waits for the
/// next round.
async fn housekeeping(
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    clock: Clock,
    config: Config,
    stop: CancellationToken,
) -> Result<()> {
    let fulfilment = fulfilment::GROUP.to_owned();
    let tracking = tracking::GROUP.to_owned();
    let policy = Arc::new(retention::Policy {
        orders: config.topics.orders.clone(),
        states: config.topics.states.clone(),
        topics: vec![
            (config.topics.orders.clone(), vec![fulfilment]),
            (config.topics.states.clone(), vec![tracking.clone()]),
            (config.topics.dead.clone(), vec![tracking]),
        ],
        keep: config.log.retention,
    });
    let mut tidied_at = clock.monotonic();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = clock.sleep(REDRIVE_EVERY) => {}
        }
        if let Err(error) = tracking::redrive(log.as_ref(), store.as_ref(), &clock).await {
            warn!(%error, "dead letters were not driven again, next round will");
        }
        if clock.monotonic().saturating_sub(tidied_at) < TIDY_EVERY {
            continue;
        }
        tidied_at = clock.monotonic();
        if let Err(error) = store.prune(clock.now() - config.intake.idempotency_ttl).await {
            warn!(%error, "old idempotency keys were not deleted");
        }
        let (log, policy, now) = (log.clone(), policy.clone(), clock.now());
        match tokio::task::spawn_blocking(move || retention::apply(log.as_ref(), &policy, now)).await {
            Ok(Err(error)) => warn!(%error, "old records were not deleted"),
            Err(error) => warn!(%error, "old records were not deleted"),
            Ok(Ok(_)) => {}
        }
    }
}

fn load_catalog(config: &Config) -> Result<Catalog> {
    if config.catalog.path.as_os_str().is_empty() {
        return Ok(Catalog::sample());
    }
    let catalog = Catalog::load(&config.catalog.path)?;
    info!(products = catalog.len(), path = %config.catalog.path.display(), "catalogue loaded");
    Ok(catalog)
}

fn prepare_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| {
        format!("cannot create the data folder {}: choose another with --data DIR", path.display())
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| {
        format!("cannot listen on {address}: is another program there? Choose another address or port 0")
    })
}

fn open_log(config: &Config) -> Result<Arc<dyn EventLog>> {
    let LogUrl::Sqlite(path) = config.log_url();
    create_parent(&path)?;
    let log: Arc<dyn EventLog> = Arc::new(SqliteLog::open(&path, config.log.queue_max)?);
    let topics = &config.topics;
    for (name, partitions) in [
        (&topics.orders, config.log.partitions),
        (&topics.states, config.log.partitions),
        (&topics.dead, 1),
        (&topics.ids, 1),
    ] {
        log.create(&TopicSpec { name: name.clone(), partitions })
            .with_context(|| format!("cannot prepare topic {name}"))?;
    }
    Ok(log)
}

fn open_store(config: &Config) -> Result<Arc<dyn Store>> {
    let StoreUrl::Sqlite(path) = config.store_url();
    create_parent(&path)?;
    Ok(Arc::new(SqliteStore::open(&path, config.store.queue_max)?))
}

fn create_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), prepare_folder)
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    Ok(bytes)
}
