//! What a process consists of: the parts of its roles, first those that are local and can only be right or wrong, then
//! those that may be away for a while.

use std::sync::{
    Arc, OnceLock, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use prometheus_client::registry::Registry;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use super::{
    Addresses, Role, agreement, commands, damage, flows, housekeeping,
    listeners::DeferredRoutes,
    open, options,
    outage::{Outage, again},
    services::Services,
};
use crate::{
    catalog::Catalog,
    config::Config,
    domain::{Flow, HandleKey},
    env::Env,
    eventlog::EventLog,
    forward::Forward,
    fulfilment::{self, CommandTopics, Processor},
    intake::{self, Intake},
    mail::{self, Composer, Mailer, Transport},
    ops::{self, Check, OnceHandle, Ops, Relay},
    pages::Site,
    store::Store,
    tracking::{self, Api, Projection},
};

/// The parts of a process that are there before anything is opened that may be away.
pub(super) struct Wiring {
    config: Config,
    roles: Vec<Role>,
    addresses: Addresses,
    pub(super) env: Env,
    flow: Arc<Flow>,
    catalog: Arc<Catalog>,
    /// `None` when mail is off or another process sends it.
    transport: Option<Arc<dyn Transport>>,
    registry: Arc<RwLock<Registry>>,
    fulfilment: fulfilment::Metrics,
    tracking: tracking::Metrics,
    mail: mail::Metrics,
    started: Arc<AtomicBool>,
    damaged: damage::Damaged,
    relay: Relay,
    /// What the desk watches.
    watch: ops::Watch,
    /// What makes tracking handles, once the store is open.
    handles: Arc<OnceLock<HandleKey>>,
    pub(super) log: OnceHandle<dyn EventLog>,
    pub(super) store: OnceHandle<dyn Store>,
    pub(super) doors: DeferredRoutes,
}

/// What a role works with once everything is open; a role that needs no store has no handles, and no use for them.
struct Opened {
    log: Option<Arc<dyn EventLog>>,
    store: Option<Arc<dyn Store>>,
    handles: HandleKey,
    deployment: String,
    /// The flow of the settings, under the version by which all instances know it.
    flow: Arc<Flow>,
    /// Through which orders are commanded, if they can be.
    commands: Option<CommandTopics>,
    /// Rung when there may be new mails, for the mailer.
    projected: Arc<Notify>,
    /// Told whose orders have changed, for those who follow them.
    feed: tracking::Feed,
}

impl Wiring {
    /// Fails when something local is wrong: catalogue, templates, folders.
    pub(super) fn new(config: &Config, roles: &[Role], addresses: Addresses, env: Env) -> Result<Self> {
        let flow = Arc::new(config.flow()?);
        open::data_folder(config)?;
        let has = |role| roles.contains(&role);
        let catalog = if has(Role::Intake) { open::catalog(config)? } else { Catalog::sample() };
        let mut registry = Registry::default();
        let mut unused = Registry::default(); // what this process does not do is not measured as zero
        let [fulfilment, tracking, mail] = [Role::Fulfilment, Role::Tracking, Role::Mail].map(has);
        let fulfilment = fulfilment::Metrics::new(if fulfilment { &mut registry } else { &mut unused });
        let tracking = tracking::Metrics::new(if tracking { &mut registry } else { &mut unused });
        let mail = mail::Metrics::register(if mail { &mut registry } else { &mut unused });
        let transport = if has(Role::Mail) { transport(config, addresses, &flow, &env)? } else { None };
        let (log, store): (OnceHandle<dyn EventLog>, OnceHandle<dyn Store>) = Default::default();
        let registry = Arc::new(RwLock::new(registry));
        let needs = |needs: fn(Role) -> bool| roles.iter().any(|role| needs(*role));
        let watched = ops::Watched {
            log: needs(Role::needs_log).then(|| log.clone()),
            store: needs(Role::needs_store).then(|| store.clone()),
            ..options::watched(config, env.clone(), registry.clone())
        };
        Ok(Self {
            config: config.clone(),
            roles: roles.to_vec(),
            addresses,
            env,
            flow,
            catalog: Arc::new(catalog),
            transport,
            registry,
            fulfilment,
            tracking,
            mail,
            started: Arc::default(),
            damaged: Arc::default(),
            relay: Relay::default(),
            watch: ops::Watch::new(watched),
            handles: Arc::default(),
            log,
            store,
            doors: DeferredRoutes::new(config, addresses),
        })
    }

    /// What the operations listener looks at.
    pub(super) fn ops(&self, access: ops::Access) -> Result<Ops> {
        let composing = options::composing(&self.config, self.addresses, &self.flow);
        let site = options::site(&self.config, self.addresses);
        let mailbox = self
            .has(Role::Mail)
            .then(|| options::mailbox(composing, &self.config.mail_url(), self.env.pace.clone(), &site));
        let checks: Vec<_> = self.roles.iter().map(|role| self.check(*role)).chain(self.files_check()).collect();
        let has_store = self.roles.iter().any(|role| role.needs_store());
        Ok(Ops {
            desk: has_store.then(|| self.desk(checks.clone(), site.clone())),
            log: self.roles.iter().any(|role| role.needs_log()).then(|| self.log.clone()),
            store: has_store.then(|| self.store.clone()),
            clock: self.env.clock.clone(),
            registry: self.registry.clone(),
            checks,
            mailbox: mailbox.transpose()?,
            relay: self.relay.clone(),
            site,
            access,
            asking: Arc::default(),
        })
    }

    fn desk(&self, checks: Vec<Check>, site: Site) -> ops::DeskDeps {
        let handles = self.handles.clone();
        ops::DeskDeps {
            watch: self.watch.clone(),
            env: self.env.clone(),
            flow: self.flow.clone(),
            commands: self.has(Role::Tracking).then(|| self.config.topics.commands.clone()),
            checks,
            relay: self.relay.clone(),
            site,
            mails: if self.has(Role::Mail) { "/mailbox" } else { "/ledger" },
            handle: Arc::new(move |id| Some(handles.get()?.seal(id).to_string())),
        }
    }

    /// What to warn of, where links are made.
    pub(super) fn link_trouble(&self) -> Option<String> {
        let makes_links = self.has(Role::Intake) || self.has(Role::Mail);
        makes_links.then(|| options::link_trouble(&self.config, self.addresses)).flatten()
    }

    fn check(&self, role: Role) -> Check {
        let (fulfilment, tracking, started) = (self.fulfilment.clone(), self.tracking.clone(), self.started.clone());
        let check = move || match role {
            Role::Fulfilment => fulfilment.is_ready(),
            Role::Tracking => tracking.is_ready(),
            Role::Intake | Role::Mail => started.load(Ordering::Relaxed),
        };
        (role.name(), Arc::new(check))
    }

    /// Whether the embedded files are whole, as far as is known.
    fn files_check(&self) -> Option<Check> {
        let damaged = self.damaged.clone();
        let check: Check = ("files", Arc::new(move || !damaged.load(Ordering::Relaxed)));
        (!damage::files(&self.config, &self.roles).is_empty()).then_some(check)
    }

    fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Opens the log and the store, waiting while they are away, and starts the services.
    pub(super) async fn start(&self, outage: &Outage) -> Result<Services> {
        let opened = self.open(outage).await?;
        let mut services = Services::default();
        for role in &self.roles {
            match role {
                Role::Intake => self.start_intake(&opened, &mut services)?,
                Role::Fulfilment => self.start_fulfilment(&opened, &mut services),
                Role::Tracking => self.start_tracking(&opened, &mut services),
                Role::Mail => self.start_mail(&opened, &mut services)?,
            }
        }
        if self.has(Role::Intake) || self.has(Role::Mail) {
            let (store, clock) = (opened.store(), self.env.clock.clone());
            let ages = (self.config.intake.idempotency_ttl, self.config.mail.keep);
            services.spawn("forgetting", move |stop| housekeeping::forget(store, clock, ages, stop));
        }
        let watch = self.watch.clone();
        services.spawn("watching for the desk", move |stop| async move {
            watch.run(stop).await;
            Ok(())
        });
        let files = damage::files(&self.config, &self.roles);
        if !files.is_empty() {
            let damaged = self.damaged.clone();
            services.spawn("checking files", move |stop| damage::look_for(files, damaged, stop));
        }
        self.started.store(true, Ordering::Relaxed);
        Ok(services)
    }

    async fn open(&self, outage: &Outage) -> Result<Opened> {
        let mut opened = Opened {
            log: None,
            store: None,
            handles: HandleKey::new([0; 16]),
            deployment: String::new(),
            flow: self.flow.clone(),
            commands: None,
            projected: Arc::default(),
            feed: tracking::Feed::default(),
        };
        if self.roles.iter().any(|role| role.needs_log()) {
            let log = outage.wait("event log", || open::log(self.config.clone())).await?;
            let _ = self.log.set(log.clone()); // once
            opened.log = Some(log);
        }
        if self.roles.iter().any(|role| role.needs_store()) {
            let store = outage.wait("store", || open::store(self.config.clone())).await?;
            let fresh = open::random()?;
            let secret = outage.wait("store", || open::secret(store.clone(), fresh)).await?;
            let fresh = open::random()?;
            opened.deployment = outage.wait("store", || open::deployment(store.clone(), fresh)).await?;
            let _ = self.store.set(store.clone()); // once
            opened.handles = HandleKey::new(secret);
            let _ = self.handles.set(opened.handles.clone()); // once
            opened.store = Some(store);
        }
        if let (Some(log), Some(store)) = (&opened.log, &opened.store) {
            let compare = || {
                let (config, log, store) = (self.config.clone(), log.clone(), store.clone());
                async move { agreement::require(&config, log, store).await }
            };
            outage.wait("event log or the store", compare).await?;
        }
        // only now: nothing is written to a log that is refused
        if let (Some(log), true) = (&opened.log, self.has(Role::Fulfilment)) {
            let make_known = || flows::make_known(&self.config, log.clone(), self.env.clock.now());
            opened.flow = outage.wait("event log", make_known).await?;
        }
        if let (Some(log), true) = (&opened.log, self.has(Role::Fulfilment) || self.has(Role::Tracking)) {
            let make_known = || commands::make_known(&self.config, log.clone());
            opened.commands = outage.wait("event log", make_known).await?;
        }
        Ok(opened)
    }

    fn start_intake(&self, opened: &Opened, services: &mut Services) -> Result<()> {
        let deps = intake::Deps {
            log: opened.log(),
            store: opened.store(),
            catalog: self.catalog.clone(),
            env: self.env.clone(),
            handles: opened.handles.clone(),
        };
        let options = options::intake(&self.config, self.addresses, opened.flow.clone());
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let intake = Intake::new(deps, options, &mut registry)?;
        let at = self.addresses.intake.unwrap_or(self.config.intake.listen);
        let guard = options::guard(&self.config, at, &self.config.intake.allowed_origins);
        self.doors.intake.open(guard.wrap(intake.router(), self.env.clock.clone()));
        // stops with the workers, after the listener: requests in flight still need ids
        services.spawn("intake", move |stop| async move { Ok(intake.run(stop).await?) });
        Ok(())
    }

    fn start_fulfilment(&self, opened: &Opened, services: &mut Services) {
        let (log, env, metrics) = (opened.log(), self.env.clone(), self.fulfilment.clone());
        let deps = fulfilment::Deps { log: log.clone(), env: env.clone(), metrics: metrics.clone() };
        let options = options::fulfilment(&self.config, opened.flow.clone(), opened.commands.clone());
        let (newest, flows) = watch::channel(opened.flow.clone());
        let (topics, pace) = (log.clone(), env.pace.clone());
        let topic = self.config.topics.flows.clone();
        services.spawn("flows", move |stop| flows::follow(topics, topic, newest, pace, stop));
        let author = fulfilment::author(log.clone(), self.config.topics.orders.clone());
        let forward = options::forward(&self.config)
            .map(|options| Arc::new(Forward::new(log.clone(), env.clone(), options, author, Handle::current())));
        let (runtime, first, pace) = (Handle::current(), forward.clone(), env.clone());
        services.blocking("fulfilment", move |stop| {
            again(&pace, &runtime, stop, "fulfilment", || {
                metrics.waiting();
                if let Some(forward) = &first {
                    forward.wait_begun(stop);
                }
                let processor = Processor::new(deps.clone(), options.clone())?;
                Ok(processor.following(flows.clone()).run(stop)?)
            })
        });
        if let Some(forward) = forward {
            let (runtime, pace) = (Handle::current(), env.clone());
            services.blocking("forwarding", move |stop| {
                again(&pace, &runtime, stop, "forwarding", || Ok(forward.run(stop)?))
            });
        }
        // brokers delete by age, and nobody else can know better
        if !self.config.log_url().is_shared() {
            let policy = options::retention(&self.config);
            services.spawn("retention", move |stop| housekeeping::delete_old_records(log, env.clock, policy, stop));
        }
    }

    fn start_tracking(&self, opened: &Opened, services: &mut Services) {
        let (log, store, env, metrics) = (opened.log(), opened.store(), self.env.clone(), self.tracking.clone());
        let clock = env.clock.clone();
        let deps = tracking::Deps {
            log: log.clone(),
            store: store.clone(),
            env: env.clone(),
            projected: opened.projected.clone(),
            feed: opened.feed.clone(),
            author: fulfilment::author(log.clone(), self.config.topics.orders.clone()),
            metrics: metrics.clone(),
        };
        let mail = !self.config.mail_url().is_off();
        let outcomes = opened.commands.as_ref().map(|topics| topics.outcomes.clone());
        let options = options::tracking(&self.config, mail, outcomes);
        let runtime = Handle::current();
        services.blocking("tracking", move |stop| {
            again(&env, &runtime, stop, "tracking", || {
                metrics.waiting();
                Ok(Projection::new(deps.clone(), options.clone(), runtime.clone()).run(stop)?)
            })
        });
        let api = tracking::ApiDeps {
            log: log.clone(),
            store: store.clone(),
            env: self.env.clone(),
            handles: opened.handles.clone(),
            metrics: self.tracking.clone(),
            feed: opened.feed.clone(),
            mails: opened.projected.clone(),
        };
        let (feed, watched, pace) = (opened.feed.clone(), store.clone(), self.env.pace.clone());
        services.spawn("feed of changes", move |stop| async move {
            feed.follow(watched, pace, stop).await;
            Ok(())
        });
        let api = Api::new(api, options::api(&self.config, self.addresses));
        let at = self.addresses.tracking.unwrap_or(self.config.tracking.listen);
        let guard = options::guard(&self.config, at, &self.config.intake.allowed_origins);
        self.doors.tracking.open(guard.wrap(api.router(), clock.clone()));
        services.spawn("redriving", move |stop| housekeeping::redrive(log, store, clock, stop));
    }

    fn start_mail(&self, opened: &Opened, services: &mut Services) -> Result<()> {
        let Some(transport) = self.transport.clone() else { return Ok(()) };
        let composing = mail::compose::Options {
            handles: Some(opened.handles.clone()),
            deployment: opened.deployment.clone(),
            ..options::composing(&self.config, self.addresses, &self.flow)
        };
        let deps = mail::Deps {
            ledger: opened.store(),
            composer: Arc::new(Composer::new(composing)?),
            transport,
            env: self.env.clone(),
            wake: opened.projected.clone(),
            metrics: self.mail.clone(),
        };
        let mailer = Mailer::new(deps, options::mail(&self.config, self.has(Role::Tracking)));
        let destinations = mailer.destinations();
        let _ = self.relay.set(Box::new(move || options::relay(destinations.snapshot()))); // once
        services.spawn("mail", move |stop| async move { Ok(mailer.run(stop).await?) });
        Ok(())
    }
}

impl Opened {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone().expect("a role that needs the log says so")
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().expect("a role that needs the store says so")
    }
}

/// Tries whether mails can be made, and opens where they go; `None` when mail is off.
fn transport(config: &Config, addresses: Addresses, flow: &Flow, env: &Env) -> Result<Option<Arc<dyn Transport>>> {
    let composer = Composer::new(options::composing(config, addresses, flow))?;
    Ok(mail::open(&config.mail_url(), composer.domain(), mail::Timeouts::default(), &env.clock)?)
}
