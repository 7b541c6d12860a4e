//! Everything that happened to an order, and what is to come.

use std::time::Duration;

use minijinja::{Value, context};

use super::{
    Desk,
    owners::Since,
    says::{Voice, line},
};
use crate::{
    domain::{Change, Order, Timestamp, foreign_text::mask_addresses},
    eventlog::TopicPartition,
    store::{
        ledger::MailStatus,
        mails::{MailEntry, Resend},
        orders::{HistoryEntry, OrderView},
        overview::LATE,
    },
};

/// Something at a time; `class` says what of: `a` the order, `m` a mail, `o` who had its partition, `w` trouble, `due` what is to come.
#[derive(Default)]
struct Entry {
    at: Option<Timestamp>,
    class: &'static str,
    text: String,
    detail: Option<String>,
    /// Where the log holds it: its partition, and the offset if that is known.
    record: Option<(TopicPartition, Option<u64>)>,
    /// How long after it was due.
    late: Option<String>,
}

/// By time; what has none comes last.
pub(super) fn entries(
    desk: &Desk,
    view: &OrderView,
    history: &[HistoryEntry],
    (mails, resends): (&[MailEntry], &[Resend]),
    voice: Voice<'_>,
) -> Vec<Value> {
    let mut entries = vec![accepted(desk, view, voice)];
    let mut due = Some(view.order.placed_at);
    for entry in history {
        let record = desk.told_on(view).filter(|_| entry.offset.is_some()).map(|tp| (tp, entry.offset));
        entries.push(Entry { record, late: lateness(entry, due, voice), ..happened(entry, voice) });
        due = entry.due;
    }
    entries.extend(owners(desk, view, history, voice));
    entries.extend(resends.iter().map(|resend| wanted_again(resend, mails, voice)));
    entries.extend(mails.iter().map(|mail| written(mail, voice)));
    entries.sort_by_key(|entry| entry.at); // stable: an event before its mail
    entries.extend(to_come(desk, view, voice));
    let value = |entry: Entry| {
        let Entry { at, class, text, detail, record, late } = entry;
        let record = record.map(|(tp, offset)| link(&view.order, &tp, offset));
        context! { at => at.map(Timestamp::as_millis), class, text, detail, record, late }
    };
    entries.into_iter().map(value).collect()
}

/// What intake wrote, on the first topic that fulfilment reads.
fn accepted(desk: &Desk, view: &OrderView, voice: Voice<'_>) -> Entry {
    let (at, text) = (Some(view.order.placed_at), voice.word("e_accepted").into());
    let record = desk.taken_on(view).map(|tp| (tp, None));
    Entry { at, class: "a", text, record, ..Entry::default() }
}

/// How long after it was due something happened by itself.
fn lateness(entry: &HistoryEntry, due: Option<Timestamp>, voice: Voice<'_>) -> Option<String> {
    let late = entry.at.since(due.filter(|_| entry.change == Change::Entered && entry.by.is_none())?);
    let told = if late < Duration::from_secs(1) { voice.millis(late.as_secs_f64()) } else { voice.seconds(late) };
    (!late.is_zero()).then(|| voice.say("e_late", &[("t", &told)]))
}

/// Where a record is read: from its offset, or looked for from when the order was placed.
fn link(order: &Order, tp: &TopicPartition, offset: Option<u64>) -> Value {
    let TopicPartition { topic, partition } = tp;
    let (from, name) = match offset {
        Some(offset) => (offset.to_string(), format!("{tp} · {offset}")),
        None => ((order.placed_at - Duration::from_mins(1)).to_string(), tp.to_string()),
    };
    context! { name, link => format!("/log?topic={topic}&partition={partition}&at={from}&holds={}#read", order.id) }
}

fn happened(entry: &HistoryEntry, voice: Voice<'_>) -> Entry {
    let text = match entry.change {
        Change::Entered => voice.state(&entry.estado),
        Change::Held => voice.word("e_held").into(),
        Change::Resumed => voice.word("e_resumed").into(),
        Change::Delayed => voice.word("e_delayed").into(),
        Change::Readdressed => voice.word("e_address").into(),
    };
    let detail = whose(entry.by.as_deref(), entry.reason.as_deref(), voice);
    Entry { at: Some(entry.at), class: "a", text, detail, ..Entry::default() }
}

/// Who did something, and why.
fn whose(by: Option<&str>, reason: Option<&str>, voice: Voice<'_>) -> Option<String> {
    let by = by.map(|by| voice.say("e_by", &[("by", by)]));
    match (by, reason) {
        (Some(by), Some(reason)) => Some(format!("{by}: {reason}")),
        (by, reason) => by.or_else(|| reason.map(str::to_owned)),
    }
}

/// Which process had the order's partition, as long as the order was under way.
fn owners(desk: &Desk, view: &OrderView, history: &[HistoryEntry], voice: Voice<'_>) -> Vec<Entry> {
    let watch = &desk.0.deps.watch;
    let (Some(group), Some(tp)) = (watch.groups().first(), desk.taken_on(view)) else { return Vec::new() };
    let ended = history.last().filter(|_| view.closes().is_some()).map(|last| last.at);
    let entry = |since: Since| {
        let (class, text) = match &since.owner {
            Some(owner) => ("o", voice.say("e_owner", &[("o", owner), ("p", &tp.to_string())])),
            None => ("o w", voice.say("e_no_owner", &[("p", &tp.to_string())])),
        };
        let detail = Some(voice.word("e_owner_seen").to_owned());
        Entry { at: Some(since.at), class, text, detail, ..Entry::default() }
    };
    let over = watch.owners(group.word, &tp, view.order.placed_at, ended.unwrap_or(voice.now));
    over.into_iter().map(entry).collect()
}

/// Somebody had a mail sent again.
fn wanted_again(resend: &Resend, mails: &[MailEntry], voice: Voice<'_>) -> Entry {
    let about = mails.iter().find(|mail| mail.id == resend.id).map(|mail| voice.state(&mail.estado));
    let text = voice.say("e_resend", &[("s", &about.unwrap_or_default())]);
    let detail = whose(Some(&resend.by), resend.reason.as_deref(), voice);
    Entry { at: Some(resend.at), class: "a", text, detail, ..Entry::default() }
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
    // whoever sends may have another clock than who moved the order on
    Entry { at: Some(mail.tried_at.unwrap_or_default().max(mail.at)), class, text, detail, ..Entry::default() }
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
            _ => Entry { class: "due", text: name, ..Entry::default() },
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
            ..Entry::default()
        };
    }
    Entry { at: Some(due), class: "due", text: name, ..Entry::default() }
}
