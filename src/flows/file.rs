//! Flow files. Whatever is wrong is told with file, line and key, and with what to write instead.

use std::{
    io,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use crate::{
    domain::{
        Flow,
        flow::{Document, Flaw},
    },
    files,
};

/// A file larger than this is none of ours.
const SIZE_MAX: u64 = 1 << 20;
/// How alike two keys must be for one to be taken as a slip of the other, from 0 to 1.
const ALIKE: f64 = 0.6;

/// Why a file is no flow.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the flow file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it has to be changed.
    #[error("{}:{line}: {text}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, what is wrong with it, and what would be right.
        text: String,
    },
}

/// Reads a flow file.
pub fn load(path: &Path) -> Result<Flow, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    parse(path, &files::read_text(path, SIZE_MAX).map_err(unreadable)?)
}

/// Reads a flow from text; `path` is what errors call it.
pub fn parse(path: &Path, text: &str) -> Result<Flow, Error> {
    let wrong = |offset: usize, text_of: String| {
        let line = text[..offset.min(text.len())].matches('\n').count() + 1;
        Error::Wrong { path: path.to_owned(), line, text: text_of }
    };
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    let syntax = |error: toml::de::Error| wrong(start(&error), format!("not valid TOML: {}", error.message()));
    let table = DeTable::parse(text).map_err(syntax)?;
    let deserializer = toml::Deserializer::parse(text).map_err(syntax)?;
    let document: Document = serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = error.path().to_string();
        wrong(start(error.inner()), in_words(last(&key), error.inner().message()))
    })?;
    document.flow().map_err(|Flaw { key, text }| wrong(place(table.get_ref(), &key), format!("{} {text}", last(&key))))
}

/// The name at the end of a dotted key, `dwell` of `step[1].for[0].dwell`.
fn last(key: &str) -> &str {
    let name = key.rsplit('.').next().unwrap_or(key);
    name.split('[').next().unwrap_or(name)
}

/// Where a key stands in the text; where it is left out, the nearest thing around it that is there.
fn place(table: &DeTable<'_>, key: &str) -> usize {
    let (mut table, mut found) = (table, 0);
    for part in key.split('.') {
        let (name, index) = part.trim_end_matches(']').split_once('[').unwrap_or((part, ""));
        let Some((key, mut value)) = table.iter().find(|(other, _)| other.get_ref() == name) else { break };
        found = key.span().start;
        if let (DeValue::Array(array), Ok(index)) = (value.get_ref(), index.parse::<usize>())
            && let Some(element) = array.get(index)
        {
            value = element;
            found = element.span().start;
        }
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    found
}

/// serde's words, in ours.
fn in_words(key: &str, message: &str) -> String {
    let named: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let kind = message.split(['`', ':']).next().unwrap_or_default().trim();
    match (kind, named.as_slice()) {
        ("unknown field", [field, known @ ..]) => match nearest(field, known) {
            Some(near) => format!("there is no key {field}; did you mean {near}?"),
            None => format!("there is no key {field} here; there are {}", known.join(", ")),
        },
        ("missing field", [field, ..]) => format!("{field} is missing: write {}", example(field)),
        ("unknown variant", [value, known @ ..]) => {
            let known: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
            format!("{key} must be {}, not {value:?}", known.join(" or "))
        }
        ("invalid type" | "invalid value", _) => {
            match message.split_once(": ").and_then(|(_, m)| m.split_once(", expected ")) {
                Some(("map", "a sequence")) => {
                    format!("{key} is a list: write [[{key}]] in double brackets, once for each")
                }
                Some((found, "u32")) => format!("{key} must be a whole number from 1 to {}, not the {found}", u32::MAX),
                Some((found, "a string")) => format!("{key} must be text in quotes, not the {found}"),
                Some((found, expected)) => format!("{key} must be {expected}, not the {found}"),
                None => format!("{key}: {message}"),
            }
        }
        _ => format!("{key} {message}"),
    }
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|known| (strsim::normalized_damerau_levenshtein(name, known), *known));
    let (score, best) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (score >= ALIKE).then_some(best)
}

fn example(key: &str) -> &'static str {
    match key {
        "name" => "a name for all versions of the flow, like name = \"kitchen\"",
        "version" => "version = 1, and one more with every change",
        "step" => "[[step]] once for each state, with state = \"…\" below",
        "state" => "the state's name, like state = \"recibido\"",
        _ => "a duration, like dwell = \"8s\"",
    }
}

#[cfg(test)]
mod tests;
