//! What will be wanted of each role in the minutes and hours to come, as `/scale` tells it.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Desk,
    foresight::{self, Foresight},
    wanted::rate,
};
use crate::{
    domain::{Lang, Timestamp},
    forecast::{self, BUCKET, InFlight, Load, Planned},
    pages::format,
    role::Role,
    scale::{Observed, Scaler, Settings},
    words::{fill, word},
};

/// Five minutes in an hour.
const HOUR: usize = 12;
/// Hours that are told.
const HOURS: usize = 12;
const MINUTE: Duration = Duration::from_mins(1);
/// Minutes that are told.
const MINUTES: u32 = 10;

/// What is to come, seen from now.
pub(in crate::ops) struct Ahead {
    foresight: Arc<Foresight>,
    in_flight: InFlight,
    loads: [Load; Role::ALL.len()],
    settings: Settings,
    /// Orders that come per second.
    orders_per_s: f64,
    now: Timestamp,
}

/// A minute, in which so much comes to a role per second, and the instances that takes.
struct Minute {
    at: Timestamp,
    arriving: f64,
    wanted: u32,
}

/// Instances that will be wanted.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::ops) struct Coming {
    /// From when.
    pub(super) at: Timestamp,
    /// How many.
    pub(super) wanted: u32,
    /// Why, in words.
    pub(super) reason: String,
}

/// What will come; nothing while the store does not answer.
pub(in crate::ops) async fn look(desk: &Desk) -> Option<Ahead> {
    let deps = &desk.0.deps;
    let foresight = foresight::look(desk).await.ok()?;
    let seen = deps.watch.look().await.ok()?;
    let decided = deps.watch.decided();
    let intake = decided.iter().find(|(role, _)| *role == Role::Intake);
    Some(Ahead {
        foresight,
        in_flight: InFlight::new(&seen.snapshot.due, &deps.flow, seen.at),
        loads: deps.loads,
        settings: deps.watch.scaling(),
        orders_per_s: intake.map_or(0.0, |(_, decision)| decision.seen.arriving),
        now: seen.at,
    })
}

impl Ahead {
    /// How many instances will be wanted once one that is started now works: by the forecast, and by what the orders in flight
    /// bring.
    pub(in crate::ops) fn soon(&self, role: Role) -> u32 {
        let until = self.now + self.settings.rules.start + self.settings.rules.pause;
        let due = self.minutes_of(role).filter(|minute| minute.at <= until).map(|minute| minute.wanted);
        let is_soon = |planned: &&Planned| planned.expected.at <= until && planned.expected.at + BUCKET > self.now;
        let plan = self.foresight.plan().map(|(plan, _)| plan).unwrap_or_default();
        let expected = plan.iter().filter(is_soon).map(|planned| planned.instances[role as usize]);
        expected.chain(due).max().unwrap_or_default()
    }

    /// The minutes that begin now, for roles whose work the orders in flight bring.
    fn minutes_of(&self, role: Role) -> impl Iterator<Item = Minute> {
        let load = self.loads[role as usize];
        let mut scaler = Scaler::new(role, &self.settings);
        let minute = move |index: u32| {
            let at = self.now + MINUTE * index;
            let arriving = self.in_flight.arriving(load, (at, at + MINUTE), self.orders_per_s)?;
            let seen = Observed { arriving, shares: load.shares, ..Observed::default() };
            Some(Minute { at, arriving, wanted: scaler.decide(seen, MINUTE * index).wanted })
        };
        let known = if matches!(role, Role::Tracking | Role::Mail) { MINUTES } else { 0 };
        (0..known).filter_map(minute)
    }

    /// The same, each with the reason in words.
    pub(in crate::ops) fn minutes(&self, lang: Lang, role: Role) -> Vec<Coming> {
        let capacity = self.settings.capacity_of(role);
        let told = |Minute { at, arriving, wanted }| {
            let places = [("a", rate(lang, arriving)), ("c", rate(lang, capacity))];
            Coming { at, wanted, reason: fill(word(lang, "scale_due"), &places).into_owned() }
        };
        self.minutes_of(role).map(told).collect()
    }

    /// The hours that begin now, each with the most instances in it and the reason in words; none without a forecast.
    pub(in crate::ops) fn hours(&self, lang: Lang, role: Role) -> Vec<Coming> {
        let Some((plan, settings)) = self.foresight.plan() else { return Vec::new() };
        let to_come = plan.iter().skip_while(|planned| planned.expected.at + BUCKET <= self.now);
        let to_come: Vec<_> = to_come.copied().collect();
        let hour = |hour: &[Planned]| {
            // of those that take most, the one in which most comes
            let most = hour.iter().max_by(|one, other| {
                let key = |planned: &Planned| (planned.instances[role as usize], planned.expected.p90);
                key(one).partial_cmp(&key(other)).unwrap_or(std::cmp::Ordering::Equal)
            })?;
            let reason = self.reason(lang, role, most, settings);
            Some(Coming { at: hour[0].expected.at, wanted: most.instances[role as usize], reason })
        };
        to_come.chunks(HOUR).take(HOURS).filter_map(hour).collect()
    }

    fn reason(&self, lang: Lang, role: Role, planned: &Planned, settings: &Settings) -> String {
        let (index, load) = (role as usize, self.loads[role as usize]);
        let time = (planned.expected.at, planned.expected.at + BUCKET);
        let orders_per_s = planned.expected.p90 / BUCKET.as_secs_f64();
        let arriving = forecast::arriving(role, load, Some(&self.in_flight), time, orders_per_s);
        let capacity = settings.capacity_of(role);
        let number = |n: u32| format::number(lang, u64::from(n));
        let places = [
            ("a", rate(lang, arriving)),
            ("c", rate(lang, capacity)),
            ("b", number(planned.beyond[index].unwrap_or_default())),
            ("m", number(load.shares.unwrap_or_default())),
            ("k", number(planned.needed[index])),
        ];
        let more = [
            ("scale_beyond", planned.beyond[index].is_some()),
            ("scale_held", planned.instances[index] > planned.needed[index]),
        ];
        let keys =
            ["scale_foreseen"].into_iter().chain(more.into_iter().filter(|(_, is_so)| *is_so).map(|(key, _)| key));
        keys.map(|key| fill(word(lang, key), &places).into_owned()).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::{
        domain::Flow,
        forecast::{DAY, History, PAST, Special, shop::Shop},
        store::overview::Due,
    };

    /// What is known in the morning of a shop that sells meals, with four partitions and 10 orders a second for each instance.
    fn morning(days: usize) -> Ahead {
        let history: History = Shop::Meals.orders(4, 20.0, 1).window(days * DAY + DAY / 3, PAST);
        let settings = Settings { capacity: [Some(10.0); Role::ALL.len()], ..Settings::default() };
        let loads = Role::ALL.map(|_| Load { per_order: 1.0, shares: Some(2) });
        let now = history.at(history.len());
        let special = Special::none(TimeZone::UTC);
        let foresight = Foresight::new(now, &history, &special, settings.clone(), &loads, None);
        let in_flight = InFlight::new(&[], &Flow::standard(Duration::from_mins(3)), now);
        Ahead { foresight: Arc::new(foresight), in_flight, loads, settings, orders_per_s: 4.0, now }
    }

    #[test]
    fn what_orders_in_flight_bring_is_told_by_the_minute() {
        let mut ahead = morning(13);
        let due = [Due { at: ahead.now + MINUTE * 4, step: 1, count: 2_400 }];
        ahead.in_flight = InFlight::new(&due, &Flow::standard(Duration::from_mins(3)), ahead.now);
        let minutes = ahead.minutes(Lang::En, Role::Mail);
        let wanted: Vec<_> = minutes.iter().map(|minute| minute.wanted).collect();
        // 2,400 states, each a quarter of a mail here, after four minutes and again three minutes later
        assert_eq!(wanted, [1, 1, 1, 1, 2, 2, 2, 2, 2, 2], "and kept for ten minutes");
        insta::assert_snapshot!(minutes[4].reason, @"12/s are due or come, and one instance does 10/s");
        assert!(ahead.minutes(Lang::Es, Role::Fulfilment).is_empty());
        assert_eq!(ahead.soon(Role::Mail), 1);
        ahead.now = ahead.now + MINUTE * 3 + MINUTE / 2;
        assert_eq!(ahead.soon(Role::Mail), 2, "an instance that is started now works when they are due");
    }

    #[test]
    fn each_hour_is_told_with_its_reason() {
        let mut ahead = morning(21);
        let hours = ahead.hours(Lang::En, Role::Fulfilment);
        assert_eq!(hours.len(), HOURS);
        assert_eq!((hours[0].at, hours[0].wanted), (ahead.now, 1));
        assert_eq!(ahead.soon(Role::Fulfilment), 1);
        let noon = hours.iter().find(|hour| hour.wanted == 2).expect("noon takes more than the morning");
        let reason = &noon.reason;
        assert!(
            reason.starts_with("at most ") && reason.contains("9 times out of 10, and one instance does 10/s"),
            "{reason}"
        );
        let spanish = &ahead.hours(Lang::Es, Role::Fulfilment)[0].reason;
        assert!(spanish.ends_with("y una instancia hace 10/s"), "{spanish}");

        // just before it takes more: an instance that is started now works when it does
        let needed = noon.at;
        let (plan, _) = ahead.foresight.plan().unwrap();
        let more = plan.iter().find(|planned| planned.instances[1] == 2).unwrap().expected.at;
        assert!(more >= needed);
        ahead.now = more - std::time::Duration::from_secs(20);
        assert_eq!(ahead.soon(Role::Fulfilment), 2);
    }

    #[test]
    fn nothing_is_foreseen_with_too_short_a_past() {
        let ahead = morning(13);
        assert!(ahead.soon(Role::Fulfilment) == 0 && ahead.hours(Lang::En, Role::Mail).is_empty());
    }
}
