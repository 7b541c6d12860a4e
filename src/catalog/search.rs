use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::domain::Product;

/// Most words of a query that count; more only narrow what is narrow already.
const WORDS_MAX: usize = 12;

/// Words to products. A query is a few set operations on bit sets of one bit per product, so even a single letter,
/// which matches thousands of words, is answered within the time of a request.
#[derive(Debug)]
pub(super) struct Index {
    /// The folded words of every name, each after a space, and where each name's words begin.
    folded: String,
    starts: Vec<u32>,
    /// Places of the products that have a word, ascending.
    places: BTreeMap<Box<str>, Vec<u32>>,
}

impl Index {
    pub(super) fn new(products: &[Product]) -> Self {
        let mut folded = String::new();
        let mut starts = vec![0];
        // hashed while it grows, sorted once: half the time of growing it sorted
        let mut places: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        for (place, product) in products.iter().enumerate() {
            let start = folded.len();
            fold(&product.name, &mut folded);
            starts.push(folded.len() as u32);
            for word in folded[start..].split_ascii_whitespace() {
                match places.get_mut(word) {
                    Some(known) if known.last() == Some(&(place as u32)) => {}
                    Some(known) => known.push(place as u32),
                    None => drop(places.insert(word.into(), vec![place as u32])),
                }
            }
        }
        Self { folded, starts, places: places.into_iter().collect() }
    }

    /// Places of the best matches.
    pub(super) fn search(&self, query: &str, limit: usize) -> Vec<usize> {
        let mut folded = String::new();
        fold(query, &mut folded);
        let words: Vec<&str> = folded.split_ascii_whitespace().take(WORDS_MAX).collect();
        let Some((first, rest)) = words.split_first() else {
            let all = if query.trim().is_empty() { self.len() } else { 0 };
            return (0..all.min(limit)).collect();
        };
        let (mut found, mut whole) = (self.beginning_with(first), self.having(first));
        for word in rest {
            found.intersect(&self.beginning_with(word));
            whole.intersect(&self.having(word));
        }
        let rank = |place: usize| match self.name(place).strip_prefix(folded.as_str()) {
            Some("") => 0,
            Some(_) => 1,
            None if whole.contains(place) => 2,
            None => 3,
        };
        let mut ranks: [Vec<usize>; 4] = Default::default();
        for place in found.iter() {
            let rank = &mut ranks[rank(place)];
            if rank.len() < limit {
                rank.push(place);
            }
        }
        ranks.into_iter().flatten().take(limit).collect()
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn name(&self, place: usize) -> &str {
        &self.folded[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    fn having(&self, word: &str) -> Set {
        let mut set = Set::new(self.len());
        set.extend(self.places.get(word).map_or(&[], Vec::as_slice));
        set
    }

    fn beginning_with(&self, start: &str) -> Set {
        let mut set = Set::new(self.len());
        let from_start = self.places.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        for (_, places) in from_start.take_while(|(word, _)| word.starts_with(start)) {
            set.extend(places);
        }
        set
    }
}

/// Appends the words of a text, each after a space: lower case, without accents, apostrophes and trade marks.
fn fold(text: &str, folded: &mut String) {
    let mut in_word = false;
    let mut put = |c: char| {
        if c.is_alphanumeric() {
            if !in_word {
                folded.push(' ');
            }
            if c.is_ascii() {
                folded.push(c.to_ascii_lowercase());
            } else {
                folded.extend(c.to_lowercase().filter(|c| !is_combining_mark(*c)));
            }
            in_word = true;
        } else if !matches!(c, '\'' | '’' | '‘') && (c.is_ascii() || !is_combining_mark(c)) {
            in_word = false;
        }
    };
    if text.is_ascii() {
        return text.chars().for_each(put);
    }
    // NFKD would turn ™ into the letters TM and glue them to the word
    text.chars().filter(|c| !matches!(c, '™' | '℠')).nfkd().for_each(&mut put);
}

/// A set of places, one bit each.
struct Set(Vec<u64>);

impl Set {
    fn new(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    fn extend(&mut self, places: &[u32]) {
        for place in places {
            self.0[*place as usize / 64] |= 1 << (place % 64);
        }
    }

    fn intersect(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours &= theirs;
        }
    }

    fn contains(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(i, bits)| {
            let mut left = *bits;
            std::iter::from_fn(move || {
                let lowest = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(i * 64 + lowest)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(names: &[&str]) -> Index {
        let products: Vec<Product> = names.iter().map(|name| Product::new("1", name, "1").unwrap()).collect();
        Index::new(&products)
    }

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
        assert_eq!(folded("!!! —"), "");
    }

    #[test]
    fn finds_by_beginnings_of_words_in_any_order() {
        let index = index(&["Pequeño Ñandú", "Gran ñandú azul", "Nadie", "Azulejo granate"]);
        assert_eq!(index.search("nandu", 9), [0, 1]);
        assert_eq!(index.search("ÑANDÚ peq", 9), [0]);
        assert_eq!(index.search("azul gran", 9), [1, 3]);
        assert_eq!(index.search("andu", 9), [0; 0]);
        assert_eq!(index.search("nandu nada", 9), [0; 0]);
    }

    #[test]
    fn puts_the_best_first() {
        let index = index(&["Superportal", "My portals", "The portal", "Portal 2", "Portalino", "Portal", "A portal"]);
        assert_eq!(index.search("portal", 9), [5, 3, 4, 2, 6, 1]);
        assert_eq!(index.search("portal", 2), [5, 3]);
        assert_eq!(index.search("portal", 0), [0; 0]);
    }

    #[test]
    fn blank_finds_all_and_signs_find_nothing() {
        let index = index(&["a", "b", "c"]);
        assert_eq!(index.search(" ", 2), [0, 1]);
        assert_eq!(index.search("", 9), [0, 1, 2]);
        assert_eq!(index.search("!", 9), [0; 0]);
    }
}
