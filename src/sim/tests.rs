use std::thread;

use super::*;
use crate::planted::{Defect, plant};

/// Steps of a seed that looks for defects.
const STEPS: u32 = 300;
/// Many short lives find more than a few long ones.
const SHORT: u32 = 60;
const SEEDS: u64 = 10_000;
const THREADS: u64 = 2;

fn simulate(seed: u64, steps: u32, races: bool) -> Report {
    run(Options { seed, steps, trace: false, races }).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Simulates seeds on several threads; each seed is its own world.
fn simulate_all(seeds: u64, steps: u32, races: bool) -> Vec<Report> {
    thread::scope(|scope| {
        let part = move |first: u64| {
            let seeds = (first..seeds).step_by(THREADS as usize);
            seeds.map(|seed| simulate(seed, steps, races)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || part(first))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("all promises are kept")).collect()
    })
}

fn sum(reports: &[Report], of: impl Fn(&Report) -> u64) -> u64 {
    reports.iter().map(of).sum()
}

#[test]
fn whatever_happens_all_promises_are_kept() {
    let reports = simulate_all(SEEDS, SHORT, false);
    let (orders, mails) = (sum(&reports, |report| report.orders), sum(&reports, |report| report.mails));
    let (cancelled, dead) = (sum(&reports, |report| report.cancelled), sum(&reports, |report| report.dead));
    assert!(
        orders > 25_000 && cancelled > 1_000 && mails > 40_000 && dead > 4_000,
        "{orders} orders, {cancelled} cancelled, {mails} mails, {dead} dead"
    );
}

/// `encargo-sim --races 100000` is the same with more of them.
#[test]
fn a_cancellation_that_races_the_last_timer_has_one_of_two_ends() {
    let reports = simulate_all(60, STEPS, true);
    let (in_time, too_late) = (sum(&reports, |report| report.in_time), sum(&reports, |report| report.too_late));
    assert!(in_time > 100 && too_late > 100, "{in_time} in time, {too_late} too late");
}

/// In these a mailer stalls in the middle of a mail until its lease has ended and its order is cancelled.
#[test]
fn a_mail_that_was_given_up_in_the_middle_may_come_late() {
    for seed in [101_796, 110_065] {
        simulate(seed, STEPS, false);
    }
}

#[test]
fn a_seed_replays_to_the_letter() {
    for seed in 0..40 {
        assert_eq!(simulate(seed, STEPS, false), simulate(seed, STEPS, false), "seed {seed}");
    }
    assert_eq!(simulate(1, STEPS, true), simulate(1, STEPS, true));
    assert_ne!(simulate(1, STEPS, false).hash, simulate(2, STEPS, false).hash);
}

/// Each is found within 1,000 seeds, and by which seed is told.
#[test]
fn planted_defects_are_found() {
    let defects = [
        Defect::CommitWithoutOffsets,
        Defect::NeighboursOffset,
        Defect::TimerLost,
        Defect::SettledInWrongOrder,
        Defect::RestoredTwice,
        Defect::StaleRestore,
        Defect::UnknownIsRefused,
        Defect::CancelledAfterTheEnd,
        Defect::LeaseForgotten,
        Defect::LateIsLatest,
        Defect::VersionForgotten,
    ];
    for defect in defects {
        let planted = plant(defect);
        let found = (0..1_000).find_map(|seed| run(Options { seed, steps: STEPS, trace: false, races: false }).err());
        drop(planted);
        let found = found.unwrap_or_else(|| panic!("{defect:?} is not found"));
        println!("{defect:?}: {found}");
    }
}
