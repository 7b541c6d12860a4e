//! Commands that have something to put away before they end, also when they are interrupted.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The shell's status of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// What `/proc/self/status` calls the signals that are ignored, and SIGHUP among them.
const IGNORED: &str = "SigIgn:";
const HANGUP: u64 = 1;

/// Cancelled by the first SIGINT, SIGTERM or SIGHUP. A second one ends the process at once. SIGHUP does nothing to whoever was
/// started under `nohup`.
pub(super) fn interrupted() -> Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut hangup = if outlives_terminal() {
        None
    } else {
        Some(signal(SignalKind::hangup()).context("cannot listen to signals")?)
    };
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(()) = async { hangup.as_mut()?.recv().await } => {}
            }
            if is_first {
                told.cancel();
            }
        }
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}

/// Does something unless it is interrupted meanwhile; what it holds is then dropped.
pub(super) async fn unless<T>(stop: &CancellationToken, doing: impl Future<Output = Result<T>>) -> Result<T> {
    stop.run_until_cancelled(doing).await.context("it was interrupted")?
}

/// Whether SIGHUP is ignored since before this process began: listening to it would undo that.
fn outlives_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix(IGNORED));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & HANGUP != 0)
}
