use super::*;
use crate::planted::{Defect, plant};

const STEPS: u32 = 300;

fn simulate(seed: u64) -> Report {
    run(Options { seed, steps: STEPS, trace: false }).unwrap_or_else(|failure| panic!("{failure}"))
}

/// So many that they take less than a minute in a debug build.
#[test]
fn whatever_happens_all_promises_are_kept() {
    let (mut orders, mut cancelled, mut mails, mut dead) = (0, 0, 0, 0);
    for seed in 0..500 {
        let report = simulate(seed);
        orders += report.orders;
        cancelled += report.cancelled;
        mails += report.mails;
        dead += report.dead;
    }
    assert!(
        orders > 5_000 && cancelled > 300 && mails > 5_000 && dead > 500,
        "{orders} orders, {cancelled} cancelled, {mails} mails, {dead} dead"
    );
}

#[test]
fn a_seed_replays_to_the_letter() {
    for seed in 0..40 {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
    assert_ne!(simulate(1).hash, simulate(2).hash);
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
    ];
    for defect in defects {
        let planted = plant(defect);
        let found = (0..1_000).find_map(|seed| run(Options { seed, steps: STEPS, trace: false }).err());
        drop(planted);
        let found = found.unwrap_or_else(|| panic!("{defect:?} is not found"));
        println!("{defect:?}: {found}");
    }
}
