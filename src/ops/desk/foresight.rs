//! What will come, by the orders of the last weeks, and the instances that takes: computed once for five minutes, however many
//! look, and only when somebody does.

use std::{sync::Arc, time::Duration};

use minijinja::{Value, context};
use tokio::task::spawn_blocking;

use super::{
    Desk, charts,
    says::Voice,
    unavailable,
    wanted::{rate, there},
};
use crate::{
    domain::Timestamp,
    forecast::{
        self, BUCKET, Backtest, DAYS_LEAST, Forecast, History, InFlight, Load, Model, PAST, Planned, Special, Start,
    },
    role::Role,
    scale::Settings,
    store,
    web::Problem,
};

/// Five minutes in an hour, and in a point of the chart.
const HOUR: usize = 12;
const POINT: usize = 3;
/// What the chart shows: hours that were, and hours to come.
const BEFORE: usize = 9 * HOUR;
const AHEAD: usize = 15 * HOUR;
/// Hours of the plan.
const PLANNED: usize = 12;

/// What is known of the hours to come.
pub(super) struct Foresight {
    /// When that was computed.
    at: Timestamp,
    /// Whole days of orders that are known.
    days: usize,
    /// Nothing while they are too few.
    told: Option<Told>,
}

struct Told {
    /// Orders of each five minutes that were.
    seen: Vec<f64>,
    plan: Vec<Planned>,
    starts: Vec<Start>,
    backtest: Backtest,
    settings: Settings,
}

/// What will come, as of at most five minutes ago.
pub(super) async fn look(desk: &Desk) -> Result<Arc<Foresight>, Problem> {
    let deps = &desk.0.deps;
    let (watch, now, loads) = (deps.watch.clone(), deps.env.clock.now(), deps.loads);
    let special = Special::none(deps.site.zone.clone());
    let flow = deps.flow.clone();
    let look = async move {
        let minutes = watch.store()?.minutes(now - PAST).await?;
        let seen = watch.look().await?;
        let settings = watch.scaling();
        let compute = move || {
            let in_flight = InFlight::new(&seen.snapshot.due, &flow, seen.at);
            Foresight::new(now, &History::of_minutes(&minutes, now), &special, settings, &loads, Some(&in_flight))
        };
        let computed = spawn_blocking(compute).await;
        computed.map(Arc::new).map_err(|error| store::Error::Unavailable(error.to_string()))
    };
    desk.0.foresight.look(&deps.env.clock, look).await.map_err(unavailable)
}

impl Foresight {
    /// The plan, and what it was made by; nothing while the past is too short.
    pub(super) fn plan(&self) -> Option<(&[Planned], &Settings)> {
        self.told.as_ref().map(|told| (&*told.plan, &told.settings))
    }

    pub(super) fn new(
        at: Timestamp,
        history: &History,
        special: &Special,
        settings: Settings,
        loads: &[Load; Role::ALL.len()],
        in_flight: Option<&InFlight>,
    ) -> Self {
        let told = Forecast::new(history, special).map(|forecast| {
            let plan = forecast::plan(&forecast, AHEAD, &settings, loads, in_flight);
            let starts = forecast::starts(&plan[..PLANNED * HOUR], settings.rules.start + settings.rules.pause);
            let seen = history.orders()[history.len() - BEFORE..].to_vec();
            Told { seen, plan, starts, backtest: forecast.backtest().clone(), settings }
        });
        match told {
            Ok(told) => Self { at, days: history.len() / forecast::DAY, told: Some(told) },
            Err(short) => Self { at, days: short.days, told: None },
        }
    }

    /// What will be missing so soon, in words: how many instances are needed when, and how many there are.
    pub(super) fn short(
        &self,
        desk: &Desk,
        now: Timestamp,
        within: Duration,
        voice: Voice<'_>,
    ) -> Option<(String, String)> {
        let told = self.told.as_ref()?;
        told.short(there(&desk.0.deps.watch), now + within, voice)
    }

    pub(super) fn values(&self, desk: &Desk, voice: Voice<'_>) -> Value {
        let Some(told) = &self.told else {
            let why = voice.count("fc_few", self.days as u64);
            return context! { few => why, least => DAYS_LEAST, chart => (), need => () };
        };
        let there = there(&desk.0.deps.watch);
        let need = told.missing(&there).map(
            |start| context! { n => start.to, role => voice.word(start.role.word()), at => told.needed_at(start).as_millis() },
        );
        context! {
            at => self.at.as_millis(), need, chart => told.chart(voice), hours => told.hours(voice),
            trust => told.trust(self.days, voice), capacity => told.capacity(voice), is_shared => desk.0.deps.watch.has_owners(),
        }
    }
}

impl Told {
    /// The first instances to be started that there are not yet; that there are none where it is not known how many there are.
    fn missing(&self, there: impl Fn(Role) -> Option<u32>) -> Option<&Start> {
        self.starts.iter().find(|start| there(start.role).is_none_or(|there| there < start.to))
    }

    fn short(
        &self,
        there: impl Fn(Role) -> Option<u32>,
        until: Timestamp,
        voice: Voice<'_>,
    ) -> Option<(String, String)> {
        let start = self.missing(&there).filter(|start| self.needed_at(start) <= until)?;
        let (n, there) = (voice.number(u64::from(start.to)), there(start.role).unwrap_or_default());
        let places = [("t", &*voice.hour(self.needed_at(start))), ("n", &*n), ("g", voice.word(start.role.word()))];
        Some((voice.say("fc_need", &places), voice.count("fc_there", u64::from(there))))
    }

    /// When the instances are to work.
    fn needed_at(&self, start: &Start) -> Timestamp {
        start.at + self.settings.rules.start + self.settings.rules.pause
    }

    fn begins(&self) -> Timestamp {
        self.plan[0].expected.at
    }

    /// Orders per minute that were and that are expected, with the band of 8 in 10 cases.
    fn chart(&self, voice: Voice<'_>) -> Value {
        let seen = points(self.seen.iter().map(|orders| per_minute(*orders)));
        let [low, middle, high] =
            [0, 1, 2].map(|place| points(self.plan.iter().map(|planned| expected_of(planned)[place])));
        let top = charts::top(seen.iter().chain(&high).copied().fold(0.0, f64::max));
        let scale = top as f64 / 0.9;
        let share = BEFORE as f64 / (BEFORE + AHEAD) as f64 * 100.0;
        let ring = self.starts.first().map(|start| {
            let ahead = self.needed_at(start).since(self.begins()).as_secs() / BUCKET.as_secs();
            let at = &self.plan[(ahead as usize).min(AHEAD - 1)];
            let y = 100.0 - 100.0 * per_minute(at.expected.p50) / scale;
            context! { x => share + (100.0 - share) * ahead as f64 / AHEAD as f64, y }
        });
        let busiest = busiest(&self.plan);
        let says = [seen.last().copied().unwrap_or_default()].into_iter().chain(expected_of(busiest));
        let says: Vec<_> = says.map(|per_minute| rate(voice.lang, per_minute)).collect();
        let hour = voice.hour(busiest.expected.at);
        let places = [("a", &*says[0]), ("c", &*says[1]), ("b", &*says[2]), ("d", &*says[3]), ("t", &*hour)];
        let quarter = BUCKET * (BEFORE + AHEAD) as u32 / 4;
        let first = self.begins() - BUCKET * BEFORE as u32;
        context! {
            seen => charts::line(&seen, scale), expected => charts::line(&middle, scale), band => charts::band(&low, &high, scale),
            top, half => top / 2, share, rest => 100.0 - share, ring, label => voice.say("fc_alt", &places),
            marks => (0..=4).map(|n| (first + quarter * n).as_millis()).collect::<Vec<_>>(),
        }
    }

    /// The hours of the plan: of each the five minutes in which most are expected, and the most instances.
    fn hours(&self, voice: Voice<'_>) -> Vec<Value> {
        let hours: Vec<&[Planned]> = self.plan.chunks(HOUR).take(PLANNED).collect();
        let most = |hour: &[Planned], role: Role| {
            hour.iter().map(|planned| planned.instances[role as usize]).max().unwrap_or_default()
        };
        let hour = |(index, hour): (usize, &&[Planned])| {
            let [low, middle, high] = expected_of(busiest(hour)).map(|per_minute| rate(voice.lang, per_minute));
            let instances = Role::ALL.map(|role| context! { name => voice.word(role.word()), n => most(hour, role) });
            let before = index.checked_sub(1).map(|before| hours[before]);
            let todo: Vec<_> = Role::ALL
                .into_iter()
                .filter_map(|role| self.todo(hour, before.map(|before| most(before, role)), role, voice))
                .collect();
            context! { at => hour[0].expected.at.as_millis(), low, middle, high, instances => instances.to_vec(), todo }
        };
        hours.iter().enumerate().map(hour).collect()
    }

    /// What is to be done about a role in an hour, before which there were so many instances.
    fn todo(&self, hour: &[Planned], before: Option<u32>, role: Role, voice: Voice<'_>) -> Option<Value> {
        let name = voice.word(role.word());
        let ends = hour[0].expected.at + BUCKET * HOUR as u32;
        let is_in = |start: &&Start| start.role == role && (hour[0].expected.at..ends).contains(&self.needed_at(start));
        // several steps within an hour are told as one
        let (mut steps, last) = (self.starts.iter().filter(is_in), self.starts.iter().rfind(is_in));
        if let (Some(first), Some(last)) = (steps.next(), last) {
            return Some(context! { start => last.to - first.from, role => name, before => first.at.as_millis() });
        }
        let beyond = hour.iter().filter_map(|planned| planned.beyond[role as usize]).max();
        let most = hour.iter().map(|planned| planned.instances[role as usize]).max().unwrap_or_default();
        if let Some(beyond) = beyond {
            return Some(context! { beyond, role => name, most });
        }
        let fewer = before?.checked_sub(most).filter(|fewer| *fewer > 0)?;
        Some(context! { stop => fewer, role => name })
    }

    /// By how much the model was wrong when it was tried, in words.
    fn trust(&self, days: usize, voice: Voice<'_>) -> String {
        let percent = |model| voice.number((self.backtest.error(model) * 100.0).round() as u64);
        let (tries, days) = (voice.number(self.backtest.origins() as u64), voice.number(days as u64));
        let (off, week_before) = (percent(self.backtest.chosen()), percent(Model::Naive));
        voice.say("fc_trust", &[("n", &tries), ("d", &days), ("e", &off), ("o", &week_before)])
    }

    /// What an instance of each role does, in words.
    fn capacity(&self, voice: Voice<'_>) -> String {
        let one = |role: Role| {
            let per_s = self.settings.capacity_of(role);
            format!("{} {}/s", voice.word(role.word()), rate(voice.lang, per_s))
        };
        voice.say("fc_capacity", &[("c", &Role::ALL.map(one).join(", "))])
    }
}

fn per_minute(orders: f64) -> f64 {
    orders * 60.0 / BUCKET.as_secs_f64()
}

/// Orders per minute: 10 % of the cases, half, 90 %.
fn expected_of(planned: &Planned) -> [f64; 3] {
    [planned.expected.p10, planned.expected.p50, planned.expected.p90].map(per_minute)
}

/// The mean of each quarter of an hour.
fn points(per_minute: impl Iterator<Item = f64>) -> Vec<f64> {
    let all: Vec<f64> = per_minute.collect();
    all.chunks(POINT).map(|point| point.iter().sum::<f64>() / point.len() as f64).collect()
}

/// The five minutes in which most are expected.
fn busiest(plan: &[Planned]) -> &Planned {
    let most = plan.iter().max_by(|one, other| one.expected.p50.total_cmp(&other.expected.p50));
    most.unwrap_or(&plan[0])
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::{domain::Lang, forecast::shop::Shop, pages::Site};

    /// What is told in the morning of a shop that sells meals, with four partitions and 10 orders a second for each instance.
    fn foretold(days: usize) -> Foresight {
        let all = Shop::Meals.orders(4, 20.0, 1);
        let history = all.window(days * forecast::DAY + forecast::DAY / 3, PAST);
        let settings =
            Settings { capacity: [Some(10.0), Some(10.0), Some(1_000.0), Some(1_000.0)], ..Settings::default() };
        let loads = Role::ALL.map(|_| Load { per_order: 1.0, shares: Some(4) });
        Foresight::new(history.at(history.len()), &history, &Special::none(TimeZone::UTC), settings, &loads, None)
    }

    #[test]
    fn hours_to_come_are_told_with_what_is_to_be_done() {
        let Foresight { told: Some(told), days: 21, .. } = foretold(21) else { panic!("three weeks are enough") };
        let site = Site { zone: TimeZone::UTC, ..Site::default() };
        let voice = Voice { lang: Lang::En, site: &site, now: told.begins() };
        let hours = told.hours(voice);
        assert_eq!(hours.len(), PLANNED);
        let todo: String = hours.iter().map(|hour| hour.get_attr("todo").unwrap().to_string()).collect();
        assert!(todo.contains("start") && todo.contains("fulfilment"), "noon takes more than the night: {todo}");
        let start = told.starts.first().unwrap();
        assert!(start.at < told.needed_at(start) && told.needed_at(start) < told.begins() + BUCKET * AHEAD as u32);
        let chart = told.chart(voice);
        let count = |name: &str| chart.get_attr(name).unwrap().to_string().matches(['M', 'L']).count();
        assert_eq!([count("seen"), count("expected"), count("band")], [36, 60, 120]);
        assert_eq!(chart.get_attr("share").unwrap().to_string(), "37.5");
    }

    #[test]
    fn what_will_be_short_is_told_in_time() {
        let Foresight { told: Some(told), .. } = foretold(21) else { panic!("three weeks are enough") };
        let site = Site { zone: TimeZone::UTC, ..Site::default() };
        let voice = Voice { lang: Lang::En, site: &site, now: told.begins() };
        let start = *told.starts.first().unwrap();
        let (needed, one) = (told.needed_at(&start), |_| Some(1));
        assert_eq!(told.short(one, needed - Duration::from_secs(1), voice), None, "not yet");
        let (title, there) = told.short(one, needed, voice).unwrap();
        let (n, role) = (start.to, voice.word(start.role.word()));
        assert_eq!(title, format!("At about {}, {n} instances of {role} will be needed", voice.hour(needed)));
        assert_eq!(there, "there is one");
        assert_eq!(told.short(|_| Some(64), needed, voice), None, "there are enough");
    }

    #[test]
    fn nothing_is_told_while_days_are_missing() {
        let short = foretold(13);
        assert!(short.told.is_none() && short.days == 13);
    }
}
