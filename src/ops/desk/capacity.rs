//! `/capacity`: the load of the last day or weeks, how much more fits, what gives first, and what is expected of the hours to
//! come.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::Uri, response::Response};
use minijinja::{Value, context};

use super::{
    Desk, Group, charts, foresight, lag::Reading, now::trend, paced::Paced, says::Voice, unavailable, wanted,
    watch::Seen,
};
use crate::{
    pages::Reader,
    store::overview::Minute,
    web::{Problem, query_field},
};

/// How far back the load is looked at.
struct Span {
    /// Its name in the address, and in the keys of its words.
    name: &'static str,
    minutes: i64,
    /// How many of them make one point of the chart.
    a_point: i64,
}

const HOUR: i64 = 60;
/// The first unless another one is asked for, the last as long as minutes are kept.
const SPANS: [Span; 3] = [
    Span { name: "day", minutes: 24 * HOUR, a_point: 10 },
    Span { name: "week", minutes: 7 * 24 * HOUR, a_point: HOUR },
    Span { name: "all", minutes: 35 * 24 * HOUR, a_point: 4 * HOUR },
];
/// Spans that are shown.
pub(super) type Loads = [Paced<Arc<Vec<Minute>>>; SPANS.len()];
/// A group that was not further behind than this has not been at its limit.
const AT_LIMIT: f64 = 1.0;

/// A group of consumers as a whole.
struct Stage<'a> {
    group: &'a Group,
    readings: Vec<&'a Reading>,
}

pub(super) async fn page(State(desk): State<Desk>, reader: Reader, uri: Uri) -> Result<Response, Problem> {
    let asked = query_field(&uri, "over");
    let place = SPANS.iter().position(|span| Some(span.name) == asked.as_deref()).unwrap_or_default();
    let seen = desk.look().await?;
    let minutes = minutes(&desk, place).await?;
    let foresight = foresight::look(&desk).await?;
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: seen.at };
    let stages: Vec<Stage<'_>> =
        desk.0.deps.watch.groups().iter().filter_map(|group| Stage::of(group, &seen)).collect();
    let values = context! {
        title => verdict(&stages, voice), load => load(&SPANS[place], &minutes, &seen, voice), spans => spans(place, voice), room => room(&stages),
        first => gives_first(&stages, voice), growth => growth(&desk, &stages),
        foresight => foresight.values(&desk, voice), wanted => wanted::rows(&desk.0.deps.watch, voice),
        stages => stages.iter().map(|stage| stage.values(voice)).collect::<Vec<_>>(), mails => mails(&seen, voice),
    };
    Ok(desk.render("desk/capacity.html", &reader, "/capacity", values).await)
}

/// The minutes of a span, of one look for all open pages.
async fn minutes(desk: &Desk, place: usize) -> Result<Arc<Vec<Minute>>, Problem> {
    let (watch, now) = (desk.0.deps.watch.clone(), desk.0.deps.env.clock.now());
    let from = now - Duration::from_mins(SPANS[place].minutes.unsigned_abs());
    let look = async move { watch.store()?.minutes(from).await.map(Arc::new) };
    desk.0.loads[place].look(&desk.0.deps.env.pace, look).await.map_err(unavailable)
}

/// The spans to choose from.
fn spans(place: usize, voice: Voice<'_>) -> Vec<Value> {
    let link = |span: &Span| context! { over => span.name, label => voice.word(&format!("cap_span_{}", span.name)) };
    let link = |(index, span)| context! { is_here => index == place, ..link(span) };
    SPANS.iter().enumerate().map(link).collect()
}

impl<'a> Stage<'a> {
    /// Nothing when the log does not say how far it has read.
    fn of(group: &'a Group, seen: &'a Seen) -> Option<Self> {
        let readings: Vec<_> = seen.readings.iter().filter(|reading| reading.group == group.word).collect();
        (!readings.is_empty()).then_some(Self { group, readings })
    }

    fn is_at_limit(&self) -> bool {
        self.readings.iter().any(|reading| reading.is_behind || reading.is_unread)
    }

    fn waiting(&self) -> u64 {
        self.readings.iter().map(|reading| reading.lag.records()).sum()
    }

    /// What intake counts against the bound, and the bound.
    fn backlog(&self) -> Option<(u64, u64)> {
        let (topic, max) = (self.group.topics.first()?, self.group.backlog_max?);
        let of_topic = self.readings.iter().filter(|reading| reading.lag.tp.topic == *topic);
        Some((of_topic.map(|reading| reading.lag.records()).sum(), max))
    }

    /// The partition that was furthest behind in the last ten minutes, and by how many seconds.
    fn worst(&self) -> Option<(&'a Reading, f64)> {
        let most = |reading: &Reading| reading.past.iter().copied().fold(reading.behind.as_secs_f64(), f64::max);
        self.readings.iter().map(|reading| (*reading, most(reading))).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn values(&self, voice: Voice<'_>) -> Value {
        let worst = self.worst().map(|(worst, _)| {
            context! { spark => charts::spark(&worst.past), trend => trend(worst, voice) }
        });
        let behind = self.readings.iter().map(|reading| reading.behind).max().unwrap_or_default();
        context! {
            name => voice.word(self.group.word), waiting => self.waiting(), max => self.backlog().map(|(_, max)| max),
            behind => voice.seconds(behind), is_at_limit => self.is_at_limit(), worst,
        }
    }
}

fn verdict(stages: &[Stage<'_>], voice: Voice<'_>) -> String {
    match stages.iter().find(|stage| stage.is_at_limit()) {
        Some(stage) => voice.say("cap_full", &[("g", voice.word(stage.group.word))]),
        None if stages.is_empty() => voice.word("cap_unknown").to_owned(),
        None => voice.word("cap_ok").to_owned(),
    }
}

/// Orders per minute over a span, the last minute of which is over.
fn load(span: &Span, minutes: &[Minute], seen: &Seen, voice: Voice<'_>) -> Value {
    let number = |minute: &Minute| minute.at.as_millis().div_euclid(60_000);
    let this = seen.at.as_millis().div_euclid(60_000);
    let first = this - span.minutes;
    let placed = minutes.iter().map(|minute| (number(minute) - first, minute.placed));
    let placed: Vec<(i64, u64)> = placed.filter(|(index, _)| (0..span.minutes).contains(index)).collect();
    let mut points = vec![0.0_f64; (span.minutes / span.a_point) as usize];
    for (index, n) in &placed {
        let point = &mut points[(index / span.a_point) as usize];
        *point = point.max(*n as f64);
    }
    let busiest = placed.iter().copied().max_by_key(|(_, n)| *n);
    let now = seen.minutes.iter().find(|minute| number(minute) == this - 1).map_or(0, |minute| minute.placed);
    let most = busiest.map_or(0, |(_, n)| n);
    let top = charts::top(most as f64);
    let scale = top as f64 / 0.9;
    let over = voice.word(&format!("cap_over_{}", span.name));
    let places = [("o", over), ("a", &*voice.number(now)), ("b", &*voice.number(most))];
    context! {
        line => charts::line(&points, scale), top, half => top / 2, now, label => voice.say("cap_alt", &places),
        most, most_y => 100.0 - 100.0 * most as f64 / scale, at => busiest.map(|(index, _)| (first + index) * 60_000),
        all => placed.iter().map(|(_, n)| n).sum::<u64>(), over, is_day => span.minutes <= 24 * HOUR,
        a_point => span.a_point * 60, marks => [first, first + span.minutes / 2].map(|minute| minute * 60_000).to_vec(),
    }
}

/// How much of what may wait does, where it is most; nothing when that is not known, or has no bound.
fn room(stages: &[Stage<'_>]) -> Option<Value> {
    let (waiting, max) = stages.iter().filter_map(Stage::backlog).max_by_key(|(waiting, _)| *waiting)?;
    let percent = waiting.saturating_mul(100).div_ceil(max.max(1)).min(100);
    Some(context! { waiting, max, percent })
}

/// What was furthest behind in the last ten minutes.
fn gives_first(stages: &[Stage<'_>], voice: Voice<'_>) -> Option<String> {
    let worst = stages.iter().filter_map(|stage| Some((stage, stage.worst()?.1)));
    let (stage, seconds) = worst.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, seconds)| *seconds > AT_LIMIT)?;
    let behind = voice.seconds(Duration::from_secs_f64(seconds));
    Some(voice.say("cap_behind", &[("g", voice.word(stage.group.word)), ("t", &behind)]))
}

/// How many processes can share the work, and how many do.
fn growth(desk: &Desk, stages: &[Stage<'_>]) -> Option<Value> {
    let stage = stages.first()?;
    let topic = stage.group.topics.first()?;
    let partitions = stage.readings.iter().filter(|reading| reading.lag.tp.topic == *topic).count();
    let mut owners: Vec<_> = stage.readings.iter().filter_map(|reading| reading.owner.as_ref()).collect();
    owners.sort_unstable();
    owners.dedup();
    Some(context! { partitions, owners => owners.len(), is_shared => desk.0.deps.watch.has_owners() })
}

fn mails(seen: &Seen, voice: Voice<'_>) -> Value {
    let counts = &seen.snapshot.mails;
    context! { waiting => seen.waiting_mails(), oldest => counts.oldest_unsettled_at.map(|at| voice.seconds(seen.at.since(at))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Timestamp,
        eventlog::{Lag, TopicPartition},
    };

    fn group(backlog_max: Option<u64>) -> Group {
        Group { name: "g".into(), word: "g_ful", topics: vec!["t".into(), "dead".into()], backlog_max }
    }

    fn reading(topic: &str, end: u64, past: &[f64]) -> Reading {
        let tp = TopicPartition { topic: topic.into(), partition: 0 };
        Reading { lag: Lag { tp, next: 10, end }, past: past.to_vec(), ..Reading::default() }
    }

    #[test]
    fn room_is_counted_as_intake_counts_it() {
        let (bound, free) = (group(Some(1_000)), group(None));
        let [many, one, dead] = [reading("t", 260, &[]), reading("t", 11, &[]), reading("dead", 500, &[])];
        let of = |room: Option<Value>| {
            room.map(|room| ["waiting", "percent"].map(|name| room.get_attr(name).unwrap().to_string()))
        };
        let all = Stage { group: &bound, readings: vec![&many, &one, &dead] };
        assert_eq!(of(room(&[all])).unwrap(), ["251", "26"], "its first topic, all partitions");
        let (little, much) =
            (Stage { group: &bound, readings: vec![&one] }, Stage { group: &bound, readings: vec![&many] });
        assert_eq!(of(room(&[little, much])).unwrap(), ["250", "25"], "the group for which most waits");
        assert_eq!(of(room(&[Stage { group: &free, readings: vec![&many] }])), None, "nothing bounds it");
    }

    #[test]
    fn what_was_furthest_behind_gives_first() {
        let (group, site) = (group(None), crate::pages::Site::default());
        let voice = Voice { lang: crate::domain::Lang::En, site: &site, now: Timestamp::from_millis(0) };
        let (calm, slow) = (reading("t", 10, &[0.4, 1.0]), reading("t", 10, &[0.0, 12.0, 3.0]));
        let stage = |readings| Stage { group: &group, readings };
        assert_eq!(gives_first(&[stage(vec![&calm])], voice), None, "a second is not the limit");
        let first = gives_first(&[stage(vec![&calm]), stage(vec![&calm, &slow])], voice);
        assert_eq!(first.unwrap(), "Fulfilment, up to 12\u{a0}s behind");
        assert_eq!(verdict(&[stage(vec![&slow])], voice), "Nothing is at its limit", "it has caught up");
        let late = Reading { is_behind: true, ..reading("t", 99, &[]) };
        assert_eq!(verdict(&[stage(vec![&calm, &late])], voice), "Fulfilment has reached its limit");
        assert!(verdict(&[], voice).contains("not known"));
    }
}
