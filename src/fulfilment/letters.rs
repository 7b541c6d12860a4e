//! Dead letters on their way to their topic.

use tracing::warn;

use super::{Metrics, Now};
use crate::{
    domain::{DeadLetter, Invalid, Source, wire},
    eventlog::{Error, Member, NewRecord, Outcome, Record, TopicPartition},
};

/// A dead letter goes to the first partition, whoever finds it: what fences it is the input offset in the same commit.
pub(super) fn dead_letter(topic: &str, of: &TopicPartition, record: Record, reason: Invalid, now: Now) -> NewRecord {
    let mut letter = DeadLetter {
        source: Source { topic: of.topic.clone(), partition: of.partition, offset: record.offset },
        reason: reason.to_string(),
        attempts: wire::attempts(&record.headers),
        at: now.wall,
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    wire::fit_dead_letter(&mut letter);
    let headers = wire::dead_letter_headers(&letter);
    let DeadLetter { key, value, .. } = letter;
    NewRecord { topic: topic.to_owned(), partition: Some(0), key, value, headers, at: now.wall }
}

/// Letters that the log cannot take now, and why.
pub(super) struct Unwritten {
    pub(super) left: Vec<NewRecord>,
    pub(super) error: Error,
}

/// Writes letters that are too large for their topic in one commit, before the commit that passes their records: halves
/// of them, then one by one, then cut to where they came from. What the topic takes in no form is counted and told. To
/// write them twice does no harm, since the projection keeps a source once.
pub(super) fn write_apart(
    member: &mut dyn Member,
    letters: Vec<NewRecord>,
    metrics: &Metrics,
) -> Result<(), Unwritten> {
    let mut heaps = vec![letters];
    while let Some(mut heap) = heaps.pop() {
        if heap.is_empty() {
            continue;
        }
        match member.commit(&heap, &[]) {
            Outcome::Committed(_) => {}
            Outcome::Aborted(Error::TooLarge(why)) if heap.len() < 2 => {
                let short = heap.pop().and_then(at_its_position);
                if short.is_none() {
                    warn!(why, "a dead letter is lost: its topic does not even take where it came from");
                    metrics.dead_letter_lost();
                }
                heaps.extend(short.map(|short| vec![short]));
            }
            Outcome::Aborted(Error::TooLarge(_)) => {
                heaps.push(heap.split_off(heap.len() / 2));
                heaps.push(heap);
            }
            Outcome::Aborted(error) | Outcome::Unknown(error) => {
                heaps.push(heap);
                return Err(Unwritten { left: heaps.into_iter().rev().flatten().collect(), error });
            }
        }
    }
    Ok(())
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
    use crate::{
        domain::Timestamp,
        eventlog::{GroupOffset, Input, Position, Result},
    };

    /// A topic that takes so many bytes at once.
    struct Narrow {
        limit: usize,
        written: Vec<NewRecord>,
    }

    impl Member for Narrow {
        fn next(&mut self, _: Duration) -> Result<Input> {
            Ok(Input::Idle)
        }

        fn seek(&mut self, _: &TopicPartition, _: u64) -> Result<()> {
            Ok(())
        }

        fn pause(&mut self, _: bool) {}

        fn commit(&mut self, outputs: &[NewRecord], _: &[GroupOffset]) -> Outcome {
            if outputs.iter().map(NewRecord::size).sum::<usize>() > self.limit {
                return Outcome::Aborted(Error::TooLarge("narrow".into()));
            }
            let position = |offset| Position { partition: 0, offset };
            let positions = (self.written.len() as u64..).take(outputs.len()).map(position).collect();
            self.written.extend_from_slice(outputs);
            Outcome::Committed(positions)
        }
    }

    #[test]
    fn what_a_narrow_topic_does_not_take_is_cut_to_its_position() {
        let of = TopicPartition { topic: "orders".into(), partition: 3 };
        let at = Timestamp::from_millis(0);
        let now = Now { wall: at, monotonic: Duration::ZERO };
        let letters: Vec<_> = (0..9)
            .map(|offset| {
                let value = vec![b'x'; if offset % 3 == 0 { 5_000 } else { 50 }];
                let record = Record { offset, key: Some(b"7".to_vec()), value, headers: Vec::new(), at };
                dead_letter("dead", &of, record, Invalid::because("no order"), now)
            })
            .collect();
        let metrics = Metrics::new(&mut Registry::default());
        let mut narrow = Narrow { limit: 2_000, written: Vec::new() };
        assert!(write_apart(&mut narrow, letters.clone(), &metrics).is_ok());
        for (offset, (written, letter)) in narrow.written.iter().zip(&letters).enumerate() {
            let read = wire::decode_dead_letter(written.key.as_deref(), &written.value, &written.headers, at).unwrap();
            assert_eq!(read.source, Source { topic: "orders".into(), partition: 3, offset: offset as u64 });
            assert_eq!(read.reason, "no order");
            let cut = wire::cut(&read.headers);
            assert_eq!(cut.is_some(), offset % 3 == 0, "{cut:?}");
            assert!(written == letter || cut.unwrap().contains("of 1 bytes of the key, 0 headers and 5000 bytes"));
        }
        assert_eq!(narrow.written.len(), letters.len());
        let mut none = Narrow { limit: 10, written: Vec::new() };
        assert!(write_apart(&mut none, letters, &metrics).is_ok(), "counted and told, but no end");
        assert_eq!(metrics.lost(), 9);
    }
}
