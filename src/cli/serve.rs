//! Runs roles in this process until a signal or a failure ends it.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::{Settings, flags::Setting, supervisor};
use crate::{
    app::{self, Addresses, App, Role},
    clock::Clock,
    config::Config,
    telemetry,
};

/// Starts, greets, and works; returns how the process should end.
pub(super) fn run(settings: &Settings, roles: &[Role], flags: &[Setting], json: bool) -> Result<ExitCode> {
    let loaded = settings.load(flags)?;
    telemetry::hide(loaded.layers.secrets());
    let config = loaded.config;
    telemetry::init(&config.logging, Clock::system())?;
    let runtime = app::runtime()?;
    let result = runtime.block_on(serve(&config, roles, json));
    // whatever still blocks a thread after the deadline must not keep the process alive
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config, roles: &[Role], json: bool) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen to signals")?;
    // from now on a write beyond the limit of a file's size fails, and is told as an error of that file
    let _too_large = signal(SignalKind::from_raw(SIGXFSZ)).context("cannot listen to signals")?;
    tell_of_root();
    let mut app = App::start_roles(config, roles, Clock::system()).await?;
    greet(app.addresses, config, roles, json);
    supervisor::started();
    let failure = loop {
        tokio::select! {
            error = app.failed() => break Some(error),
            _ = interrupt.recv() => break None,
            _ = terminate.recv() => break None,
            Some(()) = hangup.recv() => tracing::info!("the terminal was closed; still serving, SIGTERM stops"),
        }
    };
    supervisor::stopping();
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

/// A file would become larger than `ulimit -f` allows; the number on every Unix but Linux on MIPS.
const SIGXFSZ: i32 = 25;

/// Nothing here needs the superuser, and whoever breaks in would be him.
fn tell_of_root() {
    // the owner of what Linux tells about this process is its effective user; elsewhere nobody knows
    if std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0) {
        tracing::warn!("running as root, which is not needed: use a dedicated user");
    }
}

/// Where to go and what to try next. Whoever reads it may have gone (`encargo up | head`): that ends no server.
fn greet(addresses: Addresses, config: &Config, roles: &[Role], json: bool) {
    let text = greeting(addresses, config, roles, json).expect("a string takes all that is written");
    let mut out = anstream::stdout();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "cannot print the greeting");
    }
}

fn greeting(
    addresses: Addresses,
    config: &Config,
    roles: &[Role],
    json: bool,
) -> std::result::Result<String, fmt::Error> {
    let mut out = String::new();
    let Addresses { intake, tracking, ops } = addresses;
    if json {
        let mut line = serde_json::Map::new();
        for (name, address) in [("intake", intake), ("tracking", tracking), ("ops", Some(ops))] {
            line.extend(address.map(|address| (name.to_owned(), address.to_string().into())));
        }
        writeln!(out, "{}", serde_json::Value::Object(line))?;
    } else {
        let (bold, dim, reset) = ("\x1b[1m", "\x1b[2m", "\x1b[0m");
        let role = if roles.len() == 1 { roles[0].name() } else { "" };
        writeln!(out, "{bold}Encargo {} {role}{reset}", env!("CARGO_PKG_VERSION"))?;
        if let Some(intake) = intake {
            writeln!(out, "  orders      http://{intake}   {dim}POST /orders, POST /, GET /products?q={reset}")?;
        }
        if let Some(tracking) = tracking {
            writeln!(out, "  tracking    http://{tracking}   {dim}GET /?value=1, /orders/1, /track/HANDLE{reset}")?;
        }
        if roles.contains(&Role::Mail) {
            writeln!(out, "  mails       http://{ops}/mailbox   {dim}and /mailbox/gallery, /ledger{reset}")?;
        }
        writeln!(out, "  operations  http://{ops}   {dim}GET /readyz, /livez, /metrics{reset}")?;
        writeln!(out, "  data        {}", whereabouts(config, roles))?;
        writeln!(out)?;
        if let (Some(intake), Some(tracking)) = (intake, tracking) {
            writeln!(out, "Try: {bold}curl -X POST -d value=1 http://{intake}/{reset}")?;
            writeln!(out, "then {bold}curl 'http://{tracking}/?value=1'{reset}")?;
            writeln!(out)?;
        }
    }
    Ok(out)
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
