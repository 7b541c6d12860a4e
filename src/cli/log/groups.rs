use std::{collections::HashMap, iter, sync::Mutex, thread};

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::{
        output::{Out, Tone, explain, plain},
        table::{Cell, Table},
        time,
    },
    clock::Clock,
    domain::Timestamp,
    eventlog::{self, EventLog, GroupInfo, GroupOffset, PartitionRange, TopicPartition},
};

/// Partitions that are looked into at once. On a cluster each takes a connection of its own, which is most of the time it takes.
const READERS: usize = 16;

/// How far a group is behind in a partition.
struct Behind {
    end: u64,
    records: u64,
    /// When the oldest record that it has not committed was written; none when there is no such record.
    since: Option<Timestamp>,
}

pub(super) fn print(log: &dyn EventLog, as_json: bool) -> Result<()> {
    // the groups first: a topic's end read later can only be further on, so that no lag is negative
    let groups = log.groups()?;
    let topics = log.topics()?;
    let mut ranges = HashMap::new();
    for topic in topics {
        for (partition, range) in topic.partitions.into_iter().enumerate() {
            ranges.insert(TopicPartition { topic: topic.name.clone(), partition: partition as u32 }, range);
        }
    }
    let mut behind = all_behind(log, &groups, &ranges)?.into_iter();
    let now = Clock::system().now();
    let mut out = Out::new();
    let mut table =
        Table::new(["GROUP", ">MEMBERS", "TOPIC", ">PARTITION", ">NEXT", ">END", ">LAG", "BEHIND", "OWNER"]);
    for group in &groups {
        let owners: HashMap<_, _> = log.owners(&group.name)?.into_iter().collect();
        for (i, (committed, behind)) in group.offsets.iter().zip(&mut behind).enumerate() {
            let owner = owners.get(&committed.tp).map(String::as_str);
            if as_json {
                out.json(&as_json_line(group, committed, &behind, owner, now))?;
            } else {
                table.row(row(group, committed, &behind, owner, i == 0, now));
            }
        }
        if group.offsets.is_empty() && !as_json {
            let (name, members) = (plain(&group.name).into(), (group.members as u64).into());
            table.row([name, members, "".into(), "".into(), "".into(), "".into(), "".into(), "".into(), "".into()]);
        }
    }
    table.print(&mut out)?;
    out.flush()?;
    if groups.is_empty() {
        explain("No consumer group has committed anything yet.");
    }
    Ok(())
}

/// For all offsets of the groups, in their order.
fn all_behind(
    log: &dyn EventLog,
    groups: &[GroupInfo],
    ranges: &HashMap<TopicPartition, PartitionRange>,
) -> Result<Vec<Behind>> {
    let todo = Mutex::new(groups.iter().flat_map(|group| &group.offsets).enumerate());
    let take = || todo.lock().expect("no panic while it is taken").next();
    let read = || {
        let each = |(i, committed): (usize, &GroupOffset)| Ok((i, behind(log, committed, ranges.get(&committed.tp))?));
        iter::from_fn(take).map(each).collect::<Result<Vec<_>>>()
    };
    let found: Result<Vec<_>> = thread::scope(|scope| {
        let readers: Vec<_> = iter::repeat_with(|| scope.spawn(read)).take(READERS).collect();
        readers.into_iter().map(|reader| reader.join().expect("no panic")).collect()
    });
    let mut found: Vec<_> = found?.into_iter().flatten().collect();
    found.sort_unstable_by_key(|(i, _)| *i);
    Ok(found.into_iter().map(|(_, behind)| behind).collect())
}

fn behind(log: &dyn EventLog, committed: &GroupOffset, range: Option<&PartitionRange>) -> Result<Behind> {
    let GroupOffset { tp, offset, .. } = committed;
    let end = range.map_or(*offset, |range| range.end);
    let records = end.saturating_sub(*offset);
    let since = if records == 0 { None } else { first_at(log, tp, *offset)? };
    Ok(Behind { end, records, since })
}

/// When the first record from an offset on was written. What counts as lag on a cluster may be no record at all.
fn first_at(log: &dyn EventLog, tp: &TopicPartition, from: u64) -> Result<Option<Timestamp>> {
    let reader = match log.read(tp, from) {
        Err(eventlog::Error::Trimmed { start, .. }) => log.read(tp, start),
        other => other,
    };
    Ok(reader?.next(1)?.first().map(|record| record.at))
}

fn seconds(behind: &Behind, now: Timestamp) -> f64 {
    behind.since.map_or(0.0, |since| now.since(since).as_secs_f64())
}

/// How far a group has read a partition, for programs.
#[derive(Serialize)]
struct GroupJson<'a> {
    group: &'a str,
    members: usize,
    topic: &'a str,
    partition: u32,
    /// The offset of the next record that it reads.
    offset: u64,
    /// The offset of the next record that is written.
    end: u64,
    /// Records between them.
    lag: u64,
    /// How long the oldest of these has waited.
    lag_seconds: f64,
    /// The member that reads the partition.
    owner: Option<&'a str>,
    /// What the group has written down beside the offset.
    metadata: &'a str,
}

fn as_json_line<'a>(
    group: &'a GroupInfo,
    committed: &'a GroupOffset,
    behind: &Behind,
    owner: Option<&'a str>,
    now: Timestamp,
) -> GroupJson<'a> {
    GroupJson {
        group: &group.name,
        members: group.members,
        topic: &committed.tp.topic,
        partition: committed.tp.partition,
        offset: committed.offset,
        end: behind.end,
        lag: behind.records,
        lag_seconds: seconds(behind, now),
        owner,
        metadata: &committed.metadata,
    }
}

fn row(
    group: &GroupInfo,
    committed: &GroupOffset,
    behind: &Behind,
    owner: Option<&str>,
    is_first: bool,
    now: Timestamp,
) -> [Cell; 9] {
    let tone = if behind.since.is_none() { Tone::Good } else { Tone::Busy };
    let age = behind.since.map_or_else(|| "-".to_owned(), |since| time::span(now.since(since)));
    [
        if is_first { plain(&group.name) } else { String::new() }.into(),
        if is_first { group.members.to_string() } else { String::new() }.into(),
        plain(&committed.tp.topic).into(),
        u64::from(committed.tp.partition).into(),
        committed.offset.into(),
        behind.end.into(),
        Cell::from(behind.records).tone(tone),
        Cell::from(age).tone(tone),
        plain(owner.unwrap_or("-")).into(),
    ]
}
