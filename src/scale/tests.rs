use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn set(capacity: f64) -> Settings {
    Settings { capacity: [Some(capacity); 4], zero: Role::ALL.to_vec(), ..Settings::default() }
}

fn busy(arriving: f64) -> Observed {
    Observed { arriving, instances: Some(1), ..Observed::default() }
}

fn one(seen: &Observed, role: Role) -> Decision {
    Scaler::new(role, &set(100.0)).decide(*seen, Duration::ZERO)
}

#[test]
fn what_comes_is_shared_with_room_to_spare() {
    let wanted = |arriving| one(&busy(arriving), Role::Fulfilment).wanted;
    assert_eq!([0.0, 1.0, 70.0, 71.0, 140.0, 700.0].map(wanted), [1, 1, 1, 2, 2, 10]);
}

#[test]
fn a_backlog_that_would_last_wants_more_and_one_that_is_soon_done_does_not() {
    let behind = |waiting, seconds| Observed { waiting, behind: Duration::from_secs(seconds), ..busy(50.0) };
    let short = one(&behind(1_000, 10), Role::Fulfilment);
    assert_eq!((short.wanted, short.need.why), (1, Why::CatchingUp), "done before another one would work");
    let long = one(&behind(12_000, 40), Role::Fulfilment);
    // 12,000 and 33 s of 50/s, less 30 s of 100/s, in a minute: 178/s, and 50/s that come
    assert_eq!((long.wanted, long.need.why), (3, Why::Backlog));
    let fresh = one(&Observed { behind: SECOND / 2, ..behind(12_000, 0) }, Role::Fulfilment);
    assert_eq!((fresh.wanted, fresh.need.why), (1, Why::Arriving), "it is on its way");
}

#[test]
fn nobody_is_sent_away_while_work_waits() {
    let seen = Observed { waiting: 500, behind: SECOND * 5, instances: Some(4), ..busy(50.0) };
    assert_eq!(one(&seen, Role::Fulfilment).wanted, 4);
}

#[test]
fn more_than_can_share_the_work_are_not_wanted() {
    let decision = one(&Observed { shares: Some(4), ..busy(900.0) }, Role::Fulfilment);
    assert_eq!((decision.wanted, decision.need.beyond), (4, Some(13)));
}

#[test]
fn only_what_can_wait_may_be_none() {
    let idle = Observed { instances: Some(0), ..Observed::default() };
    let wanted = |role| one(&idle, role).wanted;
    assert_eq!(Role::ALL.map(wanted), [1, 1, 0, 0]);
    let not_allowed = Scaler::new(Role::Mail, &Settings::default()).decide(idle, Duration::ZERO);
    assert_eq!(not_allowed.wanted, 1);
    assert_eq!(one(&Observed { waiting: 1, ..idle }, Role::Mail).wanted, 1);
}

#[test]
fn it_goes_up_at_once_and_down_slowly() {
    let mut scaler = Scaler::new(Role::Intake, &set(100.0));
    let mut wanted = |minute: u64, arriving| {
        let unknown = Observed { instances: None, ..busy(arriving) };
        scaler.decide(unknown, Duration::from_mins(minute)).wanted
    };
    let quiet: Vec<_> = (0..3).map(|minute| wanted(minute, 60.0)).collect();
    assert_eq!(quiet, [1, 1, 1]);
    assert_eq!(wanted(3, 560.0), 8);
    let after: Vec<_> = (4..22).map(|minute| wanted(minute, 60.0)).collect();
    assert_eq!(after, [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 5, 3, 2, 1, 1, 1, 1, 1]);
}

#[test]
fn who_begins_to_decide_leaves_those_that_are_there() {
    let mut scaler = Scaler::new(Role::Fulfilment, &set(100.0));
    let there = Observed { instances: Some(5), shares: Some(4), ..busy(10.0) };
    assert_eq!(scaler.decide(there, Duration::ZERO).wanted, 4);
    assert_eq!(scaler.decide(there, Duration::from_mins(9)).wanted, 4);
    assert_eq!(scaler.decide(there, Duration::from_mins(10)).wanted, 3);
}

#[test]
fn capacity_is_learned_by_what_instances_did() {
    let mut learned = Learned::new(300.0);
    learned.note(20.0, Pace::InTime);
    assert_eq!(learned, Learned::new(300.0), "a quiet night tells nothing");
    learned.note(2_100.0, Pace::InTime);
    let busy = learned;
    assert!(busy.is_measured() && (busy.capacity() - 2_100.0).abs() < 1.0, "{busy:?}");
    for nothing in [0.0, f64::NAN, f64::INFINITY] {
        learned.note(nothing, Pace::Flat);
    }
    assert_eq!(learned, busy, "something was away");
    (0..40).for_each(|_| learned.note(150.0, Pace::Flat));
    assert!((learned.capacity() - 150.0).abs() < 1.0, "less than was guessed: {learned:?}");
}

fn observed() -> impl Strategy<Value = Observed> {
    let rate = prop_oneof![Just(0.0), 0.0..50.0, 0.0..1e5];
    let waiting = prop_oneof![Just(0), 0..200_u64, 0..10_000_000_u64];
    (rate, waiting, 0..600_u64, proptest::option::of(0..40_u32), proptest::option::of(1..24_u32)).prop_map(
        |(arriving, waiting, behind, instances, shares)| {
            let behind = Duration::from_secs(behind);
            Observed { arriving, waiting, behind, instances, shares }
        },
    )
}

proptest! {
    #[test]
    fn bounds_hold_whatever_is_seen(looks in proptest::collection::vec((observed(), 1..400_u64), 1..40), capacity in 0.1..1e4) {
        for role in Role::ALL {
            let mut scaler = Scaler::new(role, &set(capacity));
            let (mut now, mut last) = (Duration::ZERO, None);
            for (seen, pause) in &looks {
                now += Duration::from_secs(*pause);
                let decision = scaler.decide(*seen, now);
                let (wanted, need) = (decision.wanted, decision.need.instances);
                prop_assert!(seen.shares.is_none_or(|shares| wanted <= shares), "{decision:?}");
                prop_assert!(wanted >= need, "up at once: {decision:?}");
                prop_assert!(wanted > 0 || role.may_be_none() && seen.waiting == 0 && seen.arriving == 0.0, "{decision:?}");
                if let Some((before, shares)) = last && shares == seen.shares {
                    let step: u32 = before;
                    prop_assert!(wanted >= step - step.div_ceil(3), "from {step} to {decision:?}");
                }
                last = Some((wanted, seen.shares));
            }
        }
    }

    #[test]
    fn more_work_never_wants_fewer(seen in observed(), more in 0.0..1e4, capacity in 0.1..1e4) {
        let wanted = |seen: Observed| Scaler::new(Role::Fulfilment, &set(capacity)).decide(seen, Duration::ZERO).wanted;
        let (faster, longer) = (seen.arriving + more, seen.waiting + more as u64);
        let (faster, longer) = (Observed { arriving: faster, ..seen }, Observed { waiting: longer, ..seen });
        prop_assert!(wanted(faster) >= wanted(seen) && wanted(longer) >= wanted(seen));
    }

    #[test]
    fn a_steady_load_never_flaps(arriving in 0.0..5e3, noise in proptest::collection::vec(-0.1..0.1, 60)) {
        let mut scaler = Scaler::new(Role::Intake, &set(100.0));
        let wanted: Vec<_> = noise.iter().zip(0_u32..).map(|(noise, minute)| {
            let seen = Observed { arriving: arriving * (1.0 + noise), ..Observed::default() };
            scaler.decide(seen, SECOND * 60 * minute).wanted
        }).collect();
        let steps = wanted.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| pair[0] < pair[1]);
        let steps: Vec<_> = steps.collect();
        let turns = steps.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        prop_assert!(turns <= 60 / 10, "up again after going down: {wanted:?}");
    }
}
