//! What a cluster says of itself.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;

use super::{
    finding::{Finding, Level},
    topics::{self, Keep, Topic, Wants},
};
use crate::{
    app::kafka::{Namesake, all_topics, connect, namesakes},
    config::Config,
    eventlog::{self, kafka::KafkaLog},
    flows,
};

pub(super) struct Facts {
    wants: Wants,
    pub(super) topics: Vec<Topic>,
    namesakes: Vec<Namesake>,
    /// Why the brokers cannot keep groups and transactions.
    brokers_own: Option<String>,
}

impl Facts {
    pub(super) fn gather(config: &Config, brokers: String) -> Result<Self> {
        let log = connect(config, brokers.clone())?;
        let topics = all_topics(&log, config)?.into_iter().map(|spec| {
            let layout = log.layout(&spec.name)?;
            let settings = if layout.is_some() { log.settings(&spec.name)? } else { HashMap::new() };
            Ok(Topic { keep: keep(config, &spec.name), partitions: spec.partitions, name: spec.name, layout, settings })
        });
        let topics = topics.collect::<Result<Vec<_>>>()?;
        let missing: Vec<_> = topics.iter().filter(|topic| topic.layout.is_none()).map(|topic| &*topic.name).collect();
        let namesakes = namesakes(&log, config, &missing)?;
        let brokers_own = match log.check_brokers_own() {
            Err(eventlog::Error::Unavailable(why)) => Some(why),
            other => other.map(|()| None)?,
        };
        let wants = Wants {
            brokers,
            replication: config.log.replication.into(),
            min_insync: config.log.min_insync.into(),
            retention: config.log.retention,
            flight: flight(&log, config, missing.contains(&&*config.topics.flows))?,
        };
        Ok(Self { wants, topics, namesakes, brokers_own })
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut found: Vec<_> = self.topics.iter().flat_map(|topic| topics::judge(topic, &self.wants)).collect();
        for Namesake { key, missing, there } in &self.namesakes {
            let finding = Finding::new(Level::Fault, "topic-namesake", missing);
            found.push(finding.with("there", there).with("key", format!("topics.{key}")));
        }
        found.extend(
            self.brokers_own.as_ref().map(|why| Finding::new(Level::Fault, "brokers-own", "brokers").with("why", why)),
        );
        found
    }
}

fn keep(config: &Config, topic: &str) -> Keep {
    let topics = &config.topics;
    match topic {
        _ if topic == topics.flows => Keep::Always,
        _ if topic == topics.dead => Keep::Setting,
        _ if topic == topics.ids || topics.forward_states.as_deref() == Some(topic) => Keep::Whatever,
        _ => Keep::Flight,
    }
}

/// How long an order can be in flight, by the settings' flow and by those in use.
fn flight(log: &KafkaLog, config: &Config, is_new: bool) -> Result<Duration> {
    let settings = config.flow()?.longest();
    if is_new {
        return Ok(settings);
    }
    let versions = flows::topic::load(log, &config.topics.flows)?;
    Ok(versions.all().iter().map(|flow| flow.longest()).chain([settings]).max().unwrap_or(settings))
}
