//! The catalogue: what can be ordered, from a CSV file with the columns `appid`, `name` and `price`, loaded once and
//! checked whole. RFC 4180, and what spreadsheets make of it: other separators, decimal commas, UTF-16, `sep=;`.
//!
//! A product's row number counts from the header as 0, as the old service counts, so row 1 is the first product. Names
//! stay as they are to the byte: quotes, commas, leading signs and trailing spaces included. A file with anything wrong
//! in it is refused with its line, rather than sold from in part.

mod find;
mod fold;
mod header;
mod load;
mod prices;
mod records;
mod search;
mod set;
mod spelling;
mod text;
mod words;

use std::{collections::HashMap, io, path::Path};

use crate::{
    domain::{Price, Product},
    files,
};

pub use find::{Found, Hit, Order, Search};
use prices::Prices;
use search::Index;

/// What is wrong with a catalogue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there or cannot be read.
    #[error("cannot read the catalogue {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file can be read, but one of its lines is wrong.
    #[error("catalogue {path}, line {line}: {what}")]
    Line {
        /// The file.
        path: String,
        /// The line, counted from 1 as editors do.
        line: u64,
        /// What is wrong, and what would be right.
        what: String,
    },
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;

/// All products, by row, by id, by words and by price. What is beside the products themselves takes about 90 bytes for each of
/// them with a name of five words, and never grows.
#[derive(Debug)]
pub struct Catalog {
    products: Vec<Product>,
    by_id: HashMap<Box<str>, usize>,
    index: Index,
    prices: Prices,
    /// Places by their names, and where each stands among these.
    by_name: Vec<u32>,
}

/// Some millions of products.
const SIZE_MAX: u64 = 1 << 30;

impl Catalog {
    /// Loads and checks a file.
    pub fn load(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = files::read(path, SIZE_MAX).map_err(|source| Error::Read { path: name.clone(), source })?;
        Self::parse(&name, &bytes)
    }

    /// The built-in catalogue, for a first try.
    pub fn sample() -> Self {
        Self::parse("(built-in)", include_bytes!("sample.csv")).expect("a test loads the built-in catalogue")
    }

    /// Reads a catalogue from memory; `name` stands for the file in errors.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let (products, by_id) =
            load::products(bytes).map_err(|(line, what)| Error::Line { path: name.to_owned(), line, what })?;
        let index = Index::new(&products);
        let prices = Prices::new(&products);
        let mut by_name: Vec<u32> = (0..products.len() as u32).collect();
        by_name.sort_by_key(|place| index.name(*place as usize));
        Ok(Self { products, by_id, index, prices, by_name })
    }

    /// Number of products, which is also the last row number.
    pub fn len(&self) -> usize {
        self.products.len()
    }

    /// Never: a catalogue without products is refused.
    pub fn is_empty(&self) -> bool {
        self.products.is_empty()
    }

    /// The product of a row; row 1 is the first one.
    pub fn row(&self, row: usize) -> Option<&Product> {
        self.products.get(row.checked_sub(1)?)
    }

    /// Row and product of an id.
    pub fn by_id(&self, appid: &str) -> Option<(usize, &Product)> {
        let place = *self.by_id.get(appid)?;
        Some((place + 1, &self.products[place]))
    }

    /// As many products as are wanted, drawn at random; the same for the same seed.
    pub fn random(&self, seed: u64, count: usize) -> Vec<(usize, &Product)> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut places = rng.choose_multiple(0..self.products.len(), count);
        rng.shuffle(&mut places);
        places.into_iter().map(|place| (place + 1, &self.products[place])).collect()
    }

    /// Whether anything costs nothing.
    pub fn has_free(&self) -> bool {
        self.prices.has_free()
    }

    /// Up to three round prices that divide what is for sale: half of it costs at most the first, three quarters the second,
    /// nine tenths the third, and something costs more than any of them.
    pub fn price_steps(&self) -> &[Price] {
        self.prices.steps()
    }

    /// Products whose names have all the words, each at least as the beginning of a word, regardless of case and
    /// accents; with their rows. Best first: the exact name, names that begin with `words`, names with the whole words,
    /// the rest; equals by row. Blank `words` match every product.
    pub fn search(&self, words: &str, limit: usize) -> Vec<(usize, &Product)> {
        let places = self.index.search(words, limit);
        places.into_iter().map(|place| (place + 1, &self.products[place])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_sound_and_varied() {
        let sample = Catalog::sample();
        assert!(sample.len() >= 50);
        for sign in ['"', ',', '\'', 'ñ', '本'] {
            assert!(sample.products.iter().any(|product| product.name.contains(sign)), "no name has {sign}");
        }
        assert!(sample.products.iter().any(|product| product.name.starts_with('-')));
        for (place, product) in sample.products.iter().enumerate() {
            assert_eq!(sample.by_id(&product.id), Some((place + 1, product)));
        }
    }

    #[test]
    fn rows_count_from_the_header() {
        let catalog = Catalog::parse("test", b"appid,name,price\n7,Uno,1.0\n5,Dos,2\n").unwrap();
        assert_eq!(catalog.row(0), None);
        assert_eq!(catalog.row(1).map(|product| &*product.name), Some("Uno"));
        assert_eq!(catalog.row(2).map(|product| &*product.id), Some("5"));
        assert_eq!((catalog.row(3), catalog.row(usize::MAX)), (None, None));
        assert_eq!(catalog.by_id("5").map(|(row, _)| row), Some(2));
        assert_eq!(catalog.by_id("6"), None);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.csv");
        let error = Catalog::load(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read the catalogue {}", path.display()));
    }
}
