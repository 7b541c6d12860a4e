//! What the service manager of this process is told, as sd_notify(3) has it. Without one nobody is told anything.

use sd_notify::NotifyState;

/// Tells that requests are taken, and from now on, as often as it is wanted (`WatchdogSec=`), that the process is alive.
pub(super) fn started() {
    tell(NotifyState::Ready);
    let Some(deadline) = sd_notify::watchdog_enabled() else { return };
    // a task of its own runs where the requests do, so it falls silent when they no longer get a turn
    tokio::spawn(async move {
        let mut beat = tokio::time::interval(deadline / 2);
        loop {
            beat.tick().await;
            tell(NotifyState::Watchdog);
        }
    });
}

/// Tells that no more requests are taken.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell the service manager what this process does");
    }
}
