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
            matched.extend(words(&product.name).iter().filter_map(in_word));
        }
        Hit { row: place + 1, product, matched }
    }
}
