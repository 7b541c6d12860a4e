//! Runs roles in this process until a signal or a failure ends it.

use std::{io::Write as _, process::ExitCode};

use anstream::println;
use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::{Settings, flags::Setting};
use crate::{
    app::{Addresses, App, Role},
    clock::Clock,
    config::Config,
    telemetry,
};

/// Starts, greets, and works; returns how the process should end.
pub(super) fn run(settings: &Settings, roles: &[Role], flags: &[Setting], json: bool) -> Result<ExitCode> {
    let config = settings.load(flags)?.config;
    telemetry::init(&config.logging, Clock::system())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(&config, roles, json));
    // whatever still blocks a thread after the deadline must not keep the process alive
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config, roles: &[Role], json: bool) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut app = App::start_roles(config, roles, Clock::system()).await?;
    greet(app.addresses, config, roles, json)?;
    let failure = tokio::select! {
        error = app.failed() => Some(error),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    match &failure {
        Some(error) => tracing::error!("{error:#}"),
        None => tracing::info!("stopping; a second signal ends at once"),
    }
    tokio::select! {
        stopped = app.stop() => failure.map_or(stopped, Err)?,
        _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
        _ = terminate.recv() => return Ok(ExitCode::FAILURE),
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Where to go and what to try next.
fn greet(addresses: Addresses, config: &Config, roles: &[Role], json: bool) -> Result<()> {
    let Addresses { intake, tracking, ops } = addresses;
    if json {
        let mut line = serde_json::Map::new();
        for (name, address) in [("intake", intake), ("tracking", tracking), ("ops", Some(ops))] {
            line.extend(address.map(|address| (name.to_owned(), address.to_string().into())));
        }
        println!("{}", serde_json::Value::Object(line));
    } else {
        let (bold, dim, reset) = ("\x1b[1m", "\x1b[2m", "\x1b[0m");
        let role = if roles.len() == 1 { roles[0].name() } else { "" };
        println!("{bold}Encargo {} {role}{reset}", env!("CARGO_PKG_VERSION"));
        if let Some(intake) = intake {
            println!("  orders      http://{intake}   {dim}POST /orders, POST /, GET /products?q={reset}");
        }
        if let Some(tracking) = tracking {
            println!("  tracking    http://{tracking}   {dim}GET /?value=1, /orders/1, /track/HANDLE{reset}");
        }
        if roles.contains(&Role::Mail) {
            println!("  mails       http://{ops}/mailbox   {dim}and /mailbox/gallery, /ledger{reset}");
        }
        println!("  operations  http://{ops}   {dim}GET /readyz, /livez, /metrics{reset}");
        println!("  data        {}", whereabouts(config, roles));
        println!();
        if let (Some(intake), Some(tracking)) = (intake, tracking) {
            println!("Try: {bold}curl -X POST -d value=1 http://{intake}/{reset}");
            println!("then {bold}curl 'http://{tracking}/?value=1'{reset}");
            println!();
        }
    }
    std::io::stdout().flush().context("cannot write to standard output")
}

/// Where records, orders and mails are, as far as these roles use them.
fn whereabouts(config: &Config, roles: &[Role]) -> String {
    let (log, store) = (config.log_url(), config.store_url());
    let mut places = Vec::new();
    if !log.is_shared() && !store.is_shared() {
        places.push(config.data.display().to_string());
    } else {
        places.extend(roles.iter().any(|role| role.needs_log()).then(|| log.to_string()));
        places.extend(roles.iter().any(|role| role.needs_store()).then(|| store.to_string()));
    }
    places.extend(roles.contains(&Role::Mail).then(|| format!("mail to {}", config.mail_url())));
    places.join(", ")
}
