//! Puts the parts together: opens everything before any work, runs the services, and stops them in order.

mod housekeeping;
mod open;
mod options;
mod services;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, runtime::Handle, sync::Notify};

use self::services::Services;
use crate::{
    clock::Clock,
    config::Config,
    domain::{Flow, HandleKey},
    eventlog::EventLog,
    fulfilment::{self, Processor},
    intake::{self, Intake},
    mail::{self, Composer, Destination, Mailer},
    ops::{Check, Ops},
    store::Store,
    tracking::{self, Api, Projection},
    web,
};

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

/// The listening sockets, bound before any work.
struct Listeners {
    intake: TcpListener,
    tracking: TcpListener,
    ops: TcpListener,
}

/// How mails are composed, for commands that compose one without serving: links are made with a key of no order.
pub fn sample_composing(config: &Config) -> Result<mail::compose::Options> {
    let addresses =
        Addresses { intake: config.intake.listen, tracking: config.tracking.listen, ops: config.ops.listen };
    Ok(options::composing(config, addresses, &config.flow()?, HandleKey::new([0; 16])))
}

/// What the services share.
struct Parts<'a> {
    config: &'a Config,
    addresses: Addresses,
    flow: Arc<Flow>,
    clock: Clock,
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    handles: HandleKey,
    /// Rung after every projected batch.
    projected: Arc<Notify>,
    registry: Registry,
    checks: Vec<Check>,
}

impl App {
    /// Opens everything and starts all services. Fails, with nothing started, when a part of the set-up is bad.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self> {
        let flow = Arc::new(config.flow()?);
        let destination = config.mail_url();
        let catalog = Arc::new(open::catalog(config)?);
        let listeners = Listeners {
            intake: open::bind(config.intake.listen).await?,
            tracking: open::bind(config.tracking.listen).await?,
            ops: open::bind(config.ops.listen).await?,
        };
        let addresses = listeners.addresses()?;
        open::folder(&config.data)?;
        let (log, store) = (open::log(config)?, open::store(config)?);
        let handles = HandleKey::new(store.secret("handle", open::random()?).await?);
        let (projected, registry) = (Arc::default(), Registry::default());
        let mut parts =
            Parts { config, addresses, flow, clock, log, store, handles, projected, registry, checks: Vec::new() };

        let processor = parts.processor()?;
        let projection = parts.projection(&destination);
        let mailer = parts.mailer(&destination)?;
        let deps = intake::Deps {
            log: parts.log.clone(),
            store: parts.store.clone(),
            catalog,
            clock: parts.clock.clone(),
            handles: parts.handles.clone(),
        };
        let intake = Intake::new(deps, options::intake(config, addresses), &mut parts.registry)?;
        let api = Api::new(parts.store.clone(), parts.handles.clone(), options::api(config, addresses));
        let Parts { clock, log, store, registry, checks, .. } = parts;
        let ops =
            Ops { log: log.clone(), store: store.clone(), clock: clock.clone(), registry: registry.into(), checks };

        let mut workers = Services::default();
        workers.blocking("fulfilment", move |stop| Ok(processor.run(stop)?));
        workers.blocking("tracking", move |stop| Ok(projection.run(stop)?));
        if let Some(mailer) = mailer {
            workers.spawn("mail", move |stop| async move { Ok(mailer.run(stop).await?) });
        }
        let tidy = (log.clone(), store.clone(), clock, config.clone());
        workers.spawn("housekeeping", move |stop| housekeeping::run(tidy.0, tidy.1, tidy.2, tidy.3, stop));
        // the intake's helpers stop with the workers: requests in the air still need ids
        let intake_routes = intake.router();
        workers.spawn("intake", move |stop| async move { Ok(intake.run(stop).await?) });
        let mut serving = Services::default();
        for (name, listener, router) in [
            ("intake listener", listeners.intake, intake_routes),
            ("tracking listener", listeners.tracking, api.router()),
            ("operations listener", listeners.ops, ops.router()),
        ] {
            let limits = options::limits(config);
            serving.spawn(name, move |stop| async move { Ok(web::serve(listener, router, limits, stop).await?) });
        }
        Ok(Self { addresses, log, store, listeners: serving, workers, deadline: config.shutdown_deadline })
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

impl Listeners {
    fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            intake: self.intake.local_addr()?,
            tracking: self.tracking.local_addr()?,
            ops: self.ops.local_addr()?,
        })
    }
}

impl Parts<'_> {
    fn processor(&mut self) -> Result<Processor> {
        let metrics = fulfilment::Metrics::new(&mut self.registry);
        let ready = metrics.clone();
        self.checks.push(("fulfilment", Arc::new(move || ready.is_ready())));
        let deps = fulfilment::Deps { log: self.log.clone(), clock: self.clock.clone(), metrics };
        Ok(Processor::new(deps, options::fulfilment(self.config, self.flow.clone()))?)
    }

    fn projection(&mut self, destination: &Destination) -> Projection {
        let metrics = tracking::Metrics::new(&mut self.registry);
        let ready = metrics.clone();
        self.checks.push(("tracking", Arc::new(move || ready.is_ready())));
        let deps = tracking::Deps {
            log: self.log.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            projected: self.projected.clone(),
            metrics,
        };
        let options = options::tracking(self.config, self.flow.clone(), !destination.is_off());
        Projection::new(deps, options, Handle::current())
    }

    /// `None` when mail is off.
    fn mailer(&mut self, destination: &Destination) -> Result<Option<Mailer>> {
        let composing = options::composing(self.config, self.addresses, &self.flow, self.handles.clone());
        let composer = Arc::new(Composer::new(composing)?);
        let transport = mail::open(destination, composer.domain(), mail::STEP_TIMEOUT, &self.clock)?;
        let metrics = mail::Metrics::register(&mut self.registry);
        let Some(transport) = transport else { return Ok(None) };
        let deps = mail::Deps {
            ledger: self.store.clone(),
            composer,
            transport,
            clock: self.clock.clone(),
            wake: self.projected.clone(),
            metrics,
        };
        Ok(Some(Mailer::new(deps, options::mail(self.config))))
    }
}
