//! What is done while a broker or a database is away: wait, try again, say so.

use std::time::Duration;

use anyhow::Result;
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    env::{Backoff, Env},
    eventlog, store,
};

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
    env: Env,
    waiting: watch::Sender<bool>,
}

impl Outage {
    /// With a place to look whether something was away.
    pub(super) fn new(env: Env) -> (Self, watch::Receiver<bool>) {
        let (waiting, seen) = watch::channel(false);
        (Self { env, waiting }, seen)
    }

    /// Repeats an opening for as long as what it wants is away.
    pub(super) async fn wait<T, F>(&self, what: &str, mut open: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = Backoff::new(RETRY);
        let mut was_away = false;
        loop {
            match open().await {
                Err(error) if is_passing(&error) => {
                    let pause = backoff.pause();
                    warn!("the {what} is unreachable, trying again in {pause:?}: {error:#}");
                    self.waiting.send_replace(true);
                    was_away = true;
                    self.env.pace.sleep(pause).await;
                }
                result => {
                    if was_away && result.is_ok() {
                        info!("the {what} is reachable");
                    }
                    return result;
                }
            }
        }
    }
}

/// Runs a service, which blocks, and again when it ended because something is away.
pub(super) fn again(
    env: &Env,
    runtime: &Handle,
    stop: &CancellationToken,
    name: &str,
    mut service: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut backoff = Backoff::new(RETRY);
    loop {
        let begun = env.pace.monotonic();
        let pause = match service() {
            Err(error) if is_passing(&error) && !stop.is_cancelled() => {
                if env.pace.monotonic().saturating_sub(begun) > RETRY.end * 2 {
                    backoff.reset(); // it has worked in between
                }
                let pause = backoff.pause();
                warn!("{name} restarts in {pause:?}: {error:#}");
                pause
            }
            result => return result,
        };
        if !runtime.block_on(env.pace.sleep_unless(stop, pause)) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::{clock::Clock, domain::Timestamp, fulfilment, tracking};

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
            let env = Env::real(Clock::manual(Timestamp::default()));
            let ended = again(&env, &runtime, &CancellationToken::new(), "test", || {
                runs += 1;
                if runs < 3 { Err(away().into()) } else { Err(eventlog::Error::Fatal("damaged".into()).into()) }
            });
            (runs, ended.unwrap_err().to_string())
        });
        assert_eq!(ended.await.unwrap(), (3, "damaged".to_owned()));
    }
}
