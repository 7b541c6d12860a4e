//! Groups: who is in them, how far they have come, and how far they are behind.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    Shared,
    client::{self, ClientContext, question_error},
    options,
    topics::part,
};
use crate::eventlog::{Error, GroupInfo, GroupOffset, Lag, Result, TopicPartition};

impl Shared {
    /// A client that may ask for a group's offsets. It never joins.
    pub(super) fn group_client(&self, group: &str) -> Result<Arc<BaseConsumer<ClientContext>>> {
        let mut clients = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(group) {
            while let Some(Err(error)) = client.poll(Duration::ZERO) {
                client.context().note(&error);
            }
            return Ok(client.clone());
        }
        let config = self.options.query_config(Some(group), "read_committed");
        let client: BaseConsumer<ClientContext> =
            config.create_with_context(ClientContext::default()).map_err(client::config_error)?;
        let client = Arc::new(client);
        clients.insert(group.to_owned(), client.clone());
        Ok(client)
    }

    /// All partitions of some topics.
    pub(super) fn partitions(&self, topics: &[&str]) -> Result<Vec<TopicPartition>> {
        let mut all = Vec::new();
        for topic in topics {
            all.extend((0..self.topics.count(topic)?).map(|number| part(topic, number)));
        }
        Ok(all)
    }

    /// What a group has committed for these partitions.
    pub(super) fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<GroupOffset>> {
        let client = self.group_client(group)?;
        committed(&client, group, partitions, self.options.request_timeout)
    }

    pub(super) fn list_groups(&self) -> Result<Vec<GroupInfo>> {
        let topics = self.topics.list()?;
        let all: Vec<TopicPartition> = topics
            .iter()
            .flat_map(|topic| (0..topic.partitions.len() as u32).map(|number| part(&topic.name, number)))
            .collect();
        let client = self.group_client(options::ASKING)?;
        let list = client.fetch_group_list(None, self.options.request_timeout);
        let list = list.map_err(|error| question_error("groups", &error))?;
        let consumers = list.groups().iter().filter(|info| matches!(info.protocol_type(), "consumer" | ""));
        let mut groups = Vec::new();
        for info in consumers {
            let offsets = self.committed(info.name(), &all)?;
            if !offsets.is_empty() || !info.members().is_empty() {
                groups.push(GroupInfo { name: info.name().to_owned(), members: info.members().len(), offsets });
            }
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    pub(super) fn group_lag(&self, group: &str, topics: &[&str]) -> Result<Vec<Lag>> {
        let all = self.partitions(topics)?;
        // offsets first: what is committed meanwhile must not look like a negative lag
        let committed = self.committed(group, &all)?;
        let committed: HashMap<_, _> = committed.into_iter().map(|offset| (offset.tp, offset.offset)).collect();
        let ends = self.topics.ends(&all)?;
        let mut lags: Vec<Lag> = all
            .into_iter()
            .zip(ends)
            .map(|(tp, end)| Lag { next: *committed.get(&tp).unwrap_or(&0), tp, end })
            .collect();
        // only who is behind may be so far behind that records are gone
        let behind: Vec<_> = lags.iter().filter(|lag| lag.records() > 0).map(|lag| lag.tp.clone()).collect();
        let starts = self.topics.starts(&behind)?;
        for (lag, start) in lags.iter_mut().filter(|lag| lag.records() > 0).zip(starts) {
            lag.next = lag.next.max(start);
        }
        Ok(lags)
    }
}

/// Committed offsets and their metadata; waits for transactions that are about to change them.
pub(super) fn committed<C: rdkafka::consumer::ConsumerContext>(
    client: &BaseConsumer<C>,
    group: &str,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<GroupOffset>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for tp in partitions {
        list.add_partition(&tp.topic, tp.partition as i32);
    }
    let asked = format!("offsets of {group}");
    let list = client.committed_offsets(list, timeout).map_err(|error| question_error(&asked, &error))?;
    let mut offsets = Vec::new();
    for entry in list.elements() {
        entry.error().map_err(|error| question_error(&asked, &error))?;
        if let Offset::Offset(offset) = entry.offset() {
            let tp = part(entry.topic(), u32::try_from(entry.partition()).unwrap_or_default());
            offsets.push(GroupOffset { tp, offset: offset as u64, metadata: entry.metadata().to_owned() });
        }
    }
    Ok(offsets)
}

/// The list of the library for offsets to commit. It passes invalid offsets over in silence, and then nothing fences;
/// ours cannot be invalid.
pub(super) fn list_of(offsets: &[GroupOffset]) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for GroupOffset { tp, offset, metadata } in offsets {
        let at = client::signed(*offset)?;
        let mut entry = list.add_partition(&tp.topic, tp.partition as i32);
        entry.set_offset(Offset::Offset(at)).map_err(|error| Error::Fatal(format!("offset of {tp}: {error}")))?;
        entry.set_metadata(metadata);
    }
    Ok(list)
}
