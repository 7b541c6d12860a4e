//! Deletes old records, but none that anybody still needs.
//!
//! A record goes when it is older than the retention time *and* every consumer group has committed past it *and*, in
//! the output, no order in flight needs it (the watermark). On a cluster the brokers do this by age alone; there,
//! retention must be longer than the longest outage.

use std::{collections::HashMap, time::Duration};

use super::{GROUP, Progress};
use crate::{
    domain::Timestamp,
    eventlog::{EventLog, GroupInfo, Result, TopicPartition},
};

/// What may be deleted.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The orders' topic.
    pub orders: String,
    /// The states' topic.
    pub states: String,
    /// Each topic to be trimmed, with the groups that must have read a record before it goes.
    pub topics: Vec<(String, Vec<String>)>,
    /// How long records are kept at least.
    pub keep: Duration,
}

/// Deletes what the policy allows at the time `now`. Returns the partitions that were looked at, with the first offset
/// kept in each.
pub fn apply(log: &dyn EventLog, policy: &Policy, now: Timestamp) -> Result<Vec<(TopicPartition, u64)>> {
    let groups = log.groups()?;
    let topics: HashMap<_, _> = log.topics()?.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
    let mut kept = Vec::new();
    for (name, readers) in &policy.topics {
        for (number, range) in topics.get(name).into_iter().flatten().enumerate() {
            let tp = TopicPartition { topic: name.clone(), partition: number as u32 };
            let read = readers.iter().map(|group| committed(&groups, group, &tp)).min().unwrap_or(range.end);
            let needed = if *name == policy.states { watermark(&groups, &policy.orders, tp.partition) } else { read };
            let old = log.offset_at(&tp, now - policy.keep)?;
            let before = old.min(read).min(needed).max(range.start);
            if before > range.start {
                log.delete_before(&tp, before)?;
            }
            kept.push((tp, before));
        }
    }
    Ok(kept)
}

/// What a group has committed; 0 while it has committed nothing, which keeps everything.
fn committed(groups: &[GroupInfo], group: &str, tp: &TopicPartition) -> u64 {
    let group = groups.iter().find(|info| info.name == group);
    group.and_then(|info| info.offsets.iter().find(|offset| offset.tp == *tp)).map_or(0, |offset| offset.offset)
}

fn watermark(groups: &[GroupInfo], orders: &str, partition: u32) -> u64 {
    let group = groups.iter().find(|info| info.name == GROUP);
    let offset = group.and_then(|info| {
        info.offsets.iter().find(|offset| offset.tp.topic == orders && offset.tp.partition == partition)
    });
    // what cannot be read keeps everything
    let progress = offset.and_then(|offset| Progress::parse(&offset.metadata).ok().flatten());
    progress.map_or(0, |progress| progress.watermark)
}
