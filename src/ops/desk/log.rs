//! `/log`: how far the log is read and by whom, its topics, and the records of one partition.

use axum::{extract::State, http::Uri, response::Response};
use jiff::civil::DateTime;
use minijinja::{Value, context};

use super::{
    Desk,
    browse::{self, Found, From},
    charts,
    now::trend,
    question::{ask, silent},
    says::{Voice, quoted},
    topics,
    watch::Seen,
};
use crate::{
    domain::{
        OrderId, Timestamp,
        foreign_text::{is_legible, mask_addresses},
        wire,
    },
    eventlog::{self, Error, EventLog, Record, TopicInfo, TopicPartition, partitioner},
    pages::Reader,
    web::{Problem, query_field},
};

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
    /// Whether addresses are shown whole.
    is_plain: bool,
}

impl Query {
    /// Whether the newest records of all partitions are asked for. An order is in one of them.
    fn is_of_all(&self) -> bool {
        let is_order = self.holds.parse::<OrderId>().is_ok();
        self.partition.is_none() && self.at.is_empty() && self.before.is_none() && !is_order
    }
}

/// Where to begin, as it was asked for.
#[derive(Debug, Clone, Copy)]
enum Start {
    Offset(From),
    Time(Timestamp),
}

pub(super) async fn page(State(desk): State<Desk>, reader: Reader, uri: Uri) -> Result<Response, Problem> {
    let field = |name| query_field(&uri, name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let query = Query {
        topic: field("topic"),
        partition: field("partition").and_then(|text| text.parse().ok()),
        at: field("at").unwrap_or_default(),
        before: field("before").and_then(|text| text.parse().ok()),
        holds: field("holds").unwrap_or_default().chars().take(256).collect(),
        is_plain: field("plain").is_some(),
    };
    let seen = desk.look().await?;
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let start = start(&query, voice);
    let is_unclear = start.is_none();
    let topics = topics::look(&desk).await?;
    let keeping = topics::keeping(&desk, &topics).await;
    let newest = match &query.topic {
        Some(topic) if query.is_of_all() => Some(newest(&desk, topic, &query.holds).await?),
        _ => None,
    };
    let of_one = query.topic.clone().filter(|_| newest.is_none());
    let tp = of_one.map(|topic| choose(&topics, topic, query.partition, &query.holds));
    let read = match tp.zip(start) {
        Some((tp, start)) => Some(read(&desk, tp, start, &query.holds).await?),
        None => None,
    };
    let rows = match (&newest, &read) {
        (Some(newest), _) => newest.iter().map(|(tp, record)| row(tp, record, query.is_plain)).collect(),
        (None, Some((tp, found))) => {
            let rows = found.records.iter().map(|record| row(tp, record, query.is_plain));
            // the newest first, unless somebody reads on from somewhere
            if query.at.is_empty() { rows.rev().collect() } else { rows.collect::<Vec<_>>() }
        }
        (None, None) => Vec::new(),
    };
    let values = context! {
        groups => groups(&desk, &seen, voice), topics => topics::rows(&topics, &keeping, voice, &desk),
        command => query.topic.as_deref().map(|topic| format!("encargo log read {} --tail 50", quoted(topic))),
        topic => &query.topic, at => &query.at, holds => &query.holds, is_plain => query.is_plain, is_unclear, rows,
        is_read => newest.is_some() || read.is_some(), is_of_all => newest.is_some(),
        falls_into => falls_into(&desk, &topics, &query),
        partition => read.as_ref().map(|(tp, _)| tp.partition),
        looked => read.as_ref().map(|(_, found)| context! {
            span => span(found.span),
            // where it goes on, towards older records or newer ones
            older => (found.has_more && query.at.is_empty()).then_some(found.span.0),
            newer => (found.has_more && !query.at.is_empty()).then_some(found.span.1),
        }),
    };
    Ok(desk.render("desk/log.html", &reader, "/log", values).await)
}

/// Offsets as they are read, the last one among them; nothing when there are none.
fn span((from, to): (u64, u64)) -> Option<String> {
    match to.checked_sub(from)? {
        0 => None,
        1 => Some(from.to_string()),
        _ => Some(format!("{from}–{}", to - 1)),
    }
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

async fn newest(desk: &Desk, topic: &str, holds: &str) -> Result<Vec<(TopicPartition, Record)>, Problem> {
    let (topic, holds) = (topic.to_owned(), holds.to_owned());
    ask(desk, move |log| browse::newest(log, &topic, &holds)).await.map_err(unread)
}

async fn read(desk: &Desk, tp: TopicPartition, start: Start, holds: &str) -> Result<(TopicPartition, Found), Problem> {
    let (from, holds) = (tp.clone(), holds.to_owned());
    let found = ask(desk, move |log| find(log, &from, start, &holds)).await.map_err(unread)?;
    Ok((tp, found))
}

fn unread(error: Error) -> Problem {
    match error {
        Error::Unknown(what) => Problem::not_found(format!("the log has no topic or partition {what}")),
        error => silent(error),
    }
}

/// Without a partition it is the one that the key falls into.
fn choose(topics: &[TopicInfo], topic: String, partition: Option<u32>, holds: &str) -> TopicPartition {
    let partitions = topics.iter().find(|info| info.name == topic).map_or(1, |info| info.partitions.len() as u32);
    let of_key = || if holds.is_empty() { 0 } else { partitioner::partition_of(holds.as_bytes(), partitions.max(1)) };
    TopicPartition { topic, partition: partition.unwrap_or_else(of_key) }
}

/// Where an order belongs in a topic that holds orders by their numbers, as `{n, p}`.
fn falls_into(desk: &Desk, topics: &[TopicInfo], query: &Query) -> Option<Value> {
    let topic = query.topic.as_ref()?;
    let is_by_order = ["t_orders", "t_states"].contains(&desk.0.deps.watch.topic_word(topic)?);
    let order: OrderId = query.holds.parse().ok().filter(|_| is_by_order)?;
    Some(context! { n => order.get(), p => choose(topics, topic.clone(), None, &order.to_string()).partition })
}

fn find(log: &dyn EventLog, tp: &TopicPartition, start: Start, holds: &str) -> eventlog::Result<Found> {
    let from = match start {
        Start::Offset(from) => from,
        Start::Time(at) => From::Offset(log.offset_at(tp, at)?),
    };
    match browse::browse(log, tp, from, holds) {
        // retention was faster
        Err(Error::Trimmed { start, .. }) => browse::browse(log, tp, From::Offset(start), holds),
        other => other,
    }
}

/// All partitions of each group with their readers.
fn groups(desk: &Desk, seen: &Seen, voice: Voice<'_>) -> Vec<Value> {
    let of_group = |group: &super::Group| {
        let readings = seen.readings.iter().filter(|reading| reading.group == group.word);
        let rows = readings.map(|reading| {
            context! {
                partition => reading.lag.tp.to_string(), topic => &reading.lag.tp.topic, number => reading.lag.tp.partition,
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

/// A record, without whole addresses unless it is shown plainly.
fn row(tp: &TopicPartition, record: &Record, is_plain: bool) -> Value {
    let legible = |text: &str, max| legible(text, max, is_plain);
    let parsed = serde_json::from_slice::<serde_json::Value>(wire::json(&record.value)).ok();
    let field = |name: &str| parsed.as_ref().and_then(|value| value.get(name));
    let (order, estado) =
        (field("orderid").and_then(serde_json::Value::as_u64), field("estado").and_then(serde_json::Value::as_str));
    let pretty = parsed.as_ref().and_then(|value| serde_json::to_string_pretty(value).ok());
    let text = pretty.unwrap_or_else(|| String::from_utf8_lossy(&record.value).into_owned());
    let has_addresses = mask_addresses(&text) != text;
    let (text, is_cut) = legible(&text, TEXT_MAX);
    let headers = record.headers.iter().take(HEADERS_MAX).map(|(name, value)| {
        let (name, value) = (legible(name, HEADER_MAX).0, legible(&String::from_utf8_lossy(value), HEADER_MAX).0);
        context! { name, value }
    });
    let key = record.key.as_deref().map(|key| legible(&String::from_utf8_lossy(key), HEADER_MAX).0);
    context! {
        place => format!("{tp} · {}", record.offset), partition => tp.partition, offset => record.offset, at => record.at.as_millis(), key, order,
        estado => estado.map(|estado| legible(estado, HEADER_MAX).0), text, is_cut, has_addresses, bytes => record.value.len(),
        headers => headers.collect::<Vec<_>>(),
    }
}

/// What can be read of a text, masked unless it is shown plainly, before it is cut, and whether it was cut.
fn legible(text: &str, max: usize, is_plain: bool) -> (String, bool) {
    let text = if is_plain { text.into() } else { mask_addresses(text) };
    let mut chars = text.chars().map(|c| if c == '\n' || is_legible(c) { c } else { '·' });
    let text = chars.by_ref().take(max).collect();
    (text, chars.next().is_some())
}
