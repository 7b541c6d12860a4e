//! What needs attention, in the order of how much, each with where to look.

use std::time::Duration;

use minijinja::{Value, context};

use super::{Desk, failures, foresight, says::Voice, watch::Seen};
use crate::pages::filled;

/// For how long orders may not add up: what is between two looks takes its time.
const ODD_FOR: Duration = Duration::from_secs(10);
/// How long a mail may wait.
const MAIL_WAITS: Duration = Duration::from_mins(5);

/// How long before it is capacity that will be short is told of.
const SHORT_WITHIN: Duration = Duration::from_hours(1);

/// Something that needs attention.
pub(super) struct Item {
    /// `late` or `err`.
    class: &'static str,
    link: &'static str,
    title: String,
    detail: Value,
}

impl Item {
    pub(super) fn values(self) -> Value {
        let Self { class, link, title, detail } = self;
        context! { class, link, title, detail }
    }
}

/// Everything that does; nothing when all is well, and that is noted.
pub(super) async fn items(desk: &Desk, seen: &Seen, voice: Voice<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some((missing, odd)) = odd(seen) {
        items.push(err("/", voice.count("td_odd", missing), voice.say("td_odd_since", &[("t", &voice.seconds(odd))])));
    }
    let failing: Vec<_> = desk.0.deps.checks.iter().filter(|(_, is_fine)| !is_fine()).map(|(name, _)| *name).collect();
    if !failing.is_empty() {
        items.push(err("/readyz", voice.word("td_ready").into(), failing.join(", ")));
    }
    behind(desk, seen, voice, &mut items);
    late(seen, voice, &mut items);
    mails(desk, seen, voice, &mut items);
    if failures::open(seen) > 0 {
        items.push(failed(desk, seen, voice).await);
    }
    if let Ok(foresight) = foresight::look(desk).await
        && let Some((title, there)) = foresight.short(desk, seen.at, SHORT_WITHIN, voice)
    {
        items.push(late_item("/capacity", title, there));
    }
    let env = &desk.0.deps.env;
    let looked = env.pace.monotonic().saturating_sub(env.clock.now().since(seen.at));
    desk.0.calm.note(items.is_empty(), seen.at, looked);
    items
}

/// How many orders are missing, once they have been for long enough, and for how long.
pub(super) fn odd(seen: &Seen) -> Option<(u64, Duration)> {
    seen.odd.filter(|(_, odd)| *odd >= ODD_FOR)
}

fn behind(desk: &Desk, seen: &Seen, voice: Voice<'_>, items: &mut Vec<Item>) {
    for group in desk.0.deps.watch.groups() {
        let of_group = || seen.readings.iter().filter(|reading| reading.group == group.word);
        let name = voice.word(group.word);
        let unread: Vec<_> =
            of_group().filter(|reading| reading.is_unread).map(|reading| reading.lag.tp.to_string()).collect();
        if !unread.is_empty() {
            items.push(late_item("/", voice.say("td_unread", &[("g", name)]), unread.join(", ")));
        }
        let worst = of_group().filter(|reading| reading.is_behind).max_by_key(|reading| reading.behind);
        if let Some(worst) = worst {
            let title = voice.say("td_lag", &[("g", name), ("t", &voice.seconds(worst.behind))]);
            let soon = worst.caught_up_in.map(|soon| voice.say("level_in_about", &[("t", &voice.seconds(soon))]));
            let parts = [Some(worst.lag.tp.to_string()), Some(voice.count("n_records", worst.lag.records())), soon];
            items.push(late_item("/", title, parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")));
        }
    }
}

fn late(seen: &Seen, voice: Voice<'_>, items: &mut Vec<Item>) {
    let late: u64 = seen.snapshot.in_flight.iter().map(|state| state.late).sum();
    if let (Some(worst), true) = (seen.snapshot.late.first(), late > 0) {
        let places = [("t", &*voice.seconds(seen.at.since(worst.due))), ("id", &*worst.id.to_string())];
        items.push(late_item("/orders?late=1", voice.count("td_late", late), voice.say("td_worst", &places)));
    }
}

fn mails(desk: &Desk, seen: &Seen, voice: Voice<'_>, items: &mut Vec<Item>) {
    let relay = desk.0.deps.relay.get().map(|state| state());
    if let Some(relay) = relay.filter(|relay| ["paused", "denied"].contains(&relay.state)) {
        let (title, detail) = (
            voice.say(if relay.state == "paused" { "td_paused" } else { "td_denied" }, &[("d", &relay.name)]),
            relay.trouble.map_or_else(String::new, |trouble| trouble.reason),
        );
        items.push(err("/ledger", title, detail));
    }
    if let Some(oldest) = seen.snapshot.mails.oldest_unsettled_at
        && seen.at.since(oldest) > MAIL_WAITS
    {
        let since = filled(voice.word("since_t"), &[("t", voice.time(oldest))]).unwrap_or_default();
        let title = voice.say("td_mail", &[("t", &voice.seconds(seen.at.since(oldest)))]);
        items.push(late_item("/ledger", title, since));
    }
}

/// Failures, by what they are of and how many reasons they have.
async fn failed(desk: &Desk, seen: &Seen, voice: Voice<'_>) -> Item {
    let (mails, records) = (seen.dead_mails(), seen.snapshot.dead_records);
    let parts = [("n_mails", mails), ("n_records", records)].into_iter().filter(|(_, n)| *n > 0);
    let parts = parts.map(|(key, n)| voice.count(key, n));
    let reasons = failures::reasons(desk).await.map(|n| voice.count("n_reasons", n as u64));
    err("/failures", voice.count("td_fail", mails + records), parts.chain(reasons).collect::<Vec<_>>().join(" · "))
}

fn err(link: &'static str, title: String, detail: impl Into<Value>) -> Item {
    Item { class: "err", link, title, detail: detail.into() }
}

fn late_item(link: &'static str, title: String, detail: impl Into<Value>) -> Item {
    Item { class: "late", link, title, detail: detail.into() }
}
