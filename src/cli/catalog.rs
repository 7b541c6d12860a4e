use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Settings,
    output::{Out, count, explain, plain},
    table::Table,
};
use crate::catalog::Catalog;

/// `encargo catalog`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a catalogue file: CSV with the columns appid,name,price
    #[command(after_help = "Example:\n  encargo catalog check products.csv")]
    Check(Check),
    /// Search the products in use by words of their names
    #[command(after_help = "Examples:\n  encargo catalog search king bounty\n  encargo catalog search")]
    Search(Search),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// File to check
    file: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Search {
    /// Words, or beginnings of words, that the name must have; none lists from the first row
    words: Vec<String>,
    /// Most products to list, best first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print one line of JSON per product
    #[arg(long)]
    json: bool,
    /// Catalogue: a CSV file with appid,name,price [env: ENCARGO_CATALOG]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    catalog: Option<String>,
}

impl Command {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::Check(check) => check.run(),
            Self::Search(search) => search.run(settings),
        }
    }
}

/// A catalogue that is fine, for programs.
#[derive(Serialize)]
struct CheckedJson {
    file: String,
    /// How many it has.
    products: usize,
}

/// A product for programs; fields as `GET /products` calls them.
#[derive(Serialize)]
struct ProductJson<'a> {
    row: usize,
    product: &'a str,
    name: &'a str,
    price: &'a str,
}

impl Check {
    fn run(self) -> Result<ExitCode> {
        let catalog = Catalog::load(&self.file)?;
        let mut out = Out::new();
        let products = catalog.len();
        if self.json {
            out.json(&CheckedJson { file: self.file.display().to_string(), products })?;
        } else {
            let file = plain(&self.file.display().to_string());
            out.line(&format!("{file} is fine: {}, rows 1 to {products}", count(products as u64, "product")))?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Search {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&[("catalog.path", self.catalog.clone())])?.config;
        let path = &config.catalog.path;
        let catalog = if path.as_os_str().is_empty() { Catalog::sample() } else { Catalog::load(path)? };
        let found = catalog.search(&self.words.join(" "), self.limit);
        let mut out = Out::new();
        let mut table = Table::new([">ROW", "PRODUCT", ">PRICE", "NAME"]);
        for (row, product) in &found {
            let price = product.price.as_str();
            if self.json {
                out.json(&ProductJson { row: *row, product: &product.id, name: &product.name, price })?;
            } else {
                table.row([(*row as u64).into(), plain(&product.id).into(), price.into(), plain(&product.name).into()]);
            }
        }
        table.print(&mut out)?;
        out.flush()?;
        match found.first() {
            None => explain("No product has all these words."),
            Some((_, first)) => explain(&format!("Order one: encargo place {} --email you@example.org", first.id)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
