use std::collections::{HashMap, hash_map::Entry};

use csv::{ReaderBuilder, StringRecord};

use crate::domain::Product;

const HEADER: [&str; 3] = ["appid", "name", "price"];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Line number and what is wrong there.
type Wrong = (u64, String);

/// The place of each id among the products.
type Places = HashMap<Box<str>, usize>;

/// The products of a file in their order, and by id.
pub(super) fn products(bytes: &[u8]) -> Result<(Vec<Product>, Places), Wrong> {
    // spreadsheets put a mark in front; it is no part of the first column's name
    let text = utf8(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))?;
    // flexible: the number of columns is checked here, with a message of ours
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    if !read(&mut reader, &mut record)? {
        return Err((1, format!("the file is empty; it must begin with the header {}", HEADER.join(","))));
    }
    if record != HEADER[..] {
        return Err((1, format!("the header must be {}, it is {:?}", HEADER.join(","), line_of(&record))));
    }
    let (mut products, mut by_id) = (Vec::new(), Places::new());
    let mut lines = Vec::new();
    while read(&mut reader, &mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let product = product(&record).map_err(|what| (line, what))?;
        match by_id.entry(product.id.clone()) {
            Entry::Vacant(entry) => entry.insert(products.len()),
            Entry::Occupied(entry) => {
                let first: u64 = lines[*entry.get()];
                return Err((line, format!("the appid {:?} is there twice, first in line {first}", product.id)));
            }
        };
        products.push(product);
        lines.push(line);
    }
    if products.is_empty() {
        return Err((2, "there is no product after the header".into()));
    }
    Ok((products, by_id))
}

fn utf8(bytes: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        (line as u64, "not valid UTF-8; save the file with the encoding UTF-8".into())
    })
}

fn read(reader: &mut csv::Reader<&[u8]>, record: &mut StringRecord) -> Result<bool, Wrong> {
    reader.read_record(record).map_err(|error| (error.position().map_or(0, csv::Position::line), error.to_string()))
}

fn product(record: &StringRecord) -> Result<Product, String> {
    let columns: Vec<&str> = record.iter().collect();
    let [id, name, price] = columns[..] else {
        let hint = if columns.len() > 3 { "; a name with a comma needs quotes: 10,\"One, two\",9.99" } else { "" };
        return Err(format!("there must be 3 columns ({}), here are {}{hint}", HEADER.join(","), columns.len()));
    };
    Product::new(id, name, price).map_err(|invalid| {
        let hint = if name.contains('\n') { "; is a closing quote missing?" } else { "" };
        // the wire calls the first column gameid, the file appid
        format!("{}{hint}", invalid.to_string().replacen("gameid", "appid", 1))
    })
}

fn line_of(record: &StringRecord) -> String {
    record.iter().collect::<Vec<_>>().join(",").chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_as_they_are() {
        let text = "appid,name,price\r\n1,\"a, \"\"b\"\"\",1\r\n2, Trailing ,0.0\r\n3,-1º ñ 本,2.50\r\n";
        let (products, _) = products(text.as_bytes()).unwrap();
        let names: Vec<&str> = products.iter().map(|product| &*product.name).collect();
        assert_eq!(names, ["a, \"b\"", " Trailing ", "-1º ñ 本"]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_header() {
        assert_eq!(products(b"\xef\xbb\xbfappid,name,price\n1,a,1\n").unwrap().0.len(), 1);
    }

    #[test]
    fn says_where_and_what_is_wrong() {
        let cases: [(&[u8], u64, &str); 13] = [
            (b"", 1, "the file is empty"),
            (b"appid,name,price\n", 2, "no product"),
            (b"1,Uno,1.0\n", 1, "the header must be appid,name,price, it is \"1,Uno,1.0\""),
            (b"appid,name\n1,Uno\n", 1, "the header must be"),
            (b"appid,name,price\n1,Uno\n", 2, "3 columns (appid,name,price), here are 2"),
            (b"appid,name,price\n1,Uno,1\n2,Dos, tres,3\n", 3, "a name with a comma needs quotes"),
            (b"appid,name,price\n1,Uno,7,99\n", 2, "here are 4"),
            (b"appid,name,price\n1,Uno,-7.99\n", 2, "price: must be a decimal number"),
            (b"appid,name,price\n1,Uno,\n", 2, "price: must be a decimal number"),
            (b"appid,name,price\n,Uno,1\n", 2, "appid: must have"),
            (b"appid,name,price\n1,Uno,1\n2,Dos,2\n1,Tres,3\n", 4, "\"1\" is there twice, first in line 2"),
            (b"appid,name,price\n1,Uno,1\n2,D\xf3s,2\n", 3, "not valid UTF-8"),
            (b"appid,name,price\n1,\"Uno,1\n2,Dos,2\n", 2, "columns"),
        ];
        for (bytes, line, what) in cases {
            let (at, text) = products(bytes).unwrap_err();
            assert!(at == line && text.contains(what), "{:?}: line {at}: {text}", String::from_utf8_lossy(bytes));
        }
    }
}
