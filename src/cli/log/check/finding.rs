//! What was found, and how it is told.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    cli::output::plain,
    domain::Lang,
    words::{fill, word},
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Something does not work, or orders are lost or done twice.
    Fault,
    /// It works until something else happens.
    Risk,
}

impl Level {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Risk => "risk",
        }
    }
}

/// The same for programs.
#[derive(Serialize)]
pub(super) struct FindingJson<'a> {
    /// Which of all that can be found; never renamed.
    code: &'static str,
    /// `fault` or `risk`.
    level: &'static str,
    /// The topic, the group, the broker or the account.
    about: &'a str,
    /// What it means, in words.
    text: String,
    /// The command that mends it.
    mend: Option<&'a str>,
    /// What the words have places for.
    facts: BTreeMap<&'static str, &'a str>,
}

/// Something that is not as it should be.
#[derive(Debug)]
pub(super) struct Finding {
    /// Which of all that can be found: never renamed, since scripts go by it.
    pub(super) code: &'static str,
    pub(super) level: Level,
    /// The topic, the group, the broker or the account.
    about: String,
    /// What the words have places for, and programs read.
    facts: Vec<(&'static str, String)>,
    /// The command that mends it.
    pub(super) mend: Option<String>,
}

impl Finding {
    pub(super) fn new(level: Level, code: &'static str, about: &str) -> Self {
        Self { code, level, about: about.to_owned(), facts: Vec::new(), mend: None }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.push((name, value.to_string()));
        self
    }

    /// The fact that is there, and beside it what is needed.
    pub(super) fn but_needs(self, found: impl ToString, wanted: impl ToString) -> Self {
        self.with("found", found).with("wanted", wanted)
    }

    pub(super) fn mend(mut self, command: String) -> Self {
        self.mend = Some(command);
        self
    }

    pub(super) fn text(&self, lang: Lang) -> String {
        let facts = self.facts.iter().map(|(name, value)| (*name, plain(value)));
        let places: Vec<_> = [("about", plain(&self.about))].into_iter().chain(facts).collect();
        fill(word(lang, &format!("check_{}", self.code.replace('-', "_"))), &places).into_owned()
    }

    pub(super) fn json(&self, lang: Lang) -> FindingJson<'_> {
        FindingJson {
            code: self.code,
            level: self.level.name(),
            about: &self.about,
            text: self.text(lang),
            mend: self.mend.as_deref(),
            facts: self.facts.iter().map(|(name, value)| (*name, &**value)).collect(),
        }
    }
}
