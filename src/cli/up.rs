use std::{io::Write as _, process::ExitCode};

use anstream::println;
use anyhow::{Context as _, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Settings;
use crate::{
    app::{Addresses, App},
    clock::Clock,
    config::Config,
    telemetry,
};

/// Flags of `encargo up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo up\n  encargo up --dwell 1s --mail smtp://localhost:1025\n  \
                        encargo up --catalog products.csv --intake-listen 0.0.0.0:3000")]
pub(super) struct Up {
    /// Print the addresses as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// The settings of a server that have flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct ServerFlags {
    /// Event log: sqlite:PATH [env: ENCARGO_LOG] [default: log.db in the data folder]
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// Store: sqlite:PATH [env: ENCARGO_STORE] [default: store.db in the data folder]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Mail: maildir:DIR, smtp://HOST:PORT, none: [env: ENCARGO_MAIL] [default: maildir: in the data folder]
    #[arg(long, value_name = "URL")]
    mail: Option<String>,
    /// Catalogue: a CSV file with appid,name,price [env: ENCARGO_CATALOG] [default: a built-in sample]
    #[arg(long, value_name = "FILE")]
    catalog: Option<String>,
    /// How long an order stays in each state, like 8s or 500ms [env: ENCARGO_DWELL] [default: 8s]
    #[arg(long, value_name = "DURATION")]
    dwell: Option<String>,
    /// Where orders are taken [env: ENCARGO_INTAKE_LISTEN] [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR")]
    intake_listen: Option<String>,
    /// Where orders are looked up [env: ENCARGO_TRACKING_LISTEN] [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR")]
    tracking_listen: Option<String>,
    /// Where health and metrics are [env: ENCARGO_OPS_LISTEN] [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR")]
    ops_listen: Option<String>,
}

impl ServerFlags {
    pub(super) fn settings(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("log.url", self.log.clone()),
            ("store.url", self.store.clone()),
            ("mail.url", self.mail.clone()),
            ("catalog.path", self.catalog.clone()),
            ("flow.dwell", self.dwell.clone()),
            ("intake.listen", self.intake_listen.clone()),
            ("tracking.listen", self.tracking_listen.clone()),
            ("ops.listen", self.ops_listen.clone()),
        ]
    }
}

impl Up {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&self.server.settings())?.config;
        telemetry::init(&config.logging, Clock::system())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(serve(&config, self.json));
        // whatever still blocks a thread after the deadline must not keep the process alive
        runtime.shutdown_background();
        result
    }
}

async fn serve(config: &Config, json: bool) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut app = App::start(config, Clock::system()).await?;
    greet(app.addresses, config, json)?;
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
fn greet(addresses: Addresses, config: &Config, json: bool) -> Result<()> {
    let Addresses { intake, tracking, ops } = addresses;
    if json {
        let line = serde_json::json!({
            "intake": intake.to_string(), "tracking": tracking.to_string(), "ops": ops.to_string()
        });
        println!("{line}");
    } else {
        let (bold, dim, reset) = ("\x1b[1m", "\x1b[2m", "\x1b[0m");
        println!("{bold}Encargo {}{reset}", env!("CARGO_PKG_VERSION"));
        println!("  orders      http://{intake}   {dim}POST /orders, POST /, GET /products?q={reset}");
        println!("  tracking    http://{tracking}   {dim}GET /?value=1, /orders/1, /track/HANDLE{reset}");
        println!("  operations  http://{ops}   {dim}GET /readyz, /livez, /metrics{reset}");
        println!("  data        {}, mail to {}", config.data.display(), config.mail_url());
        println!();
        println!("Try: {bold}curl -X POST -d value=1 http://{intake}/{reset}");
        println!("then {bold}curl 'http://{tracking}/?value=1'{reset}");
        println!();
    }
    std::io::stdout().flush().context("cannot write to standard output")
}
