use std::fmt;

use super::Seal;

/// What a partition's commit says beside the input offset: enough to restore the engine and to account for every order.
///
/// Travels as the offset's metadata: `v1 w=120 a=40 f=30 d=1`, behind it `c=2` once an order was cancelled, which versions
/// before it refuse to go on with, `x=900` for as long as orders of an old
/// service are carried on, and `k=KEY/0`, the seal of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The lowest output offset that an order in flight or remembered still needs.
    pub watermark: u64,
    /// The partition's orders, counted from its first record.
    pub counters: Counters,
    /// Input records before this offset may be orders that an old service worked on.
    pub takes_over_until: Option<u64>,
    /// What tells our own events from others'; versions before it wrote none.
    pub seal: Option<Seal>,
}

/// Orders since the partition's first record: accepted = in flight + finished + cancelled + dead-lettered, at all times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Input records taken, repeats not counted.
    pub accepted: u64,
    /// Orders in their last state.
    pub finished: u64,
    /// Input records that became dead letters.
    pub dead: u64,
    /// Orders that were cancelled or refused.
    pub cancelled: u64,
}

impl Counters {
    /// Orders whose life goes on.
    pub const fn in_flight(self) -> u64 {
        self.accepted.saturating_sub(self.finished).saturating_sub(self.cancelled).saturating_sub(self.dead)
    }
}

/// Metadata that no version up to this one wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the metadata {0:?} was not written by this version")]
pub struct Unreadable(String);

impl Progress {
    /// Reads the metadata; `None` when it is not ours (an old service's commit, or none at all). What looks like ours but
    /// cannot be read is of a newer version: taken for an old service's, it would make the orders in flight anew.
    pub fn parse(metadata: &str) -> Result<Option<Self>, Unreadable> {
        let version = metadata.strip_prefix('v').map(|rest| rest.split(' ').next().unwrap_or_default());
        if !version.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())) {
            return Ok(None);
        }
        Self::fields(metadata).map(Some).ok_or_else(|| Unreadable(metadata.chars().take(100).collect()))
    }

    fn fields(metadata: &str) -> Option<Self> {
        let mut words = metadata.strip_prefix("v1 ")?.split(' ');
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.parse().ok();
        let watermark = field("w=")?;
        let mut counters =
            Counters { accepted: field("a=")?, finished: field("f=")?, dead: field("d=")?, cancelled: 0 };
        let (mut takes_over_until, mut seal) = (None, None);
        for word in words {
            match word.split_at_checked(2)? {
                ("x=", until) if takes_over_until.is_none() => takes_over_until = Some(until.parse().ok()?),
                ("c=", count) if counters.cancelled == 0 => counters.cancelled = count.parse().ok()?,
                ("k=", text) if seal.is_none() => seal = Some(text.parse().ok()?),
                _ => return None,
            }
        }
        Some(Self { watermark, counters, takes_over_until, seal })
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { accepted, finished, dead, cancelled } = self.counters;
        write!(f, "v1 w={} a={accepted} f={finished} d={dead}", self.watermark)?;
        if cancelled > 0 {
            write!(f, " c={cancelled}")?;
        }
        if let Some(until) = self.takes_over_until {
            write!(f, " x={until}")?;
        }
        self.seal.map_or(Ok(()), |seal| write!(f, " k={seal}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_round_trips_and_foreign_text_is_none() {
        let counters = Counters { accepted: 40, finished: 30, dead: 1, ..Counters::default() };
        let progress = Progress { watermark: 120, counters, ..Progress::default() };
        assert_eq!(progress.to_string(), "v1 w=120 a=40 f=30 d=1");
        assert_eq!(Progress::parse(&progress.to_string()), Ok(Some(progress)));
        assert_eq!(progress.counters.in_flight(), 9);
        let taking_over = Progress { takes_over_until: Some(900), ..progress };
        assert_eq!(taking_over.to_string(), "v1 w=120 a=40 f=30 d=1 x=900");
        assert_eq!(Progress::parse(&taking_over.to_string()), Ok(Some(taking_over)));
        let sealed = Progress { seal: Some(Seal::new(10, 77)), ..taking_over };
        assert_eq!(sealed.to_string(), "v1 w=120 a=40 f=30 d=1 x=900 k=0000000000000000000000000000000a/77");
        assert_eq!(Progress::parse(&sealed.to_string()), Ok(Some(sealed)));
        let sealed = Progress { seal: Some(Seal::new(u128::MAX, u64::MAX)), ..progress };
        assert_eq!(Progress::parse(&sealed.to_string()), Ok(Some(sealed)));
        for text in ["", "leader", "v", "version 3", "vx 1"] {
            assert_eq!(Progress::parse(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn metadata_of_a_newer_version_is_not_taken_for_an_old_services() {
        for text in [
            "v1",
            "v2",
            "v2 w=1 a=1 f=1 d=1",
            "v1 w=-1 a=1 f=1 d=1",
            "v1 w=1 a=1 f=1 d=1 y=2",
            "v1 w=1 a=1 f=1 d=1 x=2 y=3",
            "v1 w=1 a=1 f=1 d=1 x=2 x=3",
            "v1 w=1 a=1 f=1 d=1 é",
            "v1 w=1 a=1 f=1 d=1 k=a/7",
            "v10 anything",
        ] {
            assert!(Progress::parse(text).is_err(), "{text:?}");
        }
    }
}
