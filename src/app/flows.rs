//! The flow that this process is started with, made known to all instances.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::outage::is_passing;
use crate::{
    clock::Clock,
    config::Config,
    domain::{Flow, Timestamp},
    eventlog::{self, EventLog, TopicSpec},
    flows::topic::{Configured, load, publish},
};

/// How often versions are looked for that other instances bring into use.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// What the topic of the versions should be like.
pub fn topic(config: &Config) -> TopicSpec {
    TopicSpec { name: config.topics.flows.clone(), partitions: 1 }
}

/// Writes the flow of the settings to the log, unless it is there. Refuses a version that says something else there. A
/// deployment from before there was such a topic gets it now; where that is not allowed it goes on as it did, with the
/// settings alone. Returns the flow under the version by which it is known.
pub(super) async fn make_known(config: &Config, log: Arc<dyn EventLog>, now: Timestamp) -> Result<Arc<Flow>> {
    let spec = topic(config);
    let name = spec.name.clone();
    let known = match create(log.clone(), spec).await {
        Ok(()) => publish(log, &name, configured(config)?, now).await.map_err(anyhow::Error::new),
        Err(error) => Err(error),
    };
    match known {
        Ok((versions, id)) => {
            let flow = versions.get(&id).context("the flow was just read from the log")?;
            info!(flow.name = flow.name(), flow.version = flow.version(), "this flow is known to all instances");
            let newest = versions.newest(flow.name()).filter(|newest| newest.version() > flow.version());
            if let Some(newest) = newest {
                let (version, newer) = (flow.version(), newest.version());
                warn!(
                    flow.name = flow.name(),
                    "version {newer} of this flow is in use already, and the settings of this process say version {version}: give \
                     all instances the same file"
                );
            }
            Ok(flow.clone())
        }
        Err(error) if !is_passing(&error) && error.chain().any(<dyn std::error::Error>::is::<eventlog::Error>) => {
            warn!(
                topic = name,
                "the flow cannot be shared with other instances, so this one uses its own settings only: {error:#}; \
                 docs/flows.md explains the topic, and `encargo log init` creates it"
            );
            Ok(Arc::new(config.flow()?))
        }
        Err(error) => Err(error),
    }
}

/// Tells of versions of a flow that come into use while this process runs, by instances with another file.
pub(super) async fn follow(
    log: Arc<dyn EventLog>,
    topic: String,
    newest: watch::Sender<Arc<Flow>>,
    pace: Clock,
    stop: CancellationToken,
) -> Result<()> {
    let mut read_up_to = 0;
    while pace.sleep_unless(&stop, FOLLOW_EVERY).await {
        let (log, name, known) = (log.clone(), topic.clone(), newest.borrow().clone());
        let look = move || -> Result<_> {
            let end = log.topic(&name)?.and_then(|topic| Some(topic.partitions.first()?.end)).unwrap_or_default();
            if end == read_up_to {
                return Ok((end, known));
            }
            let versions = load(log.as_ref(), &name)?;
            Ok((end, versions.newest(known.name()).cloned().unwrap_or(known)))
        };
        let found = match tokio::task::spawn_blocking(look).await? {
            Ok((end, found)) => {
                read_up_to = end;
                found
            }
            Err(error) => {
                warn!("cannot look for new versions of the flow, trying again next round: {error:#}");
                continue;
            }
        };
        newest.send_if_modified(|known| {
            let is_newer = found.version() > known.version();
            if is_newer {
                let (version, ours) = (found.version(), known.version());
                warn!(
                    flow.name = found.name(),
                    "version {version} of this flow came into use: new orders begin under it, not under version {ours}"
                );
                *known = found;
            }
            is_newer
        });
    }
    Ok(())
}

/// Makes a topic unless it is there.
pub(super) async fn create(log: Arc<dyn EventLog>, spec: TopicSpec) -> Result<()> {
    let what = format!("creating the topic {}", spec.name);
    let create = move || match log.topic(&spec.name)? {
        Some(_) => Ok(()),
        None => log.create(&spec),
    };
    let created = tokio::task::spawn_blocking(create).await.context(what.clone())?;
    created.context(what)
}

fn configured(config: &Config) -> Result<Configured> {
    let file = config.flow.file.as_ref().map(|file| file.path.display().to_string());
    let (is_numbered, place) = (file.is_some(), file.unwrap_or_else(|| "[flow]".to_owned()));
    let from = format!("{place} of slot {}", config.slot);
    Ok(Configured { flow: config.flow()?, from, is_numbered })
}
