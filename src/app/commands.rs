//! The topics through which orders are commanded.

use std::sync::Arc;

use anyhow::Result;
use tracing::warn;

use super::{flows::create, outage::is_passing};
use crate::{
    config::Config,
    eventlog::{self, EventLog, TopicSpec},
    fulfilment::CommandTopics,
};

/// What they should be like: as many partitions as there are of orders, since what is about an order stands under the number of
/// its own partition.
pub fn topics(config: &Config, partitions: u32) -> [TopicSpec; 2] {
    [&config.topics.commands, &config.topics.outcomes].map(|name| TopicSpec { name: name.clone(), partitions })
}

/// Makes them where they are missing, as in a deployment from before there were any; where that is not allowed, orders go on
/// without commands.
pub(super) async fn make_known(config: &Config, log: Arc<dyn EventLog>) -> Result<Option<CommandTopics>> {
    match make(config, log).await {
        Ok(()) => {
            let (commands, outcomes) = (config.topics.commands.clone(), config.topics.outcomes.clone());
            Ok(Some(CommandTopics { commands, outcomes }))
        }
        Err(error) if !is_passing(&error) && error.chain().any(<dyn std::error::Error>::is::<eventlog::Error>) => {
            warn!(
                "orders cannot be cancelled or changed: {error:#}; `encargo log init` makes the topics that are missing"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn make(config: &Config, log: Arc<dyn EventLog>) -> Result<()> {
    let (asked, orders) = (log.clone(), config.topics.orders.clone());
    let found = tokio::task::spawn_blocking(move || asked.topic(&orders)).await?;
    // it was there when the log was opened, so it comes back
    let away = || eventlog::Error::Unavailable(format!("topic {} is not there now", config.topics.orders));
    let partitions = found?.ok_or_else(away)?.partitions.len() as u32;
    for spec in topics(config, partitions) {
        create(log.clone(), spec).await?;
    }
    Ok(())
}
