//! Which of the rights our account lacks that docs/kafka.md says it needs.

use std::thread;

use anyhow::Result;

use super::finding::{Finding, Level::Fault};
use crate::{
    config::{Config, Topics},
    eventlog::kafka::{HELPERS, KafkaLog, Right},
    forward, fulfilment,
    role::Role,
    tracking,
};

/// What a right is on, by the flags of `kafka-acls.sh`.
const TOPIC: &str = "--topic";
const GROUP: &str = "--group";
const TRANSACTIONAL_ID: &str = "--resource-pattern-type prefixed --transactional-id";
const CLUSTER: &str = "--cluster";

/// Rights on one thing that the account lacks, whether some role needs them or not.
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
            denials.add(GROUP, group, of_group(log, group, there)?);
        }
        for group in HELPERS {
            let follow = there.map(|topic| Right::Follow(group, topic));
            denials.add(GROUP, group, lacking(log, [("Describe", follow)])?);
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

    /// What the account lacks: of what that role needs, or of all.
    pub(super) fn judge(&self, config: &Config, role: Option<Role>, brokers: &str) -> Vec<Finding> {
        let user = config.log.kafka.get("sasl.username").map_or("…", String::as_str);
        let found = self.0.iter().filter_map(|denial| {
            let Denial { flag, name, .. } = denial;
            let is_needed = |operation: &&str| role.is_none_or(|role| denial.concerns(role, operation, &config.topics));
            let operations: Vec<_> = denial.operations.iter().copied().filter(is_needed).collect();
            if operations.is_empty() {
                return None;
            }
            let of = format!(" --operation {}", operations.join(" --operation "));
            let command = format!(
                "kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal User:{user}{of} {flag} {name}"
            );
            let about = if name.is_empty() { "kafka-cluster" } else { name };
            let finding = Finding::new(Fault, "acl-missing", about).with("user", user);
            Some(finding.with("operations", operations.join(", ")).mend(command.trim_end().to_owned()))
        });
        found.collect()
    }
}

impl Denial {
    /// Whether a role needs one of these rights. This is the table of docs/kafka.md.
    fn concerns(&self, role: Role, operation: &str, topics: &Topics) -> bool {
        let Topics { orders, states, dead, ids, flows, commands, outcomes, forward_states, .. } = topics;
        // what it reads and writes, and the groups that it is in
        let (reads, writes, groups): (&[&String], &[&String], &[&str]) = match role {
            Role::Mail => return false,
            // at its start it compares the log with the store
            Role::Intake => (&[states, dead, outcomes], &[orders, ids], &[]),
            Role::Fulfilment => (
                &[orders, states, commands, flows],
                &[states, outcomes, dead, flows],
                &[fulfilment::GROUP, forward::GROUP],
            ),
            // its pages show flows, and dead letters go back to where they came from
            Role::Tracking => {
                (&[states, dead, outcomes, flows], &[commands, orders, states, outcomes], &[tracking::GROUP])
            }
        };
        let is_old = forward_states.as_ref() == Some(&self.name);
        let is_one_of = |names: &[&String]| names.iter().any(|name| **name == self.name);
        match (self.flag, operation) {
            (TOPIC, "Read") => is_old || is_one_of(reads),
            (TOPIC, "Write") => is_old && role != Role::Intake || is_one_of(writes),
            (TOPIC, "Delete") => role == Role::Intake,
            (GROUP, "Read") => groups.contains(&&*self.name),
            (GROUP, _) => role == Role::Fulfilment || self.name != forward::GROUP,
            (TRANSACTIONAL_ID, _) => role == Role::Fulfilment,
            // a start looks at all topics, and at the brokers
            _ => true,
        }
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

/// What is lacking on a group of ours, asked by a topic that is there.
fn of_group(log: &KafkaLog, group: &str, there: Option<&String>) -> Result<Vec<&'static str>> {
    let Some(topic) = there else { return Ok(Vec::new()) };
    if !log.may(Right::Follow(group, topic))? {
        return Ok(vec!["Describe", "Read"]); // who may read may describe
    }
    lacking(log, [("Read", Some(Right::Join(group, topic)))])
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An account that may do nothing.
    fn nothing(config: &Config) -> Denials {
        let mut denials = Denials(Vec::new());
        let topics = config.topics.own().into_iter().map(|(_, name)| name).chain(&config.topics.forward_states);
        for name in topics {
            let mut operations = vec!["Describe", "DescribeConfigs", "Read", "Write"];
            operations.extend((*name == config.topics.ids).then_some("Delete"));
            denials.add(TOPIC, name, operations);
        }
        for group in [fulfilment::GROUP, tracking::GROUP, forward::GROUP] {
            denials.add(GROUP, group, vec!["Describe", "Read"]);
        }
        denials.add(TRANSACTIONAL_ID, "encargo-fulfilment-", vec!["Write"]);
        denials.add(CLUSTER, "", vec!["DescribeConfigs"]);
        denials
    }

    fn needed(role: Option<Role>) -> String {
        let flags = [("topics.forward_states", "old".to_owned()), ("log.url", "kafka://b:9092".to_owned())];
        let config = crate::config::load(None, &flags).unwrap().config;
        let found = nothing(&config).judge(&config, role, "b:9092");
        let commands = found.into_iter().map(|finding| finding.mend.expect("a command"));
        let start = "kafka-acls.sh --bootstrap-server b:9092 --add --allow-principal User:… ";
        commands
            .map(|command| command.strip_prefix(start).expect(&command).replace("--operation ", "") + "\n")
            .collect()
    }

    #[test]
    fn each_role_needs_its_own_rights_alone() {
        let intake = "Describe DescribeConfigs Write --topic compra_detalle
Describe DescribeConfigs Read --topic compra_confirmada
Describe DescribeConfigs Read --topic compra_dead_letters
Describe DescribeConfigs Write Delete --topic encargo_ids
Describe DescribeConfigs --topic encargo_flows
Describe DescribeConfigs --topic encargo_commands
Describe DescribeConfigs Read --topic encargo_outcomes
Describe DescribeConfigs Read --topic old
Describe --group encargo-fulfilment
Describe --group encargo-tracking
DescribeConfigs --cluster
";
        let fulfilment = "Describe DescribeConfigs Read --topic compra_detalle
Describe DescribeConfigs Read Write --topic compra_confirmada
Describe DescribeConfigs Write --topic compra_dead_letters
Describe DescribeConfigs --topic encargo_ids
Describe DescribeConfigs Read Write --topic encargo_flows
Describe DescribeConfigs Read --topic encargo_commands
Describe DescribeConfigs Write --topic encargo_outcomes
Describe DescribeConfigs Read Write --topic old
Describe Read --group encargo-fulfilment
Describe --group encargo-tracking
Describe Read --group encargo-forward
Write --resource-pattern-type prefixed --transactional-id encargo-fulfilment-
DescribeConfigs --cluster
";
        let tracking = "Describe DescribeConfigs Write --topic compra_detalle
Describe DescribeConfigs Read Write --topic compra_confirmada
Describe DescribeConfigs Read --topic compra_dead_letters
Describe DescribeConfigs --topic encargo_ids
Describe DescribeConfigs Read --topic encargo_flows
Describe DescribeConfigs Write --topic encargo_commands
Describe DescribeConfigs Read Write --topic encargo_outcomes
Describe DescribeConfigs Read Write --topic old
Describe --group encargo-fulfilment
Describe Read --group encargo-tracking
DescribeConfigs --cluster
";
        assert_eq!(needed(Some(Role::Intake)), intake);
        assert_eq!(needed(Some(Role::Fulfilment)), fulfilment);
        assert_eq!(needed(Some(Role::Tracking)), tracking);
        assert_eq!(needed(Some(Role::Mail)), "");
        let all = needed(None);
        assert!(all.contains("Describe DescribeConfigs Read Write Delete --topic encargo_ids\n"), "{all}");
    }
}
