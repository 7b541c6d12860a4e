//! How the time of an order went, on one scale: bars of its states, and dots for its records in the log and for its mails.

use std::time::Duration;

use minijinja::{Value, context};

use super::says::Voice;
use crate::{
    domain::{Change, Timestamp},
    store::{
        ledger::MailStatus,
        mails::MailEntry,
        orders::{HistoryEntry, OrderView},
        overview::LATE,
    },
};

/// From when an order was placed to now, or to its end: one that has ended takes no more time.
#[derive(Clone, Copy)]
struct Scale {
    from: Timestamp,
    to: Timestamp,
}

impl Scale {
    fn of(view: &OrderView, now: Timestamp) -> Self {
        let from = view.order.placed_at;
        let to = if view.closes().is_some() { view.at } else { now };
        Self { from, to: to.max(from + Duration::from_millis(1)) }
    }

    /// Where a time is, in percent to a tenth, which is less than a pixel.
    fn place(self, at: Timestamp) -> f64 {
        let part = at.since(self.from).as_secs_f64() / self.to.since(self.from).as_secs_f64();
        (part.min(1.0) * 1_000.0).round() / 10.0
    }
}

/// For the template; `states` is empty before the first.
pub(super) fn of(view: &OrderView, history: &[HistoryEntry], mails: &[MailEntry], voice: Voice<'_>) -> Value {
    let scale = Scale::of(view, voice.now);
    let (states, label) = states(view, history, scale, voice);
    let records: Vec<f64> = [view.order.placed_at]
        .into_iter()
        .chain(history.iter().map(|entry| entry.at))
        .map(|at| scale.place(at))
        .collect();
    let mails: Vec<Value> = mails.iter().filter_map(|mail| dot(mail, scale)).collect();
    let count = |key: &str, n: usize| voice.say(key, &[("n", &voice.number(n as u64))]);
    context! {
        states, label, from => scale.from.as_millis(), to => scale.to.as_millis(), is_open => view.closes().is_none(),
        records_label => count("lane_records", records.len()), mails_label => count("lane_mails", mails.len()), records, mails,
    }
}

/// How long the order was in each state, and the same in words. What is beyond the time that it was due is a bar of its own.
fn states(view: &OrderView, history: &[HistoryEntry], scale: Scale, voice: Voice<'_>) -> (Vec<Value>, String) {
    let entered: Vec<_> = history.iter().filter(|entry| entry.change == Change::Entered).collect();
    let due = view.next_at().or(view.exits.expect_at).filter(|due| view.closes().is_none() && *due + LATE < voice.now);
    let (mut bars, mut spans) = (Vec::new(), Vec::new());
    let mut bar = |from: Timestamp, to: Timestamp, class: &str, label: String| {
        let (x, span) = (scale.place(from), to.since(from));
        let width = ((scale.place(to) - x) * 10.0).round() / 10.0;
        if width > 0.0 {
            spans.push(format!("{label} {}", voice.seconds(span)));
            // a name that does not fit is left out
            let is_wide = width > 2.0 + 1.1 * label.chars().count() as f64;
            bars.push(context! { x, width, class, label => is_wide.then_some(label) });
        }
    };
    for (index, entry) in entered.iter().enumerate() {
        let to = entered.get(index + 1).map_or(scale.to, |next| next.at);
        let class = if index % 2 == 0 { "b1" } else { "b2" };
        let until = due.filter(|_| index + 1 == entered.len()).map_or(to, |due| due.max(entry.at).min(to));
        bar(entry.at, until, class, voice.state(&entry.estado));
        if until < to {
            bar(until, to, "b3", voice.say("late_by", &[("t", &voice.seconds(to.since(until)))]));
        }
    }
    (bars, spans.join(", "))
}

/// A mail that was tried, at its last attempt.
fn dot(mail: &MailEntry, scale: Scale) -> Option<Value> {
    let class = match mail.status {
        MailStatus::Sent => "d2",
        MailStatus::Dead => "d3",
        MailStatus::Pending | MailStatus::Sending if mail.attempts > 0 => "d3",
        MailStatus::Pending | MailStatus::Sending | MailStatus::Dropped => return None,
    };
    Some(context! { x => scale.place(mail.tried_at.unwrap_or_default().max(mail.at)), class })
}
