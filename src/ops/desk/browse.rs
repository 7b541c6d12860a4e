//! A bounded look at the records of one partition: how far it looked is told, and where it may go on.

use std::collections::VecDeque;

use serde_json::Value;

use crate::{
    domain::wire,
    eventlog::{self, Error, EventLog, Record, TopicPartition},
};

/// Most records that are shown at once.
pub(super) const SHOWN_MAX: usize = 50;
/// Most records that are looked at for them.
const LOOKED_MAX: u64 = 5_000;
/// About as many bytes of them.
const BYTES_MAX: usize = 8 << 20;
/// Offsets that are looked at in one go on the way back, and records that are fetched at once.
const STRIDE: u64 = 1_000;
const BATCH: usize = 64;

/// Which way, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// What comes before this offset, the nearest ones; of the whole partition when there is none.
    Before(Option<u64>),
    /// What comes from this offset on.
    Offset(u64),
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In their order.
    pub(super) records: VecDeque<Record>,
    /// How many were looked at.
    pub(super) looked: u64,
    /// The offsets that were looked at, the second one past the last.
    pub(super) span: (u64, u64),
    /// Whether there may be more that way.
    pub(super) has_more: bool,
    bytes: usize,
    /// Among how many such looks the bounds are shared; none is one.
    shared_by: u32,
}

/// The newest records of all partitions of a topic that hold a text, the newest first. They share the bounds of one look.
pub(super) fn newest(log: &dyn EventLog, topic: &str, holds: &str) -> eventlog::Result<Vec<(TopicPartition, Record)>> {
    let info = log.topic(topic)?.ok_or_else(|| Error::Unknown(topic.to_owned()))?;
    let shared_by = info.partitions.len() as u32;
    let mut newest = Vec::new();
    for (partition, range) in (0..).zip(&info.partitions) {
        let tp = TopicPartition { topic: topic.to_owned(), partition };
        let mut found = Found { span: (range.end, range.end), shared_by, ..Found::default() };
        found.back(log, &tp, range.start, holds)?;
        newest.extend(found.records.into_iter().map(|record| (tp.clone(), record)));
    }
    newest.sort_by_key(|(_, record)| std::cmp::Reverse((record.at, record.offset)));
    newest.truncate(SHOWN_MAX);
    Ok(newest)
}

/// Looks for records that hold a text.
pub(super) fn browse(log: &dyn EventLog, tp: &TopicPartition, from: From, holds: &str) -> eventlog::Result<Found> {
    let unknown = || Error::Unknown(tp.to_string());
    let topic = log.topic(&tp.topic)?.ok_or_else(unknown)?;
    let range = topic.partitions.get(tp.partition as usize).ok_or_else(unknown)?;
    match from {
        From::Offset(offset) => {
            let offset = offset.clamp(range.start, range.end);
            let mut found = Found { span: (offset, offset), ..Found::default() };
            found.forward(log, tp, range.end, holds)?;
            found.has_more = found.span.1 < range.end;
            Ok(found)
        }
        From::Before(offset) => {
            let end = offset.unwrap_or(range.end).clamp(range.start, range.end);
            let mut found = Found { span: (end, end), ..Found::default() };
            found.back(log, tp, range.start, holds)?;
            found.has_more = found.span.0 > range.start;
            Ok(found)
        }
    }
}

impl Found {
    fn is_full(&self) -> bool {
        let parts = self.shared_by.max(1);
        self.records.len() >= SHOWN_MAX
            || self.looked >= LOOKED_MAX / u64::from(parts)
            || self.bytes >= BYTES_MAX / parts as usize
    }

    fn forward(&mut self, log: &dyn EventLog, tp: &TopicPartition, end: u64, holds: &str) -> eventlog::Result<()> {
        if self.span.1 >= end {
            return Ok(());
        }
        let mut reader = log.read(tp, self.span.1)?;
        loop {
            let batch = reader.next(BATCH)?;
            if batch.is_empty() {
                self.span.1 = end; // gaps at the end hold nothing
                return Ok(());
            }
            for record in batch {
                if record.offset >= end {
                    self.span.1 = end;
                    return Ok(());
                }
                if self.is_full() {
                    return Ok(());
                }
                self.span.1 = record.offset + 1;
                self.looked += 1;
                self.bytes += record.size();
                if is_match(&record, holds) {
                    self.records.push_back(record);
                }
            }
        }
    }

    /// A stride at a time; one that holds too much is made smaller.
    fn back(&mut self, log: &dyn EventLog, tp: &TopicPartition, start: u64, holds: &str) -> eventlog::Result<()> {
        let mut width = if holds.is_empty() { SHOWN_MAX as u64 * 2 } else { STRIDE };
        while !self.is_full() && self.span.0 > start {
            let (from, to) = (self.span.0.saturating_sub(width).max(start), self.span.0);
            let mut part = Self { span: (from, from), ..Self::default() };
            while part.span.1 < to && part.bytes < BYTES_MAX {
                let (mut more, seen) = (Self { span: (part.span.1, part.span.1), ..Self::default() }, part.bytes);
                more.bytes = seen;
                more.forward(log, tp, to, holds)?;
                part.records.append(&mut more.records);
                (part.span.1, part.bytes, part.looked) = (more.span.1, more.bytes, part.looked + more.looked);
            }
            if part.span.1 < to && width > 1 {
                width = (width / 8).max(1);
                continue;
            }
            (self.looked, self.bytes, self.span.0) = (self.looked + part.looked, self.bytes + part.bytes, from);
            for record in part.records.into_iter().rev() {
                if self.records.len() == SHOWN_MAX {
                    break;
                }
                self.span.0 = if self.records.len() + 1 == SHOWN_MAX { record.offset } else { from };
                self.records.push_front(record);
            }
        }
        Ok(())
    }
}

/// A number is that of an order; any other text may stand anywhere.
fn is_match(record: &Record, holds: &str) -> bool {
    let key = record.key.as_deref().unwrap_or_default();
    if holds.is_empty() || key == holds.as_bytes() {
        return true;
    }
    if holds.bytes().all(|byte| byte.is_ascii_digit()) {
        let order = serde_json::from_slice::<Value>(wire::json(&record.value))
            .ok()
            .and_then(|value| value.get("orderid").cloned());
        return order.is_some_and(|order| order.as_str().map_or_else(|| order.to_string(), str::to_owned) == holds);
    }
    let is_in = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(holds);
    is_in(key) || is_in(&record.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        domain::{Timestamp, wire::Headers},
        eventlog::{
            NewRecord, TopicSpec,
            memory::{MemoryLog, Options},
        },
    };

    async fn log(values: impl Iterator<Item = String>) -> (impl EventLog, TopicPartition) {
        let log = MemoryLog::new(Clock::manual(Timestamp::from_millis(0)), Options::default());
        log.create(&TopicSpec { name: "t".into(), partitions: 1 }).unwrap();
        let record = |value: String| NewRecord {
            topic: "t".into(),
            partition: Some(0),
            key: None,
            value: value.into(),
            headers: Headers::default(),
            at: Timestamp::from_millis(0),
        };
        log.append(values.map(record).collect()).await.unwrap();
        (log, TopicPartition { topic: "t".into(), partition: 0 })
    }

    #[tokio::test]
    async fn the_newest_of_all_partitions_are_found() {
        let log = MemoryLog::new(Clock::manual(Timestamp::from_millis(0)), Options::default());
        log.create(&TopicSpec { name: "t".into(), partitions: 3 }).unwrap();
        let record = |n: i64| NewRecord {
            topic: "t".into(),
            partition: Some((n % 2) as u32),
            key: None,
            value: format!("record {n}").into(),
            headers: Headers::default(),
            at: Timestamp::from_millis(n),
        };
        log.append((0..200).map(record).collect()).await.unwrap();
        let times = |holds| {
            let newest = newest(&log, "t", holds).unwrap();
            newest.iter().map(|(tp, record)| (tp.partition, record.at.as_millis())).collect::<Vec<_>>()
        };
        assert_eq!(times(""), (150..200).rev().map(|n| ((n % 2) as u32, n)).collect::<Vec<_>>());
        assert_eq!(times("record 17"), (170..180).rev().chain([17]).map(|n| ((n % 2) as u32, n)).collect::<Vec<_>>());
        assert!(matches!(newest(&log, "none", ""), Err(Error::Unknown(_))));
    }

    fn texts(found: &Found) -> Vec<String> {
        found.records.iter().map(|record| String::from_utf8(record.value.clone()).unwrap()).collect()
    }

    #[tokio::test]
    async fn everything_is_found_once_in_either_direction() {
        let (log, tp) = log((0..7_000).map(|n| format!("{{\"orderid\":{}}}", n % 70))).await;
        for (holds, of_all) in [("", 7_000), ("7", 100), ("\"orderid\":69", 100), ("none", 0)] {
            for back in [false, true] {
                let (mut all, mut from) = (0, if back { From::Before(None) } else { From::Offset(0) });
                loop {
                    let found = browse(&log, &tp, from, holds).unwrap();
                    assert!(found.records.len() <= SHOWN_MAX && found.looked <= LOOKED_MAX + STRIDE);
                    all += found.records.len();
                    if !found.has_more {
                        break;
                    }
                    from = if back { From::Before(Some(found.span.0)) } else { From::Offset(found.span.1) };
                }
                assert_eq!(all, of_all, "{holds:?}, back: {back}");
            }
        }
        let newest = browse(&log, &tp, From::Before(None), "69").unwrap();
        assert_eq!((newest.records.len(), newest.records.back().unwrap().offset), (SHOWN_MAX, 6_999));
        assert_eq!(browse(&log, &tp, From::Offset(u64::MAX), "").unwrap().looked, 0, "beyond the end is nothing");
    }

    #[tokio::test]
    async fn large_records_are_looked_at_a_few_at_a_time() {
        let large = "x".repeat(1 << 20);
        let (log, tp) = log((0..30).map(|n| format!("{n} {large}"))).await;
        let first = browse(&log, &tp, From::Offset(0), "").unwrap();
        assert!(first.has_more && first.looked < 12, "{}", first.looked);
        let last = browse(&log, &tp, From::Before(None), "").unwrap();
        assert!(last.has_more && last.looked < 20, "{}", last.looked);
        assert!(texts(&last).last().unwrap().starts_with("29 "));
    }
}
