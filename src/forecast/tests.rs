use jiff::tz::TimeZone;

use super::{shop::Shop, *};
use crate::{role::Role, store::overview::Minute};

fn nothing() -> Special {
    Special::none(TimeZone::UTC)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn three_days_are_too_few() {
    let days = |days: usize| History::new(at("2026-01-05T00:00:00Z"), vec![5.0; days * DAY]);
    assert_eq!(Forecast::new(&days(3), &nothing()).unwrap_err(), TooShort { days: 3 });
    assert!(TooShort { days: 3 }.to_string().contains("14 days are needed"));
    assert!(Forecast::new(&days(13), &nothing()).is_err() && Forecast::new(&days(14), &nothing()).is_ok());
}

/// A year of a real shop, whose hours are known: evenly through each of them, since its five minutes have an order or two.
fn real_shop() -> History {
    let hours = include_str!("online_retail.csv").lines().filter(|line| !line.starts_with('#')).flat_map(|line| {
        let (day, hours) = line.split_once(',').unwrap();
        let midnight = at(&format!("{day}T00:00:00Z"));
        let hour = move |(hour, orders): (u32, &str)| {
            (midnight + Duration::from_hours(1) * hour, orders.parse::<f64>().unwrap())
        };
        (0..).zip(hours.split(',')).map(hour).collect::<Vec<_>>()
    });
    let parts = hours.flat_map(|(hour, orders)| (0..12).map(move |part| (hour + BUCKET * part, orders / 12.0)));
    let lines: Vec<_> = parts.map(|(at, orders)| format!("{at},{orders}\n")).collect();
    History::of_csv(&lines.concat()).unwrap()
}

#[test]
fn it_is_less_wrong_than_last_week_on_three_of_five_shops_at_least() {
    let mut better = 0;
    let mut told = Vec::new();
    let generated = Shop::ALL.map(|shop| (format!("{shop:?}"), shop.orders(5, 20.0, 1)));
    let real = real_shop();
    assert_eq!(real.orders().iter().sum::<f64>().round() as u32, 22_061);
    for (shop, history) in generated.into_iter().chain([("real".to_owned(), real)]) {
        let forecast = Forecast::new(&history, &nothing()).unwrap();
        let [naive, profile] = [Model::Naive, Model::Profile].map(|model| forecast.backtest().error(model));
        better += u32::from(profile < naive);
        told.push((shop, profile, naive));
        assert!(forecast.backtest().error(forecast.backtest().chosen()) <= naive, "the better one is chosen");
    }
    assert!(better >= 3, "{told:?}");
}

#[test]
fn bands_hold_what_comes_as_often_as_they_say() {
    let (mut within, mut count) = ([0; 4], 0);
    for (shop, seed) in Shop::ALL.into_iter().zip(3..).chain(Shop::ALL.into_iter().zip(11..)) {
        let all = shop.orders(7, 20.0, seed);
        let past = |day: usize| all.window(6 * WEEK + day * DAY - DAY / 2, Duration::from_hours(24 * 35));
        let tried = Forecast::new(&past(0), &nothing()).unwrap();
        for day in 0..7 {
            let (forecast, origin) = (tried.moved_on(&past(day), &nothing()), 6 * WEEK + day * DAY - DAY / 2);
            for ahead in 0..DAY {
                let (came, Expected { p10, p50, p90, p99, .. }) =
                    (all.orders()[origin + ahead], forecast.expected(ahead));
                assert!(p10 <= p50 && p50 <= p90 && p90 <= p99);
                [p10, p50, p90, p99]
                    .iter()
                    .zip(&mut within)
                    .for_each(|(most, within)| *within += i32::from(came <= *most));
                count += 1;
            }
        }
    }
    let [p10, p50, p90, p99] = within.map(|within| f64::from(within) / f64::from(count));
    // the days of a shop have moods, so there are no more than 56 independent cases
    assert!((0.02..0.25).contains(&p10), "{p10}");
    assert!((0.3..0.7).contains(&p50) && (0.8..0.97).contains(&p90) && p99 > 0.95, "{p50} {p90} {p99}");
}

#[test]
fn nothing_of_what_comes_later_is_known() {
    let history = Shop::Meals.orders(4, 20.0, 1);
    let mut changed = history.orders().to_vec();
    changed[3 * WEEK..].fill(1e6);
    let changed = History::new(history.at(0), changed);
    let told =
        |history: &History| Profile::new(&history.window(3 * WEEK, BUCKET * 3 * WEEK as u32), &nothing()).expected(7);
    assert!((told(&history) - told(&changed)).abs() < f64::EPSILON);
}

#[test]
fn a_shop_that_doubles_now_is_believed_for_a_while() {
    let mut orders: Vec<f64> = vec![600.0; 3 * WEEK];
    orders[3 * WEEK - 24..].fill(1_200.0);
    let profile = Profile::new(&History::new(at("2026-01-05T00:00:00Z"), orders), &nothing());
    let (soon, later) = (profile.expected(0), profile.expected(DAY));
    assert!((1_100.0..1_250.0).contains(&soon) && (590.0..640.0).contains(&later), "{soon} {later}");
}

#[test]
fn special_days_are_told_and_do_not_bend_the_others() {
    let special =
        Special::read("# sale\n2026-01-16 3.0\n2026-01-27 0 # closed\n2026-01-26  2\n", TimeZone::UTC).unwrap();
    let mut orders = vec![100.0; 3 * WEEK];
    orders[11 * DAY..12 * DAY].fill(300.0);
    let history = History::new(at("2026-01-05T00:00:00Z"), orders);
    let forecast = Forecast::new(&history, &special).unwrap();
    let told = [0, DAY, 2 * DAY, 4 * DAY].map(|ahead| forecast.expected(ahead).p50.round() as u64);
    assert_eq!(told, [200, 0, 100, 100], "of {}", forecast.expected(0).at);
    assert!(Special::read("\u{feff}2026-01-27 0\n", TimeZone::UTC).is_ok(), "as a spreadsheet writes it");
    let wrong = Special::read("\ntomorrow 2", TimeZone::UTC).unwrap_err();
    assert!(wrong.to_string().starts_with("line 2: \"tomorrow 2\" is no special day"), "{wrong}");
    assert!(Special::read("2026-01-27 -1", TimeZone::UTC).is_err());
}

#[test]
fn a_past_is_read_from_minutes_and_from_a_file() {
    let minute = |time: &str, placed| Minute { at: at(time), placed, ..Minute::default() };
    let minutes =
        [minute("2026-01-05T12:01:00Z", 2), minute("2026-01-05T12:04:00Z", 3), minute("2026-01-05T12:15:00Z", 7)];
    let history = History::of_minutes(&minutes, at("2026-01-05T12:16:00Z"));
    assert_eq!(
        (history.at(0), history.orders()),
        (at("2026-01-05T12:00:00Z"), &[5.0, 0.0, 0.0][..]),
        "and not what goes on"
    );
    assert!(History::of_minutes(&[], at("2026-01-05T12:16:00Z")).is_empty());

    let file = "at,orders\n2026-01-05T12:06:00Z,3\n2026-01-05T13:04:00+01:00, 2\n\n2026-01-05T12:09:00Z,1\n";
    assert_eq!(History::of_csv(file), Ok(History::new(at("2026-01-05T12:00:00Z"), vec![2.0, 4.0])));
    let marked = History::of_csv("\u{feff}2026-01-05T12:06:00Z,3\n2026-01-05T12:01:00Z,2\n");
    assert_eq!(
        marked,
        Ok(History::new(at("2026-01-05T12:00:00Z"), vec![2.0, 3.0])),
        "the first line of a spreadsheet's"
    );
    let wrong = History::of_csv("at,orders\n2026-01-05T12:06:00Z,many\n").unwrap_err();
    assert!(wrong.to_string().starts_with("line 2: no number of orders; lines are"), "{wrong}");
    assert_eq!(History::of_csv("at,orders\n"), Err(ReadError::Empty));
    let ages = History::of_csv("0001-01-01T00:00:00Z,1\n9998-12-31T00:00:00Z,1\n").unwrap_err();
    assert_eq!(ages.to_string(), "its times are 3651693 days apart; ten years at most");
}

#[test]
fn instances_are_started_before_they_are_needed() {
    let forecast = Forecast::new(&Shop::Office.orders(4, 500.0, 1), &nothing()).unwrap();
    let settings = crate::scale::Settings { capacity: [Some(100.0); 4], ..Default::default() };
    let loads = [1.0, 1.0, 4.0, 0.0].map(|per_order| Load { per_order, shares: (per_order > 3.0).then_some(12) });
    // from Monday at midnight
    let plan = plan(&forecast, DAY, &settings, &loads, None);
    let at_ten = plan.iter().find(|planned| planned.expected.at.to_string().contains("T10:30")).unwrap();
    let [intake, fulfilment, tracking, mail] = at_ten.instances;
    assert!(intake == fulfilment && (7..12).contains(&intake) && tracking == 12 && mail == 1, "{at_ten:?}");
    let starts = starts(&plan, Duration::from_secs(33));
    let first = starts.iter().find(|start| start.role == Role::Fulfilment).unwrap();
    assert_eq!((first.from, first.to), (1, 2));
    let needed = plan.iter().find(|planned| planned.instances[1] == 2).unwrap().expected.at;
    assert_eq!(needed.since(first.at), Duration::from_secs(33));
}
