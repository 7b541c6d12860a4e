//! The event log on a cluster: how it is opened, and what its topics must be like.

use std::fmt;

use anyhow::{Result, bail};

use super::{commands, flows};
use crate::{
    config::{Config, Topics},
    eventlog::{
        TopicSpec,
        kafka::{Difference, KafkaLog, Options},
    },
};

/// Opens the log of a cluster; topics are not looked at.
pub fn connect(config: &Config, brokers: String) -> Result<KafkaLog> {
    let log = &config.log;
    Ok(KafkaLog::open(Options {
        brokers,
        properties: log.kafka.clone(),
        replication: log.replication,
        min_insync_replicas: log.min_insync,
        retention: log.retention,
        kept: vec![config.topics.flows.clone()],
        message_timeout: log.message_timeout,
        transaction_timeout: log.transaction_timeout,
        session_timeout: log.session_timeout,
        static_membership: log.static_membership,
        waiting_max: log.queue_max,
        ..Options::default()
    })?)
}

/// What the topics should be like without which nothing runs. The number of partitions of topics that are there already counts, since records are
/// in them: the states' topic has as many as the orders' topic.
pub fn wanted_topics(log: &KafkaLog, config: &Config) -> Result<Vec<TopicSpec>> {
    let Topics { orders, states, dead, ids, forward_states, .. } = &config.topics;
    let count = |name: &str| log.partitions(name);
    let partitions = count(orders)?.or(count(states)?).unwrap_or(config.log.partitions);
    let mut wanted = vec![
        TopicSpec { name: orders.clone(), partitions },
        TopicSpec { name: states.clone(), partitions },
        TopicSpec { name: dead.clone(), partitions: count(dead)?.unwrap_or(1) },
        TopicSpec { name: ids.clone(), partitions: 1 },
    ];
    if let Some(name) = forward_states {
        // old services made theirs with whatever number
        wanted.push(TopicSpec { name: name.clone(), partitions: count(name)?.unwrap_or(partitions) });
    }
    Ok(wanted)
}

/// The same with those that a deployment from before there were any gets when it starts.
pub fn all_topics(log: &KafkaLog, config: &Config) -> Result<Vec<TopicSpec>> {
    let mut wanted = wanted_topics(log, config)?;
    let partitions = wanted[0].partitions; // those of the orders
    wanted.extend(commands::topics(config, partitions));
    wanted.push(flows::topic(config));
    Ok(wanted)
}

/// A topic that is missing, while another one has nearly the same name.
#[derive(Debug)]
pub struct Namesake {
    /// The setting that names the one that is missing.
    pub key: &'static str,
    /// Its name.
    pub missing: String,
    /// The one that is there.
    pub there: String,
}

impl fmt::Display for Namesake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, missing, there } = self;
        write!(
            f,
            "there is no topic {missing}, but {there}: to use that one, set topics.{key} = {there:?}; if it is another's, \
             create {missing} with the brokers' own tools"
        )
    }
}

/// Topics that are missing while another one has nearly the same name. The old services call theirs `compra_detalles` in one
/// place and `compra_detalle` in another; beside the wrong one, orders would wait for ever.
pub fn namesakes(log: &KafkaLog, config: &Config, missing: &[&str]) -> Result<Vec<Namesake>> {
    let Topics { orders, states, forward_states, .. } = &config.topics;
    let taken = |name: &str| [orders, states].into_iter().chain(forward_states).any(|ours| ours == name);
    let bare = |name: &str| {
        let name = name.to_lowercase();
        name.split(['.', '_', '-']).map(|word| word.trim_end_matches('s')).collect::<String>()
    };
    let keys = [("orders", Some(orders)), ("states", Some(states)), ("forward_states", forward_states.as_ref())];
    let there = log.names()?;
    let mut found = Vec::new();
    for (key, name) in keys.into_iter().filter_map(|(key, name)| name.map(|name| (key, name))) {
        let mut others = there.iter().filter(|other| !taken(other));
        if missing.contains(&name.as_str())
            && let Some(other) = others.find(|other| bare(other) == bare(name))
        {
            found.push(Namesake { key, missing: name.clone(), there: other.clone() });
        }
    }
    Ok(found)
}

/// The log of a cluster for a server. Refuses topics that are missing or do not fit.
pub(super) fn open(config: &Config, brokers: String) -> Result<KafkaLog> {
    let log = connect(config, brokers)?;
    let wanted = wanted_topics(&log, config)?;
    let refused: Vec<Difference> = log.differences(&wanted)?.into_iter().filter(|one| one.refuses).collect();
    if refused.is_empty() {
        log.check_brokers_own()?;
        return Ok(log);
    }
    let url = config.log_url();
    let (missing, wrong): (Vec<_>, Vec<_>) = refused.iter().partition(|difference| difference.found.is_empty());
    let names: Vec<&str> = missing.iter().map(|difference| difference.topic.as_str()).collect();
    let alike = namesakes(&log, config, &names)?;
    if !alike.is_empty() {
        let words: Vec<String> = alike.iter().map(Namesake::to_string).collect();
        bail!("topics of {url} are named differently: {}", words.join("; "));
    }
    if wrong.is_empty() {
        bail!("{url} lacks the topics {}: create them with `encargo log init --log {url}`", names.join(", "));
    }
    let words: Vec<String> = wrong.iter().map(|difference| in_words(difference)).collect();
    bail!("topics of {url} do not fit: {}; `encargo log init --dry-run --log {url}` shows all of it", words.join("; "))
}

/// `compra_confirmada has partitions 3, expected 4`.
fn in_words(Difference { topic, what, wanted, found, .. }: &Difference) -> String {
    format!("{topic} has {what} {found}, expected {wanted}")
}
