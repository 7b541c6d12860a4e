use std::{fmt, hash::Hasher as _, str::FromStr, sync::Arc};

use siphasher::sip::SipHasher24;

use super::{GROUP, Progress};
use crate::{
    domain::{hex, wire},
    eventlog::{self, EventLog, Record},
};

/// Tells our own states from those that anybody can write to the same partition.
///
/// The output is all the state that fulfilment has, so a forged `finalizado` would take an order from it. Each event
/// therefore carries a keyed hash of its value. The key is random, one for each partition, and stands in the metadata of
/// the input offset, where whoever may write records cannot get. A copy of one of our own records passes: it says what
/// we have said already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    key: u128,
    /// Records before this output offset are older than the key, and taken as they are.
    from: u64,
}

/// Length of the key as text.
const DIGITS: usize = 32;

impl Seal {
    /// A seal with a random key, for the records from an offset on.
    pub fn new(key: u128, from: u64) -> Self {
        Self { key, from }
    }

    /// The header's value for an event's value, without the number of its schema.
    pub fn of(&self, value: &[u8]) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(&self.key.to_be_bytes());
        hasher.write(value);
        let mut digits = [0; 16];
        hex::encode(&hasher.finish().to_be_bytes(), &mut digits);
        digits
    }

    /// Whether a record of the output is one of ours.
    pub fn admits(&self, record: &Record) -> bool {
        if record.offset < self.from {
            return true;
        }
        record.headers.get(wire::SEAL).is_some_and(|seal| seal == self.of(wire::json(&record.value)))
    }
}

/// Who wrote a record of the states' topic: fulfilment itself, as far as the seal tells that stands with its offsets in the
/// topic of orders. Where no offset stands there is no telling, and of metadata of a newer version none either: then it did.
pub fn author(log: Arc<dyn EventLog>, orders: String) -> eventlog::Author {
    Arc::new(move |partition, record| {
        let committed = log.committed(GROUP, &[&orders])?;
        let offset = committed.into_iter().find(|offset| offset.tp.partition == partition);
        let progress = offset.map(|offset| Progress::parse(&offset.metadata));
        Ok(match progress {
            Some(Ok(Some(Progress { seal, .. }))) => seal.is_some_and(|seal| seal.admits(record)),
            _ => true,
        })
    })
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}/{}", self.key, self.from)
    }
}

impl FromStr for Seal {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (key, from) = text.split_once('/').filter(|(key, _)| key.len() == DIGITS).ok_or(())?;
        let key = u128::from_str_radix(key, 16).map_err(|_| ())?;
        Ok(Self { key, from: from.parse().map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn record(offset: u64, value: &[u8], seal: Option<&[u8]>) -> Record {
        let headers = seal.map(|seal| (wire::SEAL, seal)).into_iter().collect();
        Record { offset, key: None, value: value.to_vec(), headers, at: Timestamp::from_millis(0) }
    }

    #[test]
    fn only_what_the_key_made_is_ours() {
        let seal = Seal::new(7, 10);
        let mark = seal.of(b"preparando");
        assert!(seal.admits(&record(10, b"preparando", Some(&mark))));
        assert!(seal.admits(&record(9, b"preparando", None)), "older than the key");
        for forged in [
            record(10, b"finalizado", Some(&mark)),
            record(10, b"preparando", None),
            record(10, b"preparando", Some(b"")),
            record(10, b"preparando", Some(&Seal::new(8, 10).of(b"preparando"))),
        ] {
            assert!(!seal.admits(&forged), "{forged:?}");
        }
    }
}
