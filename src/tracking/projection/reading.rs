//! Records become the store's next batch: state events, what becomes of commands, dead letters.

use std::collections::VecDeque;

use tracing::warn;

use super::{super::Error, Projection};
use crate::{
    domain::{DeadLetter, Invalid, Misfit, Source, Timestamp, wire},
    eventlog::{Budget, Record, TopicPartition},
    store::orders::{Advance, Batch, Incoming},
};

impl Projection {
    /// Takes records as far as there is room; the rest is for the next batch.
    pub(super) fn add(
        &mut self,
        batch: &mut Batch,
        tp: TopicPartition,
        mut records: VecDeque<Record>,
        room: &mut Budget,
    ) -> Result<(), Error> {
        let Some(from) = self.applied.get(&tp).copied() else { return Ok(()) }; // given up: its new owner reads these
        batch.now = self.deps.env.clock.now(); // after what it tells of, however long that was waited for
        let mut reached = None;
        while !room.is_spent()
            && let Some(record) = records.pop_front()
        {
            room.spend(record.size());
            // the store keeps the fingerprint of the last record only: by it a replaced log is told from this one
            let is_last = records.is_empty() || room.is_spent();
            reached = Some((record.offset + 1, is_last.then(|| record.fingerprint())));
            if tp.topic == self.options.dead {
                batch.dead.push(self.read_dead_letter(&tp, record));
            } else if self.options.outcomes.as_ref() == Some(&tp.topic) {
                self.add_outcome(batch, &tp, record);
            } else if !wire::is_forwarded(&record.headers) {
                self.add_event(batch, &tp, record)?;
            } // else it comes from the topic of states, too
        }
        let Some((next, print)) = reached else { return Ok(()) };
        if !records.is_empty() {
            self.rest = Some((tp.clone(), records));
        }
        if let Some(advance) = batch.advances.iter_mut().find(|advance| advance.tp == tp) {
            (advance.to, advance.print) = (next, print);
        } else {
            batch.advances.push(Advance { tp, from, to: next, print });
        }
        Ok(())
    }

    fn add_event(&mut self, batch: &mut Batch, tp: &TopicPartition, record: Record) -> Result<(), Error> {
        match wire::decode_event(&record.value, &record.headers, record.at) {
            Ok(event) => {
                // our own states stand where their orders came in; an old service wrote without a key, wherever it wanted
                let is_ours = tp.topic == self.options.states && record.key.is_some();
                let partition = is_ours.then_some(tp.partition);
                batch.events.push(Incoming { event, partition, letter: dead_letter(tp, record, batch.now) });
            }
            Err(source @ wire::Unreadable::Newer(_))
                if tp.topic == self.options.states && (self.deps.author)(tp.partition, &record)? =>
            {
                let (topic, partition, offset) = (tp.topic.clone(), tp.partition, record.offset);
                return Err(Error::Newer { topic, partition, offset, source });
            }
            Err(wire::Unreadable::Misfit(misfit)) => self.add_unreadable(batch, tp, record, "state", &misfit),
            Err(newer @ wire::Unreadable::Newer(_)) => {
                let misfit = Invalid { field: Some("version"), rule: newer.to_string().into() }.into();
                self.add_unreadable(batch, tp, record, "state", &misfit);
            }
        }
        Ok(())
    }

    fn add_outcome(&mut self, batch: &mut Batch, tp: &TopicPartition, record: Record) {
        match wire::decode_outcome(&record.value) {
            Ok(outcome) => batch.outcomes.push(outcome),
            Err(misfit) => self.add_unreadable(batch, tp, record, "outcome", &misfit),
        }
    }

    /// A record that does not fit becomes a dead letter at once; in a flood one letter will stand for many.
    fn add_unreadable(
        &mut self,
        batch: &mut Batch,
        tp: &TopicPartition,
        record: Record,
        format: &str,
        misfit: &Misfit,
    ) {
        let (topic, partition, offset, pointer) = (&tp.topic, tp.partition, record.offset, misfit.pointer.as_deref());
        self.deps.metrics.refused(topic, wire::producer(&record.value, &record.headers), misfit.fault);
        let now = batch.now;
        let letter = || {
            let mut letter = dead_letter(tp, record, now);
            letter.headers = wire::without_own(&letter.headers);
            wire::note_unreadable(&mut letter);
            wire::note_misfit(&mut letter, format, misfit);
            letter
        };
        let flood = self.floods.entry(tp.clone()).or_default();
        if flood.keeps_whole(self.deps.env.clock.monotonic()) {
            warn!(topic, partition, offset, pointer, reason = %misfit, "dead letter");
            batch.dead.push(letter());
        } else if flood.add(misfit, offset, letter) {
            warn!(topic, partition, offset, reason = %misfit, "a flood of dead letters: from here on one stands for many");
        }
    }

    fn read_dead_letter(&self, tp: &TopicPartition, record: Record) -> DeadLetter {
        wire::decode_dead_letter(record.key.as_deref(), &record.value, &record.headers, record.at).unwrap_or_else(
            || {
                warn!(
                    topic = tp.topic,
                    offset = record.offset,
                    "a dead letter without its source is kept under its own"
                );
                DeadLetter {
                    reason: "a record of the dead-letter topic that does not say where it came from".into(),
                    ..dead_letter(tp, record, self.deps.env.clock.now())
                }
            },
        )
    }
}

fn dead_letter(tp: &TopicPartition, record: Record, now: Timestamp) -> DeadLetter {
    DeadLetter {
        source: Source { topic: tp.topic.clone(), partition: tp.partition, offset: record.offset },
        reason: String::new(),
        attempts: wire::attempts(&record.headers),
        at: now,
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}
