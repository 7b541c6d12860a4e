//! Who owned which partition when, as far as this process has seen it: the log tells only who does now.

use std::collections::{BTreeMap, VecDeque};

use super::lag::Reading;
use crate::{domain::Timestamp, eventlog::TopicPartition};

/// Changes of one partition that are remembered.
const KEPT: usize = 200;

/// From when on somebody was seen to own a partition, or nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) at: Timestamp,
    pub(super) owner: Option<String>,
}

/// The changes of each partition that a group reads.
#[derive(Default)]
pub(super) struct Owners(BTreeMap<(&'static str, TopicPartition), VecDeque<Since>>);

impl Owners {
    /// Notes who is seen now.
    pub(super) fn note(&mut self, readings: &[Reading], at: Timestamp) {
        for Reading { group, lag, owner, .. } in readings {
            let changes = self.0.entry((group, lag.tp.clone())).or_default();
            if changes.back().is_none_or(|last| last.owner != *owner) {
                changes.push_back(Since { at, owner: owner.clone() });
            }
            if changes.len() > KEPT {
                changes.pop_front();
            }
        }
    }

    /// Who owned a partition from a time on, and who took it until another one; what was not seen is left out.
    pub(super) fn over(&self, group: &'static str, tp: &TopicPartition, from: Timestamp, to: Timestamp) -> Vec<Since> {
        let Some(changes) = self.0.get(&(group, tp.clone())) else { return Vec::new() };
        let first = changes.iter().rposition(|since| since.at <= from).unwrap_or(0);
        let cut = |since: &Since| Since { at: since.at.max(from), owner: since.owner.clone() };
        changes.iter().skip(first).take_while(|since| since.at <= to).map(cut).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventlog::Lag;

    #[test]
    fn owners_are_told_over_the_time_of_an_order() {
        let tp = TopicPartition { topic: "t".into(), partition: 1 };
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        let mut owners = Owners::default();
        for (second, owner) in [(10, Some("a")), (20, Some("a")), (30, None), (40, Some("b")), (90, Some("c"))] {
            let lag = Lag { tp: tp.clone(), next: 0, end: 0 };
            let reading = Reading { group: "g", lag, owner: owner.map(str::to_owned), ..Reading::default() };
            owners.note(&[reading], at(second));
        }
        let told = |from, to| {
            let over = owners.over("g", &tp, at(from), at(to)).into_iter();
            over.map(|since| (since.at.as_millis() / 1_000, since.owner.unwrap_or_default())).collect::<Vec<_>>()
        };
        let of = |second, owner: &str| (second, owner.to_owned());
        assert_eq!(told(25, 50), [of(25, "a"), of(30, ""), of(40, "b")], "from its beginning on");
        assert_eq!(told(5, 15), [of(10, "a")], "nobody looked before");
        assert_eq!(told(95, 99), [of(95, "c")]);
        assert_eq!(told(1, 5), []);
        assert_eq!(owners.over("other", &tp, at(0), at(99)), []);
    }
}
