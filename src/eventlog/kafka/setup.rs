//! Whether brokers and topics are what Encargo needs.

use std::{collections::HashMap, time::Duration};

use rdkafka::{
    admin::ResourceSpecifier,
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{
    client::{block_on, question_error},
    topics::{Layout, Topics},
};
use crate::eventlog::{Deletes, Error, Keeping, Result, TopicSpec};

/// The oldest brokers whose transactions are fenced by a group's generation.
const BROKER_MIN: (u32, u32) = (2, 5);

/// What a topic should be, as `encargo log init` would make it, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// What differs: `missing`, or a setting's name.
    pub what: String,
    /// What is wanted.
    pub wanted: String,
    /// What is there; empty when the topic is missing.
    pub found: String,
    /// Whether Encargo cannot run like that. `create` mends missing topics; the rest is the operator's.
    pub refuses: bool,
}

impl Topics {
    /// How the topics differ from what they should be. Partitions and their number must fit; copies and retention are
    /// the operator's business and only told.
    pub(super) fn differences(&self, wanted: &[TopicSpec]) -> Result<Vec<Difference>> {
        let mut differences = Vec::new();
        for spec in wanted {
            let difference = |what: &str, wanted: String, found: String, refuses| Difference {
                topic: spec.name.clone(),
                what: what.into(),
                wanted,
                found,
                refuses,
            };
            let Some(Layout { partitions, copies, .. }) = self.found(&spec.name)? else {
                let wanted = format!(
                    "partitions {}, copies {}, min.insync.replicas {}, retention.ms {}",
                    spec.partitions,
                    self.options.replication,
                    self.options.min_insync_replicas,
                    self.retention_ms(&spec.name)
                );
                differences.push(difference("missing", wanted, String::new(), true));
                continue;
            };
            let settings = self.settings(&spec.name)?;
            let setting = |name: &str| settings.get(name).cloned().unwrap_or_default();
            for (what, wanted, found, refuses) in [
                ("partitions", spec.partitions.to_string(), partitions.to_string(), true),
                ("replication", self.options.replication.to_string(), copies.to_string(), false),
                (
                    "min.insync.replicas",
                    self.options.min_insync_replicas.to_string(),
                    setting("min.insync.replicas"),
                    false,
                ),
                ("retention.ms", self.retention_ms(&spec.name).to_string(), setting("retention.ms"), false),
                ("cleanup.policy", "delete".into(), setting("cleanup.policy"), true),
            ] {
                if wanted != found && !found.is_empty() {
                    differences.push(difference(what, wanted, found, refuses));
                }
            }
        }
        Ok(differences)
    }

    /// How topics are kept. The client library cannot ask how many bytes they have (KIP-113), so that is not known.
    pub(super) fn keeping(&self, topics: &[&str]) -> Result<Vec<Keeping>> {
        let keeping = |topic: &&str| {
            let settings = self.settings(topic)?;
            let bound = |name: &str| settings.get(name).map(|text| text.parse::<u64>().ok());
            let deletes = match (bound("retention.ms"), bound("retention.bytes"), settings.get("cleanup.policy")) {
                (Some(age), Some(bytes), Some(policy)) if policy.contains("delete") => {
                    Deletes::Beyond { age: age.map(Duration::from_millis), bytes }
                }
                _ => Deletes::Unknown,
            };
            Ok(Keeping { bytes: None, deletes })
        };
        topics.iter().map(keeping).collect()
    }

    /// A topic's settings; empty when we may not see them.
    pub(super) fn settings(&self, topic: &str) -> Result<HashMap<String, String>> {
        self.describe(ResourceSpecifier::Topic(topic))
    }

    fn describe(&self, what: ResourceSpecifier<'_>) -> Result<HashMap<String, String>> {
        let asked = "describe settings";
        let results = block_on(self.admin.describe_configs([&what], &self.admin_options()));
        match results.map_err(|error| self.unanswered(asked, &error))?.pop() {
            Some(Ok(resource)) => {
                let entries = resource.entries.into_iter();
                Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
            }
            Some(Err(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) | None => Ok(HashMap::new()),
            Some(Err(code)) => Err(question_error(asked, &KafkaError::Global(code))),
        }
    }

    /// The settings of one broker; empty when we may not see them.
    pub(super) fn broker_settings(&self) -> Result<HashMap<String, String>> {
        let metadata = self.metadata(None)?;
        let Some(broker) = metadata.brokers().first() else {
            return Err(Error::Unavailable("the cluster reports no broker".into()));
        };
        self.describe(ResourceSpecifier::Broker(broker.id())).map_err(|error| match error {
            // this is the first question that goes to the address that the broker gives itself
            Error::Unavailable(why) => Error::Unavailable(format!(
                "broker {} does not answer at {}:{}, where the cluster says that it is (its advertised.listeners): can that \
                 name and port be reached from here? ({why})",
                broker.id(),
                broker.host(),
                broker.port()
            )),
            error => error,
        })
    }

    /// Refuses brokers that are too old for what we promise. From 4.0 on they no longer say a protocol version, and all
    /// of those will do.
    pub(super) fn check_brokers(&self) -> Result<()> {
        let settings = self.broker_settings()?;
        let Some(version) = settings.get("inter.broker.protocol.version") else { return Ok(()) };
        if protocol_version(version).is_some_and(|version| version < BROKER_MIN) {
            let (major, minor) = BROKER_MIN;
            let text = format!(
                "the brokers speak the protocol of Kafka {version}; transactions that are fenced by the group's generation need \
                 {major}.{minor} or newer (KIP-447): upgrade them (2.5 to 3.9, or Confluent's images 5.5 to 7.9, go on with the same \
                 topics and ZooKeeper; docs/kafka.md has the steps), or raise inter.broker.protocol.version if they are newer"
            );
            return Err(Error::Fatal(text));
        }
        Ok(())
    }
}

fn protocol_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_brokers_are_told_by_their_protocol() {
        for (text, version) in [("3.7-IV4", (3, 7)), ("2.4", (2, 4)), ("2.5-IV0", (2, 5)), ("0.10.2", (0, 10))] {
            assert_eq!(protocol_version(text), Some(version), "{text}");
        }
        assert_eq!(protocol_version("4"), None);
    }
}
