use super::{
    fold::{Word, fold, words},
    set::Set,
    spelling::Spelling,
    words::Words,
};
use crate::domain::Product;

/// Most words of a query that count; more only narrow what is narrow already.
const WORDS_MAX: usize = 12;

/// From words to products. A query is a few set operations on bit sets of one bit per product, so even a single letter,
/// which matches thousands of words, is answered within the time of a request.
#[derive(Debug)]
pub(super) struct Index {
    /// The folded words of every name, each after a space, and where each name's words begin.
    folded: String,
    starts: Vec<u32>,
    words: Words,
}

/// What a query leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matches {
    pub(super) places: Set,
    /// The words that these products have, as they were looked for.
    pub(super) words: Vec<String>,
    /// What was probably meant, where no name has all words as they were written.
    pub(super) spelling: Option<String>,
}

impl Index {
    pub(super) fn new(products: &[Product]) -> Self {
        let mut folded = String::new();
        let mut starts = vec![0];
        for product in products {
            fold(&product.name, &mut folded);
            starts.push(folded.len() as u32);
        }
        let names = starts.windows(2).map(|ends| &folded[ends[0] as usize..ends[1] as usize]);
        let words = Words::of(names);
        Self { folded, starts, words }
    }

    /// Places of the products whose names have words that begin like those of the query, best first.
    pub(super) fn search(&self, query: &str, limit: usize) -> Vec<usize> {
        let wanted = wanted(query);
        let places =
            if wanted.is_empty() { self.all_if_blank(query) } else { self.all_of(&wanted, Words::beginning_with) };
        self.ranked(&places, &wanted, limit)
    }

    /// The products that a query means: whose names have all the words, at least as a part of a word. Where there is none, words are
    /// taken for the nearest that there are; where there still is none, `spelling` has as many as go together.
    pub(super) fn find(&self, query: &str, products: &[Product]) -> Matches {
        let words: Vec<Word> = words(query).into_iter().take(WORDS_MAX).collect();
        let folded: Vec<String> = words.iter().map(|word| word.folded.clone()).collect();
        if folded.is_empty() {
            return Matches { places: self.all_if_blank(query), words: folded, spelling: None };
        }
        let places = self.all_of(&folded, Words::containing);
        if !places.is_empty() {
            return Matches { places, words: folded, spelling: None };
        }
        let spelling = Spelling::nearest(&self.words, self.len(), &folded);
        let shown = spelling.shown(&words, query, products, &self.words);
        if !spelling.is_whole {
            return Matches { places, words: folded, spelling: shown };
        }
        Matches { places: spelling.places, words: spelling.words, spelling: shown }
    }

    /// The best of some places: the exact name, names that begin with the words, names with the whole words, the rest;
    /// equals by place.
    pub(super) fn ranked(&self, places: &Set, words: &[String], limit: usize) -> Vec<usize> {
        if words.is_empty() {
            return places.iter().take(limit).collect();
        }
        let whole = self.all_of(words, Words::having);
        let beginning = self.all_of(words, Words::beginning_with);
        let text: String = words.iter().flat_map(|word| [" ", word]).collect();
        let rank = |place: usize| match self.name(place).strip_prefix(text.as_str()) {
            Some("") => 0,
            Some(_) => 1,
            None if whole.contains(place) => 2,
            None if beginning.contains(place) => 3,
            None => 4,
        };
        let mut ranks: [Vec<usize>; 5] = Default::default();
        for place in places.iter() {
            let rank = &mut ranks[rank(place)];
            if rank.len() < limit {
                rank.push(place);
            }
        }
        ranks.into_iter().flatten().take(limit).collect()
    }

    /// The folded name of a product.
    pub(super) fn name(&self, place: usize) -> &str {
        &self.folded[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// What has no words matches everything when it is blank, and nothing when it has signs alone.
    fn all_if_blank(&self, query: &str) -> Set {
        if query.trim().is_empty() { Set::full(self.len()) } else { Set::new(self.len()) }
    }

    fn all_of(&self, wanted: &[String], places: impl Fn(&Words, &str) -> Set) -> Set {
        let mut all = Set::full(self.len());
        for word in wanted {
            all.intersect(&places(&self.words, word));
        }
        all
    }
}

fn wanted(query: &str) -> Vec<String> {
    words(query).into_iter().take(WORDS_MAX).map(|word| word.folded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products(names: &[&str]) -> Vec<Product> {
        names.iter().map(|name| Product::new("1", name, "1").unwrap()).collect()
    }

    fn index(names: &[&str]) -> Index {
        Index::new(&products(names))
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
        let names = ["Superportal", "My portals", "The portal", "Portal 2", "Portalino", "Portal", "A portal"];
        let index = index(&names);
        assert_eq!(index.search("portal", 9), [5, 3, 4, 2, 6, 1]);
        assert_eq!(index.search("portal", 2), [5, 3]);
        assert_eq!(index.search("portal", 0), [0; 0]);
        let found = index.find("portal", &products(&names));
        assert_eq!(index.ranked(&found.places, &found.words, 9), [5, 3, 4, 2, 6, 1, 0]);
    }

    #[test]
    fn blank_finds_all_and_signs_find_nothing() {
        let names = ["a", "b", "c"];
        let index = index(&names);
        assert_eq!(index.search(" ", 2), [0, 1]);
        assert_eq!(index.search("", 9), [0, 1, 2]);
        assert_eq!(index.search("!", 9), [0; 0]);
        for (query, count) in [("", 3), ("  ", 3), ("!", 0), ("?!", 0)] {
            let found = index.find(query, &products(&names));
            assert_eq!((found.places.len(), found.spelling), (count, None), "{query:?}");
        }
    }

    #[test]
    fn a_misspelt_word_is_taken_for_the_nearest_that_goes_with_the_others() {
        let names = ["Portal Knights", "Half-Life 2", "Hall of Fame", "Pequeño Ñandú", "Starcraft", "Knight Rider"];
        let names = [&names[..], &["Counter Strike", "Country"]].concat();
        let (index, products) = (index(&names), products(&names));
        for (query, spelling, places) in [
            // part of a word that is there
            ("countr strke", Some("counter strike"), &[6][..]),
            ("portla", Some("portal"), &[0]),
            ("PORTAL knigths", Some("PORTAL knights"), &[0]),
            ("hallf life", Some("half life"), &[1]),
            ("halflife", Some("half life"), &[1]),
            ("pequño nandu", Some("pequeño nandu"), &[3]),
            ("starcarft", Some("starcraft"), &[4]),
            ("starkraf", Some("starcraft"), &[4]),
            // as much of it as there is
            ("portla xyz", Some("portal"), &[]),
            ("rdier portal", Some("rider"), &[]),
            ("portla pequeño nandu", Some("pequeño nandu"), &[]),
            ("portal rider", Some("portal"), &[]),
            // nothing is near
            ("xyzzy", None, &[]),
            ("xz", None, &[]),
            ("portal", None, &[0]),
        ] {
            let found = index.find(query, &products);
            assert_eq!(found.spelling.as_deref(), spelling, "{query:?}");
            assert_eq!(found.places.iter().collect::<Vec<_>>(), places, "{query:?}");
        }
    }
}
