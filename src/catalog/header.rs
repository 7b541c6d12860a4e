//! The header: where each column is, and how columns are separated.

use csv::{ReaderBuilder, StringRecord};

use super::{
    records::{Wrong, line_of, read},
    text::trim,
};

const NAMES: [&str; 3] = ["appid", "name", "price"];
/// What spreadsheets and shops separate columns with.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// What other programs call these columns: named in the error, never taken for them, since exports have several of a kind.
const OTHERS: [&[&str]; 3] = [
    &[
        "id",
        "sku",
        "variant sku",
        "handle",
        "gameid",
        "product id",
        "product_id",
        "reference",
        "referencia",
        "código",
        "ean13",
    ],
    &["title", "product", "product name", "nombre", "producto", "título", "name *"],
    &[
        "regular price",
        "variant price",
        "sale price",
        "precio",
        "price tax included",
        "price tax excluded",
        "precio normal",
    ],
];

/// What the header says.
#[derive(Debug)]
pub(super) struct Columns {
    /// The line that it ends in.
    pub(super) line: u64,
    /// Where `appid`, `name` and `price` are.
    pub(super) places: [usize; 3],
    /// How many columns there are.
    pub(super) count: usize,
    /// The header, shortened.
    pub(super) shown: String,
}

impl Columns {
    /// Finds the columns by their names, in any order and case, among any others; and what separates them.
    pub(super) fn find(text: &str) -> Result<(Self, u8), Wrong> {
        // a first line of Excel's own
        let named =
            text.get(..4).filter(|start| start.eq_ignore_ascii_case("sep=")).and_then(|_| text.as_bytes().get(4));
        let separators: Vec<u8> = named.copied().filter(u8::is_ascii).into_iter().chain(SEPARATORS).collect();
        let mut best = None;
        for separator in separators {
            let (record, line) = header(text, separator, named.is_some())?;
            let columns = Self::of(&record, line);
            match columns {
                Ok(columns) => return Ok((columns, separator)),
                Err(_) if best.as_ref().is_some_and(|(fields, _)| *fields >= record.len()) => {}
                Err(wrong) => best = Some((record.len(), wrong)),
            }
        }
        Err(best.map_or_else(empty, |(_, wrong)| wrong))
    }

    fn of(record: &StringRecord, line: u64) -> Result<Self, Wrong> {
        let fields: Vec<String> = record.iter().map(|field| trim(field).to_lowercase()).collect();
        let shown: String = record.iter().collect::<Vec<_>>().join(",").chars().take(80).collect();
        let mut missing = Vec::new();
        let mut places = [0; 3];
        for ((place, name), others) in places.iter_mut().zip(NAMES).zip(OTHERS) {
            let mut found = (0..fields.len()).filter(|at| fields[*at] == name);
            match (found.next(), found.next()) {
                (Some(at), None) => *place = at,
                (Some(_), Some(_)) => return Err((line, format!("the header has two columns {name}: {shown:?}"))),
                (None, _) => {
                    let other = record.iter().find(|field| others.contains(&&*trim(field).to_lowercase()));
                    missing.push(other.map_or_else(|| name.to_owned(), |other| format!("{name} (rename {other:?}?)")));
                }
            }
        }
        if missing.is_empty() {
            return Ok(Self { line, places, count: fields.len(), shown });
        }
        let wanted = NAMES.join(",");
        Err((
            line,
            format!("the header must have the columns {wanted}, it is {shown:?}: missing {}", missing.join(", ")),
        ))
    }
}

/// The first record that is not empty, and the line that it ends in.
fn header(text: &str, separator: u8, skip: bool) -> Result<(StringRecord, u64), Wrong> {
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    for _ in 0..=usize::from(skip) {
        if !read(&mut reader, &mut record)? {
            return Err(empty());
        }
    }
    let line = line_of(&record, text);
    Ok((record, line))
}

fn empty() -> Wrong {
    (1, format!("the file is empty; it must begin with the header {}", NAMES.join(",")))
}
