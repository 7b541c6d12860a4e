//! What the topics and groups hold, read from their beginning.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::Result;

use crate::{
    config::Config,
    domain::{Flow, OrderId, Timestamp, wire},
    eventlog::{EventLog, GroupInfo, Record, TopicPartition},
    forward, fulfilment, tracking,
};

/// Records read at a time.
const READ_MAX: usize = 10_000;
/// States are told a little after the time that they name.
const MARGIN: Duration = Duration::from_secs(10);

/// The members at work, by name.
#[derive(Debug, Default)]
pub(super) struct Who {
    pub(super) processing: Vec<String>,
    pub(super) notifications: Vec<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Topics of the settings that are not there.
    pub(super) missing: Vec<String>,
    pub(super) old: Who,
    pub(super) ours: Who,
    /// The highest id of an order.
    pub(super) highest_id: u64,
    /// The id that our intake would give next.
    pub(super) next_id: u64,
    /// Ids under which two different orders stand.
    pub(super) ids_given_twice: u64,
    /// Whether the newest order came from an old intake, or there is none and ours never gave an id.
    pub(super) takes_old_orders: bool,
    pub(super) queued: u64,
    pub(super) in_flight: u64,
    pub(super) finished: u64,
    /// States that an old service mailed and that tracking, with the settings as they are, would mail when it starts.
    pub(super) mailed_twice: u64,
    /// From when on ours have to mail, so that no state is left out.
    pub(super) mail_since: Option<Timestamp>,
    pub(super) forwards: bool,
    pub(super) unreadable: u64,
}

impl Survey {
    /// Reads everything that the topics hold.
    pub(super) fn take(log: &dyn EventLog, config: &Config) -> Result<Self> {
        let topics = &config.topics;
        let old_states = topics.forward_states.as_ref().unwrap_or(&topics.states);
        let mut survey = Self { forwards: topics.forward_states.is_some(), ..Self::default() };
        for name in
            [&topics.orders, &topics.states, &topics.dead, &topics.ids].into_iter().chain(&topics.forward_states)
        {
            if log.topic(name)?.is_none() {
                survey.missing.push(name.clone());
            }
        }
        let groups = log.groups()?;
        survey.members(log, &groups, &topics.orders, old_states)?;
        let mut states = vec![&topics.states];
        states.extend(&topics.forward_states);
        let mut orders = Orders::default();
        orders.read(log, &topics.orders, &states, &config.flow()?)?;
        // after the orders, which may go on arriving: each of ours has a number from before
        survey.next_id = end(log, &topics.ids)? + 1;
        survey.count(&orders);
        survey.mails(log, &groups, config, old_states)?;
        Ok(survey)
    }

    fn members(&mut self, log: &dyn EventLog, groups: &[GroupInfo], orders: &str, old_states: &str) -> Result<()> {
        for group in groups.iter().filter(|group| group.members > 0) {
            let who = if is_ours(&group.name) { &mut self.ours } else { &mut self.old };
            for (tp, member) in log.owners(&group.name)? {
                let member = if is_ours(&group.name) { member } else { format!("{member} in group {}", group.name) };
                let list = match &group.name {
                    name if name == forward::GROUP => continue,
                    name if name == fulfilment::GROUP => &mut who.processing,
                    name if name == tracking::GROUP => &mut who.notifications,
                    _ if tp.topic == orders => &mut who.processing,
                    _ if tp.topic == old_states => &mut who.notifications,
                    _ => continue,
                };
                if !list.contains(&member) {
                    list.push(member);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, orders: &Orders) {
        self.highest_id = orders.highest_id;
        self.unreadable = orders.unreadable;
        let mut ids = HashSet::new();
        let mut twice = HashSet::new();
        for ((id, _), seq) in &orders.reached {
            if !ids.insert(*id) {
                twice.insert(*id);
            }
            match *seq {
                0 => self.queued += 1,
                seq if seq >= orders.last_seq => self.finished += 1,
                _ => self.in_flight += 1,
            }
        }
        self.ids_given_twice = twice.len() as u64;
        self.takes_old_orders = match &orders.newest {
            Some((_, is_ours)) => !is_ours,
            None => self.next_id == 1,
        };
    }

    /// What an old service has mailed, and what it has not: its group says how far it came.
    fn mails(&mut self, log: &dyn EventLog, groups: &[GroupInfo], config: &Config, old_states: &str) -> Result<()> {
        let committed = |tp: &TopicPartition, is: fn(&str) -> bool| {
            let offsets = groups.iter().filter(|group| is(&group.name)).flat_map(|group| &group.offsets);
            offsets.filter(|offset| offset.tp == *tp).map(|offset| offset.offset).max()
        };
        let (mut told, mut left): (Option<Timestamp>, Option<Timestamp>) = (None, None);
        let mut mailed = HashSet::new();
        for tp in partitions(log, old_states)? {
            let notified = committed(&tp, |name| !is_ours(name)).unwrap_or(0);
            each(log, &tp, |record| {
                let Ok(event) = wire::decode_event(&record.value, &record.headers, record.at) else { return };
                if record.offset < notified {
                    told = told.max(Some(event.at));
                    mailed.insert((event.order.id, event.order.fingerprint(), event.estado.to_string()));
                } else {
                    left = Some(left.map_or(event.at, |first| first.min(event.at)));
                }
            })?;
        }
        let Some(told) = told else { return Ok(()) };
        for tp in self.own(log, config)? {
            let forwarded = committed(&tp, |name| name == forward::GROUP).unwrap_or(0);
            each(log, &tp, |record| {
                if let Ok(event) = wire::decode_event(&record.value, &record.headers, record.at)
                    && record.offset >= forwarded
                {
                    left = Some(left.map_or(event.at, |first| first.min(event.at)));
                }
            })?;
        }
        let until = told - MARGIN;
        self.mail_since = Some(left.map_or(until, |first| first.min(until)));
        self.mailed_twice = would_mail(log, config, &mailed, |tp| committed(tp, |name| name == tracking::GROUP))?;
        Ok(())
    }

    /// The partitions of a topic of states that only ours write to.
    fn own(&self, log: &dyn EventLog, config: &Config) -> Result<Vec<TopicPartition>> {
        if self.forwards { partitions(log, &config.topics.states) } else { Ok(Vec::new()) }
    }
}

/// How many of the mailed states tracking has not read yet, and would mail.
fn would_mail(
    log: &dyn EventLog,
    config: &Config,
    mailed: &HashSet<(OrderId, u64, String)>,
    read: impl Fn(&TopicPartition) -> Option<u64>,
) -> Result<u64> {
    let mut twice = HashSet::new();
    let all = [Some(&config.topics.states), config.topics.forward_states.as_ref()];
    for topic in all.into_iter().flatten() {
        for tp in partitions(log, topic)? {
            let next = read(&tp).unwrap_or(0);
            each(log, &tp, |record| {
                if record.offset < next || wire::is_forwarded(&record.headers) {
                    return;
                }
                if let Ok(event) = wire::decode_event(&record.value, &record.headers, record.at)
                    && config.mail.since.is_none_or(|since| event.at >= since)
                {
                    let mail = (event.order.id, event.order.fingerprint(), event.estado.to_string());
                    if mailed.contains(&mail) {
                        twice.insert(mail);
                    }
                }
            })?;
        }
    }
    Ok(twice.len() as u64)
}

fn is_ours(group: &str) -> bool {
    group.starts_with("encargo-")
}

/// The orders that the topics tell of.
#[derive(Default)]
struct Orders {
    /// How far each came; 0: no state.
    reached: HashMap<(OrderId, u64), u8>,
    highest_id: u64,
    last_seq: u8,
    /// When the newest was placed, and whether with our intake, whose records alone have a key.
    newest: Option<(Timestamp, bool)>,
    unreadable: u64,
}

impl Orders {
    fn read(&mut self, log: &dyn EventLog, orders: &str, states: &[&String], flow: &Flow) -> Result<()> {
        self.last_seq = flow.last_seq();
        for tp in partitions(log, orders)? {
            each(log, &tp, |record| match wire::decode_order(&record.value, &record.headers, record.at) {
                Ok(order) => {
                    self.highest_id = self.highest_id.max(order.id.get());
                    self.newest = self.newest.max(Some((order.placed_at, record.key.is_some())));
                    self.reached.entry((order.id, order.fingerprint())).or_insert(0);
                }
                Err(_) => self.unreadable += 1,
            })?;
        }
        for tp in states.iter().map(|topic| partitions(log, topic)).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            each(log, &tp, |record| match wire::decode_event(&record.value, &record.headers, record.at) {
                Ok(event) => {
                    self.highest_id = self.highest_id.max(event.order.id.get());
                    let seq = event.seq;
                    let reached = self.reached.entry((event.order.id, event.order.fingerprint())).or_insert(0);
                    *reached = seq.max(*reached);
                }
                Err(_) => self.unreadable += 1,
            })?;
        }
        Ok(())
    }
}

/// The highest id of an order in a topic of orders or of states; 0 when there is none.
#[cfg(feature = "kafka")]
pub(in crate::cli) fn highest_id(log: &dyn EventLog, config: &Config) -> Result<u64> {
    let topics = &config.topics;
    let states: Vec<&String> = [&topics.states].into_iter().chain(&topics.forward_states).collect();
    let mut orders = Orders::default();
    orders.read(log, &topics.orders, &states, &config.flow()?)?;
    Ok(orders.highest_id)
}

fn partitions(log: &dyn EventLog, topic: &str) -> Result<Vec<TopicPartition>> {
    let count = log.topic(topic)?.map_or(0, |info| info.partitions.len() as u32);
    Ok((0..count).map(|partition| TopicPartition { topic: topic.to_owned(), partition }).collect())
}

fn end(log: &dyn EventLog, topic: &str) -> Result<u64> {
    Ok(log.topic(topic)?.and_then(|info| info.partitions.first().map(|range| range.end)).unwrap_or(0))
}

/// Every record that a partition holds now.
fn each(log: &dyn EventLog, tp: &TopicPartition, mut take: impl FnMut(Record)) -> Result<()> {
    let Some(range) = log.topic(&tp.topic)?.and_then(|info| info.partitions.get(tp.partition as usize).copied()) else {
        return Ok(());
    };
    let mut reader = log.read(tp, range.start)?;
    loop {
        let records = reader.next(READ_MAX)?;
        // what is written meanwhile has no end
        let reached = records.last().is_none_or(|last| last.offset + 1 >= range.end);
        records.into_iter().filter(|record| record.offset < range.end).for_each(&mut take);
        if reached {
            return Ok(());
        }
    }
}
