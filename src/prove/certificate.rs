//! What a trial came to, for people and programs.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::{
    domain::{Lang, Timestamp},
    pages::format,
    words::{self, word},
};

/// What was tried, how often, and what became of each promise.
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    /// Whether every promise was kept.
    pub kept: bool,
    /// The version of the system that was tried.
    pub version: &'static str,
    /// Operating system, architecture and processors.
    pub machine: String,
    /// The back ends: `SQLite`, or `Kafka` and `PostgreSQL`.
    pub back_ends: &'static str,
    /// When the trial began.
    pub began: Timestamp,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// What the plan of strikes, the shop's commands and the mail server's troubles were made from.
    pub seed: u64,
    /// The command that tries the same again.
    pub command: String,
    /// What was done to the system, how often.
    pub tried: Vec<Count>,
    /// The promises of `docs/guarantees.md`.
    pub promises: Vec<Promise>,
    /// Mails that arrived more than once.
    pub repeats: Vec<Repeat>,
    /// Attempts to send a mail of which nobody knows whether they succeeded; each explains one repeat at most.
    pub ambiguous: u64,
}

/// A number, and what it counts: a word of the table, without its beginning.
#[derive(Debug, Clone, Serialize)]
pub struct Count {
    /// What is counted.
    pub what: String,
    /// How many.
    pub count: u64,
}

/// A promise, and what speaks for and against it.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    /// Its number in `docs/guarantees.md`.
    pub id: &'static str,
    /// Whether nothing speaks against it.
    pub kept: bool,
    /// What was looked at.
    pub counts: Vec<Count>,
    /// What was found that breaks it.
    pub objections: Vec<String>,
}

/// A mail that arrived more than once.
#[derive(Debug, Clone, Serialize)]
pub struct Repeat {
    /// The order.
    pub order: u64,
    /// The state that it is about.
    pub estado: String,
    /// How often it arrived.
    pub copies: u64,
    /// Whether the ledger knew that an attempt may have succeeded.
    pub explained: bool,
    /// Whether all copies have the same bytes.
    pub same_bytes: bool,
}

/// Objections of a promise that are printed; JSON has all.
const OBJECTIONS_MAX: usize = 5;
/// Repeats that are printed.
const REPEATS_MAX: usize = 20;

impl Count {
    pub(super) fn new(what: &str, count: u64) -> Self {
        Self { what: what.to_owned(), count }
    }

    /// What it counts, in words.
    pub(super) fn words(&self, lang: Lang) -> &'static str {
        word(lang, &format!("pv_{}", self.what))
    }
}

impl Certificate {
    /// As text, for a terminal.
    pub fn text(&self, lang: Lang) -> String {
        let w = |key| word(lang, key);
        let mut text = format!("{}\n{}\n\n", w(self.verdict()), self.scene(lang));
        let number = |count: &Count| format::number(lang, count.count);
        let _ = writeln!(text, "{}", w("pv_tried"));
        for count in &self.tried {
            let _ = writeln!(text, "  {:>8}  {}", number(count), count.words(lang));
        }
        for promise in &self.promises {
            let mark = w(if promise.kept { "pv_is_kept" } else { "pv_is_broken" });
            let _ = writeln!(text, "\n{}  {mark}  {}", promise.id, promise.words(lang));
            for count in &promise.counts {
                let _ = writeln!(text, "  {:>8}  {}", number(count), count.words(lang));
            }
            for objection in promise.objections.iter().take(OBJECTIONS_MAX) {
                let _ = writeln!(text, "  ✗ {objection}");
            }
            if let Some(more) = promise.more(lang) {
                let _ = writeln!(text, "  {more}");
            }
        }
        let _ = writeln!(text, "\n{}", self.repeats_in_words(lang));
        for repeat in self.repeats.iter().take(REPEATS_MAX) {
            let _ = writeln!(text, "  {}", repeat.words(lang));
        }
        let _ = writeln!(text, "\n{}\n  {}", w("pv_again"), self.command);
        text
    }

    /// The key of the verdict in words.
    pub(super) fn verdict(&self) -> &'static str {
        if self.kept { "pv_kept" } else { "pv_broken" }
    }

    /// Version, back ends, machine, time, seed.
    pub(super) fn scene(&self, lang: Lang) -> String {
        let seconds = self.seconds.to_string();
        let places = [
            ("version", self.version),
            ("on", self.back_ends),
            ("machine", &self.machine),
            ("s", &seconds),
            ("at", &format::date(lang, &TimeZone::UTC, self.began)),
        ];
        words::fill(word(lang, "pv_scene"), &places).into_owned()
    }

    /// How many repeats there were, and what explains them.
    pub(super) fn repeats_in_words(&self, lang: Lang) -> String {
        let n = format::number(lang, self.repeats.iter().map(|repeat| repeat.copies - 1).sum());
        let places = [("n", n), ("a", format::number(lang, self.ambiguous))];
        words::fill(word(lang, "pv_repeats"), &places).into_owned()
    }
}

impl Promise {
    /// What is promised.
    pub(super) fn words(&self, lang: Lang) -> &'static str {
        word(lang, &format!("pv_promise_{}", self.id))
    }

    /// How many objections are left out.
    pub(super) fn more(&self, lang: Lang) -> Option<String> {
        let more = self.objections.len().checked_sub(OBJECTIONS_MAX).filter(|more| *more > 0)?;
        Some(words::fill(word(lang, "pv_more"), &[("n", format::number(lang, more as u64))]).into_owned())
    }

    /// Those that are shown.
    pub(super) fn shown(&self) -> &[String] {
        &self.objections[..self.objections.len().min(OBJECTIONS_MAX)]
    }
}

impl Repeat {
    /// Which mail, how often, and why.
    pub(super) fn words(&self, lang: Lang) -> String {
        let key = match (self.explained, self.same_bytes) {
            (true, true) => "pv_repeat",
            (true, false) => "pv_repeat_differs",
            (false, _) => "pv_repeat_unexplained",
        };
        let places =
            [("o", self.order.to_string()), ("s", words::state(lang, &self.estado)), ("n", self.copies.to_string())];
        words::fill(word(lang, key), &places).into_owned()
    }
}
