//! `/`: what the machine is doing now, and whether anything needs attention.

use std::time::Duration;

use axum::{extract::State, response::Response};
use minijinja::{Value, context};

use super::{
    Desk,
    accounts::Sum,
    attention, charts,
    lag::Reading,
    says::{Voice, line, petals_of},
    watch::Seen,
    windows::Window,
};
use crate::{
    pages::{Reader, filled, format},
    store::{
        ledger::MailStatus,
        overview::{AGES, InState},
    },
    web::Problem,
};

/// How late orders may change their states, in seconds.
const GOAL: f64 = 0.05;
/// What was seen before that is told with its time, not as what is now.
const AGE_MAX: Duration = Duration::from_secs(5);
/// The minutes that are drawn.
const MINUTES: i64 = 60;

pub(super) async fn page(State(desk): State<Desk>, reader: Reader) -> Result<Response, Problem> {
    let seen = desk.look().await?;
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: seen.at };
    let items = attention::items(&desk, &seen, voice).await;
    let is_empty =
        seen.snapshot.counts.total == 0 && items.is_empty() && seen.sum.is_none_or(|sum| sum.accounts.accepted == 0);
    let title = match items.len() as u64 {
        _ if is_empty => voice.word("verdict_none").to_owned(),
        0 => voice.word("verdict_ok").to_owned(),
        n @ 1..=8 => voice
            .word(
                [
                    "verdict_1",
                    "verdict_2",
                    "verdict_3",
                    "verdict_4",
                    "verdict_5",
                    "verdict_6",
                    "verdict_7",
                    "verdict_8",
                ][n as usize - 1],
            )
            .to_owned(),
        n => voice.say("verdict_n", &[("n", &voice.number(n))]),
    };
    let calm = desk.0.calm.since(seen.at).filter(|_| !is_empty).map(|since| {
        // whole minutes: an open page is sent again when it changes
        let minutes = Duration::from_mins(seen.at.since(since).as_secs() / 60);
        let places = [("h", voice.time(since)), ("t", format::duration(minutes).into())];
        filled(voice.word("verdict_since"), &places).unwrap_or_default()
    });
    let is_old = desk.0.deps.env.clock.now().since(seen.at) > AGE_MAX;
    let values = context! {
        title, is_empty, calm, is_old, seen_at => seen.at.as_millis(),
        todo => items.into_iter().map(attention::Item::values).collect::<Vec<_>>(),
        flow => flow(&desk, &seen, voice), equation => equation(&seen),
        orders => orders(&seen, voice), lateness => seen.lateness.as_ref().map(|window| lateness(window, voice)),
        mails => mails(&desk, &seen, voice), lag => lag(&desk, &seen, voice),
    };
    Ok(desk.render("desk/now.html", &reader, "/", values).await)
}

/// The states of the flow with what is in them, and other states that orders are in.
fn flow(desk: &Desk, seen: &Seen, voice: Voice<'_>) -> Value {
    let flow = &desk.0.deps.flow;
    let steps = flow.steps().len();
    let in_flight = &seen.snapshot.in_flight;
    let none = InState::default();
    let of_line = line(flow).filter(|(_, step)| step.dwell().is_some() || step.takes_command()).map(|(place, step)| {
        let state = in_flight.iter().find(|state| *state.estado == *step.state).unwrap_or(&none);
        (place, &*step.state, state)
    });
    let others = in_flight.iter().filter(|state| flow.seq_of(&state.estado).is_none());
    let states = of_line.chain(others.map(|state| (state.step, &*state.estado, state)));
    let states = states.map(|(place, name, state)| {
        let dwell = state.dwell.map(|dwell| voice.seconds(dwell));
        context! {
            name, label => voice.state(name), petals => petals_of(place, steps), count => state.count,
            late => (state.late > 0).then(|| voice.count("n_late", state.late)),
            columns => charts::columns(&state.ages), dwell,
            late_height => state.late.checked_mul(100).map_or(100, |late| (late / state.count.max(1)).clamp(10, 100)) * u64::from(state.late > 0),
        }
    });
    let total: u64 = in_flight.iter().map(|state| state.count).sum();
    let last = per_minute(seen).last().copied().unwrap_or_default();
    context! { states => states.collect::<Vec<_>>(), total, placed => last.0, ended => last.1, ages => AGES }
}

/// Orders placed and ended in each of the last minutes, the last of which is over.
fn per_minute(seen: &Seen) -> Vec<(u64, u64)> {
    let this = seen.at.as_millis().div_euclid(60_000);
    let count = |minute: i64| {
        let found = seen.minutes.iter().find(|found| found.at.as_millis() == minute * 60_000);
        found.map_or((0, 0), |found| (found.placed, found.finished + found.cancelled))
    };
    (this - MINUTES..this).map(count).collect()
}

/// All orders, accounted for, as far as that is known.
fn equation(seen: &Seen) -> Value {
    let counts = &seen.snapshot.counts;
    let sum = seen.sum.map(|sum| {
        let Sum { accounts, on_the_way, elsewhere } = sum;
        let accepted = counts.total + accounts.dead + on_the_way + elsewhere;
        context! { accepted, aside => accounts.dead, on_the_way, elsewhere }
    });
    context! {
        sum, in_flight => counts.total - counts.finished - counts.cancelled, finished => counts.finished,
        cancelled => counts.cancelled, is_odd => attention::odd(seen).is_some(),
    }
}

fn orders(seen: &Seen, voice: Voice<'_>) -> Value {
    let minutes = per_minute(seen);
    let end = seen.at.as_millis().div_euclid(60_000);
    let values: Vec<f64> = minutes.iter().map(|(placed, _)| *placed as f64).collect();
    let most = minutes.iter().map(|(placed, _)| *placed).max().unwrap_or(0);
    let least = minutes.iter().map(|(placed, _)| *placed).min().unwrap_or(0);
    let now = minutes.last().map_or(0, |(placed, _)| *placed);
    let top = charts::top(most as f64);
    let [least, most, now] = [least, most, now].map(|n| voice.number(n));
    let ack = seen.acknowledged.as_ref().map(|window| quantiles(window, voice));
    context! {
        line => charts::line(&values, top as f64 / 0.9), top, half => top / 2,
        label => voice.say("orders_alt", &[("a", &least), ("b", &most), ("n", &now)]), ack, turned_away => seen.turned_away,
        from => (end - MINUTES) * 60_000, middle => (end - MINUTES / 2) * 60_000,
    }
}

fn quantiles(window: &Window, voice: Voice<'_>) -> String {
    format!("p50 {} · p99 {}", voice.millis(window.quantile(0.5)), voice.millis(window.quantile(0.99)))
}

fn lateness(window: &Window, voice: Voice<'_>) -> Value {
    let quantiles = [window.quantile(0.5), window.quantile(0.99)];
    let [p50, p99] = quantiles.map(|seconds| voice.millis(seconds));
    let places = [("a", &*p50), ("b", &*p99)];
    context! {
        chart => charts::histogram(window, GOAL, quantiles), label => voice.say("late_alt", &places),
        text => voice.say("late_goal", &[("t", &p99)]), is_over => quantiles[1] > GOAL,
        p50 => format!("p50 {p50}"), p99 => format!("p99 {p99}"),
    }
}

fn mails(desk: &Desk, seen: &Seen, voice: Voice<'_>) -> Value {
    let counts = &seen.snapshot.mails;
    let (sent, waiting, dead) = (counts.of(MailStatus::Sent), seen.waiting_mails(), seen.dead_mails());
    let all = (sent + waiting + dead).max(1) as f64;
    // what there is can be seen, however little it is
    let part = |n: u64| if n == 0 { 0.0 } else { (n as f64 / all * 100.0).max(1.0) };
    let [s, w, d] = [sent, waiting, dead].map(|n| voice.number(n));
    let oldest = counts.oldest_unsettled_at.map(|at| voice.seconds(seen.at.since(at)));
    let relay = desk.0.deps.relay.get().map(|state| state());
    context! {
        sent, waiting, dead, label => voice.say("mail_alt", &[("a", &s), ("b", &w), ("c", &d)]),
        parts => vec![100.0 - part(waiting) - part(dead), part(waiting), part(dead)],
        minutes => mail_minutes(&seen.sent, voice),
        oldest => oldest.map(|span| voice.say("oldest_v", &[("t", &span)])),
        relay => relay.map(|relay| context! {
            name => relay.name, is_fine => relay.state == "working",
            state => voice.word(match relay.state {
                "working" => "works",
                "returning" => "relay_back",
                "paused" => "relay_silent",
                _ => "relay_refuses",
            }),
        }),
    }
}

/// Mails sent in the last minute, and how that was before.
fn mail_minutes(sent: &[u64], voice: Voice<'_>) -> Option<Value> {
    let (now, least, most) = (sent.last()?, sent.iter().min()?, sent.iter().max()?);
    let [n, a, b, now_] = [sent.len() as u64, *least, *most, *now].map(|n| voice.number(n));
    let values: Vec<f64> = sent.iter().map(|n| *n as f64).collect();
    Some(context! {
        now, spark => (sent.len() > 1).then(|| charts::spark(&values)),
        label => voice.say("mails_alt", &[("n", &n), ("a", &a), ("b", &b), ("c", &now_)]),
    })
}

/// The worst partition of each group.
fn lag(desk: &Desk, seen: &Seen, voice: Voice<'_>) -> Vec<Value> {
    let groups = desk.0.deps.watch.groups();
    groups.iter().filter_map(|group| {
        let of_group: Vec<&Reading> = seen.readings.iter().filter(|reading| reading.group == group.word).collect();
        let worst = of_group.iter().rev().max_by_key(|reading| (reading.behind, reading.lag.records()))?;
        Some(context! {
            name => voice.word(group.word), of => of_group.len(), partition => worst.lag.tp.to_string(),
            behind => voice.seconds(worst.behind), is_behind => worst.is_behind || worst.is_unread, records => worst.lag.records(),
            spark => charts::spark(&worst.past), trend => trend(worst, voice), caught_up => worst.caught_up_in.map(|span| voice.seconds(span)),
        })
    }).collect()
}

/// How far behind it was at worst in the last minutes, in words.
pub(super) fn trend(reading: &Reading, voice: Voice<'_>) -> String {
    let most = reading.past.iter().copied().fold(0.0, f64::max);
    if most < 1.0 {
        return voice.word("trend_ok").to_owned();
    }
    voice.say("trend_up", &[("t", &voice.seconds(Duration::from_secs_f64(most)))])
}
