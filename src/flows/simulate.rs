//! How long orders would take under a flow, in virtual time: nothing waits, and the same seed gives the same figures.
//!
//! Only the flow counts. What commits, brokers and mails cost comes on top, and nobody has to wait for anybody else: a
//! kitchen with two cooks is slower. How long a command takes, nobody knows: it is drawn from an exponential distribution
//! with `expect` as its mean, so that most come sooner and a few come much later.

use std::time::Duration;

use fastrand::Rng;

use crate::domain::{
    Flow, Product,
    flow::{Leave, Step},
};

/// What is tried.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// How many orders.
    pub orders: u32,
    /// Mean time between one order and the next; they come at random.
    pub gap: Duration,
    /// What they are for, each as often as the others.
    pub products: &'a [Product],
    /// What the figures depend on.
    pub seed: u64,
}

/// A step that waits for a command, of which the flow does not say how long it takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} waits for a command, and the flow does not say how long that takes: give it an `expect`, like expect = \"20m\""
)]
pub struct Unknown(String);

/// How long orders took.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// From the first state to the end.
    pub whole: Spread,
    /// Each step that is left, in order.
    pub steps: Vec<StepReport>,
    /// Most orders in flight at the same time.
    pub in_flight_max: u32,
    /// From the first order to the end of the last.
    pub lasted: Duration,
}

/// How long orders took in one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Its state.
    pub state: String,
    /// How long they were in it.
    pub spread: Spread,
    /// Which part of all time they spent in it, from 0 to 1.
    pub share: f64,
    /// How many left it because a command came.
    pub by_command: u32,
    /// Most orders in it at the same time.
    pub waiting_max: u32,
}

/// Some durations: these parts of them are not longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Half.
    pub p50: Duration,
    /// 90 %.
    pub p90: Duration,
    /// 99 %.
    pub p99: Duration,
    /// All.
    pub max: Duration,
}

/// Sends orders through a flow.
pub fn run(trial: &Trial<'_>) -> Result<Report, Unknown> {
    let mut rng = Rng::with_seed(trial.seed);
    let mut at = Duration::ZERO;
    let mut placed = Vec::with_capacity(trial.orders as usize);
    for _ in 0..trial.orders {
        placed.push(at);
        at += exponential(&mut rng, trial.gap);
    }
    let products: Vec<&Product> = placed.iter().filter_map(|_| rng.choice(trial.products)).collect();
    let (mut now, mut steps) = (placed.clone(), Vec::new());
    let mut spent = Vec::new();
    for step in trial.flow.steps().iter().filter(|step| step.leave.is_some()) {
        let entered = now.clone();
        let mut by_command = 0;
        for (now, product) in now.iter_mut().zip(&products) {
            let (stay, is_command) = stay(step, product, &mut rng)?;
            by_command += u32::from(is_command);
            *now += stay;
        }
        let stays = durations(&entered, &now);
        spent.push(stays.iter().sum::<Duration>());
        let waiting_max = most(entered, now.clone());
        steps.push(StepReport {
            state: step.state.to_string(),
            spread: Spread::of(stays),
            share: 0.0,
            by_command,
            waiting_max,
        });
    }
    let all = spent.iter().sum::<Duration>().as_secs_f64();
    for (step, spent) in steps.iter_mut().zip(spent) {
        step.share = if all > 0.0 { spent.as_secs_f64() / all } else { 0.0 };
    }
    let lasted = now.iter().max().copied().unwrap_or_default();
    Ok(Report { whole: Spread::of(durations(&placed, &now)), steps, in_flight_max: most(placed, now), lasted })
}

/// How long an order stays in a step, and whether a command ended that.
fn stay(step: &Step, product: &Product, rng: &mut Rng) -> Result<(Duration, bool), Unknown> {
    let command = step.expect().map(|expect| exponential(rng, expect));
    match &step.leave {
        Some(Leave::Command { .. }) => Ok((command.ok_or_else(|| Unknown(step.state.to_string()))?, true)),
        Some(Leave::Timer(dwell) | Leave::Either { dwell, .. }) => {
            let dwell = dwell.of(product);
            Ok(command.filter(|command| *command < dwell).map_or((dwell, false), |command| (command, true)))
        }
        None => Ok((Duration::ZERO, false)),
    }
}

/// A time of which the mean is known, and nothing else.
fn exponential(rng: &mut Rng, mean: Duration) -> Duration {
    // `f64` is below 1, so that the logarithm is finite
    mean.mul_f64(-(1.0 - rng.f64()).ln())
}

fn durations(from: &[Duration], to: &[Duration]) -> Vec<Duration> {
    from.iter().zip(to).map(|(from, to)| to.saturating_sub(*from)).collect()
}

/// Most that have come and not gone.
fn most(mut came: Vec<Duration>, mut went: Vec<Duration>) -> u32 {
    came.sort_unstable();
    went.sort_unstable();
    let (mut gone, mut most) = (0, 0);
    for (i, at) in came.iter().enumerate() {
        while went[gone] <= *at && gone < i {
            gone += 1;
        }
        most = most.max(i + 1 - gone);
    }
    most as u32
}

impl Spread {
    fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let part = |percent: usize| {
            let at = (durations.len() * percent).div_ceil(100).max(1) - 1;
            durations.get(at).copied().unwrap_or_default()
        };
        Self { p50: part(50), p90: part(90), p99: part(99), max: part(100) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::flows::file;

    fn products() -> Vec<Product> {
        ["1", "2", "3"].map(|key| Product::new(key, "x", "1").unwrap()).into()
    }

    fn try_out(flow: &Flow, orders: u32, seed: u64) -> Result<Report, Unknown> {
        run(&Trial { flow, orders, gap: Duration::from_secs(1), products: &products(), seed })
    }

    fn flow(steps: &str) -> Flow {
        file::parse(Path::new("t.toml"), &format!("name = \"a\"\nversion = 1\n{steps}\n[[step]]\nstate = \"z\""))
            .unwrap()
    }

    #[test]
    fn timers_take_what_they_say() {
        let report = try_out(&Flow::standard(Duration::from_secs(8)), 1_000, 1).unwrap();
        let same = |time| Spread { p50: time, p90: time, p99: time, max: time };
        assert_eq!(report.whole, same(Duration::from_secs(24)));
        assert!(report.steps.iter().all(|step| step.spread == same(Duration::from_secs(8)) && step.by_command == 0));
        assert!(report.steps.iter().all(|step| (step.share - 1.0 / 3.0).abs() < 1e-9));
    }

    #[test]
    fn products_stay_as_long_as_theirs() {
        let flow = flow("[[step]]\nstate = \"a\"\ndwell = \"1s\"\nfor = [{ product = \"2\", dwell = \"9s\" }]");
        let report = try_out(&flow, 1_000, 1).unwrap();
        assert_eq!((report.whole.p50, report.whole.p90), (Duration::from_secs(1), Duration::from_secs(9)));
    }

    #[test]
    fn commands_are_around_what_is_expected() {
        let flow = flow(
            "[[step]]\nstate = \"a\"\nleave = \"command\"\nexpect = \"100s\"\n[[step]]\nstate = \"b\"\nleave = \
                         \"either\"\ndwell = \"50s\"\nexpect = \"50s\"",
        );
        let report = try_out(&flow, 20_000, 7).unwrap();
        // an exponential has its median at ln 2 of its mean, and is below its mean with 1 − 1/e
        let median = report.steps[0].spread.p50.as_secs_f64();
        assert!((65.0..74.0).contains(&median), "{median}");
        let by_command = f64::from(report.steps[1].by_command) / 20_000.0;
        assert!((0.61..0.65).contains(&by_command), "{by_command}");
        assert_eq!(report.steps[1].spread.max, Duration::from_secs(50));
        assert_eq!(report.steps[0].by_command, 20_000);
    }

    #[test]
    fn the_seed_alone_decides() {
        let flow = flow("[[step]]\nstate = \"a\"\nleave = \"command\"\nexpect = \"1m\"");
        assert_eq!(try_out(&flow, 500, 3), try_out(&flow, 500, 3));
        assert_ne!(try_out(&flow, 500, 3), try_out(&flow, 500, 4));
    }

    #[test]
    fn what_nobody_knows_is_not_made_up() {
        let flow = flow("[[step]]\nstate = \"a\"\nleave = \"command\"");
        assert_eq!(try_out(&flow, 1, 1), Err(Unknown("a".into())));
    }

    #[test]
    fn those_that_have_gone_do_not_wait() {
        let seconds = |list: &[u64]| list.iter().map(|n| Duration::from_secs(*n)).collect::<Vec<_>>();
        assert_eq!(most(seconds(&[0, 1, 2]), seconds(&[5, 6, 7])), 3);
        assert_eq!(most(seconds(&[0, 5, 10]), seconds(&[5, 10, 15])), 1);
        assert_eq!(most(seconds(&[0, 1, 10]), seconds(&[2, 3, 15])), 2);
        assert_eq!(most(seconds(&[3, 3]), seconds(&[3, 3])), 1);
        assert_eq!(most(seconds(&[]), seconds(&[])), 0);
    }
}
