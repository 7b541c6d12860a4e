//! Whether groups read what they should, and nobody else does in their name.

use std::collections::BTreeMap;

use super::finding::{
    Finding,
    Level::{self, Fault, Risk},
};
use crate::eventlog::{PartitionRange, TopicPartition, kafka::GroupMember};

/// How kafka-python's client calls itself unless it is told otherwise.
const OLD_CLIENT: &str = "kafka-python";

/// A group that reads topics of ours.
pub(super) struct Group {
    pub(super) name: String,
    /// The role whose group it is; none: somebody else's.
    pub(super) role: Option<&'static str>,
    pub(super) members: Vec<GroupMember>,
    pub(super) places: Vec<Place>,
}

/// How far a group has come in a partition.
pub(super) struct Place {
    pub(super) tp: TopicPartition,
    pub(super) range: PartitionRange,
    pub(super) committed: Option<u64>,
    /// Whether what stands with the offset was not written by a member of ours.
    pub(super) is_foreign: bool,
    /// Whether a record waits there, and not only a transaction's marker.
    pub(super) waits: bool,
}

impl Place {
    fn is_trimmed(&self) -> bool {
        self.committed.is_some_and(|offset| offset < self.range.start)
    }

    fn is_beyond(&self) -> bool {
        self.committed.is_some_and(|offset| offset > self.range.end)
    }

    fn behind(&self) -> u64 {
        self.range.end.saturating_sub(self.committed.unwrap_or_default().max(self.range.start))
    }
}

pub(super) fn judge(group: &Group, brokers: &str) -> Vec<Finding> {
    let mut found = group.judge_members();
    match group.role {
        Some(role) => {
            found.extend(group.judge_work(role));
            found.extend(group.judge_offsets(brokers));
        }
        None => found.extend(group.judge_reset()),
    }
    found
}

impl Group {
    fn found(&self, level: Level, code: &'static str) -> Finding {
        Finding::new(level, code, &self.name)
    }

    fn judge_members(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for member in self.members.iter().filter(|member| self.role.is_some() && !member.is_ours()) {
            found.push(self.found(Fault, "foreign-member").with("member", named(member)));
        }
        if let Some((one, other)) = self.strangers() {
            let with = |finding: Finding, [name, topics]: [&'static str; 2], member: &GroupMember| {
                finding.with(name, named(member)).with(topics, member.topics.join(", "))
            };
            let finding = with(self.found(Fault, "two-applications"), ["one", "reads"], one);
            found.push(with(finding, ["other", "other_reads"], other));
        }
        let timed: Vec<_> = self.members.iter().filter(|member| member.client.starts_with(OLD_CLIENT)).collect();
        if let Some(member) = timed.first() {
            found.push(self.found(Risk, "auto-commit").with("member", named(member)));
        }
        found
    }

    /// Two members that have no topic in common: they are not two instances of one service.
    fn strangers(&self) -> Option<(&GroupMember, &GroupMember)> {
        let mut readers = self.members.iter().filter(|member| !member.topics.is_empty());
        let first = readers.next()?;
        let shares = |other: &&GroupMember| other.topics.iter().any(|topic| first.topics.contains(topic));
        readers.find(|other| !shares(other)).map(|other| (first, other))
    }

    fn judge_work(&self, role: &str) -> Option<Finding> {
        let left: u64 = self.places.iter().filter(|place| place.waits).map(Place::behind).sum();
        let is_left = left > 0 && self.members.is_empty();
        is_left.then(|| self.found(Fault, "abandoned").with("found", left).mend(format!("encargo {role}")))
    }

    fn judge_offsets(&self, brokers: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        for place in &self.places {
            let Some(offset) = place.committed else { continue };
            let finding = |code, kept: u64| {
                self.found(Fault, code).with("tp", &place.tp).with("found", offset).with("kept", kept)
            };
            if place.is_trimmed() {
                found.push(finding("offset-trimmed", place.range.start));
            } else if place.is_beyond() {
                let name = &self.name;
                let command = format!("kafka-consumer-groups.sh --bootstrap-server {brokers} --delete --group {name}");
                found.push(finding("offset-beyond", place.range.end).mend(command));
            } else if place.is_foreign {
                found.push(self.found(Fault, "foreign-commit").with("tp", &place.tp).with("found", offset));
            }
        }
        found
    }

    /// Where a reader of somebody else's would begin anew, which its `auto_offset_reset` decides.
    fn judge_reset(&self) -> Vec<Finding> {
        let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
        for place in &self.places {
            let is_read = self.members.iter().any(|member| member.topics.contains(&place.tp.topic));
            let has_begun = place.committed.is_some() && !place.is_trimmed() && !place.is_beyond();
            if is_read && !has_begun && place.range.end > place.range.start {
                *topics.entry(&place.tp.topic).or_default() += 1;
            }
        }
        let found = topics.into_iter();
        found.map(|(topic, n)| self.found(Risk, "offset-reset").with("topic", topic).with("found", n)).collect()
    }
}

fn named(member: &GroupMember) -> String {
    format!("{}@{}", member.client, member.host)
}
