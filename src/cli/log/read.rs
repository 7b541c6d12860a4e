use std::{borrow::Cow, collections::VecDeque, time::Duration};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{
        Settings,
        flags::LogFlag,
        open,
        output::{Out, Tone, bytes_as_json, explain, plain},
        time,
    },
    clock::Clock,
    domain::{Timestamp, wire},
    eventlog::{self, EventLog, PartitionRange, Reader, Record, TopicPartition},
};

/// How often `--follow` looks for new records.
const POLL: Duration = Duration::from_millis(200);
/// Records fetched at once from a partition.
const BATCH: usize = 256;

#[derive(Debug, Args)]
pub(in crate::cli) struct Read {
    /// Topic; `encargo log topics` lists them
    topic: String,
    /// Only this partition
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
    /// Begin at this offset in each partition [default: the first that is kept]
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Begin with the last N records of each partition
    #[arg(long, value_name = "N", conflicts_with = "from")]
    tail: Option<u64>,
    /// Stop after N records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Wait for new records; Ctrl-C ends it
    #[arg(long, short)]
    follow: bool,
    /// Show the headers as well (JSON always has them)
    #[arg(long)]
    headers: bool,
    /// Print one line of JSON per record
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: LogFlag,
}

/// A partition that is being read, with what was fetched of it.
struct Source {
    tp: TopicPartition,
    reader: Box<dyn Reader>,
    fetched: VecDeque<Record>,
}

impl Read {
    pub(super) async fn run(self, settings: &Settings) -> Result<()> {
        let log = open::log(&settings.load(&self.log.settings())?.config)?;
        let mut sources = self.sources(log.as_ref())?;
        let mut out = Out::new();
        let clock = Clock::system();
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut none = true;
        loop {
            while left > 0
                && let Some((tp, record)) = earliest(&mut sources)?
            {
                self.print(&mut out, &tp, &record)?;
                (left, none) = (left - 1, false);
            }
            out.flush()?;
            if !self.follow || left == 0 {
                break;
            }
            clock.sleep(POLL).await;
        }
        if none && left > 0 {
            explain("No records.");
        }
        Ok(())
    }

    fn sources(&self, log: &dyn EventLog) -> Result<Vec<Source>> {
        let Some(topic) = log.topic(&self.topic)? else {
            let names: Vec<_> = log.topics()?.into_iter().map(|topic| topic.name).collect();
            bail!("there is no topic {:?}; there are {}", self.topic, names.join(", "));
        };
        let wanted = |partition: u32| self.partition.is_none_or(|only| only == partition);
        let mut sources = Vec::new();
        for (partition, range) in (0..).zip(&topic.partitions).filter(|(partition, _)| wanted(*partition)) {
            let tp = TopicPartition { topic: self.topic.clone(), partition };
            let reader = match log.read(&tp, self.start(*range)) {
                // retention was faster
                Err(eventlog::Error::Trimmed { start, .. }) => log.read(&tp, start)?,
                other => other?,
            };
            sources.push(Source { tp, reader, fetched: VecDeque::new() });
        }
        if sources.is_empty() {
            bail!("topic {:?} has partitions 0 to {}", self.topic, topic.partitions.len() - 1);
        }
        Ok(sources)
    }

    fn start(&self, range: PartitionRange) -> u64 {
        match (self.from, self.tail) {
            (Some(from), _) => from.max(range.start),
            (_, Some(tail)) => range.end.saturating_sub(tail).max(range.start),
            _ => range.start,
        }
    }

    fn print(&self, out: &mut Out, tp: &TopicPartition, record: &Record) -> Result<()> {
        if self.json {
            return out.json(&RecordJson::new(tp, record));
        }
        let place = out.paint(Tone::Bold, &format!("{}/{}", tp.partition, record.offset));
        let at = out.paint(Tone::Dim, &time::full(record.at));
        let key = record.key.as_deref().map_or(Cow::Borrowed("-"), String::from_utf8_lossy);
        out.line(&format!("{place}  {at}  key {}", plain(&key)))?;
        if self.headers {
            for (name, value) in record.headers.iter() {
                let text = format!("  {}: {}", plain(name), plain(&String::from_utf8_lossy(value)));
                out.line(&out.paint(Tone::Dim, &text))?;
            }
        }
        let value = wire::json(&record.value);
        if let Some(framed) = wire::Framed::read(&record.value) {
            out.line(&out.paint(Tone::Dim, &format!("  schema {}", framed.schema)))?;
        }
        out.line(&format!("  {}", plain(&String::from_utf8_lossy(value))))
    }
}

/// The record with the earliest time among the partitions' next ones; each partition stays in its order.
fn earliest(sources: &mut [Source]) -> Result<Option<(TopicPartition, Record)>> {
    for source in &mut *sources {
        if source.fetched.is_empty() {
            source.fetched.extend(source.reader.next(BATCH)?);
        }
    }
    let next = sources.iter_mut().filter(|source| !source.fetched.is_empty());
    let first = next.min_by_key(|source| source.fetched.front().map(|record| record.at));
    Ok(first.and_then(|source| Some((source.tp.clone(), source.fetched.pop_front()?))))
}

/// A record for programs: text as text, a JSON value as JSON, other bytes as a list of numbers.
#[derive(Serialize)]
struct RecordJson<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    at: Timestamp,
    key: Option<Value>,
    headers: Vec<(&'a str, Value)>,
    /// The number that a serialiser put before the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
    value: Value,
}

impl<'a> RecordJson<'a> {
    fn new(tp: &'a TopicPartition, record: &'a Record) -> Self {
        Self {
            topic: &tp.topic,
            partition: tp.partition,
            offset: record.offset,
            at: record.at,
            key: record.key.as_deref().map(bytes_as_json),
            headers: record.headers.iter().map(|(name, value)| (name, bytes_as_json(value))).collect(),
            schema: wire::Framed::read(&record.value).map(|framed| framed.schema),
            value: serde_json::from_slice(wire::json(&record.value)).unwrap_or_else(|_| bytes_as_json(&record.value)),
        }
    }
}
