//! The services of each role, once all that they work with is open.

use std::sync::{Arc, PoisonError};

use anyhow::Result;
use tokio::{runtime::Handle, sync::watch};

use super::{
    super::{Role, flows, housekeeping, options, outage::again, services::Services},
    Opened, Wiring,
};
use crate::{
    forward::Forward,
    fulfilment::{self, Processor},
    intake::{self, Intake},
    mail::{self, Composer, Mailer},
    tracking::{self, Api, Projection},
};

impl Wiring {
    pub(super) fn start_intake(&self, opened: &Opened, services: &mut Services) -> Result<()> {
        let deps = intake::Deps {
            log: opened.log(),
            store: opened.store(),
            catalog: self.catalog.clone(),
            env: self.env.clone(),
            handles: opened.handles.clone(),
            spans: self.spans.clone(),
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

    pub(super) fn start_fulfilment(&self, opened: &Opened, services: &mut Services) {
        let (log, env, metrics) = (opened.log(), self.env.clone(), self.fulfilment.clone());
        let deps = fulfilment::Deps { log: log.clone(), env: env.clone(), metrics: metrics.clone() };
        let options = options::fulfilment(&self.config, opened.flow.clone(), opened.commands.clone());
        let (newest, flows) = watch::channel(opened.flow.clone());
        let (topics, pace) = (log.clone(), env.pace.clone());
        let topic = self.config.topics.flows.clone();
        // a log of our own has nobody else who could bring a version
        if self.config.log_url().is_shared() {
            services.spawn("flows", move |stop| flows::follow(topics, topic, newest, pace, stop));
        }
        let author = fulfilment::author(log.clone(), self.config.topics.orders.clone());
        let forward = options::forward(&self.config)
            .map(|options| Arc::new(Forward::new(log.clone(), env.clone(), options, author, Handle::current())));
        let (runtime, first, pace) = (Handle::current(), forward.clone(), env.clone());
        let schemas = self.schemas.clone();
        if let Some(schemas) = schemas.clone() {
            services.spawn("schema registry", move |stop| async move {
                schemas.run(stop).await;
                Ok(())
            });
        }
        services.blocking("fulfilment", move |stop| {
            again(&pace, &runtime, stop, "fulfilment", || {
                metrics.waiting();
                if let Some(forward) = &first {
                    forward.wait_begun(stop);
                }
                let mut processor = Processor::new(deps.clone(), options.clone())?.following(flows.clone());
                if let Some(schemas) = &schemas {
                    processor = processor.reading(schemas.clone());
                }
                Ok(processor.run(stop)?)
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

    pub(super) fn start_tracking(&self, opened: &Opened, services: &mut Services) {
        let (log, store, env, metrics) = (opened.log(), opened.store(), self.env.clone(), self.tracking.clone());
        let clock = env.clock.clone();
        let deps = tracking::Deps {
            log: log.clone(),
            store: store.clone(),
            env: env.clone(),
            handover: opened.handover.clone(),
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
            mails: opened.handover.clone(),
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

    pub(super) fn start_mail(&self, opened: &Opened, services: &mut Services) -> Result<()> {
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
            handover: opened.handover.clone(),
            metrics: self.mail.clone(),
        };
        let mailer = Mailer::new(deps, options::mail(&self.config, self.has(Role::Tracking)));
        let destinations = mailer.destinations();
        let _ = self.relay.set(Box::new(move || options::relay(destinations.snapshot()))); // once
        services.spawn("mail", move |stop| async move { Ok(mailer.run(stop).await?) });
        Ok(())
    }
}
