//! Records that bear the number of a schema, made readable before they are taken.
//!
//! A record whose schema is not known yet stops its partition until it is: those behind it may be about the same order. Nothing
//! of it is committed meanwhile, so whoever owns the partition next hears it again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    domain::{
        Fault, Misfit,
        wire::{Framed, Schemas},
    },
    eventlog::{Record, TopicPartition},
};

/// How many of the waiting records of a partition have their schemas looked up.
const AHEAD: usize = 256;
/// Most records that wait; then no more are heard, but for a batch.
const WAITING_MAX: usize = 20_000;
/// Bytes of these, likewise.
const WAITING_BYTES: usize = 16 << 20;

/// A record that was heard, and what is to be read of it.
pub(super) struct Heard {
    pub(super) record: Record,
    /// In the place of its value, if that cannot be read as it is.
    translated: Option<Box<Result<Vec<u8>, Misfit>>>,
}

impl From<Record> for Heard {
    fn from(record: Record) -> Self {
        Self { record, translated: None }
    }
}

impl Heard {
    /// What is to be read.
    pub(super) fn value(&self) -> Result<&[u8], Misfit> {
        match self.translated.as_deref() {
            None => Ok(&self.record.value),
            Some(Ok(value)) => Ok(value),
            Some(Err(misfit)) => Err(misfit.clone()),
        }
    }

    /// About how much memory it takes.
    pub(super) fn size(&self) -> usize {
        let translated = self.translated.as_deref().and_then(|translated| translated.as_ref().ok());
        self.record.size() + translated.map_or(0, Vec::len)
    }
}

/// What stands before the machine.
#[derive(Default)]
pub(super) struct Translation {
    schemas: Option<Arc<dyn Schemas>>,
    waiting: BTreeMap<TopicPartition, VecDeque<Record>>,
}

impl Translation {
    /// Reads what these know.
    pub(super) fn by(schemas: Arc<dyn Schemas>) -> Self {
        Self { schemas: Some(schemas), waiting: BTreeMap::new() }
    }

    /// Records of a partition that came; those that can be taken now, in order.
    pub(super) fn hear(&mut self, tp: &TopicPartition, records: Vec<Record>) -> Vec<Heard> {
        let mut waiting = self.waiting.remove(tp).unwrap_or_default();
        waiting.extend(records);
        let mut heard = Vec::with_capacity(waiting.len());
        while let Some(record) = waiting.pop_front() {
            match self.read(record) {
                Ok(readable) => heard.push(readable),
                Err(record) => {
                    waiting.push_front(record);
                    break;
                }
            }
        }
        if let Some(schemas) = self.schemas.as_ref().filter(|_| !waiting.is_empty()) {
            let framed = waiting.iter().take(AHEAD).filter_map(|record| Framed::read(&record.value));
            framed.filter(|framed| !framed.is_json()).for_each(|framed| schemas.want(framed.schema));
            self.waiting.insert(tp.clone(), waiting);
        }
        heard
    }

    /// Records that waited, and can be taken now.
    pub(super) fn ready(&mut self) -> Option<(TopicPartition, Vec<Heard>)> {
        let partitions: Vec<_> = self.waiting.keys().cloned().collect();
        partitions.into_iter().find_map(|tp| {
            let heard = self.hear(&tp, Vec::new());
            (!heard.is_empty()).then_some((tp, heard))
        })
    }

    /// These partitions are another's, or assigned anew.
    pub(super) fn forget(&mut self, gone: impl Fn(u32) -> bool) {
        self.waiting.retain(|tp, _| !gone(tp.partition));
    }

    /// Whether records wait for their schema.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether so many do that no more should be heard.
    pub(super) fn is_full(&self) -> bool {
        let waiting = || self.waiting.values();
        waiting().map(VecDeque::len).sum::<usize>() >= WAITING_MAX
            || waiting().flatten().map(Record::size).sum::<usize>() >= WAITING_BYTES
    }

    /// A record that can be taken, or that one back if its schema is not known yet.
    fn read(&self, record: Record) -> Result<Heard, Record> {
        let Some(framed) = Framed::read(&record.value).filter(|framed| !framed.is_json()) else {
            return Ok(record.into());
        };
        let refused = |reason| Misfit { fault: Fault::Syntax, pointer: None, reason };
        let translated = match &self.schemas {
            Some(schemas) => match schemas.translate(framed) {
                Some(translated) => translated.map_err(|why| refused(why.into_owned())),
                None => return Err(record),
            },
            None => Err(refused(format!(
                "bears the number of schema {}, and is not JSON: set registry.url, where that schema can be looked up",
                framed.schema
            ))),
        };
        Ok(Heard { record, translated: Some(Box::new(translated)) })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        borrow::Cow,
        collections::BTreeSet,
        sync::{Mutex, PoisonError},
    };

    use super::*;
    use crate::domain::{Timestamp, wire::Headers};

    /// Knows the schemas of these numbers, and which were wanted.
    #[derive(Default)]
    struct Known(Mutex<(BTreeSet<u32>, BTreeSet<u32>)>);

    impl Known {
        fn learn(&self, id: u32) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).0.insert(id);
        }

        fn wanted(&self) -> Vec<u32> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).1.iter().copied().collect()
        }
    }

    impl Schemas for Known {
        fn want(&self, schema: u32) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).1.insert(schema);
        }

        fn translate(&self, framed: Framed<'_>) -> Option<Result<Vec<u8>, Cow<'static, str>>> {
            let is_known = self.0.lock().unwrap_or_else(PoisonError::into_inner).0.contains(&framed.schema);
            let translated = if framed.payload == b"bad" { Err("is bad".into()) } else { Ok(b"{}".to_vec()) };
            is_known.then_some(translated)
        }
    }

    fn tp(partition: u32) -> TopicPartition {
        TopicPartition { topic: "orders".into(), partition }
    }

    fn record(offset: u64, value: &[u8]) -> Record {
        Record { offset, key: None, value: value.to_vec(), headers: Headers::default(), at: Timestamp::from_millis(0) }
    }

    fn offsets(heard: &[Heard]) -> Vec<u64> {
        heard.iter().map(|heard| heard.record.offset).collect()
    }

    #[test]
    fn an_unknown_schema_stops_its_partition_alone_until_it_is_known() {
        let known = Arc::new(Known::default());
        let mut translation = Translation::by(known.clone());
        let of = |schema: u8, payload: &[u8]| [&[0, 0, 0, 0, schema], payload].concat();
        let records = vec![
            record(0, b"{}"),
            record(1, &of(9, b"{\"framed\":1}")),
            record(2, &of(7, b"avro")),
            record(3, b"{}"),
            record(4, &of(8, b"avro")),
        ];
        assert_eq!(offsets(&translation.hear(&tp(0), records)), [0, 1], "JSON needs no schema");
        assert_eq!(known.wanted(), [7, 8], "looked up side by side");
        assert!(translation.ready().is_none() && translation.is_waiting());
        assert_eq!(offsets(&translation.hear(&tp(1), vec![record(0, b"{}")])), [0]);
        assert!(translation.hear(&tp(0), vec![record(5, b"{}")]).is_empty(), "none overtakes it");

        known.learn(7);
        let (of_which, heard) = translation.ready().unwrap();
        assert_eq!((of_which, offsets(&heard)), (tp(0), vec![2, 3]));
        assert_eq!(heard[0].value(), Ok(&b"{}"[..]));
        assert_eq!(heard[0].record.value, of(7, b"avro"), "a dead letter would hold what was written");
        known.learn(8);
        assert_eq!(offsets(&translation.ready().unwrap().1), [4, 5]);
        assert!(!translation.is_waiting());
        let heard = translation.hear(&tp(0), vec![record(6, &of(7, b"bad"))]);
        assert_eq!(heard[0].value().unwrap_err().reason, "is bad");
    }

    #[test]
    fn what_waits_is_bounded_and_goes_with_its_partition() {
        let mut translation = Translation::by(Arc::new(Known::default()));
        let avro = |offset| record(offset, b"\0\0\0\0\x07avro");
        assert!(translation.hear(&tp(0), (0..WAITING_MAX as u64 - 1).map(avro).collect()).is_empty());
        assert!(!translation.is_full());
        translation.hear(&tp(1), vec![avro(0)]);
        assert!(translation.is_full());
        translation.forget(|partition| partition == 0);
        assert!(!translation.is_full() && translation.is_waiting());
        translation.forget(|_| true);
        assert!(!translation.is_waiting());
        translation.hear(&tp(0), vec![record(0, &[&[0; 5], &vec![1; WAITING_BYTES][..]].concat())]);
        assert!(translation.is_full());
    }

    #[test]
    fn without_a_registry_only_json_is_read_and_nothing_waits() {
        let mut translation = Translation::default();
        let records = [&b"\0\0\0\0\x07{}"[..], b"\0\0\0\0\x07avro", b"\0\0", b""];
        let records = records.into_iter().zip(0..).map(|(value, offset)| record(offset, value)).collect();
        let heard = translation.hear(&tp(0), records);
        assert_eq!(offsets(&heard), [0, 1, 2, 3]);
        let misfit = heard[1].value().unwrap_err();
        assert_eq!((misfit.fault, misfit.pointer), (Fault::Syntax, None));
        assert!(misfit.reason.contains("schema 7") && misfit.reason.contains("registry.url"), "{}", misfit.reason);
        assert!(heard[0].value().is_ok() && heard[2].value().is_ok() && !translation.is_waiting());
    }
}
