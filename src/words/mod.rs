//! Every word that people read in two languages, in pages, mails and answers: one table, which templates of pages see as `t`.

pub mod why;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use minijinja::Value;

use crate::domain::Lang;

/// A key and its words in Spanish and in English a line; `#` begins a comment.
const TABLE: &str = include_str!("words.tsv");

static WORDS: LazyLock<HashMap<&'static str, [&'static str; Lang::ALL.len()]>> = LazyLock::new(|| rows().collect());

static VALUES: LazyLock<[Value; Lang::ALL.len()]> = LazyLock::new(|| {
    Lang::ALL.map(|lang| {
        let words = WORDS.iter().map(|(key, words)| (*key, words[lang as usize]));
        Value::from(words.collect::<BTreeMap<_, _>>())
    })
});

/// What the documents of listeners say, a text a line: in English, as it stands in the sources, and in Spanish.
const CONTRACT: &str = include_str!("contract.tsv");

static SPANISH: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    let lines = CONTRACT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('\t')).collect()
});

/// A text of a listener's document, on one line, in a language: in English where nobody has translated it.
pub fn contract(lang: Lang, english: &str) -> &str {
    match lang {
        Lang::En => english,
        Lang::Es => SPANISH.get(english).copied().unwrap_or(english),
    }
}

/// The texts that are translated.
pub fn contract_texts() -> impl Iterator<Item = &'static str> {
    SPANISH.keys().copied()
}

fn rows() -> impl Iterator<Item = (&'static str, [&'static str; Lang::ALL.len()])> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        (next(), [next(), next()])
    })
}

/// The words under a key.
///
/// # Panics
///
/// When there is no such key: keys are compiled in, and tests look for each.
pub fn word(lang: Lang, key: &str) -> &'static str {
    find(lang, key).unwrap_or_else(|| panic!("words.tsv has no {key}"))
}

/// The words under a key that something else makes, as the name of a state.
pub fn find(lang: Lang, key: &str) -> Option<&'static str> {
    WORDS.get(key).map(|words| words[lang as usize])
}

/// A state as a customer reads it. States of other flows keep their own name, capitalised.
pub fn state(lang: Lang, state: &str) -> String {
    find(lang, &format!("state_{state}")).map_or_else(|| capitalised(state), str::to_owned)
}

/// Why a command is refused, by its code; one that is not known here in the words of whoever refused.
pub fn refusal(lang: Lang, code: &str, detail: &str) -> String {
    let key = format!("refusal_{}", code.replace('-', "_"));
    find(lang, &key).map_or_else(|| detail.to_owned(), str::to_owned)
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Words with their places, `{n}`, filled in, as plain text.
pub fn fill<'a>(words: &'a str, places: &[(&str, impl AsRef<str>)]) -> Cow<'a, str> {
    let mut text = Cow::Borrowed("");
    let mut rest = words;
    while let Some((before, (name, after))) = rest.split_once('{').and_then(|(a, b)| Some((a, b.split_once('}')?))) {
        let place = places.iter().find(|(place, _)| *place == name);
        debug_assert!(place.is_some(), "{words:?}: nothing for {name}");
        text += before;
        text.to_mut().push_str(place.map_or("", |(_, value)| value.as_ref()));
        rest = after;
    }
    text + rest
}

/// A line in each language, for answers that may be read in either.
pub fn both(key: &str, places: &[(&str, &str)]) -> String {
    Lang::ALL.map(|lang| fill(word(lang, key), places)).join("\n")
}

/// All of a language, for templates.
pub fn values(lang: Lang) -> Value {
    VALUES[lang as usize].clone()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// The sources of a kind below a folder.
    fn sources(folder: &Path, kinds: &[&str], found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("mail/templates") {
                // mails know the words by other names
            } else if path.is_dir() {
                sources(&path, kinds, found);
            } else if path.extension().is_some_and(|extension| kinds.iter().any(|kind| extension == *kind)) {
                found.push(fs::read_to_string(&path).unwrap());
            }
        }
    }

    fn name_at(text: &str) -> &str {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        &text[..end]
    }

    /// What is named in sources: keys as they stand in templates, texts in quotes, and beginnings of keys that are put
    /// together.
    fn named() -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
        let (mut dotted, mut quoted, mut prefixes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut templates, mut code) = (Vec::new(), Vec::new());
        sources(&src, &["html"], &mut templates);
        sources(&src, &["rs"], &mut code);
        for text in &templates {
            for (at, found) in text.match_indices("t.").filter(|(at, _)| !text[..*at].ends_with(char::is_alphanumeric))
            {
                dotted.insert(name_at(&text[at + found.len()..]).to_owned());
            }
        }
        for text in templates.iter().chain(&code) {
            for piece in text.split('"').filter(|piece| piece.len() < 40) {
                quoted.insert(piece.to_owned());
                prefixes.insert(piece.split('{').next().unwrap_or_default().to_owned());
            }
        }
        (dotted, quoted, prefixes)
    }

    #[test]
    fn every_key_is_there_once_with_words_in_both_languages() {
        let mut seen = BTreeSet::new();
        for (key, [es, en]) in rows() {
            assert!(seen.insert(key), "{key} is there twice");
            assert!(!es.trim().is_empty() && !en.trim().is_empty(), "{key} lacks a language");
            assert_eq!(name_at(key), key, "{key} is no plain name");
            let places = |text: &str| text.matches('{').count() + 100 * text.matches('}').count();
            assert_eq!(places(es), places(en), "{key} has different places to fill in");
        }
        assert!(TABLE.lines().all(|line| line.is_empty() || line.starts_with('#') || line.matches('\t').count() == 2));
    }

    #[test]
    fn every_key_that_is_used_is_there_and_every_one_is_used() {
        let (dotted, quoted, prefixes) = named();
        let unknown: Vec<_> = dotted.iter().filter(|key| !WORDS.contains_key(key.as_str())).collect();
        assert!(unknown.is_empty(), "templates use {unknown:?}, which words.tsv lacks");
        let is_made = |key: &str| {
            let begins = key.rmatch_indices('_').any(|(at, _)| prefixes.contains(&key[..=at]));
            let of_page =
                ["_title", "_text"].iter().filter_map(|end| key.strip_suffix(end)).any(|page| quoted.contains(page));
            let of_one = key.strip_suffix("_1").is_some_and(|of_many| quoted.contains(of_many));
            begins || of_page || of_one
        };
        let unused: Vec<_> =
            WORDS.keys().filter(|key| !dotted.contains(**key) && !quoted.contains(**key) && !is_made(key)).collect();
        assert!(unused.is_empty(), "nothing uses {unused:?}");
    }

    #[test]
    fn places_are_filled_in_once() {
        let places = [("a", "{b}".to_owned()), ("b", "x".to_owned())];
        assert_eq!(fill("{a} and {b}.", &places), "{b} and x.");
        assert_eq!(fill("no place", &[("a", "x")]), "no place");
        assert_eq!(both("api_body_late", &[]).lines().count(), Lang::ALL.len());
    }

    #[test]
    fn states_of_other_flows_keep_their_name() {
        assert_eq!(state(Lang::En, "preparando"), "Being prepared");
        assert_eq!(state(Lang::En, "ñandú listo"), "Ñandú listo");
        assert_eq!(state(Lang::Es, ""), "");
    }
}
