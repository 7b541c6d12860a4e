//! Logs: readable on a terminal, JSON lines otherwise, always on stderr.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging};

/// Starts logging for this process. `RUST_LOG` wins over the configured level.
pub fn init(options: &Logging) -> Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).context("RUST_LOG is no filter")?,
        _ => EnvFilter::try_new(&options.level).with_context(|| {
            format!("logging.level cannot be {:?}: error, warn, info, debug or trace", options.level)
        })?,
    };
    let terminal = std::io::stderr().is_terminal();
    let readable = match options.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if readable {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colour).with_target(false).compact().init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(())
}
