//! The second opinion: what a reader of another make saw in the topics, compared with what ours shows.

use std::{collections::BTreeMap, fs, io::BufRead, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::collect::read_topic;
use crate::eventlog::EventLog;

/// Records by topic, partition and offset; of each, its time, key and value.
pub type Records = BTreeMap<(String, u32, u64), (i64, Option<Text>, Option<Text>)>;

/// Keys and values as the other reader prints them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

#[derive(Deserialize)]
struct Line {
    topic: String,
    partition: u32,
    offset: u64,
    at: i64,
    key: Option<Text>,
    value: Option<Text>,
}

/// Most differences named; one fault makes thousands.
const NAMED_MAX: usize = 20;

/// Reads what `tests/foreign/dump.py` printed.
pub fn read_dump(path: &Path) -> Result<Records> {
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut records = Records::new();
    for (number, line) in std::io::BufReader::new(file).lines().enumerate() {
        let Line { topic, partition, offset, at, key, value } =
            serde_json::from_str(&line?).with_context(|| format!("{}:{}", path.display(), number + 1))?;
        records.insert((topic, partition, offset), (at, key, value));
    }
    Ok(records)
}

/// Reads the same topics with our reader.
pub fn read_log(log: &dyn EventLog, topics: &[&str]) -> Result<Records> {
    let mut records = Records::new();
    for topic in topics {
        read_topic(log, topic, |partition, record| {
            let seen = (record.at.as_millis(), record.key.map(text), Some(text(record.value)));
            records.insert(((*topic).to_owned(), partition, record.offset), seen);
        })?;
    }
    Ok(records)
}

fn text(bytes: Vec<u8>) -> Text {
    String::from_utf8(bytes).map_or_else(|error| Text::Bytes(error.into_bytes()), Text::Text)
}

/// Where the two readers disagree; empty when they do not.
pub fn differences(ours: &Records, theirs: &Records) -> Vec<String> {
    let name = |(topic, partition, offset): &(String, u32, u64)| format!("{topic}/{partition} at {offset}");
    let mut found = Vec::new();
    for (place, record) in ours {
        match theirs.get(place) {
            None => found.push(format!("readers: {} is seen by ours only", name(place))),
            Some(other) if other != record => found.push(format!("readers: {} is read differently", name(place))),
            Some(_) => {}
        }
    }
    let unseen = theirs.keys().filter(|place| !ours.contains_key(place));
    found.extend(unseen.map(|place| format!("readers: {} is not seen by ours", name(place))));
    let more = found.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        found.truncate(NAMED_MAX);
        found.push(format!("readers: {more} more differences"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let record = |offset: u64| (7, Some(Text::Text("17".into())), Some(Text::Bytes(vec![0xff, offset as u8])));
        [0, 1, 5].map(|offset| (("compra_detalle".to_owned(), 0, offset), record(offset))).into()
    }

    #[test]
    fn it_agrees_with_itself() {
        assert_eq!(differences(&records(), &records()), Vec::<String>::new());
    }

    #[test]
    fn it_objects_to_a_record_that_only_one_sees() {
        let mut fewer = records();
        fewer.pop_last();
        assert_eq!(differences(&records(), &fewer), ["readers: compra_detalle/0 at 5 is seen by ours only"]);
        assert_eq!(differences(&fewer, &records()), ["readers: compra_detalle/0 at 5 is not seen by ours"]);
    }

    #[test]
    fn it_objects_to_another_time_key_or_value() {
        type Record = (i64, Option<Text>, Option<Text>);
        let spoils: [fn(&mut Record); 3] = [|r| r.0 += 1, |r| r.1 = None, |r| r.2 = Some(Text::Text("x".into()))];
        for spoil in spoils {
            let mut other = records();
            other.values_mut().take(1).for_each(spoil);
            assert_eq!(differences(&records(), &other), ["readers: compra_detalle/0 at 0 is read differently"]);
        }
    }

    #[test]
    fn a_dump_is_read_as_it_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dump.jsonl");
        let line = r#"{"topic":"compra_detalle","partition":0,"offset":1,"at":7,"key":"17","value":[255,1]}"#;
        fs::write(&path, format!("{line}\n")).unwrap();
        let read = read_dump(&path).unwrap();
        assert!(read.iter().all(|(place, record)| records().get(place) == Some(record)), "{read:?}");
        assert_eq!(read.len(), 1);
    }
}
