//! What one commit consists of, and whether it ended as it was planned.

use std::ops::Range;

use crate::eventlog::{GroupOffset, NewRecord, Position};

/// One assignment of a partition: what was begun for an earlier one of the same partition must not reach a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) partition: u32,
    pub(super) number: u64,
}

/// Records and offsets for one atomic step, and which of them are whose.
///
/// The log answers with a position for each output, in their order, and with nothing else to know them by. What belongs to
/// whom is therefore written down when the outputs are put together, not worked out again when the answer is here and
/// partitions may have come and gone.
#[derive(Debug)]
pub(super) struct CommitPlan {
    number: u64,
    outputs: Vec<NewRecord>,
    offsets: Vec<GroupOffset>,
    spans: Vec<Span>,
}

/// What a partition has in a plan.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) ticket: Ticket,
    /// Its events among the outputs: their offsets come back at the same places.
    pub(super) events: Range<usize>,
    /// What became of commands, and its dead letters, behind them.
    outcomes: Range<usize>,
    letters: Range<usize>,
    /// Up to where its input is passed; none when only letters are written.
    pub(super) offsets: Range<usize>,
}

/// What a partition puts into a plan, and gets back when the plan came to nothing.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) ticket: Ticket,
    pub(super) events: Vec<NewRecord>,
    pub(super) outcomes: Vec<NewRecord>,
    pub(super) letters: Vec<NewRecord>,
    pub(super) offsets: Vec<GroupOffset>,
}

impl Part {
    /// Dead letters alone.
    pub(super) const fn of_letters(ticket: Ticket, letters: Vec<NewRecord>) -> Self {
        Self { ticket, events: Vec::new(), outcomes: Vec::new(), letters, offsets: Vec::new() }
    }
}

impl CommitPlan {
    /// Puts a plan together. An offset of each partition that is written to fences a member that has lost it.
    pub(super) fn new(number: u64, parts: impl IntoIterator<Item = Part>) -> Self {
        let mut plan = Self { number, outputs: Vec::new(), offsets: Vec::new(), spans: Vec::new() };
        for Part { ticket, events, outcomes, letters, offsets } in parts {
            let span = Span {
                ticket,
                events: extend(&mut plan.outputs, events),
                outcomes: extend(&mut plan.outputs, outcomes),
                letters: extend(&mut plan.outputs, letters),
                offsets: extend(&mut plan.offsets, offsets),
            };
            plan.spans.push(span);
        }
        plan
    }

    /// Takes it apart again.
    pub(super) fn into_parts(self) -> impl Iterator<Item = Part> {
        let (mut outputs, mut offsets) = (self.outputs.into_iter(), self.offsets.into_iter());
        self.spans.into_iter().map(move |span| Part {
            ticket: span.ticket,
            events: outputs.by_ref().take(span.events.len()).collect(),
            outcomes: outputs.by_ref().take(span.outcomes.len()).collect(),
            letters: outputs.by_ref().take(span.letters.len()).collect(),
            offsets: offsets.by_ref().take(span.offsets.len()).collect(),
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn outputs(&self) -> &[NewRecord] {
        &self.outputs
    }

    pub(super) fn offsets(&self) -> &[GroupOffset] {
        &self.offsets
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub(super) fn has_letters(&self) -> bool {
        self.spans.iter().any(|span| !span.letters.is_empty())
    }

    /// Whether the log's answer can be one to this plan: as many positions as outputs, each in the partition that was asked
    /// for, and rising. A timer that hangs on another order's offset would be lost at some later restore, far from here.
    pub(super) fn check(&self, positions: &[Position]) -> Result<(), Broken> {
        if positions.len() != self.outputs.len() {
            return Err(Broken::Count { outputs: self.outputs.len(), positions: positions.len() });
        }
        for (index, (output, position)) in self.outputs.iter().zip(positions).enumerate() {
            if output.partition != Some(position.partition) {
                return Err(Broken::Partition { index, wanted: output.partition, found: position.partition });
            }
        }
        let letters = self.spans.iter().flat_map(|span| &positions[span.letters.clone()]);
        if !letters.is_sorted_by(|a, b| a.offset < b.offset) {
            return Err(Broken::Order);
        }
        for range in self.spans.iter().flat_map(|span| [&span.events, &span.outcomes]) {
            if !positions[range.clone()].is_sorted_by(|a, b| a.offset < b.offset) {
                return Err(Broken::Order);
            }
        }
        Ok(())
    }
}

/// Appends, and says where.
fn extend<T>(all: &mut Vec<T>, more: Vec<T>) -> Range<usize> {
    let start = all.len();
    all.extend(more);
    start..all.len()
}

/// A commit that did not end as it was planned: a defect here or in the log. What is committed is whole, but memory cannot be
/// trusted any more, so fulfilment ends, and its next start rebuilds from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Another plan was given, or none.
    #[error("commit {ended} ended, but the one under way is {given:?}")]
    Plan {
        /// The plan under way.
        given: Option<u64>,
        /// The plan that ended.
        ended: u64,
    },
    /// Not one position for each output.
    #[error("{outputs} records were committed, but the log reported the positions of {positions}")]
    Count {
        /// Records of the plan.
        outputs: usize,
        /// Positions that came back.
        positions: usize,
    },
    /// A record went elsewhere.
    #[error("record {index} of a commit was for partition {wanted:?}, but went to {found}")]
    Partition {
        /// Its place in the plan.
        index: usize,
        /// Where it should go.
        wanted: Option<u32>,
        /// Where it went.
        found: u32,
    },
    /// Offsets that fall or repeat.
    #[error("the offsets of a commit do not rise in the order of its records")]
    Order,
    /// Records that are not those of the orders that wait for them.
    #[error("the events of a commit in partition {0} are not those that wait for it")]
    Events(u32),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Timestamp, wire::Headers},
        eventlog::TopicPartition,
    };

    fn record(topic: &str, partition: u32, key: &str) -> NewRecord {
        NewRecord {
            topic: topic.into(),
            partition: Some(partition),
            key: Some(key.into()),
            value: Vec::new(),
            headers: Headers::default(),
            at: Timestamp::from_millis(0),
        }
    }

    fn part(partition: u32, events: &[&str], letters: &[&str]) -> Part {
        let tp = TopicPartition { topic: "orders".into(), partition };
        Part {
            ticket: Ticket { partition, number: 1 },
            events: events.iter().map(|key| record("states", partition, key)).collect(),
            outcomes: Vec::new(),
            letters: letters.iter().map(|key| record("dead", 0, key)).collect(),
            offsets: vec![GroupOffset { tp, offset: 7, metadata: String::new() }],
        }
    }

    fn at(positions: &[(u32, u64)]) -> Vec<Position> {
        positions.iter().map(|&(partition, offset)| Position { partition, offset }).collect()
    }

    #[test]
    fn each_partition_gets_back_what_it_gave() {
        let plan = CommitPlan::new(3, [part(0, &["1", "2"], &["x"]), part(1, &[], &[]), part(2, &["3"], &["y", "z"])]);
        assert_eq!(plan.outputs().len(), 6);
        assert_eq!(plan.spans().iter().map(|span| span.events.clone()).collect::<Vec<_>>(), [0..2, 3..3, 3..4]);
        let keys = |records: Vec<NewRecord>| {
            let keys = records.into_iter().filter_map(|record| String::from_utf8(record.key?).ok());
            keys.collect::<Vec<_>>().concat()
        };
        let parts: Vec<_> = plan
            .into_parts()
            .map(|part| (part.ticket.partition, keys(part.events), keys(part.letters), part.offsets.len() == 1))
            .collect();
        let part = |number, events: &str, letters: &str| (number, events.to_owned(), letters.to_owned(), true);
        assert_eq!(parts, [part(0, "12", "x"), part(1, "", ""), part(2, "3", "yz")]);
    }

    #[test]
    fn an_answer_to_another_question_is_not_believed() {
        let plan = CommitPlan::new(3, [part(0, &["1", "2"], &["x"]), part(1, &["3"], &["y"])]);
        assert_eq!(plan.check(&at(&[(0, 5), (0, 6), (0, 1), (1, 2), (0, 3)])), Ok(()), "offsets may have gaps");
        let refused = [
            (at(&[(0, 5), (0, 6), (0, 1), (1, 2)]), Broken::Count { outputs: 5, positions: 4 }),
            (at(&[(0, 5), (0, 6), (0, 1), (0, 2), (0, 3)]), Broken::Partition { index: 3, wanted: Some(1), found: 0 }),
            (at(&[(0, 6), (0, 5), (0, 1), (1, 2), (0, 3)]), Broken::Order),
            (at(&[(0, 5), (0, 5), (0, 1), (1, 2), (0, 3)]), Broken::Order),
            (at(&[(0, 5), (0, 6), (0, 3), (1, 2), (0, 1)]), Broken::Order),
        ];
        for (positions, broken) in refused {
            assert_eq!(plan.check(&positions), Err(broken), "{positions:?}");
        }
    }
}
