//! The catalogue: what can be ordered, from a CSV file with the columns `appid`, `name` and `price`, loaded once and
//! checked whole. RFC 4180, and what spreadsheets make of it: other separators, decimal commas, UTF-16, `sep=;`.
//!
//! A product's row number counts from the header as 0, as the old service counts, so row 1 is the first product. Names
//! stay as they are to the byte: quotes, commas, leading signs and trailing spaces included. A file with anything wrong
//! in it is refused with its line, rather than sold from in part.

mod header;
mod load;
mod search;
mod text;

use std::{collections::HashMap, io, path::Path};

use crate::domain::Product;

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

/// All products, by row, by id and by words.
#[derive(Debug)]
pub struct Catalog {
    products: Vec<Product>,
    by_id: HashMap<Box<str>, usize>,
    index: Index,
}

impl Catalog {
    /// Loads and checks a file.
    pub fn load(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: name.clone(), source })?;
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
        Ok(Self { products, by_id, index })
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
