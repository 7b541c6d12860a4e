//! Commands that have something to put away before they end, also when they are interrupted.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The shell's status of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Cancelled by the first SIGINT or SIGTERM. A second one ends the process at once.
pub(super) fn interrupted() -> Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
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
