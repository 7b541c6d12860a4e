//! A mail server that has bad days, by chance that a seed replays.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::{Fault, Step};

/// What can go wrong where, and its name. None of it refuses a mail for good, so each must arrive in the end, if `mail.copies_max`
/// lets it: after those at the final dot the client cannot know whether the mail was accepted, or is told a thing that it may not
/// believe.
const TROUBLES: [(Step, &str, Strike); 9] = [
    (Step::Connect, "busy at the greeting", Strike::Reply("421 4.3.2 too busy")),
    (Step::Connect, "garbled greeting", Strike::Bytes(b"\x00\xff what is SMTP?\r\n")),
    (Step::Mail, "connection lost at MAIL", Strike::Drop),
    (Step::Rcpt, "greylisted", Strike::Reply("451 4.7.1 greylisted, come back")),
    (Step::Data, "no room at DATA", Strike::Reply("452 4.3.1 no room")),
    (Step::Dot, "refused for now at the dot", Strike::Reply("451 4.3.0 later")),
    (Step::Dot, "garbled answer to an accepted mail", Strike::Bytes(b"2\xff0 \x00\r\n")),
    (Step::Dot, "connection lost after the dot", Strike::Drop),
    (Step::Dot, "slow answer, byte by byte", Strike::Drip("250 2.0.0 queued at last")),
];

#[derive(Clone, Copy)]
enum Strike {
    Reply(&'static str),
    Bytes(&'static [u8]),
    Drip(&'static str),
    Drop,
}

/// Things that go wrong by chance, and how often each has.
#[derive(Debug, Clone)]
pub struct Trouble {
    share: f64,
    random: Rng,
    counts: BTreeMap<&'static str, u64>,
}

impl Trouble {
    /// At each step at which something can go wrong, it does for this share of the times (0 to 1).
    pub fn new(share: f64, seed: u64) -> Self {
        Self { share, random: Rng::with_seed(seed), counts: BTreeMap::new() }
    }

    /// From now on nothing goes wrong; what has stays counted.
    pub fn end(&mut self) {
        self.share = 0.0;
    }

    /// How often each thing went wrong.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    pub(super) fn strike(&mut self, step: Step) -> Option<Fault> {
        if self.random.f64() >= self.share {
            return None;
        }
        let here: Vec<_> = TROUBLES.iter().filter(|(at, ..)| *at == step).collect();
        let (_, name, strike) = self.random.choice(here)?;
        *self.counts.entry(name).or_default() += 1;
        Some(match strike {
            Strike::Reply(reply) => Fault::Reply(reply),
            Strike::Bytes(bytes) => Fault::Bytes(bytes.to_vec()),
            Strike::Drip(reply) => Fault::Drip(reply),
            Strike::Drop => Fault::Drop,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_what_goes_wrong() {
        let strikes = |seed| {
            let mut trouble = Trouble::new(0.5, seed);
            let at_dot: Vec<_> = (0..200).map(|_| trouble.strike(Step::Dot)).collect();
            (at_dot, trouble.counts().clone())
        };
        let (first, counts) = strikes(1);
        assert_eq!(strikes(1), (first.clone(), counts.clone()));
        assert_ne!(strikes(2).0, first);
        assert_eq!(counts.len(), 4, "{counts:?}");
        assert_eq!(counts.values().sum::<u64>(), first.iter().flatten().count() as u64);
        let mut over = Trouble::new(1.0, 1);
        over.end();
        assert_eq!((over.strike(Step::Rcpt), Trouble::new(1.0, 1).strike(Step::Ehlo)), (None, None));
    }
}
