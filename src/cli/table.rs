//! Aligned tables that fit the terminal.

use anyhow::Result;

use super::{
    output::{Out, Tone},
    width::{cut, width},
};

/// Between two columns.
const GAP: &str = "  ";
/// Widest that a table is made on a terminal, even if its last column has more to say.
const LAST_COLUMN_MIN: usize = 12;

/// A cell: its text and how it looks.
pub(super) struct Cell(String, Tone);

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(text.to_owned(), Tone::Plain)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self(number.to_string(), Tone::Plain)
    }
}

impl Cell {
    pub(super) fn tone(self, tone: Tone) -> Self {
        Self(self.0, tone)
    }
}

/// Rows under a header. A column whose title begins with `>` is aligned to the right; the last one is cut on a terminal
/// that is too narrow for it.
pub(super) struct Table<const N: usize> {
    titles: [&'static str; N],
    rows: Vec<[Cell; N]>,
    whole: bool,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(titles: [&'static str; N]) -> Self {
        Self { titles, rows: Vec::new(), whole: false }
    }

    /// Cuts nothing: longer lines go on below.
    pub(super) fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    pub(super) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// Prints the table; nothing at all when it has no rows.
    pub(super) fn print(self, out: &mut Out) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let widths = self.widths(out.width().filter(|_| !self.whole));
        let header = self.titles.map(|title| Cell::from(title.trim_start_matches('>')).tone(Tone::Dim));
        for row in std::iter::once(&header).chain(&self.rows) {
            let line = self.line(out, row, &widths);
            out.line(line.trim_end())?;
        }
        Ok(())
    }

    fn widths(&self, terminal: Option<usize>) -> [usize; N] {
        let mut widths = self.titles.map(|title| width(title.trim_start_matches('>')));
        for row in &self.rows {
            for (wide, cell) in widths.iter_mut().zip(row) {
                *wide = (*wide).max(width(&cell.0));
            }
        }
        if let (Some(terminal), Some((last, others))) = (terminal, widths.split_last_mut()) {
            let taken: usize = others.iter().map(|wide| wide + GAP.len()).sum();
            *last = (*last).min(terminal.saturating_sub(taken).max(LAST_COLUMN_MIN));
        }
        widths
    }

    fn line(&self, out: &Out, row: &[Cell; N], widths: &[usize; N]) -> String {
        let mut line = String::new();
        for (i, Cell(text, tone)) in row.iter().enumerate() {
            let text = cut(text, widths[i]);
            let padding = " ".repeat(widths[i] - width(&text));
            let painted = out.paint(*tone, &text);
            if i > 0 {
                line.push_str(GAP);
            }
            if self.titles[i].starts_with('>') {
                line += &padding;
                line += &painted;
            } else {
                line += &painted;
                if i + 1 < N {
                    line += &padding;
                }
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_column_gives_way() {
        let mut table = Table::new([">ID", "NAME"]);
        table.row([17_u64.into(), "x".repeat(50).into()]);
        assert_eq!((table.widths(None), table.widths(Some(30))), ([2, 50], [2, 26]));
        assert_eq!(table.widths(Some(3)), [2, LAST_COLUMN_MIN]);
    }
}
