//! Who is in which group, and what each member reads, in the consumer protocol's own form.

use rdkafka::{consumer::Consumer, groups::GroupInfo as Info};

use super::{Shared, client::question_error, options, topics::part};
use crate::eventlog::{Result, TopicPartition};

/// A group that has members now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The group's name.
    pub group: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// What the client calls itself.
    pub client: String,
    /// From where it is connected.
    pub host: String,
    /// The topics that it wants to read; none while the group is moving partitions.
    pub topics: Vec<String>,
}

impl GroupMember {
    /// Whether it calls itself as ours do.
    pub fn is_ours(&self) -> bool {
        self.client.starts_with(super::options::CLIENT)
    }
}

impl Shared {
    pub(super) fn memberships(&self) -> Result<Vec<Membership>> {
        let client = self.group_client(options::ASKING)?;
        let list = client.fetch_group_list(None, self.options.request_timeout);
        let list = list.map_err(|error| question_error("groups", &error))?;
        let groups = list.groups().iter().filter(|info| !info.members().is_empty());
        Ok(groups.map(|info| Membership { group: info.name().to_owned(), members: members(info) }).collect())
    }

    pub(super) fn group_owners(&self, group: &str) -> Result<Vec<(TopicPartition, String)>> {
        let asked = format!("members of {group}");
        let client = self.group_client(group)?;
        let list = client.fetch_group_list(Some(group), self.options.request_timeout);
        let list = list.map_err(|error| question_error(&asked, &error))?;
        let mut owners = Vec::new();
        for member in list.groups().iter().flat_map(Info::members) {
            let name = format!("{}@{}", member.client_id(), member.client_host().trim_start_matches('/'));
            // a member without an assignment yet owns nothing, one in a form that is not known tells nothing
            let assigned = member.assignment().and_then(assigned).unwrap_or_default();
            owners.extend(assigned.into_iter().map(|tp| (tp, name.clone())));
        }
        Ok(owners)
    }
}

fn members(info: &Info) -> Vec<GroupMember> {
    let members = info.members().iter().map(|member| GroupMember {
        client: member.client_id().to_owned(),
        host: member.client_host().trim_start_matches('/').to_owned(),
        topics: member.metadata().and_then(subscribed).unwrap_or_default(),
    });
    members.collect()
}

/// What is left of a message of the consumer protocol. Versions only add at the end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Behind the version, with which each message begins.
    fn behind_version(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Self(bytes);
        bytes.short()?;
        Some(bytes)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<usize> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?).into())
    }

    fn long(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.short()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

/// The topics in a member's subscription.
fn subscribed(bytes: &[u8]) -> Option<Vec<String>> {
    let mut bytes = Bytes::behind_version(bytes)?;
    (0..bytes.long()?).map(|_| bytes.text().map(str::to_owned)).collect()
}

/// The partitions in a member's assignment: for each topic its name and its partitions.
fn assigned(bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    let mut bytes = Bytes::behind_version(bytes)?;
    let mut assigned = Vec::new();
    for _ in 0..bytes.long()? {
        let topic = bytes.text()?;
        for _ in 0..bytes.long()? {
            assigned.push(part(topic, bytes.long()?));
        }
    }
    Some(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_broken_ones_are_not() {
        let bytes = b"\0\x01\0\0\0\x02\0\x02in\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x03out\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(assigned(bytes), Some(vec![part("in", 0), part("in", 7)]));
        for length in [0, 1, 5, 7, 9, 20, bytes.len() - 5] {
            assert_eq!(assigned(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn subscriptions_are_read_and_broken_ones_are_not() {
        let bytes = b"\0\x03\0\0\0\x02\0\x02in\0\x03out\xff\xff\xff\xff";
        assert_eq!(subscribed(bytes), Some(vec!["in".to_owned(), "out".to_owned()]));
        for length in [0, 1, 5, 7, 9, 14] {
            assert_eq!(subscribed(&bytes[..length]), None, "{length}");
        }
        assert_eq!(subscribed(b"\0\0\xff\xff\xff\xff\0"), None, "a count that nothing is behind");
    }
}
