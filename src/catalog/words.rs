//! The words of all names, and which products have them.

use std::{collections::HashMap, ops::Range};

use memchr::memmem;

use super::set::Set;

/// Within words is looked for this many letters or more: fewer stand in almost every word.
pub(super) const WITHIN_BYTES_MIN: usize = 3;

/// The words of all names, sorted, with the places of the products that have them: a few flat arrays, about 30 bytes for each word
/// of each name.
#[derive(Debug)]
pub(super) struct Words {
    /// Number of products.
    products: usize,
    /// All words, each after a line feed, which stands in no word.
    text: String,
    /// Where each word begins in the text, and the end.
    starts: Vec<u32>,
    /// The places of the products that have the words, ascending for each word, and where those of each word begin.
    places: Vec<u32>,
    places_of: Vec<u32>,
    /// For each word which letters it has, for [`super::spelling`].
    pub(super) letters: Vec<u32>,
}

impl Words {
    /// The words of the products' folded names.
    pub(super) fn of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let products = names.len();
        let mut places: HashMap<&str, Vec<u32>> = HashMap::new();
        for (place, name) in names.enumerate() {
            for word in name.split_ascii_whitespace() {
                let known = places.entry(word).or_default();
                if known.last() != Some(&(place as u32)) {
                    known.push(place as u32);
                }
            }
        }
        let mut sorted: Vec<_> = places.into_iter().collect();
        sorted.sort_unstable();
        let mut words = Self {
            products,
            text: String::new(),
            starts: Vec::with_capacity(sorted.len() + 1),
            places: Vec::new(),
            places_of: Vec::with_capacity(sorted.len() + 1),
            letters: sorted.iter().map(|(word, _)| letters(word)).collect(),
        };
        for (word, places) in sorted {
            words.text.push('\n');
            words.starts.push(words.text.len() as u32);
            words.places_of.push(words.places.len() as u32);
            words.text.push_str(word);
            words.places.extend(places);
        }
        words.starts.push(words.text.len() as u32 + 1);
        words.places_of.push(words.places.len() as u32);
        words
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn get(&self, word: usize) -> &str {
        &self.text[self.starts[word] as usize..self.starts[word + 1] as usize - 1]
    }

    /// The products that have a word.
    pub(super) fn places(&self, word: usize) -> &[u32] {
        &self.places[self.places_of[word] as usize..self.places_of[word + 1] as usize]
    }

    pub(super) fn find(&self, word: &str) -> Option<usize> {
        let at = self.first_not_before(word);
        (at < self.len() && self.get(at) == word).then_some(at)
    }

    /// The products that have exactly this word.
    pub(super) fn having(&self, word: &str) -> Set {
        let mut set = Set::new(self.products);
        set.extend(self.find(word).map_or(&[], |word| self.places(word)));
        set
    }

    /// The products that have a word which begins so.
    pub(super) fn beginning_with(&self, start: &str) -> Set {
        let mut set = Set::new(self.products);
        let words = self.range(start);
        set.extend(&self.places[self.places_of[words.start] as usize..self.places_of[words.end] as usize]);
        set
    }

    /// The products that have a word with these letters anywhere in it, if they are enough to look for.
    pub(super) fn containing(&self, part: &str) -> Set {
        let mut set = self.beginning_with(part);
        if part.len() < WITHIN_BYTES_MIN {
            return set;
        }
        for at in memmem::find_iter(self.text.as_bytes(), part.as_bytes()) {
            let word = self.starts.partition_point(|start| *start as usize <= at) - 1;
            set.extend(self.places(word));
        }
        set
    }

    fn range(&self, start: &str) -> Range<usize> {
        let first = self.first_not_before(start);
        let mut last = first;
        while last < self.len() && self.get(last).starts_with(start) {
            last += 1;
        }
        first..last
    }

    fn first_not_before(&self, word: &str) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle) < word {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Which letters a word has, one bit each: the letters of ASCII have bits of their own, digits share one, others a few.
pub(super) fn letters(word: &str) -> u32 {
    word.chars().fold(0, |letters, c| {
        let bit = match c {
            'a'..='z' => c as u32 - 'a' as u32,
            '0'..='9' => 26,
            _ => 27 + c as u32 % 5,
        };
        letters | 1 << bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_known_by_their_words() {
        let names = [" portal", " portal 2 portal", " teleportals", " pequeno nandu", " el"];
        let words = Words::of(names.into_iter());
        let all: Vec<_> = (0..words.len()).map(|word| words.get(word)).collect();
        assert_eq!(all, ["2", "el", "nandu", "pequeno", "portal", "teleportals"]);
        let places = |set: Set| set.iter().collect::<Vec<_>>();
        assert_eq!(places(words.having("portal")), [0, 1]);
        assert_eq!(places(words.having("porta")), [0; 0]);
        assert_eq!(places(words.beginning_with("p")), [0, 1, 3]);
        assert_eq!(places(words.beginning_with("z")), [0; 0]);
        assert_eq!(places(words.containing("portal")), [0, 1, 2]);
        assert_eq!(places(words.containing("el")), [4], "too few letters");
        assert_eq!(places(words.containing("ls")), [0; 0]);
        assert_eq!((words.find("el"), words.find("ele"), words.find("")), (Some(1), None, None));
    }
}
