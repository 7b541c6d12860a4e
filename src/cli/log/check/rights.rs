//! Which of the rights our account lacks that docs/kafka.md says it needs.

use std::thread;

use anyhow::Result;

use super::finding::{Finding, Level::Fault};
use crate::{
    config::Config,
    eventlog::kafka::{KafkaLog, Right},
    fulfilment,
};

/// What a right is on, by the flags of `kafka-acls.sh`.
const TOPIC: &str = "--topic";
const GROUP: &str = "--group";
const TRANSACTIONAL_ID: &str = "--resource-pattern-type prefixed --transactional-id";
const CLUSTER: &str = "--cluster";

/// Rights on one thing that the account lacks.
pub(super) struct Denial {
    flag: &'static str,
    name: String,
    /// By Kafka's names.
    operations: Vec<&'static str>,
}

/// All that it lacks.
pub(super) struct Denials(Vec<Denial>);

impl Denials {
    /// Asks for each right that some role needs.
    pub(super) fn ask(log: &KafkaLog, config: &Config, groups: impl IntoIterator<Item = &'static str>) -> Result<Self> {
        let topics = config.topics.own().into_iter().map(|(_, name)| name).chain(&config.topics.forward_states);
        // each question takes a client of its own, most of whose time is waiting
        let asked = thread::scope(|scope| {
            let asking: Vec<_> = topics
                .map(|name| scope.spawn(move || (name, of_topic(log, name, *name == config.topics.ids))))
                .collect();
            asking.into_iter().map(|asking| asking.join().expect("no panic")).collect::<Vec<_>>()
        });
        let (mut denials, mut there) = (Self(Vec::new()), None);
        for (name, asked) in asked {
            let asked = asked?;
            there = there.or(asked.is_there.then_some(name));
            denials.add(TOPIC, name, asked.lacking);
        }
        for group in groups {
            let join = there.map(|topic| Right::Join(group, topic));
            denials.add(GROUP, group, lacking(log, [("Read", join)])?);
        }
        let transact = Right::Transact(fulfilment::GROUP);
        denials.add(TRANSACTIONAL_ID, &format!("{}-", fulfilment::GROUP), lacking(log, [("Write", Some(transact))])?);
        denials.add(CLUSTER, "", lacking(log, [("DescribeConfigs", Some(Right::DescribeBrokers))])?);
        Ok(denials)
    }

    fn add(&mut self, flag: &'static str, name: &str, operations: Vec<&'static str>) {
        if !operations.is_empty() {
            self.0.push(Denial { flag, name: name.to_owned(), operations });
        }
    }

    /// Whether a topic or group cannot be looked into.
    pub(super) fn hide(&self, name: &str) -> bool {
        self.0.iter().any(|denial| denial.name == name && denial.operations.contains(&"Read"))
    }

    /// Whether not even the topics can be listed.
    pub(super) fn hide_topics(&self) -> bool {
        self.0.iter().any(|denial| denial.flag == TOPIC && denial.operations.contains(&"Describe"))
    }

    pub(super) fn judge(&self, config: &Config, brokers: &str) -> Vec<Finding> {
        let user = config.log.kafka.get("sasl.username").map_or("…", String::as_str);
        let found = self.0.iter().map(|Denial { flag, name, operations }| {
            let of = format!(" --operation {}", operations.join(" --operation "));
            let command = format!(
                "kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal User:{user}{of} {flag} {name}"
            );
            let about = if name.is_empty() { "kafka-cluster" } else { name };
            Finding::new(Fault, "acl-missing", about)
                .with("user", user)
                .with("operations", operations.join(", "))
                .mend(command.trim_end().to_owned())
        });
        found.collect()
    }
}

/// What was asked about a topic.
struct Asked {
    is_there: bool,
    lacking: Vec<&'static str>,
}

fn of_topic(log: &KafkaLog, name: &str, is_ids: bool) -> Result<Asked> {
    if !log.may(Right::Describe(name))? {
        // reading or writing would let it know of the topic
        return Ok(Asked { is_there: false, lacking: vec!["Describe", "DescribeConfigs", "Read", "Write"] });
    }
    if log.layout(name)?.is_none_or(|layout| layout.leaderless > 0) {
        return Ok(Asked { is_there: false, lacking: Vec::new() });
    }
    let rights = [
        ("DescribeConfigs", Some(Right::DescribeConfigs(name))),
        ("Read", Some(Right::Read(name))),
        ("Write", Some(Right::Write(name))),
        ("Delete", is_ids.then_some(Right::Delete(name))),
    ];
    Ok(Asked { is_there: true, lacking: lacking(log, rights)? })
}

fn lacking<const N: usize>(
    log: &KafkaLog,
    rights: [(&'static str, Option<Right<'_>>); N],
) -> Result<Vec<&'static str>> {
    let mut lacking = Vec::new();
    for (operation, right) in rights {
        if let Some(right) = right
            && !log.may(right)?
        {
            lacking.push(operation);
        }
    }
    Ok(lacking)
}
