//! Logs: readable on a terminal, JSON lines otherwise, always on standard error, and without addresses and secrets.

mod mask;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
};

use crate::{
    clock::Clock,
    config::{LogFormat, Logging},
};

pub use mask::{hide, masked, masked_lightly};

/// Starts logging for this process. `RUST_LOG` wins over the configured level.
pub fn init(options: &Logging, clock: Clock) -> Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).context("RUST_LOG is not a valid filter")?,
        // how tables come to be is of interest only to whoever asks for it
        _ => EnvFilter::try_new(format!("refinery_core=warn,{}", options.level))
            .with_context(|| format!("logging.level cannot be {:?}", options.level))?,
    };
    let stderr = io::stderr();
    let readable = match options.format {
        LogFormat::Auto => stderr.is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr);
    if readable {
        // knows NO_COLOR, CLICOLOR_FORCE and terminals without colours
        let colour = anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
        builder.with_timer(TimeOfDay(clock)).with_ansi(colour).with_target(false).compact().init();
    } else {
        builder.with_timer(Full(clock)).json().flatten_event(true).init();
    }
    // a panic's words may quote what it stumbled over: they go the way of all others
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        tracing::error!(thread = thread.name().unwrap_or_default(), "{panic}");
    }));
    Ok(())
}

/// Standard error, masked. It may have gone away, with a terminal or with the reader of a pipe: that ends no server.
struct Stderr;

impl Write for Stderr {
    /// Called with whole events.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let _ = io::stderr().lock().write_all(masked(&text).as_bytes()); // as above
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells of what clients can make happen at will, once a second and not once a request: a full disk must not be made
/// fuller.
#[derive(Debug, Default)]
pub struct ThrottledLog {
    quiet_until_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl ThrottledLog {
    /// Calls `tell` with how many were not told of before, unless it is too soon.
    pub fn warn(&self, clock: &Clock, tell: impl FnOnce(u64)) {
        let now_ms = clock.monotonic().as_millis() as u64;
        let quiet_until_ms = self.quiet_until_ms.load(Ordering::Relaxed);
        let is_mine = now_ms >= quiet_until_ms
            && self
                .quiet_until_ms
                .compare_exchange(quiet_until_ms, now_ms + 1_000, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_mine {
            tell(self.suppressed.swap(0, Ordering::Relaxed));
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `12:00:00.000`, in UTC: whoever sits there knows the day.
struct TimeOfDay(Clock);

/// The whole time, for machines and for later.
struct Full(Clock);

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = self.0.now().to_string();
        let time = now.split_once('T').map_or(now.as_str(), |(_, time)| time);
        writer.write_str(time.trim_end_matches('Z'))
    }
}

impl FormatTime for Full {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", self.0.now())
    }
}
