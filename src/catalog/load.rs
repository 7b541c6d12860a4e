use std::collections::{HashMap, hash_map::Entry};

use csv::{ReaderBuilder, StringRecord};

use super::{
    header::Columns,
    records::{Wrong, line_of, read},
    text,
};
use crate::domain::{Invalid, Product};

/// The place of each id among the products.
type Places = HashMap<Box<str>, usize>;

/// The products of a file in their order, and by id.
pub(super) fn products(bytes: &[u8]) -> Result<(Vec<Product>, Places), Wrong> {
    let text = text::decode(bytes)?;
    let (columns, separator) = Columns::find(&text)?;
    // flexible: the number of columns is checked here, with a message of ours
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let (mut products, mut by_id) = (Vec::new(), Places::new());
    let mut lines = Vec::new();
    while read(&mut reader, &mut record)? {
        let line = line_of(&record, &text);
        // the header, or a row that somebody emptied in a spreadsheet
        if line <= columns.line || record.iter().all(|field| text::trim(field).is_empty()) {
            continue;
        }
        let product = product(&record, &columns).map_err(|what| (line, what))?;
        match by_id.entry(product.id.as_str().into()) {
            Entry::Vacant(entry) => entry.insert(products.len()),
            Entry::Occupied(entry) => {
                let first: u64 = lines[*entry.get()];
                return Err((line, format!("the appid {:?} appears twice, first in line {first}", product.id)));
            }
        };
        products.push(product);
        lines.push(line);
    }
    if products.is_empty() {
        return Err((columns.line + 1, "there is no product after the header".into()));
    }
    Ok((products, by_id))
}

fn product(record: &StringRecord, columns: &Columns) -> Result<Product, String> {
    if record.len() != columns.count {
        let hint = if record.len() > columns.count {
            "; what has the separator in it needs quotes: 10,\"One, two\",9.99"
        } else {
            ""
        };
        return Err(format!(
            "there must be {} columns ({}), here are {}{hint}",
            columns.count,
            columns.shown,
            record.len()
        ));
    }
    let [id, name, price] = columns.places.map(|place| &record[place]);
    // a blank at the end of a key is seen by nobody, and nobody types it; a name stays as it is
    let (id, price) = (text::trim(id), text::trim(price));
    if is_shortened(id) {
        return Err(format!("the appid {id:?} was shortened by a spreadsheet: format that column as text there"));
    }
    Product::new(id, name, &decimal_point(price)).map_err(|invalid| {
        // as the file calls that column
        let field = invalid.field.map(|field| if field == "gameid" { "appid" } else { field });
        let invalid = Invalid { field, ..invalid };
        match field {
            _ if name.contains('\n') => format!("{invalid}; is a closing quote missing?"),
            Some("price") if price.is_empty() => format!("{invalid}; it is empty"),
            Some("price") => format!("{invalid}; it is {}", price.get(..40).unwrap_or(price)),
            _ => invalid.to_string(),
        }
    })
}

/// `7,50` is a price where decimals are written with a comma; `1,234` could be one thousand and more, and is left as it is.
fn decimal_point(price: &str) -> String {
    match price.split_once(',') {
        Some((_, decimals)) if matches!(decimals.len(), 1 | 2) => price.replacen(',', ".", 1),
        _ => price.to_owned(),
    }
}

/// A long number as spreadsheets write it when they are let: `4.00638E+12`.
fn is_shortened(id: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','));
    id.split_once("E+").is_some_and(|(digits, exponent)| number(digits) && number(exponent))
}

#[cfg(test)]
mod tests;
