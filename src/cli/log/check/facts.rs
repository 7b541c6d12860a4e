//! What a cluster says of itself.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;

use super::{
    brokers::{self, Brokers},
    finding::{Finding, Level},
    groups::{self, Group},
    readers,
    rights::Denials,
    topics::{self, Keep, Topic, Wants},
};
use crate::{
    app::kafka::{Namesake, all_topics, namesakes},
    clock::Clock,
    config::Config,
    domain::Timestamp,
    eventlog::{self, kafka::KafkaLog},
    flows,
};

pub(super) struct Facts {
    wants: Wants,
    pub(super) topics: Vec<Topic>,
    namesakes: Vec<Namesake>,
    groups: Vec<Group>,
    brokers: Brokers,
    now: Timestamp,
}

impl Facts {
    pub(super) fn gather(
        log: &KafkaLog,
        config: &Config,
        address: &str,
        denials: &Denials,
        clocks: bool,
    ) -> Result<Self> {
        let topics = all_topics(log, config)?.into_iter().map(|spec| {
            let layout = log.layout(&spec.name)?;
            let settings = if layout.is_some() { log.settings(&spec.name)? } else { HashMap::new() };
            Ok(Topic { keep: keep(config, &spec.name), partitions: spec.partitions, name: spec.name, layout, settings })
        });
        let topics = topics.collect::<Result<Vec<_>>>()?;
        let missing: Vec<_> = topics.iter().filter(|topic| topic.layout.is_none()).map(|topic| &*topic.name).collect();
        let namesakes = namesakes(log, config, &missing)?;
        let readable = topics.iter().filter(|topic| topic.layout.is_some_and(|layout| layout.leaderless == 0));
        let readable: Vec<_> = readable.map(|topic| &*topic.name).filter(|name| !denials.hide(name)).collect();
        let held = readable.iter().map(|name| log.held(name)).collect::<eventlog::Result<Vec<_>>>()?.concat();
        let groups = readers::groups(log, config, &readable, denials)?;
        let clock = Clock::system();
        let brokers = Brokers {
            address: address.to_owned(),
            session_timeout: config.log.session_timeout,
            transaction_timeout: config.log.transaction_timeout,
            settings: log.broker_settings()?,
            lacking: match log.check_brokers_own() {
                Err(eventlog::Error::Unavailable(why)) => Some(why),
                other => other.map(|()| None)?,
            },
            held,
            clocks: if clocks { log.clocks(&clock)? } else { Vec::new() },
        };
        let wants = Wants {
            brokers: address.to_owned(),
            replication: config.log.replication.into(),
            min_insync: config.log.min_insync.into(),
            retention: config.log.retention,
            flight: flight(log, config, !readable.contains(&&*config.topics.flows))?,
        };
        Ok(Self { wants, topics, namesakes, groups, brokers, now: clock.now() })
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut found: Vec<_> = self.topics.iter().flat_map(|topic| topics::judge(topic, &self.wants)).collect();
        for Namesake { key, missing, there } in &self.namesakes {
            let finding = Finding::new(Level::Fault, "topic-namesake", missing);
            found.push(finding.with("there", there).with("key", format!("topics.{key}")));
        }
        found.extend(self.groups.iter().flat_map(|group| groups::judge(group, &self.wants.brokers)));
        found.extend(brokers::judge(&self.brokers, self.now));
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
fn flight(log: &KafkaLog, config: &Config, is_unknown: bool) -> Result<Duration> {
    let settings = config.flow()?.longest();
    if is_unknown {
        return Ok(settings);
    }
    let versions = flows::topic::load(log, &config.topics.flows)?;
    Ok(versions.all().iter().map(|flow| flow.longest()).chain([settings]).max().unwrap_or(settings))
}
