//! Lag that is none. Behind the last record of a partition stands the marker of its transaction (KIP-98), or what was aborted; no
//! reader is given these, and so a group's position stays before them until the next record comes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::eventlog::{Lag, Result, TopicPartition};

/// What is between the positions of groups and the ends of partitions.
#[derive(Default)]
pub(super) struct Gaps(Mutex<HashMap<(String, TopicPartition), Gap>>);

struct Gap {
    next: u64,
    end: u64,
    /// Nothing while it was seen once.
    is_empty: Option<bool>,
}

impl Gaps {
    /// Whether there is no record in it, as far as that is known. It is looked into once neither position nor end has moved since
    /// the look before: while records come and go, a look at each would cost more than it tells.
    pub(super) fn is_empty(&self, group: &str, lag: &Lag, has_record: impl FnOnce() -> Result<bool>) -> bool {
        let key = (group.to_owned(), lag.tp.clone());
        let is_same = |gap: &&Gap| (gap.next, gap.end) == (lag.next, lag.end);
        let seen = self.lock().get(&key).filter(is_same).map(|gap| gap.is_empty);
        let is_empty = match seen {
            Some(Some(is_empty)) => return is_empty,
            // what cannot be asked now is asked by the next look
            Some(None) => has_record().ok().map(|has_record| !has_record),
            None => None,
        };
        self.lock().insert(key, Gap { next: lag.next, end: lag.end, is_empty });
        is_empty.unwrap_or(false)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, TopicPartition), Gap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventlog::Error;

    fn lag(next: u64, end: u64) -> Lag {
        Lag { tp: TopicPartition { topic: "t".into(), partition: 0 }, next, end }
    }

    #[test]
    fn what_stands_still_is_looked_into_once() {
        let gaps = Gaps::default();
        let unasked = || unreachable!("it is known, or was seen once");
        assert!(!gaps.is_empty("g", &lag(4, 5), unasked));
        assert!(!gaps.is_empty("g", &lag(4, 5), || Err(Error::Unavailable("away".into()))));
        assert!(gaps.is_empty("g", &lag(4, 5), || Ok(false)));
        assert!(gaps.is_empty("g", &lag(4, 5), unasked));
        assert!(!gaps.is_empty("other", &lag(4, 5), unasked));
        assert!(!gaps.is_empty("g", &lag(4, 6), unasked), "what came may be a record");
        assert!(!gaps.is_empty("g", &lag(4, 6), || Ok(true)));
        assert!(!gaps.is_empty("g", &lag(4, 6), unasked));
    }
}
