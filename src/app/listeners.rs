use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::net::TcpListener;

use super::{Role, descriptors, links, options, services::Services};
use crate::{
    config::Config,
    pages,
    web::{self, Routes},
};

/// Where the listeners are, with the ports that were picked for port 0.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Intake, if this process has that role.
    pub intake: Option<SocketAddr>,
    /// Tracking, if this process has that role.
    pub tracking: Option<SocketAddr>,
    /// Operations.
    pub ops: SocketAddr,
}

/// The listening sockets, bound before any work.
pub(super) struct Listeners {
    pub(super) addresses: Addresses,
    intake: Option<TcpListener>,
    tracking: Option<TcpListener>,
    ops: TcpListener,
    /// At each of them, as many as are wanted and the system allows.
    pub(super) connections_max: usize,
}

/// The routes of the listeners whose service starts later.
#[derive(Clone)]
pub(super) struct DeferredRoutes {
    pub(super) intake: Routes,
    pub(super) tracking: Routes,
}

impl DeferredRoutes {
    pub(super) fn new(config: &Config, addresses: Addresses) -> Self {
        let dress = pages::errors(&links::site(config, addresses));
        let routes = || Routes::of(&config.intake.allowed_origins).dressed(dress.clone());
        Self { intake: routes(), tracking: routes() }
    }
}

impl Listeners {
    pub(super) async fn bind(config: &Config, roles: &[Role]) -> Result<Self> {
        let intake = if roles.contains(&Role::Intake) { Some(bind(config.intake.listen).await?) } else { None };
        let tracking = if roles.contains(&Role::Tracking) { Some(bind(config.tracking.listen).await?) } else { None };
        let ops = bind(config.ops.listen).await?;
        let address = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        let addresses = Addresses { intake: address(&intake)?, tracking: address(&tracking)?, ops: ops.local_addr()? };
        let listeners = 1 + usize::from(intake.is_some()) + usize::from(tracking.is_some());
        let connections_max = descriptors::connections_max(config.http.connections_max, listeners);
        Ok(Self { addresses, intake, tracking, ops, connections_max })
    }

    /// Answers from now on: operations at once, the others when their doors open.
    pub(super) fn serve(self, config: &Config, ops: Router, doors: &DeferredRoutes) -> Services {
        let mut serving = Services::default();
        let dress = pages::errors(&links::site(config, self.addresses));
        for (name, listener, routes) in [
            ("intake listener", self.intake, doors.intake.clone()),
            ("tracking listener", self.tracking, doors.tracking.clone()),
            ("operations listener", Some(self.ops), Routes::from(ops).dressed(dress)),
        ] {
            let Some(listener) = listener else { continue };
            let limits = options::limits(config);
            serving.spawn(name, move |stop| async move { Ok(web::serve(listener, routes, limits, stop).await?) });
        }
        serving
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| {
        format!("cannot listen on {address}: is another program there? Choose another address or port 0")
    })
}
