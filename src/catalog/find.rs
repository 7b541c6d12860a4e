//! What is looked for by words, price and order, and what is found.

use std::ops::Range;

use super::{Catalog, fold::words, set::Set};
use crate::domain::{Price, Product};

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Search<'a> {
    /// Words of the name, or parts of them; blank for everything.
    pub words: &'a str,
    /// Dearer than this.
    pub over: Option<Price>,
    /// At most this.
    pub up_to: Option<Price>,
    /// What comes first.
    pub order: Order,
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The exact name, names that begin with the words, names with the whole words, with beginnings, with parts; equals by row.
    #[default]
    Best,
    /// The lowest price; equals by row.
    Cheapest,
    /// The highest price; equals by row.
    Dearest,
    /// By name, case and accents aside.
    Name,
}

/// What was found.
#[derive(Debug)]
pub struct Found<'a> {
    catalog: &'a Catalog,
    places: Set,
    words: Vec<String>,
    order: Order,
    /// Products at the prices that were asked for.
    pub total: usize,
    /// Products at any price.
    pub at_any_price: usize,
    /// What was probably meant. With products, they are what is found by this spelling; without, it is as much of it as would be.
    pub spelling: Option<String>,
}

/// One of the products that were found.
#[derive(Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// Its row.
    pub row: usize,
    /// The product.
    pub product: &'a Product,
    /// Where the name has the words, in bytes, ascending and apart from each other.
    pub matched: Vec<Range<usize>>,
}

impl<'a> Hit<'a> {
    /// The name in pieces: by turns one that was not looked for (perhaps empty) and one that was.
    pub fn parts(&self) -> Vec<&'a str> {
        let name: &'a str = &self.product.name;
        let mut parts = Vec::with_capacity(self.matched.len() * 2 + 1);
        let mut at = 0;
        for Range { start, end } in &self.matched {
            parts.extend([&name[at..*start], &name[*start..*end]]);
            at = *end;
        }
        parts.push(&name[at..]);
        parts
    }
}

impl Catalog {
    /// Products by words, price and order. Words are compared regardless of case and accents; where no name has them all, those
    /// are taken that are spelt nearly so.
    pub fn find(&self, search: &Search) -> Found<'_> {
        let matches = self.index.find(search.words, &self.products);
        let at_any_price = matches.places.len();
        let mut places = matches.places;
        let range = self.prices.range(search.over.as_ref(), search.up_to.as_ref());
        if range.len() < self.len() {
            let mut fitting = Set::new(self.len());
            fitting.extend(&self.prices.ascending()[range]);
            places.intersect(&fitting);
        }
        let (words, spelling) = (matches.words, matches.spelling);
        Found { catalog: self, total: places.len(), at_any_price, places, words, order: search.order, spelling }
    }
}

impl<'a> Found<'a> {
    /// One page of what was found; pages count from 1.
    pub fn page(&self, page: usize, size: usize) -> Vec<Hit<'a>> {
        let before = page.saturating_sub(1).saturating_mul(size);
        let in_order = |order: &mut dyn Iterator<Item = &u32>| -> Vec<usize> {
            let places = order.map(|place| *place as usize).filter(|place| self.places.contains(*place));
            places.skip(before).take(size).collect()
        };
        let catalog = self.catalog;
        let places = match self.order {
            Order::Best => {
                let ranked = catalog.index.ranked(&self.places, &self.words, before.saturating_add(size));
                ranked.into_iter().skip(before).collect()
            }
            Order::Cheapest => in_order(&mut catalog.prices.ascending().iter()),
            Order::Dearest => in_order(&mut catalog.prices.descending()),
            Order::Name => in_order(&mut catalog.by_name.iter()),
        };
        places.into_iter().map(|place| self.hit(place)).collect()
    }

    fn hit(&self, place: usize) -> Hit<'a> {
        let product = &self.catalog.products[place];
        let mut matched: Vec<Range<usize>> = Vec::new();
        if !self.words.is_empty() {
            let in_word = |word: &super::fold::Word| {
                let beginning = self.words.iter().filter(|wanted| word.folded.starts_with(wanted.as_str()));
                if let Some(longest) = beginning.map(String::len).max() {
                    return Some(word.place(0..longest));
                }
                // the same rule by which it was found
                self.words.iter().find_map(|wanted| {
                    let at =
                        word.folded.find(wanted.as_str()).filter(|_| wanted.len() >= super::words::WITHIN_BYTES_MIN)?;
                    Some(word.place(at..at + wanted.len()))
                })
            };
            for place in words(&product.name).iter().filter_map(in_word) {
                match matched.last_mut() {
                    // one character can have letters of several words: ½ is 1 and 2
                    Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                    _ => matched.push(place),
                }
            }
        }
        Hit { row: place + 1, product, matched }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(name: &str) -> Option<Catalog> {
        let csv = format!("appid,name,price\n1,\"{}\",1\n", name.replace('"', "\"\""));
        Catalog::parse("test", csv.as_bytes()).ok()
    }

    fn check(catalog: &Catalog, words: &str) {
        let found = catalog.find(&Search { words, ..Search::default() });
        for hit in found.page(1, 1) {
            assert_eq!(hit.parts().concat(), hit.product.name, "{words:?}");
            let mut at = 0;
            for matched in &hit.matched {
                assert!(at <= matched.start && matched.start < matched.end, "{words:?}: {:?}", hit.matched);
                at = matched.end;
            }
        }
    }

    #[test]
    fn a_character_that_is_several_words_is_marked_once() {
        for (name, words, parts) in [
            ("½ kilo", "½", &["", "½", " kilo"][..]),
            ("1 ½ kilos", "1 2", &["", "1", " ", "½", " kilos"]),
            ("A/C o ℀", "a c", &["", "A", "/", "C", " o ", "℀", ""]),
        ] {
            let catalog = catalog(name).unwrap();
            let found = catalog.find(&Search { words, ..Search::default() });
            assert_eq!(found.page(1, 1)[0].parts(), parts, "{name}: {words}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_matched_is_ascending_and_apart(name in "[½⅞℀㏂ﬁß本a-c1-3 é.]{1,8}", words in "[½℀㏂a-c1-3 .]{0,6}") {
            let Some(catalog) = catalog(&name) else { return Ok(()) };
            check(&catalog, &words);
            check(&catalog, &name);
        }

        #[test]
        fn whatever_a_name_is_it_finds_itself(name in "\\PC{1,16}") {
            let Some(catalog) = catalog(&name) else { return Ok(()) };
            check(&catalog, &name);
        }
    }
}
