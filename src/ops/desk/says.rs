//! Sentences that are put together here and not in a template.

use std::time::Duration;

use minijinja::Value;

use crate::{
    domain::{Closing, Flow, Lang, Timestamp, flow::Step},
    pages::{Site, format},
    store::orders::OrderView,
    words::{self, word},
};

/// How somebody reads: language and time zone.
#[derive(Clone, Copy)]
pub(super) struct Voice<'a> {
    pub(super) lang: Lang,
    pub(super) site: &'a Site,
    pub(super) now: Timestamp,
}

impl Voice<'_> {
    /// Words with their places filled in.
    pub(super) fn say(self, key: &str, places: &[(&str, &str)]) -> String {
        words::fill(word(self.lang, key), places).into_owned()
    }

    pub(super) fn word(self, key: &str) -> &'static str {
        word(self.lang, key)
    }

    /// Words about a number, which has others when it is one: `KEY` and `KEY_1`.
    pub(super) fn count(self, key: &str, n: u64) -> String {
        let one = (n == 1).then(|| words::find(self.lang, &format!("{key}_1"))).flatten();
        one.map_or_else(|| self.say(key, &[("n", &self.number(n))]), str::to_owned)
    }

    pub(super) fn number(self, n: u64) -> String {
        format::number(self.lang, n)
    }

    pub(super) fn state(self, state: &str) -> String {
        words::state(self.lang, state)
    }

    /// A time as markup.
    pub(super) fn time(self, at: Timestamp) -> Value {
        self.site.time(self.lang, self.now, at)
    }

    /// A time of day as plain text.
    pub(super) fn hour(self, at: Timestamp) -> String {
        format::hour(&self.site.zone, at)
    }

    /// Seconds with a tenth where that says something.
    pub(super) fn seconds(self, span: Duration) -> String {
        if span >= Duration::from_secs(10) {
            return format::duration(span);
        }
        let text = format!("{:.1}", span.as_secs_f64());
        self.decimal(text.strip_suffix(".0").unwrap_or(&text).to_owned()) + "\u{a0}s"
    }

    /// Milliseconds, with a tenth below ten.
    pub(super) fn millis(self, seconds: f64) -> String {
        let millis = seconds * 1_000.0;
        let text = if millis < 10.0 { format!("{millis:.1}") } else { format!("{millis:.0}") };
        self.decimal(text) + "\u{a0}ms"
    }

    /// Bytes in the unit that fits, with a tenth below ten.
    pub(super) fn bytes(self, bytes: u64) -> String {
        const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
        let unit = (bytes.max(1).ilog10() as usize / 3).min(UNITS.len() - 1);
        let value = bytes as f64 / 1_000_f64.powi(unit as i32);
        let text = match format!("{value:.1}") {
            text if unit > 0 && value < 10.0 => self.decimal(text.strip_suffix(".0").unwrap_or(&text).to_owned()),
            _ => self.number(value.round() as u64),
        };
        text + "\u{a0}" + UNITS[unit]
    }

    fn decimal(self, text: String) -> String {
        if self.lang == Lang::Es { text.replace('.', ",") } else { text }
    }
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.+@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// How many petals the flower of an order has: 1 to 4, or `x`.
pub(super) fn petals(flow: &Flow, view: &OrderView) -> &'static str {
    match view.closes() {
        Some(Closing::Finished) => "4",
        Some(Closing::Cancelled | Closing::Refused) => "x",
        None => petals_of(view.step, flow.steps().len()),
    }
}

/// The same for a place in a flow.
pub(super) fn petals_of(step: u8, steps: usize) -> &'static str {
    let n = (usize::from(step) * 4).div_ceil(steps.max(1)).clamp(1, 4);
    ["1", "2", "3", "4"][n - 1]
}

/// The same for a state of a flow; none for one that the flow does not have.
pub(in crate::ops) fn petals_in(flow: &Flow, state: &str) -> Option<&'static str> {
    let is_end = *flow.cancelled().state == *state || flow.refused().is_some_and(|end| *end.state == *state);
    let place = || line(flow).find(|(_, step)| *step.state == *state);
    if is_end { Some("x") } else { place().map(|(place, _)| petals_of(place, flow.steps().len())) }
}

/// How the name of an order's state is shown: it goes on, it is late, it is done, or it is gone.
pub(super) fn look_of(view: &OrderView, is_late: bool) -> &'static str {
    match view.closes() {
        Some(Closing::Finished) => "done",
        Some(Closing::Cancelled | Closing::Refused) => "gone",
        None if is_late => "now late",
        None => "now",
    }
}

/// The states of the line in their order.
pub(super) fn line(flow: &Flow) -> impl Iterator<Item = (u8, &Step)> {
    (1..).zip(flow.steps())
}
