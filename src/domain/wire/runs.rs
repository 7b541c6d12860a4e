//! Dead letters that stand for many records: which ones, as offsets in the partition of the letter's source.

use std::ops::RangeInclusive;

use super::{Header, Headers, letters::CUT};
use crate::domain::DeadLetter;

/// The header with the offsets of the records that a letter stands for: `17-4711,4713`.
const RUN: &str = "dead.run";
/// Most bytes that are kept of the first record's value.
const BEGINNING_MAX: usize = 1_024;

/// What a run keeps of the letter of its first record: what is wrong with it, who wrote it, and how it begins.
pub fn first_of_run(mut letter: DeadLetter) -> DeadLetter {
    letter.key = None;
    letter.value.truncate(BEGINNING_MAX);
    let is_kept = |(name, _): &Header| name.starts_with(super::OWN) && *name != CUT;
    letter.headers = letter.headers.iter().filter(is_kept).collect();
    letter
}

/// Has such a letter say that it stands for the records at these offsets, which rise.
pub fn note_run(letter: &mut DeadLetter, offsets: &[RangeInclusive<u64>]) {
    let range = |range: &RangeInclusive<u64>| match (range.start(), range.end()) {
        (start, end) if start == end => start.to_string(),
        (start, end) => format!("{start}-{end}"),
    };
    let text = offsets.iter().map(range).collect::<Vec<_>>().join(",");
    let count: u64 = offsets.iter().map(length).sum();
    letter.headers.push(RUN, text.as_bytes());
    let cut = format!("one letter for {count} records of a flood: the beginning of the first one is kept");
    letter.headers.push(CUT, cut.as_bytes());
}

/// The offsets of the records that a letter stands for; `None` when it stands for its own alone.
pub fn run(headers: &Headers) -> Option<Vec<RangeInclusive<u64>>> {
    let read = |range: &str| {
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        let (start, end) = (start.parse().ok()?, end.parse().ok()?);
        (start <= end).then_some(start..=end)
    };
    headers.text(RUN)?.split(',').map(read).collect()
}

/// How many records a letter stands for.
pub fn records(headers: &Headers) -> u64 {
    run(headers).map_or(1, |offsets| offsets.iter().map(length).fold(0, u64::saturating_add))
}

fn length(range: &RangeInclusive<u64>) -> u64 {
    (range.end() - range.start()).saturating_add(1)
}
