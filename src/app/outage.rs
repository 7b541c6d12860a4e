//! What is done while a broker or a database is away: wait, try again, say so.

use std::time::Duration;

use anyhow::Result;
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{clock::Clock, eventlog, store};

/// Pauses between two tries.
const RETRY: std::ops::Range<Duration> = Duration::from_millis(200)..Duration::from_secs(2);

/// Whether trying again can help, whatever layer the error comes through.
pub(super) fn is_passing(error: &anyhow::Error) -> bool {
    use eventlog::Error::{Overloaded, Unavailable, Unconfirmed};
    let log = error.chain().find_map(|cause| cause.downcast_ref::<eventlog::Error>());
    let store = error.chain().find_map(|cause| cause.downcast_ref::<store::Error>());
    matches!(log, Some(Unavailable(_) | Overloaded(_) | Unconfirmed(_)))
        || matches!(store, Some(store::Error::Unavailable(_) | store::Error::Overloaded(_)))
}

/// Where the opening tells that it waits for something.
pub(super) struct Outage {
    waiting: watch::Sender<bool>,
}

impl Outage {
    /// With a place to look whether something was away.
    pub(super) fn new() -> (Self, watch::Receiver<bool>) {
        let (waiting, seen) = watch::channel(false);
        (Self { waiting }, seen)
    }

    /// Repeats an opening for as long as what it wants is away.
    pub(super) async fn wait<T, F>(&self, what: &str, mut open: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut pause = RETRY.start;
        let mut was_away = false;
        loop {
            match open().await {
                Err(error) if is_passing(&error) => {
                    warn!("the {what} is away, trying again in {pause:?}: {error:#}");
                    self.waiting.send_replace(true);
                    was_away = true;
                    Clock::system().sleep(pause).await;
                    pause = (pause * 2).min(RETRY.end);
                }
                result => {
                    if was_away && result.is_ok() {
                        info!("the {what} is there");
                    }
                    return result;
                }
            }
        }
    }
}

/// Runs a service, which blocks, and again when it ended because something is away.
pub(super) fn again(
    runtime: &Handle,
    stop: &CancellationToken,
    name: &str,
    mut service: impl FnMut() -> Result<()>,
) -> Result<()> {
    let clock = Clock::system();
    let mut pause = RETRY.start;
    loop {
        let begun = clock.monotonic();
        match service() {
            Err(error) if is_passing(&error) && !stop.is_cancelled() => {
                warn!("{name} starts again in {pause:?}: {error:#}");
            }
            result => return result,
        }
        runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock.sleep(pause) => {}
            }
        });
        if stop.is_cancelled() {
            return Ok(());
        }
        let has_worked = clock.monotonic().saturating_sub(begun) > RETRY.end * 2;
        pause = if has_worked { RETRY.start } else { (pause * 2).min(RETRY.end) };
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::{fulfilment, tracking};

    fn away() -> eventlog::Error {
        eventlog::Error::Unavailable("broker away".into())
    }

    #[test]
    fn only_what_can_get_better_is_tried_again() {
        let through_fulfilment = anyhow::Error::new(fulfilment::Error::from(away()));
        let store = tracking::Error::from(store::Error::Unavailable("database away".into()));
        let through_tracking = Err::<(), _>(store).context("tracking").unwrap_err();
        let fatal = anyhow::Error::new(fulfilment::Error::from(eventlog::Error::Fatal("damaged".into())));
        let fenced = anyhow::Error::new(eventlog::Error::Fenced("a rival has the slot".into()));
        let seen = [&through_fulfilment, &through_tracking, &fatal, &fenced].map(is_passing);
        assert_eq!(seen, [true, true, false, false]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_service_is_run_again_until_its_error_is_final() {
        let runtime = Handle::current();
        let ended = tokio::task::spawn_blocking(move || {
            let mut runs = 0;
            let ended = again(&runtime, &CancellationToken::new(), "test", || {
                runs += 1;
                if runs < 3 { Err(away().into()) } else { Err(eventlog::Error::Fatal("damaged".into()).into()) }
            });
            (runs, ended.unwrap_err().to_string())
        });
        assert_eq!(ended.await.unwrap(), (3, "damaged".to_owned()));
    }
}
