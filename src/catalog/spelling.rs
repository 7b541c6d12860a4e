//! The nearest spelling of a query that no name answers: of each word that does not go with the others the nearest word of
//! the catalogue that does (restricted Damerau-Levenshtein distance, as many edits as most search engines allow), or the two
//! words that were written as one.

use super::{
    fold::{Word, words as words_of},
    set::Set,
    words::{Words, letters},
};
use crate::domain::Product;

/// Most words of a query that are looked up by their spelling, each against the whole catalogue.
const CORRECTED_MAX: usize = 3;
/// Different letters of a word that may be misspelt: `zzzzz` is near to nothing, and to be compared with everything.
const DIFFERENT_MIN: u32 = 3;
/// Letters of a word from which on it may be the beginning of another: fewer begin too many.
const BEGUN_MIN: usize = 6;
/// Most spellings of a word that are tried.
const TRIED_MAX: usize = 16;

/// A query in words that go together.
pub(super) struct Spelling {
    pub(super) words: Vec<String>,
    /// The products that have them.
    pub(super) places: Set,
    /// Whether every word of the query is among them.
    pub(super) is_whole: bool,
    /// For each word of the query what it became: itself, other words, or nothing.
    became: Vec<Became>,
}

enum Became {
    Itself,
    Word(usize),
    Two(usize, usize),
    Nothing,
}

impl Spelling {
    /// The spelling that keeps most words of a query: words that are there go first and the others are corrected to go with them;
    /// or one goes after the other, which is better when one that is there was meant least. A word that is there only as a part
    /// of others, as `countr` of `country`, is corrected too where nothing else keeps all.
    pub(super) fn nearest(words: &Words, products: usize, wanted: &[String]) -> Self {
        let by_known = Self::of(words, products, wanted, true, Words::containing);
        if by_known.is_whole {
            return by_known;
        }
        let by_whole_words = Self::of(words, products, wanted, true, Words::having);
        if by_whole_words.is_whole {
            return by_whole_words;
        }
        let in_turn = Self::of(words, products, wanted, false, Words::containing);
        if in_turn.words.len() < by_known.words.len() { by_known } else { in_turn }
    }

    /// `known` has the products in which a word counts as being there.
    fn of(
        words: &Words,
        products: usize,
        wanted: &[String],
        known_first: bool,
        known: fn(&Words, &str) -> Set,
    ) -> Self {
        let mut places = Set::full(products);
        let mut became: Vec<Became> = Vec::new();
        let mut corrections = 0;
        for word in wanted {
            let having = known(words, word);
            became.push(if having.meets(&places) {
                places.intersect(&having);
                Became::Itself
            } else if known_first || corrections == CORRECTED_MAX {
                Became::Nothing
            } else {
                corrections += 1;
                correct(words, word, &mut places)
            });
        }
        if known_first {
            let missing = became.iter_mut().zip(wanted).filter(|(became, _)| matches!(became, Became::Nothing));
            for (became, word) in missing.take(CORRECTED_MAX) {
                *became = correct(words, word, &mut places);
            }
        }
        let is_whole = !became.iter().any(|became| matches!(became, Became::Nothing));
        let mut kept = Vec::new();
        for (became, word) in became.iter().zip(wanted) {
            match became {
                Became::Itself => kept.push(word.clone()),
                Became::Word(near) => kept.push(words.get(*near).to_owned()),
                Became::Two(first, second) => kept.extend([*first, *second].map(|word| words.get(word).to_owned())),
                Became::Nothing => {}
            }
        }
        Self { words: kept, places, is_whole, became }
    }

    /// The spelling as people write it: words of the query as they stand there, others as a name has them. `None` when there is
    /// nothing near.
    pub(super) fn shown(&self, query: &[Word], text: &str, products: &[Product], words: &Words) -> Option<String> {
        let mut shown = Vec::new();
        for (became, word) in self.became.iter().zip(query) {
            match became {
                Became::Itself => shown.push(text[word.whole()].to_owned()),
                Became::Word(near) => shown.push(as_written(*near, products, words)),
                Became::Two(first, second) => {
                    shown.extend([*first, *second].map(|word| as_written(word, products, words)));
                }
                Became::Nothing => {}
            }
        }
        (!shown.is_empty()).then(|| shown.join(" "))
    }
}

/// A word as the first name has it that has it, in small letters: with its accents.
fn as_written(word: usize, products: &[Product], words: &Words) -> String {
    let name = &products[words.places(word)[0] as usize].name;
    let found = words_of(name).into_iter().find(|part| part.folded == words.get(word));
    found.map_or_else(|| words.get(word).to_owned(), |part| name[part.whole()].to_lowercase())
}

/// The best correction that goes with `places`, which it narrows.
fn correct(words: &Words, word: &str, places: &mut Set) -> Became {
    let near = near(words, word);
    let (close, far) = near.split_at(near.partition_point(|near| near.edits == 1));
    let fitting = |near: &[Near]| {
        let mut havings = near.iter().take(TRIED_MAX).map(|near| (near.word, words.having(words.get(near.word))));
        havings.find(|(_, having)| having.meets(places)).map(|(word, having)| (Became::Word(word), having))
    };
    let found = fitting(close).or_else(|| two(words, word, places)).or_else(|| fitting(far));
    let Some((became, having)) = found else { return Became::Nothing };
    places.intersect(&having);
    became
}

/// The two words that one is made of, if some name has both and goes with `places`.
fn two(words: &Words, word: &str, places: &Set) -> Option<(Became, Set)> {
    let cuts = word.char_indices().skip(1).map(|(at, _)| word.split_at(at));
    cuts.filter(|(first, second)| first.len() > 1 && second.len() > 1)
        .filter_map(|(first, second)| Some((words.find(first)?, words.find(second)?)))
        .find_map(|(first, second)| {
            let mut having = words.having(words.get(first));
            having.intersect(&words.having(words.get(second)));
            having.meets(places).then_some((Became::Two(first, second), having))
        })
}

/// A word of the catalogue near one of a query; the nearest is the least.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Near {
    edits: usize,
    /// Whether the query has only the beginning of it, so far.
    is_begun: bool,
    /// The more products have it, the likelier it is meant.
    rarity: usize,
    word: usize,
}

/// The words that are few enough edits away, the nearest first.
fn near(words: &Words, word: &str) -> Vec<Near> {
    let length = word.chars().count();
    let edits_max = match length {
        0..=2 => return Vec::new(),
        3..=5 => 1,
        _ => 2,
    };
    let wanted = letters(word);
    if wanted.count_ones() < DIFFERENT_MIN {
        return Vec::new();
    }
    let differ = |one: u32, other: u32| (one & !other).count_ones() as usize > edits_max;
    let distance = |other: &str| Some(strsim::osa_distance(word, other)).filter(|edits| *edits <= edits_max);
    let mut near = Vec::new();
    for (place, has) in words.letters.iter().enumerate() {
        // an edit brings or takes one letter, so most words are out of the question at a glance
        if differ(wanted, *has) {
            continue;
        }
        let other = words.get(place);
        let whole = || {
            let is_alike = !differ(*has, wanted) && other.chars().count().abs_diff(length) <= edits_max;
            is_alike.then(|| distance(other)).flatten()
        };
        let begun = || {
            let is_alike = length >= BEGUN_MIN && other.chars().next() == word.chars().next();
            let end = other.char_indices().nth(length).filter(|_| is_alike)?.0;
            distance(&other[..end])
        };
        let rarity = usize::MAX - words.places(place).len();
        if let Some(edits) = whole() {
            near.push(Near { edits, is_begun: false, rarity, word: place });
        } else if let Some(edits) = begun() {
            near.push(Near { edits, is_begun: true, rarity, word: place });
        }
    }
    near.sort_unstable();
    near
}
