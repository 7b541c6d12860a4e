//! Everything that happened to an order, and what is to come.

use std::time::Duration;

use minijinja::{Value, context};

use super::{
    Desk,
    says::{Voice, line},
};
use crate::{
    domain::{Change, Timestamp, foreign_text::mask_addresses},
    store::{
        ledger::MailStatus,
        mails::MailEntry,
        orders::{HistoryEntry, OrderView},
        overview::LATE,
    },
};

/// Something at a time; `class` says what of: `a` the order, `m` a mail, `w` trouble, `due` what is to come.
struct Entry {
    at: Option<Timestamp>,
    class: &'static str,
    text: String,
    detail: Option<String>,
}

/// By time; what has none comes last.
pub(super) fn entries(
    desk: &Desk,
    view: &OrderView,
    history: &[HistoryEntry],
    mails: &[MailEntry],
    voice: Voice<'_>,
) -> Vec<Value> {
    let mut entries =
        vec![Entry { at: Some(view.order.placed_at), class: "a", text: voice.word("e_accepted").into(), detail: None }];
    entries.extend(history.iter().map(|entry| happened(entry, voice)));
    entries.extend(mails.iter().map(|mail| written(mail, voice)));
    entries.sort_by_key(|entry| entry.at); // stable: an event before its mail
    entries.extend(to_come(desk, view, voice));
    let value = |entry: Entry| {
        let Entry { at, class, text, detail } = entry;
        context! { at => at.map(Timestamp::as_millis), class, text, detail }
    };
    entries.into_iter().map(value).collect()
}

fn happened(entry: &HistoryEntry, voice: Voice<'_>) -> Entry {
    let text = match entry.change {
        Change::Entered => voice.state(&entry.estado),
        Change::Held => voice.word("e_held").into(),
        Change::Resumed => voice.word("e_resumed").into(),
        Change::Delayed => voice.word("e_delayed").into(),
        Change::Readdressed => voice.word("e_address").into(),
    };
    let by = entry.by.as_deref().map(|by| voice.say("e_by", &[("by", by)]));
    let detail = match (by, entry.reason.as_deref()) {
        (Some(by), Some(reason)) => Some(format!("{by}: {reason}")),
        (by, reason) => by.or_else(|| reason.map(str::to_owned)),
    };
    Entry { at: Some(entry.at), class: "a", text, detail }
}

fn written(mail: &MailEntry, voice: Voice<'_>) -> Entry {
    let about = voice.state(&mail.estado);
    let say = |key| voice.say(key, &[("s", &about)]);
    let (class, text) = match mail.status {
        MailStatus::Sent => ("m", say("e_mail_sent")),
        MailStatus::Sending => ("m", say("e_mail_sending")),
        MailStatus::Pending if mail.attempts > 0 => ("m w", say("e_mail_again")),
        MailStatus::Pending => ("m", say("e_mail_waits")),
        MailStatus::Dead => ("m w", say("e_mail_dead")),
        MailStatus::Dropped => ("m", say("e_mail_dropped")),
    };
    let reply = mail.reply.as_deref().map(|reply| mask_addresses(reply).into_owned());
    let tries = (mail.attempts > 1).then(|| voice.count("n_tries", u64::from(mail.attempts)));
    let doubt = (mail.ambiguous && mail.status != MailStatus::Sent).then(|| voice.word("mail_doubt").to_owned());
    let details: Vec<_> = [reply, tries, doubt].into_iter().flatten().collect();
    let detail = (!details.is_empty()).then(|| details.join(" · "));
    Entry { at: Some(mail.tried_at.unwrap_or(mail.at)), class, text, detail }
}

/// The next state, and those after it.
fn to_come(desk: &Desk, view: &OrderView, voice: Voice<'_>) -> Vec<Entry> {
    if view.closes().is_some() {
        return Vec::new();
    }
    let flow = &desk.0.deps.flow;
    let is_ours = view.flow.as_deref().is_none_or(|of| *of == *flow.id());
    let following: Vec<_> = line(flow).filter(|(place, _)| is_ours && *place > view.step).collect();
    let mut at = view.next_at();
    let mut entries = Vec::new();
    if following.is_empty()
        && let Some(due) = at
    {
        entries.push(next(voice.word("e_next").into(), due, voice));
    }
    for (index, (place, step)) in following.iter().enumerate() {
        let name = voice.state(&step.state);
        entries.push(match at {
            Some(due) if index == 0 => next(name, due, voice),
            _ => Entry { at: None, class: "due", text: name, detail: None },
        });
        at = at.and_then(|at| Some(at + flow.dwell_of(*place, &view.order.product)?));
    }
    entries
}

fn next(name: String, due: Timestamp, voice: Voice<'_>) -> Entry {
    if due + LATE < voice.now {
        let detail = voice.say("late_by", &[("t", &voice.seconds(voice.now.since(due)))]);
        return Entry {
            at: Some(due),
            class: "due w",
            text: voice.say("e_was_due", &[("s", &name)]),
            detail: Some(detail),
        };
    }
    Entry { at: Some(due), class: "due", text: name, detail: None }
}

/// How long the order was in each state, as parts of all of its time, for a bar.
pub(super) fn lane(view: &OrderView, history: &[HistoryEntry], voice: Voice<'_>) -> Value {
    let entered: Vec<_> = history.iter().filter(|entry| entry.change == Change::Entered).collect();
    let Some(first) = entered.first() else { return context! { parts => Vec::<Value>::new() } };
    let due = view.next_at().or(view.exits.expect_at).filter(|due| view.closes().is_none() && *due + LATE < voice.now);
    // an order that has ended takes no more time
    let end = if view.closes().is_some() { view.at } else { voice.now }.max(first.at + Duration::from_millis(1));
    let whole = end.since(first.at).as_secs_f64();
    let (mut parts, mut spans) = (Vec::new(), Vec::new());
    let mut part = |from: Timestamp, to: Timestamp, class: &str, label: String| {
        let span = to.since(from);
        let width = (span.as_secs_f64() / whole * 1_000.0).round() / 10.0;
        if width > 0.0 {
            let x = (from.since(first.at).as_secs_f64() / whole * 1_000.0).round() / 10.0;
            spans.push(format!("{label} {}", voice.seconds(span)));
            // a name that does not fit is left out
            let is_wide = width > 2.0 + 1.1 * label.chars().count() as f64;
            parts.push(context! { x, width, class, label => is_wide.then_some(label) });
        }
    };
    for (index, entry) in entered.iter().enumerate() {
        let to = entered.get(index + 1).map_or(end, |next| next.at);
        let class = if index % 2 == 0 { "b1" } else { "b2" };
        let until = due.filter(|_| index + 1 == entered.len()).map_or(to, |due| due.max(entry.at).min(to));
        part(entry.at, until, class, voice.state(&entry.estado));
        if until < to {
            part(until, to, "b3", voice.say("late_by", &[("t", &voice.seconds(to.since(until)))]));
        }
    }
    context! { parts, label => spans.join(", "), from => first.at.as_millis(), to => end.as_millis() }
}
