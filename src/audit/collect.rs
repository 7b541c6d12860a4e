use std::{
    collections::{BTreeMap, hash_map::Entry},
    fs,
    io::BufRead,
    path::Path,
};

use anyhow::{Context, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{Commanded, Counts, Event, Facts, Mail, Placed, View, lines::Lines, refused::Refused};
use crate::{
    domain::{Timestamp, wire},
    eventlog::{EventLog, Record, TopicPartition},
    files,
    store::{Store, ledger::MailStatus, mails::MailEntry, orders::Query},
};

/// Where the facts are.
pub struct Sources<'a> {
    /// The event log.
    pub log: &'a dyn EventLog,
    /// The store.
    pub store: &'a dyn Store,
    /// The orders' topic.
    pub orders: &'a str,
    /// The states' topic.
    pub states: &'a str,
    /// The dead letters' topic.
    pub dead: &'a str,
    /// The topic of the flows, where each order is judged by the one that it began with; `None`: all by the same rules.
    pub flows: Option<&'a str>,
}

/// Orders read from the store at a time.
const PAGE: usize = 1_000;
/// Records read from the log at a time.
const READ_MAX: usize = 10_000;

/// Reads log and store; acknowledgements and mails come from elsewhere.
pub async fn collect(sources: Sources<'_>) -> Result<Facts> {
    let mut facts = Facts::default();
    let mut refused = Refused::default();
    read_topic(sources.log, sources.dead, |_, record| refused.note(&record))?;
    let refused = refused.merged();
    facts.dead = refused.count();
    let mut in_avro = 0_u64;
    read_topic(sources.log, sources.orders, |partition, record| {
        if refused.holds(sources.orders, partition, record.offset) {
            return; // judged where it went: among the dead letters
        }
        match said(&record) {
            Some(value) => facts.orders.extend(placed(&value, "orderid", "gameid", "usermail")),
            None => in_avro += u64::from(wire::Framed::read(&record.value).is_some()),
        }
    })?;
    anyhow::ensure!(
        in_avro == 0,
        "{in_avro} orders on {} bear the number of a schema and are not JSON; the auditor reads no Avro, so it cannot judge them",
        sources.orders
    );
    let (mut lines, mut unreadable) = (read_lines(&sources)?, 0_u64);
    read_topic(sources.log, sources.states, |partition, record| {
        let value = said(&record);
        let event = value.as_ref().and_then(|value| event(partition, &record, value));
        let (Some(event), Some(value)) = (event, value) else {
            unreadable += 1;
            return;
        };
        if let Entry::Vacant(place) = facts.lines.entry(event.id)
            && let Some(line) = lines.of(&value)
        {
            place.insert(line);
        }
        facts.events.push(event);
    })?;
    anyhow::ensure!(unreadable == 0, "{unreadable} records of {} cannot be read", sources.states);
    facts.views = read_views(sources.store).await?;
    let counts = sources.store.order_counts().await?;
    facts.counts = Some(Counts { total: counts.total, finished: counts.finished, cancelled: counts.cancelled });
    facts.repeats_counted = sources.store.ledger_counts().await?.repeated;
    Ok(facts)
}

pub(super) fn read_topic(log: &dyn EventLog, topic: &str, mut each: impl FnMut(u32, Record)) -> Result<()> {
    let info = log.topic(topic)?.with_context(|| format!("no topic {topic}"))?;
    for (partition, range) in info.partitions.iter().enumerate() {
        let tp = TopicPartition { topic: topic.to_owned(), partition: partition as u32 };
        let mut reader = log.read(&tp, range.start)?;
        loop {
            let records = reader.next(READ_MAX)?;
            if records.is_empty() {
                break;
            }
            for record in records {
                each(tp.partition, record);
            }
        }
    }
    Ok(())
}

/// The flows in use; none where there is no topic of them, as in a log from before there was one.
fn read_lines(sources: &Sources<'_>) -> Result<Lines> {
    let mut lines = Lines::default();
    if let Some(topic) = sources.flows
        && sources.log.topic(topic)?.is_some()
    {
        read_topic(sources.log, topic, |_, record| lines.take(&record))?;
    }
    Ok(lines)
}

fn placed(value: &Value, id: &str, product: &str, email: &str) -> Option<Placed> {
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    Some(Placed { id: value.get(id)?.as_u64()?, product: text(product)?, email: text(email)? })
}

/// What a record says: its value, or what a whole CloudEvent in that carries.
fn said(record: &Record) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(wire::json(&record.value)).ok()?;
    let media = record.headers.text("content-type").unwrap_or_default().to_ascii_lowercase();
    if !media.starts_with("application/cloudevents+json") {
        return Some(value);
    }
    match value.get("data_base64").and_then(Value::as_str) {
        Some(text) => serde_json::from_slice(&BASE64_STANDARD.decode(text).ok()?).ok(),
        None => value.get_mut("data").map(Value::take),
    }
}

fn event(partition: u32, record: &Record, value: &Value) -> Option<Event> {
    let at = match value.get("at") {
        Some(at) => at.as_str()?.parse::<Timestamp>().ok()?,
        None => record.at,
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let next_at = value.get("next_at").map(|due| due.as_str()?.parse::<Timestamp>().ok());
    Some(Event {
        position: (partition, record.offset),
        id: value.get("orderid")?.as_u64()?,
        estado: text("estado")?,
        at: at.as_millis(),
        to: text("usermail")?,
        is_mailed: text("mail").map_or_else(|| text("change").is_none(), |template| !template.is_empty()),
        seq: value.get("seq").and_then(Value::as_u64).filter(|seq| *seq > 0),
        change: text("change"),
        next_at: match next_at {
            Some(due) => Some(due?.as_millis()),
            None => None,
        },
        waits: text("waits"),
        closes: text("closes"),
        command: text("command"),
    })
}

async fn read_views(store: &dyn Store) -> Result<BTreeMap<u64, View>> {
    let mut views = BTreeMap::new();
    let mut below = None;
    loop {
        let page = store.orders(Query { below, limit: PAGE, ..Query::default() }).await?;
        let Some(last) = page.last() else { return Ok(views) };
        below = Some(last.order.id);
        for view in page {
            let id = view.order.id;
            let (view, history) = store.order(id).await?.with_context(|| format!("order {id} vanished"))?;
            let mails = store.mails_of(id).await?;
            let about = |is_one: fn(&MailEntry) -> bool| {
                mails.iter().filter(|mail| is_one(mail)).map(|mail| mail.estado.to_string()).collect()
            };
            let dropped = about(|mail| mail.status == MailStatus::Dropped);
            let unanswered =
                about(|mail| mail.ambiguous && matches!(mail.status, MailStatus::Dropped | MailStatus::Dead));
            let history = history.iter().map(|entry| (entry.estado.to_string(), entry.at.as_millis())).collect();
            views.insert(id.get(), View { estado: view.estado.to_string(), history, dropped, unanswered });
        }
    }
}

/// Reads what clients were told of orders: a line of JSON per acknowledgement, with `orderid`, `product` and `email`.
pub fn read_acknowledged(path: &Path) -> Result<Vec<Placed>> {
    read_json(path, "an acknowledgement", |_, value| placed(&value, "orderid", "product", "email"))
}

/// Reads what clients were told of commands: a line of JSON per command, with `orderid`, `command` and `done`.
pub fn read_commanded(path: &Path) -> Result<Vec<Commanded>> {
    read_json(path, "what became of a command", |_, value| serde_json::from_value(value).ok())
}

/// The lines of a file of JSON; `what` says for an error what each of them is.
fn read_json<T>(path: &Path, what: &str, parse: impl Fn(u64, Value) -> Option<T>) -> Result<Vec<T>> {
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let lines = (0..).zip(std::io::BufReader::new(file).lines());
    lines
        .map(|(number, line)| {
            let value = serde_json::from_str(&line?).ok().and_then(|value| parse(number, value));
            value.with_context(|| format!("{}:{}: not {what}", path.display(), number + 1))
        })
        .collect()
}

/// Reads a Maildir, new and seen mails alike. It keeps no order of arrival.
pub fn read_maildir(path: &Path) -> Result<Vec<Mail>> {
    let mut mails = Vec::new();
    for folder in ["new", "cur"] {
        let folder = path.join(folder);
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let file = entry?.path();
            let text = String::from_utf8_lossy(&files::read_regular(&file, u64::MAX)?).into_owned();
            mails.push(parse_mail(&text).with_context(|| format!("{} lacks its headers", file.display()))?);
        }
    }
    Ok(mails)
}

/// Reads what an SMTP server noted, in its order of arrival: a line of JSON per mail, with `id`, `estado`, `message_id`
/// and `to`.
pub fn read_mails(path: &Path) -> Result<Vec<Mail>> {
    read_json(path, "a mail", |number, value| noted(&value, number))
}

fn noted(value: &Value, arrival: u64) -> Option<Mail> {
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    Some(Mail {
        id: value.get("id")?.as_u64()?,
        estado: text("estado")?,
        message_id: text("message_id")?,
        to: text("to")?,
        is_link: text("estado")?.is_empty(),
        arrival: Some(arrival),
    })
}

/// Reads a mail by its headers; its place in the order of arrival is known elsewhere.
pub fn parse_mail(text: &str) -> Option<Mail> {
    let (head, _) = text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n"))?;
    let head = head.replace("\r\n", "\n").replace("\n\t", " ").replace("\n ", " "); // folded lines
    let header = |name: &str| {
        let mut lines = head.lines();
        let line = lines.find(|line| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name))?;
        line[name.len()..].strip_prefix(':').map(str::trim)
    };
    let to = header("To")?;
    let to = to.rsplit_once('<').map_or(to, |(_, address)| address.trim_end_matches('>'));
    let is_link = header("X-Order-Mail") == Some("link");
    Some(Mail {
        id: header("X-Order-Id")?.parse().ok()?,
        estado: if is_link { String::new() } else { header("X-Order-State")?.to_owned() },
        is_link,
        message_id: header("Message-ID")?.to_owned(),
        to: to.to_owned(),
        arrival: None,
    })
}
