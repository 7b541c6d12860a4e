//! What a measurement says, as headings, tables and plots: printed as Markdown, which a terminal shows well, or as one HTML page.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use super::{
    output::{Out, explain},
    plot::{Plot, escaped},
    values::writable,
    width::width,
};
use crate::{
    domain::Lang,
    pages::format,
    words::{fill, word},
};

const TOKENS: &str = include_str!("../pages/assets/tokens.css");
const STYLE: &str = include_str!("document.css");

/// How what was found is shown.
#[derive(Debug, Clone, Args)]
pub(super) struct Output {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Write a page with plots that needs nothing else
    #[arg(long, value_name = "FILE", value_parser = writable)]
    html: Option<PathBuf>,
    /// Language of tables and page: en, es
    #[arg(long, value_name = "LANG", default_value = "en")]
    pub(super) lang: Lang,
}

impl Output {
    /// Writes the page, and prints what was found, as JSON or as a document, whether or not the page could be written.
    pub(super) fn show(&self, found: &impl Serialize, document: &Document) -> Result<()> {
        let written = self.html.as_ref().map_or(Ok(()), |path| document.write_html(path));
        if self.json {
            let mut out = Out::new();
            out.json(found)?;
            out.flush()?;
        } else {
            document.print()?;
        }
        written?;
        if let Some(path) = &self.html {
            explain(&format!("page: {}", path.display()));
        }
        Ok(())
    }
}

/// What was found.
pub(super) struct Document {
    lang: Lang,
    /// The finding in a sentence.
    title: String,
    is_good: bool,
    blocks: Vec<Block>,
}

enum Block {
    Heading(String),
    Text(String),
    /// The first column is to the left, the others to the right.
    Table(Vec<String>, Vec<Vec<String>>),
    Plot(Plot),
}

impl Document {
    /// Its title is its verdict.
    pub(super) fn new(lang: Lang, title: String, is_good: bool) -> Self {
        Self { lang, title, is_good, blocks: Vec::new() }
    }

    /// The words under a key, in its language.
    pub(super) fn word(&self, key: &str) -> &'static str {
        word(self.lang, key)
    }

    /// A count, as its readers write it.
    pub(super) fn count(&self, count: u64) -> String {
        format::number(self.lang, count)
    }

    /// A number with so many decimals, as its readers write it.
    pub(super) fn decimal(&self, value: f64, digits: usize) -> String {
        format::decimal(self.lang, value, digits)
    }

    pub(super) fn heading(&mut self, key: &str) {
        self.blocks.push(Block::Heading(self.word(key).to_owned()));
    }

    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }

    /// A paragraph of the words under a key.
    pub(super) fn say(&mut self, key: &str, places: &[(&str, String)]) {
        self.text(fill(self.word(key), places));
    }

    /// Titles are keys of words, those of columns that say nothing are empty.
    pub(super) fn table(&mut self, titles: &[&str], rows: Vec<Vec<String>>) {
        let titles = titles.iter().map(|key| if key.is_empty() { String::new() } else { self.word(key).to_owned() });
        self.blocks.push(Block::Table(titles.collect(), rows));
    }

    pub(super) fn plot(&mut self, plot: Plot) {
        if !plot.is_empty() {
            self.blocks.push(Block::Plot(plot));
        }
    }

    /// On the terminal, or wherever standard output goes, as Markdown.
    pub(super) fn print(&self) -> Result<()> {
        let mut out = Out::new();
        out.raw(self.markdown().as_bytes())?;
        out.flush()
    }

    fn markdown(&self) -> String {
        let block = |(at, block): (usize, &Block)| match block {
            // nothing can be seen of plots, and so of what has only plots
            Block::Heading(_) if !self.has_words(at + 1) => String::new(),
            Block::Heading(heading) => format!("\n## {heading}\n"),
            Block::Text(words) => format!("\n{words}\n"),
            Block::Table(titles, rows) => "\n".to_owned() + &aligned(titles, rows),
            Block::Plot(_) => String::new(),
        };
        format!("# {}\n", self.title) + &self.blocks.iter().enumerate().map(block).collect::<String>()
    }

    /// Whether there is more than plots until the next heading.
    fn has_words(&self, from: usize) -> bool {
        let mut section = self.blocks[from..].iter().take_while(|block| !matches!(block, Block::Heading(_)));
        section.any(|block| !matches!(block, Block::Plot(_)))
    }

    /// Writes the page.
    pub(super) fn write_html(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.html()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn html(&self) -> String {
        let title = escaped(&self.title);
        let (lang, state) = (self.lang.code(), if self.is_good { "good" } else { "bad" });
        let block = |block: &Block| match block {
            // the first ends the head of the page
            Block::Heading(heading) => format!("</section>\n<section><h2>{}</h2>\n", escaped(heading)),
            Block::Text(words) => format!("<p>{}</p>\n", escaped(words)),
            Block::Table(titles, rows) => table(titles, rows),
            Block::Plot(plot) => {
                format!("<figure><figcaption>{}</figcaption>{}</figure>\n", escaped(&plot.title), plot.svg(self.lang))
            }
        };
        let body: String = self.blocks.iter().map(block).collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · Encargo</title>\n\
             <style>{TOKENS}{STYLE}</style>\n</head>\n<body>\n<main>\n<p class=\"brand\">Encargo {}</p>\n\
             <section class=\"head\"><h1 class=\"{state}\">{title}</h1>\n{body}</section>\n</main>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// A table of Markdown whose columns stand below each other as they are.
fn aligned(titles: &[String], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = titles.iter().map(|title| width(title).max(3)).collect();
    for row in rows {
        for (wide, cell) in widths.iter_mut().zip(row) {
            *wide = (*wide).max(width(cell));
        }
    }
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, wide))| {
            let padding = " ".repeat(wide - width(cell));
            if column == 0 { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().enumerate().map(
        |(column, wide)| {
            if column == 0 { "-".repeat(*wide) } else { "-".repeat(wide - 1) + ":" }
        },
    );
    let rule: Vec<_> = rule.collect();
    line(titles) + &line(&rule) + &rows.iter().map(|row| line(row)).collect::<String>()
}

fn table(titles: &[String], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, row: &[String]| -> String {
        let cell = |text: &String| format!("<{tag}>{}</{tag}>", escaped(text));
        format!("<tr>{}</tr>\n", row.iter().map(cell).collect::<String>())
    };
    let head = if titles.iter().all(String::is_empty) { String::new() } else { cells("th", titles) };
    let rows: String = rows.iter().map(|row| cells("td", row)).collect();
    format!("<div class=\"wide\"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>\n")
}

#[cfg(test)]
mod tests {
    use super::{super::plot::Line, *};

    #[test]
    fn the_same_as_markdown_and_as_a_page() {
        let mut document = Document::new(Lang::Es, "Todo <bien>".into(), true);
        document.heading("bench_over_time");
        let lines = vec![Line { name: "x".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] }];
        document.plot(Plot { lines, ..Plot::default() });
        document.heading("bench_limits");
        document.table(&["", "bench_mean"], vec![vec!["intake".into(), "9.8".into()]]);
        assert_eq!(
            document.markdown(),
            "# Todo <bien>\n\n## Límites de esta máquina\n\n|        | media |\n| ------ | ----: |\n| intake |   9.8 |\n"
        );
        let html = document.html();
        assert!(html.contains("<h1 class=\"good\">Todo &lt;bien&gt;</h1>") && html.contains("<td>9.8</td>"), "{html}");
        assert!(!html.contains("http"), "it asks for something outside");
    }
}
