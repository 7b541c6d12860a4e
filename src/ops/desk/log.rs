//! `/log`: how far the log is read and by whom, its topics, and the records of one partition.

use std::time::Duration;

use axum::{extract::State, http::Uri, response::Response};
use jiff::civil::DateTime;
use minijinja::{Value, context};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    Desk,
    browse::{self, Found, From},
    charts,
    now::trend,
    says::{Voice, quoted},
    watch::Seen,
};
use crate::{
    domain::{
        Timestamp,
        foreign_text::{is_legible, mask_addresses},
    },
    eventlog::{Error, EventLog, Record, TopicInfo, TopicPartition, partitioner},
    pages::Reader,
    web::{Problem, query_field},
};

/// How long a question to the log may take.
const LOG_MAX: Duration = Duration::from_secs(5);
/// How much is shown of a record, in characters.
const TEXT_MAX: usize = 8_000;
/// Most headers of a record that are shown, and how much of each.
const HEADERS_MAX: usize = 20;
const HEADER_MAX: usize = 500;

/// What was asked for.
struct Query {
    topic: Option<String>,
    partition: Option<u32>,
    /// As it was written: an offset, a time, or nothing.
    at: String,
    before: Option<u64>,
    holds: String,
}

/// Where to begin, as it was asked for.
#[derive(Debug, Clone, Copy)]
enum Start {
    Offset(From),
    Time(Timestamp),
}

/// The log at this moment, and what was read of it.
struct Look {
    topics: Vec<TopicInfo>,
    read: Option<(TopicPartition, Found)>,
}

pub(super) async fn page(State(desk): State<Desk>, reader: Reader, uri: Uri) -> Result<Response, Problem> {
    let field = |name| query_field(&uri, name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let query = Query {
        topic: field("topic"),
        partition: field("partition").and_then(|text| text.parse().ok()),
        at: field("at").unwrap_or_default(),
        before: field("before").and_then(|text| text.parse().ok()),
        holds: field("holds").unwrap_or_default().chars().take(256).collect(),
    };
    let seen = desk.look().await?;
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let start = start(&query, voice);
    let is_unclear = start.is_none();
    let look = look(&desk, &query, start).await?;
    let topic = look.read.as_ref().map(|(of, _)| of.topic.clone()).or(query.topic);
    let rows = look.read.as_ref().map(|(of, found)| {
        let mut rows: Vec<_> = found.records.iter().map(|record| row(of, record)).collect();
        if query.at.is_empty() {
            rows.reverse(); // the newest first
        }
        rows
    });
    let values = context! {
        groups => groups(&desk, &seen, voice), topics => look.topics.iter().map(topic_row).collect::<Vec<_>>(),
        command => topic.as_deref().map(|topic| format!("encargo log read {} --tail 50", quoted(topic))),
        topic, at => &query.at, holds => &query.holds, is_unclear, rows,
        partition => look.read.as_ref().map(|(of, _)| of.partition),
        looked => look.read.as_ref().map(|(_, found)| context! {
            n => found.looked, from => found.span.0, to => found.span.1,
            // where it goes on, towards older records or newer ones
            older => (found.has_more && query.at.is_empty()).then_some(found.span.0),
            newer => (found.has_more && !query.at.is_empty()).then_some(found.span.1),
        }),
    };
    Ok(desk.render("desk/log.html", &reader, "/log", Some(&seen), values))
}

/// Nothing when it is neither an offset nor a time.
fn start(query: &Query, voice: Voice<'_>) -> Option<Start> {
    if query.at.is_empty() {
        return Some(Start::Offset(From::Before(query.before)));
    }
    if let Ok(offset) = query.at.parse() {
        return Some(Start::Offset(From::Offset(offset)));
    }
    if let Ok(at) = query.at.parse() {
        return Some(Start::Time(at));
    }
    let local: DateTime = query.at.parse().ok()?;
    let at = voice.site.zone.to_timestamp(local).ok()?;
    Some(Start::Time(Timestamp::from_millis(at.as_millisecond())))
}

/// Asks the log, one page after the other: one that hangs holds one thread.
async fn look(desk: &Desk, query: &Query, start: Option<Start>) -> Result<Look, Problem> {
    let silent = || Problem::unavailable("the log does not answer; nothing is lost, ask again in a moment");
    let log = desk.0.deps.watch.log().ok_or_else(silent)?.clone();
    let (topic, partition, holds) = (query.topic.clone(), query.partition, query.holds.clone());
    let ask = async {
        let turn = desk.0.reading.clone().lock_owned().await;
        let ask = spawn_blocking(move || {
            let _turn = turn;
            let topics = log.topics()?;
            let of = topic.map(|topic| choose(&topics, topic, partition, &holds));
            let read = match (of, start) {
                (Some(of), Some(start)) => Some((of.clone(), read(&*log, &of, start, &holds)?)),
                _ => None,
            };
            Ok(Look { topics, read })
        });
        ask.await
    };
    match timeout(LOG_MAX, ask).await {
        Ok(Ok(Ok(look))) => Ok(look),
        Ok(Ok(Err(Error::Unknown(of)))) => Err(Problem::not_found(format!("the log has no topic or partition {of}"))),
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, "the desk cannot read the log");
            Err(silent())
        }
        Ok(Err(_)) | Err(_) => Err(silent()),
    }
}

/// Without a partition it is the one that the key falls into.
fn choose(topics: &[TopicInfo], topic: String, partition: Option<u32>, holds: &str) -> TopicPartition {
    let partitions = topics.iter().find(|info| info.name == topic).map_or(1, |info| info.partitions.len() as u32);
    let of_key = || if holds.is_empty() { 0 } else { partitioner::partition_of(holds.as_bytes(), partitions.max(1)) };
    TopicPartition { topic, partition: partition.unwrap_or_else(of_key) }
}

fn read(log: &dyn EventLog, of: &TopicPartition, start: Start, holds: &str) -> crate::eventlog::Result<Found> {
    let from = match start {
        Start::Offset(from) => from,
        Start::Time(at) => From::Offset(log.offset_at(of, at)?),
    };
    match browse::browse(log, of, from, holds) {
        // retention was faster
        Err(Error::Trimmed { start, .. }) => browse::browse(log, of, From::Offset(start), holds),
        other => other,
    }
}

/// All partitions of each group with their readers.
fn groups(desk: &Desk, seen: &Seen, voice: Voice<'_>) -> Vec<Value> {
    let of_group = |group: &super::Group| {
        let readings = seen.readings.iter().filter(|reading| reading.group == group.word);
        let rows = readings.map(|reading| {
            context! {
                partition => reading.lag.of.to_string(), topic => &reading.lag.of.topic, number => reading.lag.of.partition,
                behind => voice.seconds(reading.behind), is_behind => reading.is_behind || reading.is_unread,
                records => reading.lag.records(), spark => charts::spark(&reading.past), trend => trend(reading, voice),
                caught_up => reading.caught_up_in.map(|span| voice.seconds(span)), owner => &reading.owner, is_unread => reading.is_unread,
                next => reading.lag.next,
            }
        });
        context! { name => voice.word(group.word), group => &group.name, rows => rows.collect::<Vec<_>>() }
    };
    desk.0.deps.watch.groups().iter().map(of_group).collect()
}

fn topic_row(topic: &TopicInfo) -> Value {
    let partitions = (0..).zip(&topic.partitions).map(|(number, range): (u32, _)| {
        context! { number, start => range.start, end => range.end }
    });
    let kept: u64 = topic.partitions.iter().map(|range| range.end - range.start).sum();
    context! { name => &topic.name, partitions => partitions.collect::<Vec<_>>(), kept }
}

/// A record without whole addresses.
fn row(of: &TopicPartition, record: &Record) -> Value {
    let parsed = serde_json::from_slice::<serde_json::Value>(&record.value).ok();
    let field = |name: &str| parsed.as_ref().and_then(|value| value.get(name));
    let (order, estado) =
        (field("orderid").and_then(serde_json::Value::as_u64), field("estado").and_then(serde_json::Value::as_str));
    let pretty = parsed.as_ref().and_then(|value| serde_json::to_string_pretty(value).ok());
    let text = pretty.unwrap_or_else(|| String::from_utf8_lossy(&record.value).into_owned());
    let (text, is_cut) = legible(&text, TEXT_MAX);
    let headers = record.headers.iter().take(HEADERS_MAX).map(|(name, value)| {
        let (name, value) = (legible(name, HEADER_MAX).0, legible(&String::from_utf8_lossy(value), HEADER_MAX).0);
        context! { name, value }
    });
    let key = record.key.as_deref().map(|key| legible(&String::from_utf8_lossy(key), HEADER_MAX).0);
    context! {
        place => format!("{of} · {}", record.offset), offset => record.offset, at => record.at.as_millis(), key, order,
        estado => estado.map(|estado| legible(estado, HEADER_MAX).0), text, is_cut, bytes => record.value.len(),
        headers => headers.collect::<Vec<_>>(),
    }
}

/// What can be read of a text, masked before it is cut, and whether it was cut.
fn legible(text: &str, max: usize) -> (String, bool) {
    let masked = mask_addresses(text);
    let mut chars = masked.chars().map(|c| if c == '\n' || is_legible(c) { c } else { '·' });
    let text = chars.by_ref().take(max).collect();
    (text, chars.next().is_some())
}
