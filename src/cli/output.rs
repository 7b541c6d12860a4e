//! What the commands print with: data on standard output, words on standard error.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write as _};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// How a piece of text looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Bold,
    Dim,
    Good,
    Busy,
    Bad,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Busy => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// Standard output, buffered; flushed when dropped or told to.
pub(super) struct Out {
    writer: BufWriter<StdoutLock<'static>>,
    colour: bool,
    width: Option<usize>,
}

impl Out {
    pub(super) fn new() -> Self {
        let stdout = io::stdout();
        let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let width = stdout.is_terminal().then(|| terminal_width(&stdout));
        Self { writer: BufWriter::new(stdout.lock()), colour, width }
    }

    /// Columns of the terminal; none when the output goes elsewhere and nothing need be cut.
    pub(super) fn width(&self) -> Option<usize> {
        self.width
    }

    pub(super) fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.writer, "{text}").map_err(closed)
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(closed)
    }

    /// One JSON document on one line.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(value).context("cannot write as JSON")?;
        self.line(&line)
    }

    /// A name and a value, aligned with its neighbours.
    pub(super) fn field(&mut self, name: &str, value: &str) -> Result<()> {
        let name = self.paint(Tone::Dim, &format!("{name:<9}"));
        self.line(&format!("{name} {value}"))
    }

    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        if self.colour && tone != Tone::Plain { format!("{}{text}\x1b[0m", tone.code()) } else { text.to_owned() }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(closed)
    }
}

fn closed(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot write to standard output")
}

/// Words for whoever sits there, beside the data.
pub(super) fn explain(text: &str) {
    // nobody is left to tell when standard error is closed
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// A line on the terminal that is written over again and again; elsewhere, it is not there.
pub(super) struct StatusLine {
    width: Option<usize>,
}

impl StatusLine {
    pub(super) fn new() -> Self {
        let stderr = io::stderr();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { width: (stderr.is_terminal() && !dumb).then(|| terminal_width(&stderr)) }
    }

    /// Whether anyone can see it.
    pub(super) fn is_live(&self) -> bool {
        self.width.is_some()
    }

    pub(super) fn show(&self, text: &str) {
        if let Some(width) = self.width {
            let text = super::width::cut(text, width.saturating_sub(1));
            let _ = write!(io::stderr(), "\r\x1b[2K{text}");
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.show("");
        if self.is_live() {
            let _ = write!(io::stderr(), "\r");
        }
    }
}

fn terminal_width(stream: &impl rustix::fd::AsFd) -> usize {
    let columns = rustix::termios::tcgetwinsize(stream).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { 80 } else { columns }
}

/// Foreign text on one line: what would move the cursor or colour the terminal is shown instead of done.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Text as text, other bytes as a list of numbers.
pub(super) fn bytes_as_json(bytes: &[u8]) -> serde_json::Value {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.into(), Into::into)
}

/// `1 order`, `2 orders`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        assert_eq!(plain("ñandú \x1b[2J\r\n\u{202e}x"), "ñandú \\u{1b}[2J\\r\\n\\u{202e}x");
    }

    #[test]
    fn counts_in_words() {
        assert_eq!([count(0, "order"), count(1, "order"), count(2, "order")], ["0 orders", "1 order", "2 orders"]);
    }
}
