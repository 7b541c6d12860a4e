//! What happened, in words and as one number.

use std::fmt::Arguments;

use crate::{clock::Monotonic, domain};

pub(super) struct Trace {
    is_kept: bool,
    lines: Vec<String>,
    hash: u64,
}

impl Trace {
    pub(super) fn new(is_kept: bool) -> Self {
        Self { is_kept, lines: Vec::new(), hash: 0 }
    }

    /// Notes one thing that happened.
    pub(super) fn note(&mut self, step: u32, now: Monotonic, what: Arguments<'_>) {
        let line = format!("{step:5} {:>12}  {what}", format!("{:.3}", now.as_secs_f64()));
        self.seal(&line);
        if self.is_kept {
            self.lines.push(line);
        }
    }

    /// Takes more into the hash than is worth words.
    pub(super) fn seal(&mut self, with: &str) {
        self.hash = domain::fingerprint(&[&self.hash.to_le_bytes(), with.as_bytes()]);
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }
}
