//! Text as it is compared: lower case, without accents, apostrophes and trade marks; and where each letter of it stands in
//! the text, for what is underlined.

use std::ops::Range;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Its letters, folded.
    pub(super) folded: String,
    /// Where each of them stands in the text, with its accents.
    at: Vec<Range<usize>>,
}

impl Word {
    /// Where some of the letters stand in the text; `bytes` counts in the folded word.
    pub(super) fn place(&self, bytes: Range<usize>) -> Range<usize> {
        let letters = |bytes: &str| bytes.chars().count();
        let first = letters(&self.folded[..bytes.start]);
        let last = first + letters(&self.folded[bytes]) - 1;
        self.at[first].start..self.at[last].end
    }

    /// Where the word stands in the text.
    pub(super) fn whole(&self) -> Range<usize> {
        self.place(0..self.folded.len())
    }
}

/// Appends the words of a text, each after a space.
pub(super) fn fold(text: &str, folded: &mut String) {
    let mut in_word = false;
    parts(text, |_, part| match part {
        Part::Letter(letter) => {
            if !in_word {
                folded.push(' ');
            }
            folded.push(letter);
            in_word = true;
        }
        Part::Gap => in_word = false,
        Part::Nothing => {}
    });
}

/// The words of a text, with their places in it.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut in_word = false;
    parts(text, |at, part| match (part, words.last_mut().filter(|_| in_word)) {
        (Part::Letter(letter), Some(word)) => {
            word.folded.push(letter);
            word.at.push(at);
        }
        (Part::Letter(letter), None) => {
            words.push(Word { folded: letter.into(), at: vec![at] });
            in_word = true;
        }
        (Part::Gap, _) => in_word = false,
        // an accent that stands by itself belongs to the letter before it, a trade mark and an apostrophe to none
        (Part::Nothing, Some(word)) if text[at.clone()].starts_with(is_combining_mark) => {
            word.at.last_mut().expect("a word has letters").end = at.end;
        }
        (Part::Nothing, _) => {}
    });
    words
}

enum Part {
    Letter(char),
    Gap,
    Nothing,
}

/// The parts of a text, each with the place of the character that it comes from, which may be several parts.
fn parts(text: &str, mut put: impl FnMut(Range<usize>, Part)) {
    for (start, c) in text.char_indices() {
        let at = start..start + c.len_utf8();
        if c.is_ascii() {
            put(at, ascii(c));
            continue;
        }
        if matches!(c, '™' | '℠') {
            // NFKD would make letters of them and glue these to the word
            put(at, Part::Nothing);
            continue;
        }
        if let Some(letters) = spelled_out(c) {
            for letter in letters.chars() {
                put(at.clone(), Part::Letter(letter));
            }
            continue;
        }
        for c in std::iter::once(c).nfkd() {
            if c.is_alphanumeric() {
                for letter in c.to_lowercase().filter(|c| !is_combining_mark(*c)) {
                    put(at.clone(), Part::Letter(letter));
                }
            } else if is_combining_mark(c) || matches!(c, '’' | '‘') {
                put(at.clone(), Part::Nothing);
            } else {
                put(at.clone(), ascii(c));
            }
        }
    }
}

fn ascii(c: char) -> Part {
    match c {
        _ if c.is_ascii_alphanumeric() => Part::Letter(c.to_ascii_lowercase()),
        '\'' => Part::Nothing,
        _ => Part::Gap,
    }
}

/// Letters that keyboards elsewhere lack, and that no decomposition knows.
fn spelled_out(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' => "d",
        'ı' => "i",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut folded = String::new();
        fold(text, &mut folded);
        folded
    }

    #[test]
    fn folds_case_accents_and_signs() {
        assert_eq!(folded("King's Bounty: Armored"), " kings bounty armored");
        assert_eq!(folded("  ÑANDÚ — Coração™ (Édition)"), " nandu coracao edition");
        assert_eq!(folded("n\u{303}andu\u{301}"), " nandu");
        assert_eq!(folded("ＷＩＤＥ 本の虫 İ"), " wide 本の虫 i");
        assert_eq!(folded("Straße Ægir Łódź Brødre"), " strasse aegir lodz brodre");
        assert_eq!(folded("!!! —"), "");
    }

    #[test]
    fn letters_are_found_again_where_they_stand() {
        let places = |text: &str, letters: Range<usize>| {
            words(text).iter().map(|word| text[word.place(letters.clone())].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(places("«Ñandú», n\u{303}andu\u{301}!", 0..5), ["Ñandú", "n\u{303}andu\u{301}"]);
        assert_eq!(places("King's", 0..4), ["King"]);
        assert_eq!(places("King's", 0..5), ["King's"]);
        assert_eq!(places("Straße", 4..6), ["ß"]);
        assert_eq!(places("ﬁesta", 1..3), ["ﬁe"]);
    }

    proptest::proptest! {
        #[test]
        fn both_ways_fold_alike(text in "\\PC{0,24}") {
            let apart: String = words(&text).iter().flat_map(|word| [" ", word.folded.as_str()]).collect();
            proptest::prop_assert_eq!(folded(&text), apart);
            for word in words(&text) {
                proptest::prop_assert!(text.get(word.whole()).is_some());
            }
        }
    }
}
