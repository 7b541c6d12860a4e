use anyhow::{Context as _, Result};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Tasks that run together and stop together.
#[derive(Default)]
pub(super) struct Services {
    stop: CancellationToken,
    tasks: JoinSet<(&'static str, Result<()>)>,
}

impl Services {
    pub(super) fn spawn<F>(&mut self, name: &'static str, service: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let service = service(self.stop.clone());
        self.tasks.spawn(async move { (name, service.await) });
    }

    /// A service that blocks its thread.
    pub(super) fn blocking(
        &mut self,
        name: &'static str,
        service: impl FnOnce(&CancellationToken) -> Result<()> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.tasks.spawn_blocking(move || {
            // for whoever asks the system which thread is busy; elsewhere than on Linux there is no such file
            let _ = std::fs::write("/proc/thread-self/comm", name);
            (name, service(&stop))
        });
    }

    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(ended) => describe(ended).err().unwrap_or_else(|| anyhow::anyhow!("a service ended by itself")),
            None => std::future::pending().await,
        }
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = describe(ended) {
                error!("{error:#}");
                first = first.and(Err(error));
            }
        }
        first
    }
}

fn describe(ended: std::result::Result<(&'static str, Result<()>), JoinError>) -> Result<()> {
    match ended {
        Ok((name, result)) => result.with_context(|| format!("{name} failed")),
        Err(panic) => Err(anyhow::Error::new(panic).context("a service panicked")),
    }
}

impl Drop for Services {
    /// A service that blocks a thread cannot be aborted: without this it would outlive its owner.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_and_the_others_still_stop() {
        let mut services = Services::default();
        services.spawn("patient", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        services.spawn("broken", |_| async { panic!("broken on purpose") });
        assert!(format!("{:#}", services.failed().await).contains("panicked"));
        services.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_service_that_ends_by_itself_is_a_failure() {
        let mut services = Services::default();
        services.blocking("hasty", |_| Ok(()));
        assert!(services.failed().await.to_string().contains("ended by itself"));
    }
}
