use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Mutex, task::spawn_blocking};

use crate::{
    causes::with_causes,
    clock::{Clock, Monotonic},
    domain::Flow,
    eventlog::EventLog,
    flows::topic::{self, Versions},
};

/// How long it is believed that there is no such version.
const BELIEVED: Duration = Duration::from_secs(10);

/// The flows that orders follow, by the names that their events give; read from the log when a new one is named.
pub(super) struct Flows {
    log: Arc<dyn EventLog>,
    clock: Clock,
    topic: String,
    versions: RwLock<Versions>,
    /// When they were read.
    read_at: Mutex<Option<Monotonic>>,
}

impl Flows {
    pub(super) fn new(log: Arc<dyn EventLog>, clock: Clock, topic: String) -> Self {
        Self { log, clock, topic, versions: RwLock::default(), read_at: Mutex::default() }
    }

    /// The flow of that name and version. None is known while the log is away: a page can do without it.
    pub(super) async fn get(&self, id: &str) -> Option<Arc<Flow>> {
        if let Some(flow) = self.known(id) {
            return Some(flow);
        }
        let mut read_at = self.read_at.lock().await; // one reads, and the others find what it has read
        let now = self.clock.monotonic();
        if let Some(flow) = self.known(id) {
            return Some(flow);
        }
        if read_at.is_some_and(|at| now.saturating_sub(at) < BELIEVED) {
            return None;
        }
        *read_at = Some(now);
        let (log, topic) = (self.log.clone(), self.topic.clone());
        match spawn_blocking(move || topic::load(log.as_ref(), &topic)).await {
            Ok(Ok(versions)) => *self.versions.write().unwrap_or_else(PoisonError::into_inner) = versions,
            Ok(Err(error)) => {
                tracing::warn!(error = with_causes(&error), "cannot load flows, so pages show only past states");
            }
            Err(error) => tracing::warn!(%error, "cannot load flows, so pages show only past states"),
        }
        self.known(id)
    }

    fn known(&self, id: &str) -> Option<Arc<Flow>> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}
