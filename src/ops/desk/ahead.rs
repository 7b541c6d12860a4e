//! What will be wanted of each role in the hours to come, as `/scale` tells it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Desk,
    foresight::{self, Foresight},
    wanted::rate,
};
use crate::{
    domain::{Lang, Timestamp},
    forecast::{BUCKET, Load, Planned},
    pages::format,
    role::Role,
    scale::{Settings, cautious},
    words::{fill, word},
};

/// Five minutes in an hour.
const HOUR: usize = 12;
/// Hours that are told.
const HOURS: usize = 12;

/// The hours to come, seen from now.
pub(in crate::ops) struct Ahead {
    foresight: Arc<Foresight>,
    loads: [Load; Role::ALL.len()],
    now: Timestamp,
}

/// What will come; nothing while the store does not answer.
pub(in crate::ops) async fn look(desk: &Desk) -> Option<Ahead> {
    let foresight = foresight::look(desk).await.ok()?;
    Some(Ahead { foresight, loads: desk.0.deps.loads, now: desk.0.deps.env.clock.now() })
}

impl Ahead {
    /// How many instances will be wanted once one that is started now works; nothing without a forecast.
    pub(in crate::ops) fn soon(&self, role: Role) -> Option<u32> {
        let (plan, settings) = self.foresight.plan()?;
        let until = self.now + settings.rules.start + settings.rules.pause;
        let is_soon = |planned: &&Planned| planned.expected.at <= until && planned.expected.at + BUCKET > self.now;
        plan.iter().filter(is_soon).map(|planned| planned.instances[role as usize]).max()
    }

    /// The hours that begin now, each with the most instances in it and the reason in words; none without a forecast.
    pub(in crate::ops) fn hours(&self, lang: Lang, role: Role) -> Vec<Value> {
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
            Some(json!({ "at": hour[0].expected.at, "wanted": most.instances[role as usize], "reason": reason }))
        };
        to_come.chunks(HOUR).take(HOURS).filter_map(hour).collect()
    }

    fn reason(&self, lang: Lang, role: Role, planned: &Planned, settings: &Settings) -> String {
        let (index, load) = (role as usize, self.loads[role as usize]);
        let arriving = planned.expected.p90 * load.per_order / BUCKET.as_secs_f64();
        let capacity = settings.capacity[index].unwrap_or_else(|| cautious(role));
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
    use crate::forecast::{DAY, History, PAST, Special, shop::Shop};

    /// What is known in the morning of a shop that sells meals, with four partitions and 10 orders a second for each instance.
    fn morning(days: usize) -> Ahead {
        let history: History = Shop::Meals.orders(4, 20.0, 1).window(days * DAY + DAY / 3, PAST);
        let settings = Settings { capacity: [Some(10.0); Role::ALL.len()], ..Settings::default() };
        let loads = Role::ALL.map(|_| Load { per_order: 1.0, shares: Some(2) });
        let now = history.at(history.len());
        let special = Special::none(TimeZone::UTC);
        Ahead { foresight: Arc::new(Foresight::new(now, &history, &special, settings, &loads)), loads, now }
    }

    #[test]
    fn each_hour_is_told_with_its_reason() {
        let mut ahead = morning(21);
        let hours = ahead.hours(Lang::En, Role::Fulfilment);
        assert_eq!(hours.len(), HOURS);
        assert_eq!((&hours[0]["at"], &hours[0]["wanted"]), (&json!(ahead.now), &json!(1)));
        assert_eq!(ahead.soon(Role::Fulfilment), Some(1));
        let noon = hours.iter().find(|hour| hour["wanted"] == 2).expect("noon takes more than the morning");
        let reason = noon["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("at most ") && reason.contains("9 times out of 10, and one instance does 10/s"),
            "{reason}"
        );
        let spanish = &ahead.hours(Lang::Es, Role::Fulfilment)[0]["reason"];
        assert!(spanish.as_str().unwrap().ends_with("y una instancia hace 10/s"), "{spanish}");

        // just before it takes more: an instance that is started now works when it does
        let needed = noon["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
        let (plan, _) = ahead.foresight.plan().unwrap();
        let more = plan.iter().find(|planned| planned.instances[1] == 2).unwrap().expected.at;
        assert!(more >= needed);
        ahead.now = more - std::time::Duration::from_secs(20);
        assert_eq!(ahead.soon(Role::Fulfilment), Some(2));
    }

    #[test]
    fn nothing_is_foreseen_with_too_short_a_past() {
        let ahead = morning(13);
        assert_eq!((ahead.soon(Role::Mail), ahead.hours(Lang::En, Role::Mail)), (None, Vec::new()));
    }
}
