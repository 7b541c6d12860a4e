//! Which records became dead letters; one letter may stand for a run of them, and be written again as the run grows.

use std::collections::BTreeMap;

use crate::eventlog::Record;

/// The records of which dead letters tell.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// By topic and partition, the first and last offsets of runs.
    runs: BTreeMap<(String, u32), Vec<(u64, u64)>>,
    /// Letters that do not tell.
    untold: u64,
}

impl Refused {
    /// Takes note of a letter.
    pub(super) fn note(&mut self, letter: &Record) {
        match told(letter) {
            Some((source, runs)) => self.runs.entry(source).or_default().extend(runs),
            None => self.untold += 1,
        }
    }

    /// Puts together what overlaps or touches, once all letters are known.
    pub(super) fn merged(mut self) -> Self {
        for runs in self.runs.values_mut() {
            runs.sort_unstable();
            runs.dedup_by(|next, run| {
                let is_one = next.0 <= run.1.saturating_add(1);
                if is_one {
                    run.1 = run.1.max(next.1);
                }
                is_one
            });
        }
        self
    }

    /// Whether a record is among them.
    pub(super) fn holds(&self, topic: &str, partition: u32, offset: u64) -> bool {
        let Some(runs) = self.runs.get(&(topic.to_owned(), partition)) else { return false };
        let after = runs.partition_point(|(first, _)| *first <= offset);
        after.checked_sub(1).is_some_and(|at| offset <= runs[at].1)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        let runs = self.runs.values().flatten();
        runs.map(|(first, last)| (last - first).saturating_add(1)).fold(self.untold, u64::saturating_add)
    }
}

type Source = (String, u32);

/// Where a letter's records were first read.
fn told(letter: &Record) -> Option<(Source, Vec<(u64, u64)>)> {
    let header = |name: &str| letter.headers.text(name);
    let source = (header("dead.topic")?.to_owned(), header("dead.partition")?.parse().ok()?);
    let run = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    };
    let offsets = header("dead.run").or_else(|| header("dead.offset"))?;
    Some((source, offsets.split(',').map(run).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Timestamp, wire::Headers};

    fn letter(partition: &str, offset: &str, run: Option<&str>) -> Record {
        let mut headers =
            Headers::from_iter([("dead.topic", "orders"), ("dead.partition", partition), ("dead.offset", offset)]);
        if let Some(run) = run {
            headers.push("dead.run", run.as_bytes());
        }
        Record { offset: 0, key: None, value: Vec::new(), headers, at: Timestamp::from_millis(0) }
    }

    #[test]
    fn a_letter_stands_for_itself_or_for_a_run_that_grew() {
        let mut refused = Refused::default();
        let letters = [
            letter("0", "3", None),
            letter("0", "10", Some("10-12")),
            letter("0", "10", Some("10-12,14")),
            letter("0", "4", None),
            letter("1", "7", Some("7")),
            letter("0", "9", Some("9-")),
            letter("0", "9", Some("9-8")),
        ];
        for letter in &letters {
            refused.note(letter);
        }
        let refused = refused.merged();
        let held: Vec<u64> = (0..20).filter(|offset| refused.holds("orders", 0, *offset)).collect();
        assert_eq!(held, [3, 4, 10, 11, 12, 14]);
        assert!(refused.holds("orders", 1, 7) && !refused.holds("states", 0, 3));
        assert_eq!(refused.count(), 6 + 1 + 2, "and two that do not tell");
    }

    #[test]
    fn a_run_that_nobody_can_have_written_is_no_overflow() {
        let mut refused = Refused::default();
        for _ in 0..2 {
            refused.note(&letter("0", "0", Some("0-18446744073709551615")));
            refused.note(&letter("1", "0", Some("0-18446744073709551615")));
        }
        let refused = refused.merged();
        assert!(refused.holds("orders", 0, u64::MAX));
        assert_eq!(refused.count(), u64::MAX);
    }
}
