//! What a process consists of: the parts of its roles, first those that are local and can only be right or wrong, then
//! those that may be away for a while.

use std::sync::{
    Arc, OnceLock, RwLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use prometheus_client::registry::Registry;

use super::{
    Addresses, Role, agreement, commands, contract, damage, flows, framing, housekeeping, links,
    listeners::DeferredRoutes, open, options, outage::Outage, services::Services, spans,
};
use crate::{
    catalog::Catalog,
    config::Config,
    domain::{Flow, HandleKey},
    env::Env,
    eventlog::EventLog,
    fulfilment::{self, CommandTopics},
    mail::{self, Composer, Transport},
    ops::{self, Check, OnceHandle, Ops, Relay},
    pages::Site,
    refusals::Refusals,
    registry,
    spans::{Spans, otlp::Exporter},
    store::{Handover, Store},
    tracking,
};

mod services;

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
    /// The schemas whose numbers records bear, where there is a schema registry.
    schemas: Option<Arc<registry::Reader>>,
    fulfilment: fulfilment::Metrics,
    tracking: tracking::Metrics,
    mail: mail::Metrics,
    spans: Spans,
    /// Sends them; for whoever stops it after everything else.
    pub(super) exporter: Option<Exporter>,
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
    /// From the projection to the mailer.
    handover: Handover,
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
        let (spans, exporter) = spans::open(config, roles, &env, &mut registry)?;
        let refusals = Refusals::default();
        refusals.register(if fulfilment || tracking { &mut registry } else { &mut unused });
        let fulfilment =
            fulfilment::Metrics::new(if fulfilment { &mut registry } else { &mut unused }).counting(&refusals);
        let tracking = tracking::Metrics::new(if tracking { &mut registry } else { &mut unused }).counting(&refusals);
        let mail = mail::Metrics::register(if mail { &mut registry } else { &mut unused }).spanning(&spans);
        let (fulfilment, tracking) = (fulfilment.spanning(&spans), tracking.spanning(&spans));
        let schemas = contract::registry(config).map(|options| registry::Registry::new(&options)).transpose()?;
        let schemas = schemas.map(|registry| Arc::new(registry::Reader::new(registry, env.pace.clone())));
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
            schemas,
            fulfilment,
            tracking,
            mail,
            spans,
            exporter,
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
        let site = links::site(&self.config, self.addresses);
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
            watch: self.watch.clone(),
            data: self.config.data.clone(),
            mailbox: mailbox.transpose()?,
            relay: self.relay.clone(),
            contract: contract::deployment(&self.config),
            site,
            access,
            live: ops::Live::new(options::streams_max(&self.config), self.env.pace.clone()),
            asking: Arc::default(),
        })
    }

    fn desk(&self, checks: Vec<Check>, site: Site) -> ops::DeskDeps {
        let handles = self.handles.clone();
        ops::DeskDeps {
            watch: self.watch.clone(),
            env: self.env.clone(),
            flow: self.flow.clone(),
            loads: super::loads(&self.config, &self.flow),
            deleted: options::deleted(&self.config),
            commands: self.has(Role::Tracking).then(|| options::commands(&self.config)),
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
        makes_links.then(|| links::link_trouble(&self.config, self.addresses)).flatten()
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
            let (damaged, pace) = (self.damaged.clone(), self.env.pace.clone());
            let checks: Vec<_> = self.roles.iter().map(|role| self.check(*role)).collect();
            let is_ready = move || checks.iter().all(|(_, is_met)| is_met());
            services.spawn("checking files", move |stop| damage::look_for(files, damaged, is_ready, pace, stop));
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
            handover: Handover::default(),
            feed: tracking::Feed::default(),
        };
        if self.roles.iter().any(|role| role.needs_log()) {
            let log = outage.wait("event log", || open::log(self.config.clone())).await?;
            let log = framing::frame(&self.config, log).await?;
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
