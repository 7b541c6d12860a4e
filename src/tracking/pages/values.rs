//! An order in words.

use std::time::Duration;

use minijinja::{Value, context};

use super::{
    Cancellation, Look,
    journey::{Journey, Place, Status, When},
    millis,
};
use crate::{
    domain::{Change, Closing, Lang, Timestamp},
    pages::{Site, filled, format},
    store::{ledger::MailStatus, orders::HistoryEntry},
    words::{self, word},
};

/// What both pages about an order show.
pub(super) fn of_order(look: &Look<'_>, journey: &Journey, site: &Site, now: Timestamp) -> Value {
    let Look { reader, handle, view, history } = look;
    let (lang, order) = (reader.lang, &view.order);
    let speaker = Speaker { lang, site, now };
    let is_open = !matches!(journey.status, Status::Closed(_));
    let class = match journey.status {
        Status::Late(_) => "is-late",
        Status::Closed(Closing::Cancelled | Closing::Refused) => "is-gone",
        _ => "",
    };
    let mark = match journey.status {
        Status::Closed(Closing::Cancelled | Closing::Refused) => "x".to_owned(),
        _ => journey.steps.get(journey.at.saturating_sub(1)).map_or(1, |step| step.petals).to_string(),
    };
    let mails: Vec<_> = history.iter().rev().filter_map(|entry| speaker.mail(entry)).collect();
    context! {
        handle => *handle, class, is_open, mails,
        // the mails about its end may still be on their way
        is_followed => is_open || history.iter().any(|entry| entry.mail.is_some_and(MailStatus::is_unsettled)),
        since => millis(view.at), due => view.next_at().filter(|_| is_open).map(millis),
        petals => mark, order => order.id.get(), now => millis(now), version => version(view.seq, history),
        title => speaker.title(&view.estado, journey.status), state => &*view.estado,
        sub => speaker.sub(journey, look),
        ends => journey.ends.map(millis),
        left => journey.ends.and_then(|ends| countdown(ends.since(now))).map(|(count, unit)| context! { count, unit }),
        steps => journey.steps.iter().map(|step| speaker.step(step)).collect::<Vec<_>>(),
        at => journey.at, painted => journey.painted,
        name => &*order.product.name, product_id => &*order.product.id, price => order.product.price.as_str(),
        placed_at => millis(order.placed_at), address => format::masked(view.recipient()),
        may_cancel => journey.may_cancel, cancel_till => speaker.cancel_till(journey),
    }
}

/// Changes whenever the page does: with every event, and with what becomes of every mail.
pub(in crate::tracking) fn version(seq: u8, history: &[HistoryEntry]) -> String {
    let unsettled = history.iter().filter(|entry| entry.mail.is_some_and(MailStatus::is_unsettled)).count();
    format!("{seq}.{}", history.len() - unsettled)
}

/// What has to be told besides, most important first.
pub(super) fn notes(
    look: &Look<'_>,
    journey: &Journey,
    cancellation: Option<Cancellation>,
    site: &Site,
    now: Timestamp,
) -> Vec<Value> {
    let speaker = Speaker { lang: look.reader.lang, site, now };
    let say = |key: &str| word(speaker.lang, key);
    let note = |icon: &str, is_warning: bool, title: Option<&str>, text: Value| {
        context! { icon, is_warning, title, text, is_answer => false, can_order_again => false }
    };
    let answer = cancellation.filter(|_| !matches!(journey.status, Status::Closed(Closing::Cancelled)));
    let answer = answer.map(|cancellation| match cancellation {
        Cancellation::Pending => ("clock", say("asked_title"), say("asked_text")),
        Cancellation::Refused => ("alert", say("too_late_title"), say("too_late_text")),
    });
    let answer = answer.map(|(icon, title, text)| {
        context! { is_answer => true, ..note(icon, true, Some(title), text.into()) }
    });
    let status = match journey.status {
        Status::Late(due) => {
            let key = format!("late_text_{}", look.view.estado);
            let text = words::find(speaker.lang, &key).unwrap_or_else(|| say("late_text"));
            Some(note("clock", true, Some(say("late_title")), fill(text, &[("t", speaker.time(due))])))
        }
        Status::Held => Some(note("clock", true, Some(say("held_title")), say("held_text").into())),
        Status::Waits(_) => Some(note("clock", false, None, say("waits_text").into())),
        Status::Closed(Closing::Cancelled) => {
            let text = [Some(say(canceller(look.history))), speaker.confirmation(look.history)];
            let text = text.into_iter().flatten().collect::<Vec<_>>().join(" ");
            Some(context! { can_order_again => true, ..note("stop", false, None, text.into()) })
        }
        Status::Closed(Closing::Refused) => Some(note("stop", false, None, say("refused_text").into())),
        Status::Closed(Closing::Finished) | Status::GoesOn => None,
    };
    answer.into_iter().chain(status).collect()
}

/// Until when an order can be cancelled, in a sentence.
pub(super) fn cancel_until(journey: &Journey, lang: Lang, site: &Site, now: Timestamp) -> Option<Value> {
    let speaker = Speaker { lang, site, now };
    let until = ("u", speaker.cancel_till(journey)?);
    let (_, when) = journey.cancel_until.as_ref()?;
    Some(match when {
        When::About(at) => fill(word(lang, "cancel_until"), &[until, ("t", speaker.time(*at))]),
        _ => fill(word(lang, "cancel_until_some_time"), &[until]),
    })
}

/// The words for who cancelled an order.
fn canceller(history: &[HistoryEntry]) -> &'static str {
    let by = history.last().and_then(|entry| entry.by.as_deref());
    if by == Some("customer") { "cancelled_by_you" } else { "cancelled_by_shop" }
}

/// What is left, as a number and its unit.
fn countdown(left: Duration) -> Option<(u64, &'static str)> {
    let seconds = left.as_millis().div_ceil(1_000) as u64;
    match seconds {
        0 => None,
        1..100 => Some((seconds, "s")),
        100..6_000 => Some((seconds / 60, "min")),
        6_000..172_800 => Some((seconds / 3_600, "h")),
        _ => Some((seconds / 86_400, "d")),
    }
}

fn fill(words: &str, values: &[(&str, Value)]) -> Value {
    filled(words, values).unwrap_or_else(|error| {
        tracing::error!(%error, "words cannot be filled in");
        words.into()
    })
}

/// Says things in a language, as seen at a time.
struct Speaker<'a> {
    lang: Lang,
    site: &'a Site,
    now: Timestamp,
}

impl Speaker<'_> {
    fn time(&self, at: Timestamp) -> Value {
        self.site.time(self.lang, self.now, at)
    }

    /// The state as a sentence.
    fn title(&self, estado: &str, status: Status) -> String {
        let own = format!("h_{estado}");
        let key = match status {
            Status::Closed(Closing::Cancelled) => "h_cancelado",
            Status::Closed(Closing::Refused) => "h_rechazado",
            _ => own.as_str(),
        };
        words::find(self.lang, key).map_or_else(|| words::state(self.lang, estado), str::to_owned)
    }

    fn sub(&self, journey: &Journey, look: &Look<'_>) -> Option<Value> {
        let (view, say) = (look.view, |key: &str| word(self.lang, key));
        Some(match journey.status {
            Status::Late(due) => {
                let late = format::duration(self.now.since(due));
                fill(say("late_sub"), &[("n", late.into())])
            }
            Status::Held => say("held_sub").into(),
            Status::Closed(Closing::Finished) => {
                let took = format::duration(view.at.since(view.order.placed_at));
                fill(say("done_sub"), &[("t", self.time(view.at)), ("n", took.into())])
            }
            Status::Closed(Closing::Cancelled | Closing::Refused) => {
                let before = journey.steps.get(journey.at.saturating_sub(1)).map(|step| step.state.as_str());
                let before = words::state(self.lang, before.unwrap_or_default());
                fill(say("gone_sub"), &[("t", self.time(view.at)), ("s", before.into())])
            }
            Status::Waits(Some(expected)) if journey.ends.is_none() => {
                fill(say("waits_sub"), &[("t", self.time(expected))])
            }
            Status::GoesOn | Status::Waits(_) => fill(say("ends_at"), &[("t", self.time(journey.ends?))]),
        })
    }

    fn step(&self, step: &super::journey::Step) -> Value {
        let place = step.place.name();
        let when = match step.when {
            When::At(at) => self.time(at),
            When::About(at) => fill(word(self.lang, "about"), &[("t", self.time(at))]),
            When::AnyMoment => word(self.lang, "late_when").into(),
            When::Unknown if step.place == Place::Ahead => word(self.lang, "no_time").into(),
            When::Unknown => "".into(),
            When::Never => "—".into(),
        };
        context! { place, when, label => words::state(self.lang, &step.state), petals => step.petals }
    }

    fn mail(&self, entry: &HistoryEntry) -> Option<Value> {
        let status = entry.mail?;
        let subject = match (entry.change, &*entry.estado) {
            (Change::Entered, "recibido") => word(self.lang, "subj_recibido").to_owned(),
            (Change::Entered, "cancelado") => word(self.lang, "subj_cancelado").to_owned(),
            (_, estado) => words::state(self.lang, estado),
        };
        Some(context! { at => millis(entry.at), subject, status => status.name() })
    }

    /// The first state in which an order cannot be cancelled any more, as an end in time.
    fn cancel_till(&self, journey: &Journey) -> Option<Value> {
        let (state, _) = journey.cancel_until.as_ref()?;
        let say = |key: &str| word(self.lang, key);
        Some(match state.as_str() {
            "entregando" => say("cancel_till").into(),
            other => fill(say("cancel_till_state"), &[("s", words::state(self.lang, other).into())]),
        })
    }

    /// Whether the end of an order was confirmed by mail.
    fn confirmation(&self, history: &[HistoryEntry]) -> Option<&'static str> {
        let key = match history.last()?.mail? {
            MailStatus::Sent => "confirmed",
            MailStatus::Pending | MailStatus::Sending => "to_be_confirmed",
            MailStatus::Dead | MailStatus::Dropped => return None,
        };
        Some(word(self.lang, key))
    }
}
