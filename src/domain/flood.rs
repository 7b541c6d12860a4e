//! What bounds the dead letters of one partition, however many of its records are refused.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use super::{DeadLetter, Fault, Misfit, wire};

/// Most letters that are kept whole at once.
pub const WHOLE_AT_ONCE: u64 = 1_000;
/// Once these are used up, the time in which there is one more.
const WHOLE_EVERY: Duration = Duration::from_secs(1);
/// Most runs that are told apart by the field that is wrong. Formats have fewer fields; the pointer is a stranger's words none the less.
const RUNS_MAX: usize = 64;
/// Most ranges of offsets in one run.
const RANGES_MAX: usize = 500;

/// Dead letters of one partition. The first ones are kept whole, and one a second after that. Of what comes faster, one letter stands
/// for a run of records that were refused for the same: it names their offsets, at which they stay on their topic. Nothing is left out.
///
/// A run's letter is written again as it grows, under the source of its first record: the later one is the whole truth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flood {
    /// Letters that were kept whole, less one for each time unit that went by since.
    spent: u64,
    spent_at: Duration,
    runs: BTreeMap<Blame, Run>,
    /// Letters of runs that grow no further.
    ended: Vec<DeadLetter>,
}

/// What records are refused for: the fault, and the field that has it.
type Blame = (Fault, Option<String>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    first: DeadLetter,
    offsets: Vec<RangeInclusive<u64>>,
    has_grown: bool,
}

impl Flood {
    /// Whether the next letter is kept whole; `now` is monotonic.
    pub fn keeps_whole(&mut self, now: Duration) -> bool {
        let units = now.saturating_sub(self.spent_at).as_secs() / WHOLE_EVERY.as_secs();
        self.spent = self.spent.saturating_sub(units);
        self.spent_at += WHOLE_EVERY * u32::try_from(units).unwrap_or(u32::MAX);
        if self.spent == 0 {
            self.runs.retain(|_, run| run.has_grown); // that flood is over
        }
        let keeps = self.spent < WHOLE_AT_ONCE;
        self.spent += u64::from(keeps);
        keeps
    }

    /// Adds a record to the run of those that are refused for the same. Returns whether it begins one, with the letter that is made
    /// for it then.
    pub fn add(&mut self, misfit: &Misfit, offset: u64, letter: impl FnOnce() -> DeadLetter) -> bool {
        let mut blame = (misfit.fault, misfit.pointer.clone());
        if !self.runs.contains_key(&blame) && self.runs.len() >= RUNS_MAX {
            blame.1 = None;
        }
        if let Some(run) = self.runs.get_mut(&blame)
            && run.add(offset)
        {
            return false;
        }
        let run = Run { first: wire::first_of_run(letter()), offsets: vec![offset..=offset], has_grown: true };
        let full = self.runs.insert(blame, run);
        self.ended.extend(full.filter(|run| run.has_grown).map(|run| run.letter()));
        true
    }

    /// The letters of the runs that have grown since the last time.
    pub fn letters(&mut self) -> Vec<DeadLetter> {
        let mut letters = std::mem::take(&mut self.ended);
        for run in self.runs.values_mut() {
            if std::mem::take(&mut run.has_grown) {
                letters.push(run.letter());
            }
        }
        letters
    }
}

impl Run {
    /// Whether there was room for it.
    fn add(&mut self, offset: u64) -> bool {
        let end = self.offsets.last().map_or(0, |last| *last.end());
        if offset == end + 1 {
            let last = self.offsets.pop().map_or(offset, |last| *last.start());
            self.offsets.push(last..=offset);
        } else if offset > end {
            if self.offsets.len() == RANGES_MAX {
                return false;
            }
            self.offsets.push(offset..=offset);
        } // else it was read again
        self.has_grown = true;
        true
    }

    fn letter(&self) -> DeadLetter {
        let mut letter = self.first.clone();
        wire::note_run(&mut letter, &self.offsets);
        letter
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Invalid, Source, Timestamp};

    fn misfit() -> Misfit {
        Invalid::of("price", "must be a number").into()
    }

    fn letter(offset: u64) -> DeadLetter {
        let mut letter = DeadLetter {
            source: Source { topic: "orders".into(), partition: 0, offset },
            reason: String::new(),
            attempts: 0,
            at: Timestamp::from_millis(0),
            key: Some(b"k".to_vec()),
            value: vec![b'x'; 5_000],
            headers: wire::Headers::from_iter([("ce_source", "/shop"), ("other", "o")]),
        };
        wire::note_misfit(&mut letter, "order", &misfit());
        letter
    }

    /// The offsets for which there are letters in the end, and how many letters that takes.
    fn kept(letters: &[DeadLetter]) -> (BTreeSet<u64>, usize) {
        let last: BTreeMap<u64, &DeadLetter> = letters.iter().map(|letter| (letter.source.offset, letter)).collect();
        let of = |(offset, letter): (&u64, &&DeadLetter)| {
            wire::run(&letter.headers).map_or_else(|| vec![*offset], |run| run.into_iter().flatten().collect())
        };
        (last.iter().flat_map(of).collect(), last.len())
    }

    /// Refuses records at these offsets, so many in a commit and commits in a second.
    fn refuse(offsets: &[u64], batch: usize, commits: usize) -> Vec<DeadLetter> {
        let (mut flood, mut letters) = (Flood::default(), Vec::new());
        for (commit, offsets) in offsets.chunks(batch).enumerate() {
            for offset in offsets {
                if flood.keeps_whole(Duration::from_secs((commit / commits) as u64)) {
                    letters.push(letter(*offset));
                } else {
                    flood.add(&misfit(), *offset, || letter(*offset));
                }
            }
            letters.extend(flood.letters());
        }
        letters
    }

    #[test]
    fn a_minute_of_ten_thousand_a_second_is_few_letters_and_nothing_is_left_out() {
        let offsets: Vec<u64> = (7..600_007).collect();
        let letters = refuse(&offsets, 200, 50);
        let (found, rows) = kept(&letters);
        assert!(found.into_iter().eq(offsets), "each record is in a letter");
        assert!(rows < 1_100, "{rows} letters are kept");
        assert!(letters.len() < 1_100 + 60 * 50, "{} are written", letters.len());
        let run = letters.last().unwrap();
        assert_eq!((run.key.as_ref(), run.value.len()), (None, 1_024));
        let told = wire::told(&run.headers);
        assert_eq!((told.pointer, told.schema), (Some("/price"), Some("urn:encargo:order")));
        assert_eq!((told.producer, run.headers.text("other")), (Some("/shop"), None));
        assert!(wire::cut(&run.headers).unwrap().starts_with("one letter for "), "{run:?}");
    }

    #[test]
    fn each_field_has_a_run_of_its_own() {
        let (mut flood, prices, names) = (Flood::default(), misfit(), Invalid::of("name", "must not be empty").into());
        let fields = [&prices, &names, &prices, &names];
        let begun: Vec<bool> = (7..).zip(fields).map(|(at, misfit)| flood.add(misfit, at, || letter(at))).collect();
        assert_eq!(begun, [true, true, false, false]);
        let runs: Vec<_> = flood.letters().iter().map(|letter| wire::run(&letter.headers).unwrap()).collect();
        assert_eq!(runs, [[8..=8, 10..=10], [7..=7, 9..=9]]);
        // whatever strangers call fields, there is an end of it
        for at in 11..1_011 {
            let misfit = Misfit { pointer: Some(format!("/{at}")), ..misfit() };
            flood.add(&misfit, at, || letter(at));
        }
        assert_eq!(flood.letters().len(), RUNS_MAX - 2 + 1);
    }

    #[test]
    fn a_flood_that_is_over_is_forgotten() {
        let mut flood = Flood::default();
        let whole = |flood: &mut Flood, second| flood.keeps_whole(Duration::from_secs(second));
        assert_eq!((0..2_000).filter(|_| whole(&mut flood, 100)).count() as u64, WHOLE_AT_ONCE);
        assert!(flood.add(&misfit(), 7, || letter(7)) && !flood.add(&misfit(), 8, || unreachable!()));
        assert_eq!(flood.letters().len(), 1);
        assert_eq!(flood.letters(), [], "it has not grown");
        assert!(whole(&mut flood, 101) && !whole(&mut flood, 101), "one a second");
        assert!(whole(&mut flood, 10_000));
        assert!(flood.add(&misfit(), 9, || letter(9)), "another run begins");
    }

    proptest! {
        #[test]
        fn whatever_stands_between_nothing_is_left_out(
            gaps in prop::collection::vec(1_u64..4, 1_000..5_000), batch in 1_usize..700, commits in 1_usize..9,
        ) {
            let offsets: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let letters = refuse(&offsets, batch, commits);
            prop_assert!(kept(&letters).0.into_iter().eq(offsets));
            let longest = letters.iter().filter_map(|letter| wire::run(&letter.headers)).map(|run| run.len()).max();
            prop_assert!(longest.unwrap_or(0) <= RANGES_MAX);
        }
    }
}
