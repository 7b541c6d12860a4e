use jiff::tz::TimeZone;

use super::*;
use crate::forecast::{DAY, WEEK, shop::Shop};

#[test]
fn following_demand_costs_a_third_less_and_keeps_the_objective() {
    let (history, special) = (Shop::Meals.orders(4, 1_500.0, 1), Special::none(TimeZone::UTC));
    let (capacity, partitions, rules, backlog_max) = (300.0, 12, Rules::default(), 20_000.0);
    let scenario =
        Scenario { history: &history, from: 3 * WEEK, special: &special, capacity, partitions, rules, backlog_max };
    let policies = [Policy::Fixed, Policy::Reactive, Policy::Both];
    let [fixed, reactive, both] = policies.map(|policy| scenario.run(policy).unwrap());
    let told = |outcome: &Outcome| {
        format!("{:.0} h, {:.0} late, {:.0} refused", outcome.instance_hours, outcome.late, outcome.refused)
    };
    assert!(fixed.late < 1.0 && fixed.refused < 1.0 && fixed.changes == 0, "{}", told(&fixed));
    for outcome in [&reactive, &both] {
        assert!(outcome.instance_hours < fixed.instance_hours * 0.7, "{} beside {}", told(outcome), told(&fixed));
        assert!(outcome.late < outcome.orders * 0.01, "99 % in time: {}", told(outcome));
        assert!(outcome.refused < outcome.orders * 0.001, "{}", told(outcome));
    }
    assert!(both.late + both.refused <= reactive.late + reactive.refused, "{} {}", told(&both), told(&reactive));
}

#[test]
fn a_crowd_that_nobody_knows_of_is_late_for_who_only_foretells() {
    // a quiet shop to which ten times as many come for two hours
    let mut orders = vec![30_000.0; 5 * WEEK];
    orders[4 * WEEK + DAY / 2..4 * WEEK + DAY / 2 + 24].fill(300_000.0);
    let history =
        History::new(crate::domain::Timestamp::from_millis(1_767_571_200_000), orders[..4 * WEEK + DAY].to_vec());
    let special = Special::none(TimeZone::UTC);
    let rules = Rules::default();
    let (capacity, partitions, backlog_max) = (300.0, 12, 20_000.0);
    let scenario =
        Scenario { history: &history, from: 4 * WEEK, special: &special, capacity, partitions, rules, backlog_max };
    let [reactive, forecast] = [Policy::Reactive, Policy::Forecast].map(|policy| scenario.run(policy).unwrap());
    assert!(forecast.refused > 1_000_000.0, "{}", forecast.refused);
    assert!(reactive.refused > 0.0 && reactive.refused < 100_000.0, "until others work: {}", reactive.refused);
    assert!((reactive.backlog_max - 20_000.0).abs() < 1.0);
}

#[test]
fn instances_that_do_next_to_nothing_are_never_done() {
    let (history, special) = (Shop::Calm.orders(4, 100.0, 1), Special::none(TimeZone::UTC));
    let (capacity, partitions, rules, backlog_max) = (f64::MIN_POSITIVE, 2, Rules::default(), 1_000.0);
    let scenario = Scenario {
        history: &history,
        from: 4 * WEEK - 12,
        special: &special,
        capacity,
        partitions,
        rules,
        backlog_max,
    };
    let outcome = scenario.run(Policy::Reactive).unwrap();
    assert!(outcome.refused > 0.0 && outcome.instances.iter().all(|instances| *instances <= 2), "{outcome:?}");
}
