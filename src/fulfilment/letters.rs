//! Dead letters on their way to their topic.

use tracing::warn;

use super::{Metrics, Now, plan::Ticket};
use crate::{
    domain::{DeadLetter, Misfit, Source, wire},
    eventlog::{Error, NewRecord, Record, TopicPartition},
};

/// A record that is not of the format which its topic has, or contradicts what is known.
pub(super) struct Refused {
    pub(super) record: Record,
    pub(super) format: &'static str,
    pub(super) misfit: Misfit,
}

/// The dead letter of a record that cannot be used.
pub(super) fn dead_letter(tp: &TopicPartition, refused: Refused, now: Now) -> DeadLetter {
    let Refused { record, format, misfit } = refused;
    let mut letter = DeadLetter {
        source: Source { topic: tp.topic.clone(), partition: tp.partition, offset: record.offset },
        reason: misfit.reason.clone(),
        attempts: wire::attempts(&record.headers),
        at: now.wall,
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    wire::fit_dead_letter(&mut letter);
    wire::note_misfit(&mut letter, format, &misfit);
    letter
}

/// A dead letter goes to the first partition, whoever finds it: what fences it is the input offset in the same commit.
pub(super) fn written(topic: &str, letter: DeadLetter, now: Now) -> NewRecord {
    let headers = wire::dead_letter_headers(&letter);
    let DeadLetter { key, value, .. } = letter;
    NewRecord { topic: topic.to_owned(), partition: Some(0), key, value, headers, at: now.wall }
}

/// Dead letters of one partition that are written in one commit.
pub(super) struct Heap {
    pub(super) ticket: Ticket,
    pub(super) letters: Vec<NewRecord>,
}

/// Dead letters that are too large for their topic, on their way there before the commit that passes their records: halves
/// of them, then one by one, then cut to where they came from. What the topic takes in no form is counted and told. To
/// write them twice does no harm, since the projection keeps a source once.
pub(super) struct Apart {
    /// What is left, the next one last.
    heaps: Vec<Heap>,
}

impl Apart {
    pub(super) fn new(heaps: impl DoubleEndedIterator<Item = Heap>) -> Self {
        Self { heaps: heaps.rev().collect() }
    }

    /// What to write next.
    pub(super) fn pop(&mut self) -> Option<Heap> {
        self.heaps.pop()
    }

    /// These were not written. Returns why, when it is not for their size: then they are here again.
    pub(super) fn refused(
        &mut self,
        heaps: impl Iterator<Item = Heap>,
        error: Error,
        metrics: &Metrics,
    ) -> Result<(), Error> {
        let Error::TooLarge(why) = error else {
            self.heaps.extend(heaps);
            return Err(error);
        };
        for Heap { ticket, mut letters } in heaps {
            if letters.len() > 1 {
                let later = letters.split_off(letters.len() / 2);
                self.heaps.push(Heap { ticket, letters: later });
                self.heaps.push(Heap { ticket, letters });
            } else if let Some(short) = letters.pop().and_then(at_its_position) {
                self.heaps.push(Heap { ticket, letters: vec![short] });
            } else {
                warn!(why, "a dead letter is lost: its topic refuses even a reference to the original record");
                metrics.dead_letter_lost();
            }
        }
        Ok(())
    }
}

/// The letter without all that was in its record; `None` when it is that short already.
fn at_its_position(letter: NewRecord) -> Option<NewRecord> {
    let headers = wire::position_only(letter.key.as_deref(), &letter.value, &letter.headers)?;
    Some(NewRecord { key: None, value: Vec::new(), headers, ..letter })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::domain::{Invalid, Timestamp};

    /// Writes letters apart to a topic that takes so many bytes at once.
    fn write(limit: usize, letters: Vec<NewRecord>, metrics: &Metrics) -> Vec<NewRecord> {
        let mut apart = Apart::new([Heap { ticket: Ticket { partition: 3, number: 1 }, letters }].into_iter());
        let mut written = Vec::new();
        while let Some(heap) = apart.pop() {
            if heap.letters.iter().map(NewRecord::size).sum::<usize>() > limit {
                apart.refused([heap].into_iter(), Error::TooLarge("narrow".into()), metrics).unwrap();
            } else {
                written.extend(heap.letters);
            }
        }
        written
    }

    #[test]
    fn what_a_narrow_topic_does_not_take_is_cut_to_its_position() {
        let tp = TopicPartition { topic: "orders".into(), partition: 3 };
        let at = Timestamp::from_millis(0);
        let now = Now { wall: at, monotonic: Duration::ZERO };
        let letters: Vec<_> = (0..9)
            .map(|offset| {
                let value = vec![b'x'; if offset % 3 == 0 { 5_000 } else { 50 }];
                let record = Record { offset, key: Some(b"7".to_vec()), value, headers: wire::Headers::default(), at };
                let misfit = Invalid::because("no order").into();
                written("dead", dead_letter(&tp, Refused { record, format: "order", misfit }, now), now)
            })
            .collect();
        let metrics = Metrics::new(&mut Registry::default());
        let all = write(2_000, letters.clone(), &metrics);
        for (offset, (written, letter)) in all.iter().zip(&letters).enumerate() {
            let read = wire::decode_dead_letter(written.key.as_deref(), &written.value, &written.headers, at).unwrap();
            assert_eq!(read.source, Source { topic: "orders".into(), partition: 3, offset: offset as u64 });
            assert_eq!(read.reason, "no order");
            let cut = wire::cut(&read.headers);
            assert_eq!(cut.is_some(), offset % 3 == 0, "{cut:?}");
            assert!(written == letter || cut.unwrap().contains("of 1 bytes of the key, 0 headers and 5000 bytes"));
        }
        assert_eq!((all.len(), metrics.lost()), (letters.len(), 0));
        assert_eq!(write(10, letters, &metrics), [], "counted and told, but no end");
        assert_eq!(metrics.lost(), 9);
    }

    #[test]
    fn what_the_log_cannot_take_now_is_kept_whole() {
        let metrics = Metrics::new(&mut Registry::default());
        let ticket = Ticket { partition: 0, number: 1 };
        let mut apart = Apart::new([Heap { ticket, letters: Vec::new() }].into_iter());
        let heap = apart.pop().unwrap();
        assert!(apart.refused([heap].into_iter(), Error::Unavailable("disk full".into()), &metrics).is_err());
        assert!(apart.pop().is_some());
    }
}
