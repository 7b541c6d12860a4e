use super::*;

const STEPS: u32 = 300;

fn simulate(seed: u64) -> Report {
    run(Options { seed, steps: STEPS, trace: false }).unwrap_or_else(|failure| panic!("{failure}"))
}

/// So many that they take less than a minute in a debug build.
#[test]
fn whatever_happens_all_promises_are_kept() {
    let (mut orders, mut events, mut dead) = (0, 0, 0);
    for seed in 0..1_000 {
        let report = simulate(seed);
        orders += report.orders;
        events += report.events;
        dead += report.dead;
    }
    assert!(orders > 20_000 && events == 4 * orders && dead > 3_000, "{orders} orders, {events} events, {dead} dead");
}

#[test]
fn a_seed_replays_to_the_letter() {
    for seed in 0..10 {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
    assert_ne!(simulate(1).hash, simulate(2).hash);
}
