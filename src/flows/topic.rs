//! The versions in use, in the log: a topic of one partition, so that every instance knows them, and an order can go on
//! under the version that it began with whatever the files say by then.
//!
//! A record holds one version: its key is `name@version`, its value the whole flow as JSON. The first record of a version
//! counts. A later one with the same content changes nothing; one with other content lost a race against the first, and
//! whoever wrote it was told so.

use std::{collections::HashMap, sync::Arc};

use tracing::warn;

use crate::{
    domain::{Flow, Timestamp, wire::Headers},
    eventlog::{self, EventLog, NewRecord, Record, TopicPartition},
};

/// The header that tells where a version was read from.
const FROM: &str = "encargo_from";
/// Records read at a time.
const READ_MAX: usize = 1_000;
/// Most times that a version which another instance has just taken is tried again under the next number.
const TRIES_MAX: u32 = 100;

/// What can go wrong with the versions in the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One version would mean two things.
    #[error(
        "{ours} and {topic}/0 at offset {offset} (from {theirs}) differ in what version {version} of the flow {name} is, and \
         one version cannot mean two things: give the changed flow a higher version"
    )]
    Conflict {
        /// The flow. Not as `name@version`: logs would hide what looks like an address.
        name: String,
        /// Its version.
        version: u32,
        /// Where ours comes from.
        ours: String,
        /// The topic of the versions.
        topic: String,
        /// Where the other one stands in it.
        offset: u64,
        /// Where that comes from.
        theirs: String,
    },
    /// A version that this program does not understand.
    #[error("the flow in {topic}/0 at offset {offset} was written by a newer Encargo: upgrade this one ({reason})")]
    Newer {
        /// The topic of the versions.
        topic: String,
        /// Where it stands in it.
        offset: u64,
        /// What is not understood.
        reason: String,
    },
    /// Other instances take one number after the other.
    #[error("no version of the flow {0} is free: too many instances with different settings start at the same time")]
    Crowded(String),
    /// The log failed.
    #[error("cannot read the versions of flows in {topic}")]
    Log {
        /// The topic of the versions.
        topic: String,
        /// Why.
        source: eventlog::Error,
    },
}

/// Versions by name and number.
#[derive(Debug, Clone, Default)]
pub struct Versions(HashMap<Arc<str>, Known>);

#[derive(Debug, Clone)]
struct Known {
    flow: Arc<Flow>,
    offset: u64,
    from: String,
}

/// A flow that an instance is started with, and where it comes from.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The flow.
    pub flow: Flow,
    /// Its file, or that it comes from the settings, and of which instance; for whoever finds another one.
    pub from: String,
    /// Whether it says its version itself. Settings do not: what they say gets the next number when it changes.
    pub is_numbered: bool,
}

impl Versions {
    /// The version that an event names, `name@version`.
    pub fn get(&self, id: &str) -> Option<&Arc<Flow>> {
        self.0.get(id).map(|known| &known.flow)
    }

    /// The newest version of a name: new orders begin under it.
    pub fn newest(&self, name: &str) -> Option<&Arc<Flow>> {
        let flows = self.0.values().map(|known| &known.flow);
        flows.filter(|flow| flow.name() == name).max_by_key(|flow| flow.version())
    }

    /// All of them, in the order in which they came to the log.
    pub fn all(&self) -> Vec<&Arc<Flow>> {
        let mut all: Vec<&Known> = self.0.values().collect();
        all.sort_by_key(|known| known.offset);
        all.into_iter().map(|known| &known.flow).collect()
    }

    /// What is still to be written so that a flow can be used: `None` when it is there, with the same content.
    fn missing(&self, configured: &Configured, topic: &str) -> Result<Option<Flow>, Error> {
        let Configured { flow, from, is_numbered } = configured;
        if !is_numbered {
            let Some(newest) = self.newest(flow.name()) else { return Ok(Some(flow.clone())) };
            let is_same = newest.fingerprint() == flow.fingerprint();
            return Ok((!is_same).then(|| flow.with_version(newest.version().saturating_add(1))));
        }
        match self.0.get(&flow.id()) {
            None => Ok(Some(flow.clone())),
            Some(known) if *known.flow == *flow => Ok(None),
            Some(known) => Err(Error::Conflict {
                name: flow.name().to_owned(),
                version: flow.version(),
                ours: from.clone(),
                topic: topic.to_owned(),
                offset: known.offset,
                theirs: known.from.clone(),
            }),
        }
    }

    /// Takes a record of the topic; `false` when it is none of ours: anybody can write there.
    fn take(&mut self, record: &Record, topic: &str) -> Result<bool, Error> {
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        let flow = match Flow::from_json(&record.value) {
            Ok(flow) if &*flow.id() == key => flow,
            Err(reason) if is_named(&record.value, key) => {
                let (topic, reason) = (topic.to_owned(), reason.to_string());
                return Err(Error::Newer { topic, offset: record.offset, reason });
            }
            _ => return Ok(false),
        };
        let from = record.headers.get(FROM);
        let from = from.map_or_else(|| "an unknown place".into(), |text| String::from_utf8_lossy(text).into_owned());
        let known = Known { flow: Arc::new(flow), offset: record.offset, from };
        self.0.entry(known.flow.id()).or_insert(known);
        Ok(true)
    }
}

/// Whether a value calls itself by the key that it stands under.
fn is_named(value: &[u8], key: &str) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(value) else { return false };
    let (name, version) = (value["name"].as_str(), value["version"].as_u64());
    name.zip(version).is_some_and(|(name, version)| format!("{name}@{version}") == key)
}

/// All versions that the log holds; none while the topic is not there.
pub fn load(log: &dyn EventLog, topic: &str) -> Result<Versions, Error> {
    let failed = |source| Error::Log { topic: topic.to_owned(), source };
    let mut versions = Versions::default();
    let Some(info) = log.topic(topic).map_err(failed)? else { return Ok(versions) };
    let Some(range) = info.partitions.first().copied() else { return Ok(versions) };
    let tp = TopicPartition { topic: topic.to_owned(), partition: 0 };
    let mut reader = log.read(&tp, range.start).map_err(failed)?;
    let mut strange = 0_u64;
    loop {
        let records = reader.next(READ_MAX).map_err(failed)?;
        for record in &records {
            strange += u64::from(!versions.take(record, topic)?);
        }
        if records.is_empty() {
            break;
        }
    }
    if strange > 0 {
        warn!(topic, records = strange, "ignoring records that are not flow versions");
    }
    Ok(versions)
}

/// Makes a flow known to all instances, unless it is; returns all versions, and the id under which the flow is known.
/// Doing it again changes nothing.
pub async fn publish(
    log: Arc<dyn EventLog>,
    topic: &str,
    configured: Configured,
    at: Timestamp,
) -> Result<(Versions, Arc<str>), Error> {
    for _ in 0..TRIES_MAX {
        let versions = read(log.clone(), topic).await?;
        let Some(flow) = versions.missing(&configured, topic)? else {
            let newest = versions.newest(configured.flow.name()).filter(|_| !configured.is_numbered);
            let id = newest.map_or_else(|| configured.flow.id(), |flow| flow.id());
            return Ok((versions, id));
        };
        let record = NewRecord {
            topic: topic.to_owned(),
            partition: Some(0),
            key: Some(flow.id().as_bytes().to_vec()),
            value: flow.to_json().into_bytes(),
            headers: Headers::from_iter([(FROM, &configured.from)]),
            at,
        };
        let failed = |source| Error::Log { topic: topic.to_owned(), source };
        // read again afterwards: another instance may have been first
        log.append(vec![record]).await.map_err(failed)?;
    }
    Err(Error::Crowded(configured.flow.name().to_owned()))
}

async fn read(log: Arc<dyn EventLog>, topic: &str) -> Result<Versions, Error> {
    let name = topic.to_owned();
    let read = tokio::task::spawn_blocking(move || load(log.as_ref(), &name));
    read.await.unwrap_or_else(|panic| {
        let source = eventlog::Error::Fatal(format!("reading stopped: {panic}"));
        Err(Error::Log { topic: topic.to_owned(), source })
    })
}

#[cfg(test)]
mod tests;
