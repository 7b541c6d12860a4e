//! What is done to the system and when, all from a seed: the same seed gives the same plan, though no machine repeats to the
//! millisecond what comes of it.

use std::time::Duration;

use fastrand::Rng;

use super::Trial;

/// Something that is done to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strike {
    /// `kill -9`, and it is started again.
    Kill,
    /// Nothing can be written for a while.
    DiskFull,
    /// The broker is restarted.
    BrokerRestart,
}

/// A strike and its moment: so long after so many orders were accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) accepted: u64,
    pub(super) then: Duration,
    pub(super) strike: Strike,
}

/// The longest pause between an order and the strike that it leads to: any moment between two orders, and of a commit.
const THEN_MAX: Duration = Duration::from_millis(500);
/// How often the disk is full, or the broker restarts, in a trial that wants that.
const OTHERS: u32 = 2;

/// The strikes of a trial, in order.
pub(super) fn plan(trial: &Trial) -> Vec<Moment> {
    let mut random = Rng::with_seed(trial.seed);
    let strikes = [
        (Strike::Kill, trial.kills),
        (Strike::DiskFull, if trial.disk_full { OTHERS } else { 0 }),
        (Strike::BrokerRestart, if trial.broker_restart.is_some() { OTHERS } else { 0 }),
    ];
    let mut moments = Vec::new();
    for (strike, times) in strikes {
        for _ in 0..times {
            let accepted = random.u64(1..=trial.orders);
            let then = THEN_MAX.mul_f64(random.f64());
            moments.push(Moment { accepted, then, strike });
        }
    }
    moments.sort_unstable();
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_and_another_one_another() {
        let of = |seed| {
            let moments = plan(&Trial { seed, kills: 10, disk_full: true, ..Trial::default() });
            assert!(moments.is_sorted() && moments.iter().all(|moment| (1..=500).contains(&moment.accepted)));
            moments
        };
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let count = |strike| of(7).iter().filter(|moment| moment.strike == strike).count();
        assert_eq!([Strike::Kill, Strike::DiskFull, Strike::BrokerRestart].map(count), [10, 2, 0]);
    }
}
