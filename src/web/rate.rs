//! How often somebody may ask for something: so many at once, and one more for each share of time that has passed.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Monotonic;

/// Most clients, addresses or the like that a limiter remembers.
const REMEMBERED_MAX: usize = 100_000;

/// So many at once, and as many again in each span: `100/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// Why a text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number and s, min, h or d, like 100/h")]
pub struct ParseRate;

impl Rate {
    /// The mean time between one and the next.
    pub fn gap(self) -> Duration {
        self.per / self.count
    }
}

impl FromStr for Rate {
    type Err = ParseRate;

    fn from_str(text: &str) -> Result<Self, ParseRate> {
        let (count, unit) = text.split_once('/').ok_or(ParseRate)?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(ParseRate),
        };
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or(ParseRate)?;
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }
}

/// What stands for a client in a [`Limiter`]: one host, or the network that a host with IPv6 can call from as it likes.
pub fn network(client: IpAddr) -> [u8; 8] {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [0, 0, 0, 0, a, b, c, d] // no global IPv6 address begins like that
        }
        IpAddr::V6(address) => *address.octets().first_chunk().expect("sixteen bytes have eight"),
    }
}

/// Counts what each of many does, by the generic cell rate algorithm (GCRA). Its memory has a bound, whoever comes.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    remembered_max: usize,
    hasher: RandomState,
    /// When the bucket of each will be full again.
    full_at: Mutex<HashMap<u64, Monotonic>>,
}

impl Limiter {
    /// One that counts each by itself at this rate.
    pub fn new(rate: Rate) -> Self {
        let (hasher, full_at) = (RandomState::new(), Mutex::default());
        Self { rate, remembered_max: REMEMBERED_MAX, hasher, full_at }
    }

    /// Counts one of somebody, `of` being whatever tells them from others; after one too many, the seconds to wait, and
    /// nothing is counted.
    pub fn take(&self, now: Monotonic, of: impl Hash) -> Result<(), u32> {
        let mut buckets = self.buckets();
        if buckets.len() >= self.remembered_max {
            // full ones are as good as forgotten; when none is, rather no bound for a moment than no memory
            buckets.retain(|_, full_at| *full_at > now);
            if buckets.len() > self.remembered_max / 2 {
                buckets.clear();
            }
        }
        let full_at = buckets.entry(self.hasher.hash_one(of)).or_default();
        let next = (*full_at).max(now) + self.rate.per / self.rate.count;
        let wait = next.saturating_sub(now + self.rate.per);
        if wait.is_zero() {
            *full_at = next;
            return Ok(());
        }
        Err(wait.as_secs_f64().ceil() as u32)
    }

    /// Begins anew with somebody.
    pub fn forget(&self, of: impl Hash) {
        self.buckets().remove(&self.hasher.hash_one(of));
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<u64, Monotonic>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner) // whole after each step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter(rate: &str) -> Limiter {
        Limiter::new(rate.parse().unwrap())
    }

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        for (text, count, seconds) in [("100/h", 100, 3_600), ("5/s", 5, 1), (" 30 / min ", 30, 60), ("1/d", 1, 86_400)]
        {
            assert_eq!(text.parse(), Ok(Rate { count, per: Duration::from_secs(seconds) }), "{text}");
        }
        for text in ["", "100", "0/h", "-1/h", "1/w", "/h", "1/", "1.5/h", "99999999999/h"] {
            assert_eq!(text.parse::<Rate>(), Err(ParseRate), "{text:?}");
        }
    }

    #[test]
    fn as_many_as_the_rate_says_at_once_and_one_more_when_its_time_has_passed() {
        let buckets = limiter("4/min");
        let begin = SECOND * 1_000;
        for _ in 0..4 {
            assert_eq!(buckets.take(begin, "ana"), Ok(()));
        }
        assert_eq!(buckets.take(begin, "ana"), Err(15));
        assert_eq!(buckets.take(begin, "eva"), Ok(()), "another one's");
        assert_eq!(buckets.take(begin + SECOND * 14, "ana"), Err(1), "what was refused does not count");
        assert_eq!(buckets.take(begin + SECOND * 15, "ana"), Ok(()));
        assert_eq!(buckets.take(begin + SECOND * 15, "ana"), Err(15));
        for _ in 0..4 {
            assert_eq!(buckets.take(begin + SECOND * 600, "ana"), Ok(()), "and no more than that saved up");
        }
        assert!(buckets.take(begin + SECOND * 600, "ana").is_err());
        buckets.forget("ana");
        assert_eq!(buckets.take(begin + SECOND * 600, "ana"), Ok(()));
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let buckets = Limiter { remembered_max: 100, ..limiter("1/h") };
        for n in 0..10_000_u64 {
            assert_eq!(buckets.take(SECOND * (n / 7) as u32, n), Ok(()));
            assert!(buckets.buckets().len() <= 100);
        }
    }

    #[test]
    fn a_client_is_one_network() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
