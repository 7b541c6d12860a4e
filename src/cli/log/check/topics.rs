//! Whether topics can hold what is written to them for as long as it is needed.

use std::{collections::HashMap, time::Duration};

use super::finding::{
    Finding,
    Level::{self, Fault, Risk},
};
use crate::{cli::time::span, eventlog::kafka::Layout};

/// The largest batch that is written: the library's own bound on what ours hand over together.
const BATCH_BYTES: i64 = 1_048_000;

/// How long the records of a topic are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Always,
    /// As long as an order is in flight: they are its state.
    Flight,
    /// As the settings say.
    Setting,
    /// No longer than they are read.
    Whatever,
}

/// A topic as it should be and as it is.
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) partitions: u32,
    pub(super) keep: Keep,
    pub(super) layout: Option<Layout>,
    /// By Kafka's names; empty when the account may not see them.
    pub(super) settings: HashMap<String, String>,
}

/// What is wanted of all topics.
pub(super) struct Wants {
    pub(super) brokers: String,
    pub(super) replication: usize,
    pub(super) min_insync: usize,
    pub(super) retention: Duration,
    /// The longest that an order can be in flight.
    pub(super) flight: Duration,
}

pub(super) fn judge(topic: &Topic, wants: &Wants) -> Vec<Finding> {
    let Some(layout) = &topic.layout else {
        let command = format!("encargo log init --log kafka://{}", wants.brokers);
        return vec![topic.found(Fault, "topic-missing").mend(command)];
    };
    let mut found = topic.judge_layout(layout, wants);
    if topic.settings.is_empty() {
        return found; // what the account may not see is told as such
    }
    found.extend(topic.judge_retention(wants));
    found.extend(topic.judge_settings(wants));
    found
}

impl Topic {
    fn found(&self, level: Level, code: &'static str) -> Finding {
        Finding::new(level, code, &self.name)
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.setting(name)?.parse().ok()
    }

    fn set(&self, wants: &Wants, setting: &str) -> String {
        format!(
            "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} --add-config {setting}",
            wants.brokers, self.name
        )
    }

    fn judge_layout(&self, layout: &Layout, wants: &Wants) -> Vec<Finding> {
        let &Layout { partitions, copies, in_sync, leaderless } = layout;
        let mut found = Vec::new();
        let wanted = self.partitions as usize;
        if partitions != wanted {
            let code = if wanted == 1 { "partitions-one" } else { "partitions-unequal" };
            let finding = self.found(Fault, code).but_needs(partitions, wanted);
            let (brokers, name) = (&wants.brokers, &self.name);
            let command =
                format!("kafka-topics.sh --bootstrap-server {brokers} --alter --topic {name} --partitions {wanted}");
            // none can be taken away
            found.push(if partitions < wanted { finding.mend(command) } else { finding });
        }
        if leaderless > 0 {
            found.push(self.found(Fault, "leaderless").with("found", leaderless));
        }
        if copies < wants.replication {
            found.push(self.found(Risk, "copies-few").but_needs(copies, wants.replication));
        }
        let Some(least) = self.number("min.insync.replicas").map(|least| least as usize) else { return found };
        if least > copies {
            let command = self.set(wants, &format!("min.insync.replicas={copies}"));
            found.push(self.found(Fault, "min-insync-impossible").but_needs(copies, least).mend(command));
        } else if least > in_sync {
            found.push(self.found(Fault, "in-sync-few").but_needs(in_sync, least));
        } else if least < wants.min_insync {
            let command = self.set(wants, &format!("min.insync.replicas={}", wants.min_insync));
            found.push(self.found(Risk, "min-insync-low").but_needs(least, wants.min_insync).mend(command));
        }
        found
    }

    fn judge_retention(&self, wants: &Wants) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(policy) = self.setting("cleanup.policy").filter(|policy| *policy != "delete") {
            let command = self.set(wants, "cleanup.policy=delete");
            found.push(self.found(Fault, "compacted").with("found", policy).mend(command));
        }
        let age = self.number("retention.ms").filter(|age| *age >= 0).map(|age| Duration::from_millis(age as u64));
        let keep = |least: Duration| self.set(wants, &format!("retention.ms={}", least.as_millis()));
        match (self.keep, age) {
            (Keep::Always, Some(age)) => {
                let command = self.set(wants, "retention.ms=-1");
                found.push(self.found(Fault, "retention-always").with("found", span(age)).mend(command));
            }
            (Keep::Flight, Some(age)) if age < wants.flight => {
                let finding = self.found(Fault, "retention-flight").but_needs(span(age), span(wants.flight));
                found.push(finding.mend(keep(wants.retention.max(wants.flight))));
            }
            (Keep::Flight | Keep::Setting, Some(age)) if age < wants.retention => {
                let finding = self.found(Risk, "retention-less").but_needs(span(age), span(wants.retention));
                found.push(finding.mend(keep(wants.retention)));
            }
            _ => {}
        }
        if let Some(bytes) = self.number("retention.bytes").filter(|bytes| *bytes >= 0 && self.keep != Keep::Whatever) {
            let command = self.set(wants, "retention.bytes=-1");
            found.push(self.found(Risk, "retention-bytes").with("found", bytes).mend(command));
        }
        found
    }

    fn judge_settings(&self, wants: &Wants) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.setting("unclean.leader.election.enable") == Some("true") {
            let command = self.set(wants, "unclean.leader.election.enable=false");
            found.push(self.found(Risk, "unclean-election").mend(command));
        }
        if let Some(most) = self.number("max.message.bytes").filter(|most| *most < BATCH_BYTES) {
            let command = self.set(wants, &format!("max.message.bytes={BATCH_BYTES}"));
            found.push(self.found(Fault, "message-size").but_needs(most, BATCH_BYTES).mend(command));
        }
        found
    }
}
