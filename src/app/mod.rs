//! Puts the parts together: binds and checks everything that is local before any work, opens the log and the store,
//! runs the services of this process's roles, and stops them in order.
//!
//! What is local and wrong fails at once. A broker or a database that is away does not: the listeners are up, `/readyz`
//! says what is missing, orders are answered 503, and the services start when it is there.

#[expect(clippy::disallowed_methods, reason = "what an operator accepts, he accepts now")]
pub mod agreement;
pub mod commands;
pub mod contract;
mod damage;
mod descriptors;
pub mod flows;
mod framing;
mod housekeeping;
#[cfg(feature = "kafka")]
pub mod kafka;
mod links;
mod listeners;
pub mod offline;
#[expect(clippy::disallowed_methods, reason = "secrets come from the system")]
mod open;
mod options;
mod outage;
mod postgres;
mod roles;
mod scaling;
mod services;
mod spans;
mod wiring;

use std::{io, num::NonZero, sync::Arc, thread::available_parallelism, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::{agreement::Difference, listeners::Listeners, outage::Outage, services::Services, wiring::Wiring};
pub use self::{
    listeners::Addresses,
    roles::Role,
    scaling::{loads, scaling},
};
use crate::{
    clock::Clock, config::Config, env::Env, eventlog::EventLog, mail, ops::OnceHandle, spans::otlp::Exporter,
    store::Store,
};

/// How long a start waits to tell at once what is wrong with a cluster; it goes on in the background.
const PATIENCE: Duration = Duration::from_secs(3);

/// What it runs on: workers for half of the cores. Log, store, fulfilment and projection have threads of their own, and workers that find
/// little to do wake each other for every reply of the mail server.
pub fn runtime() -> io::Result<Runtime> {
    let workers = available_parallelism().map_or(1, NonZero::get) / 2;
    Builder::new_multi_thread().worker_threads(workers.max(1)).enable_all().build()
}

/// Encargo at work.
pub struct App {
    /// Where the listeners are.
    pub addresses: Addresses,
    log: OnceHandle<dyn EventLog>,
    store: OnceHandle<dyn Store>,
    listeners: Services,
    work: Work,
    exporter: Option<Exporter>,
    deadline: Duration,
}

/// The task that opens log and store and runs the services.
struct Work {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
    failure: oneshot::Receiver<anyhow::Error>,
}

/// How mails are composed, for commands that compose samples without serving.
pub fn sample_composing(config: &Config) -> Result<mail::compose::Options> {
    let addresses = Addresses { intake: None, tracking: None, ops: config.ops.listen };
    Ok(options::composing(config, addresses, &config.flow()?))
}

/// What a binary that was built without Kafka says about its addresses.
#[cfg(not(feature = "kafka"))]
pub fn without_kafka() -> anyhow::Error {
    anyhow!("this program was built without Kafka: build it with `cargo build --release --features kafka`")
}

/// Goes on with a log that is not the one the store was made from; both are opened as a server opens them. Returns how
/// they differed, and the first order number that is free.
pub async fn accept_log(config: &Config) -> Result<(Vec<Difference>, u64)> {
    let log = open::log(config.clone()).await?;
    let store = open::store(config.clone()).await?;
    let differences = agreement::differences(&config.topics, log.clone(), store.as_ref()).await?;
    let first = agreement::accept(&config.topics, &differences, log, store.as_ref()).await?;
    Ok((differences, first))
}

impl App {
    /// Starts all roles in this process.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self> {
        Self::start_roles(config, &Role::ALL, clock).await
    }

    /// Starts some roles. Fails, with nothing started, when a local part of the set-up is bad.
    pub async fn start_roles(config: &Config, roles: &[Role], clock: Clock) -> Result<Self> {
        roles::require_shared(roles, config)?;
        let listeners = Listeners::bind(config, roles).await?;
        let addresses = listeners.addresses;
        // what goes by this number goes by what it can be here
        let mut config = config.clone();
        config.http.connections_max = listeners.connections_max;
        let config = &config;
        let env = Env::real(clock);
        let access = options::access(config, addresses, &env)?;
        let mut plan = Wiring::new(config, roles, addresses, env)?;
        let exporter = plan.exporter.take();
        let (log, store) = (plan.log.clone(), plan.store.clone());
        let guard = options::guard(config, addresses.ops, &[]);
        let (ops, doors) = (guard.wrap(plan.ops(access)?.router(), plan.env.clock.clone()), plan.doors.clone());
        for trouble in [plan.link_trouble(), options::access_trouble(config, addresses)].into_iter().flatten() {
            tracing::warn!("{trouble}");
        }
        let is_local = !config.log_url().is_shared() && !config.store_url().is_shared();
        let work = Box::pin(Work::start(plan, is_local)).await?;
        let listeners = listeners.serve(config, ops, &doors);
        Ok(Self { addresses, log, store, listeners, work, exporter, deadline: config.shutdown_deadline })
    }

    /// The event log.
    ///
    /// # Panics
    /// When it is not open: this process has no role that needs it, or it is away.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        self.log.get().expect("the event log is open")
    }

    /// The store.
    ///
    /// # Panics
    /// When it is not open: this process has no role that needs it, or it is away.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.store.get().expect("the store is open")
    }

    /// Waits until a service ends by itself, which none should; that is an error.
    pub async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.listeners.failed() => error,
            error = &mut self.work.failure => error.unwrap_or_else(|_| ended()),
        }
    }

    /// Stops in order: no new requests, finish those in flight, then the workers; with a deadline.
    pub async fn stop(self) -> Result<()> {
        let Self { listeners, mut work, exporter, deadline, log, store, .. } = self;
        let orderly = async {
            listeners.stop().await?;
            work.stop.cancel();
            let ended = (&mut work.task).await.context("the services panicked")?;
            if let Some(exporter) = exporter {
                exporter.stop().await; // only now: what was done last is told, too
            }
            ended
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

impl Work {
    /// Returns when the services run or have to wait, with what is wrong for good. With nothing that could be away, the
    /// services run.
    async fn start(plan: Wiring, is_local: bool) -> Result<Self> {
        let pace = plan.env.pace.clone();
        let (outage, mut waiting) = Outage::new(plan.env.clone());
        let (started, running) = oneshot::channel();
        let (fail, mut failure) = oneshot::channel();
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(plan, outage, started, fail, stop.clone()));
        tokio::select! {
            biased;
            error = &mut failure => {
                return Err(error.unwrap_or_else(|_| ended()));
            }
            _ = running => {}
            _ = waiting.wait_for(|waiting| *waiting) => {}
            () = pace.sleep(PATIENCE), if !is_local => {}
        }
        Ok(Self { stop, task, failure })
    }
}

impl Drop for Work {
    /// A service that blocks a thread cannot be aborted: without this it would outlive its owner.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn ended() -> anyhow::Error {
    anyhow!("the services ended by themselves")
}

/// Opens, starts, and stops the services. Whatever fails is told, and the others go on until the stop.
async fn run(
    plan: Wiring,
    outage: Outage,
    started: oneshot::Sender<()>,
    fail: oneshot::Sender<anyhow::Error>,
    stop: CancellationToken,
) -> Result<()> {
    let opened = tokio::select! {
        opened = plan.start(&outage) => opened,
        () = stop.cancelled() => return Ok(()),
    };
    let mut services = match opened {
        Ok(services) => services,
        Err(error) => {
            let _ = fail.send(error); // nobody listens once a stop has begun
            return Ok(());
        }
    };
    let _ = started.send(()); // nobody waits when the opening took long
    tokio::select! {
        error = services.failed() => {
            let _ = fail.send(error); // as above
            stop.cancelled().await;
        }
        () = stop.cancelled() => {}
    }
    services.stop().await
}
