//! Who reads topics of ours, and how far they have come.

use std::collections::HashMap;

use anyhow::Result;

use super::{
    groups::{Group, Place},
    rights::Denials,
};
use crate::{
    config::Config,
    eventlog::{
        self, EventLog as _, GroupOffset, TopicPartition,
        kafka::{GroupMember, KafkaLog},
    },
    forward, fulfilment, tracking,
};

/// The groups of our roles: the role, the group's name, and the topics that it reads.
pub(super) fn ours(config: &Config) -> Vec<(&'static str, &'static str, Vec<&str>)> {
    let topics = &config.topics;
    let old = topics.forward_states.as_deref();
    let of_tracking = [&*topics.states, &topics.dead, &topics.outcomes].into_iter().chain(old).collect();
    let mut ours = vec![
        ("fulfilment", fulfilment::GROUP, vec![&*topics.orders, &topics.commands]),
        ("tracking", tracking::GROUP, of_tracking),
    ];
    if old.is_some() {
        ours.push(("fulfilment", forward::GROUP, vec![&topics.states]));
    }
    ours
}

/// The groups of our roles that have something to do, and those of others that have members which read orders or states.
/// Only what can be looked into is.
pub(super) fn groups(log: &KafkaLog, config: &Config, readable: &[&str], denials: &Denials) -> Result<Vec<Group>> {
    let topics = &config.topics;
    let mut memberships: HashMap<_, _> =
        log.memberships()?.into_iter().map(|membership| (membership.group, membership.members)).collect();
    let mut groups = Vec::new();
    for (role, name, read) in ours(config).into_iter().filter(|(_, name, _)| !denials.hide(name)) {
        let read: Vec<_> = read.into_iter().filter(|topic| readable.contains(topic)).collect();
        let members = memberships.remove(name).unwrap_or_default();
        let sealed = (name == fulfilment::GROUP).then_some(&*topics.orders);
        let places = places(log, name, &read, members.is_empty(), sealed)?;
        // an old service may do this work
        let is_ours = config.intake.backlog_of.iter().any(|other| other == role)
            || places.iter().any(|place| place.committed.is_some());
        if is_ours || !members.is_empty() {
            groups.push(Group { name: name.to_owned(), role: Some(role), members, places });
        }
    }
    let read: Vec<_> = [&*topics.orders, &topics.states]
        .into_iter()
        .chain(topics.forward_states.as_deref())
        .filter(|topic| readable.contains(topic))
        .collect();
    for (name, members) in memberships {
        let reads = |topic: &str| members.iter().any(|member: &GroupMember| member.topics.iter().any(|t| t == topic));
        let read: Vec<_> = read.iter().copied().filter(|topic| reads(topic)).collect();
        if !read.is_empty() {
            let places = places(log, &name, &read, false, None)?;
            groups.push(Group { name, role: None, members, places });
        }
    }
    Ok(groups)
}

/// How far a group has come in all partitions of some topics. Whether a record waits is looked up only where nobody reads, and
/// who committed only in the topic that is `sealed`.
fn places(log: &KafkaLog, group: &str, topics: &[&str], is_unread: bool, sealed: Option<&str>) -> Result<Vec<Place>> {
    // offsets first: an end that is read later can only be further on
    let committed: HashMap<_, _> =
        log.committed(group, topics)?.into_iter().map(|offset| (offset.tp.clone(), offset)).collect();
    let mut places = Vec::new();
    for name in topics {
        let ranges = log.topic(name)?.map_or_else(Vec::new, |topic| topic.partitions);
        for (partition, range) in (0..).zip(ranges) {
            let tp = TopicPartition { topic: (*name).to_owned(), partition };
            let offset = committed.get(&tp);
            let next = offset.map_or(range.start, |offset| offset.offset.max(range.start));
            let waits = is_unread && next < range.end && has_record(log, &tp, next)?;
            let is_foreign = sealed == Some(*name) && offset.is_some_and(is_foreign);
            places.push(Place { tp, range, committed: offset.map(|offset| offset.offset), is_foreign, waits });
        }
    }
    Ok(places)
}

/// Fulfilment writes beside each offset what it needs to go on from there.
fn is_foreign(offset: &GroupOffset) -> bool {
    matches!(fulfilment::Progress::parse(&offset.metadata), Ok(None))
}

/// Whether there is a record from an offset on that can be read now.
fn has_record(log: &KafkaLog, tp: &TopicPartition, from: u64) -> Result<bool> {
    match log.has_record(tp, from) {
        Ok(has_record) => Ok(has_record),
        // an open transaction, which is told as such
        Err(eventlog::Error::Unavailable(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
