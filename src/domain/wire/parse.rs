//! Reading the JSON of a record, and where it does not fit.

use serde::Deserialize;
use serde_json::error::Category;

use super::framing::Framed;
use crate::domain::{Fault, Misfit};

/// Reads the value of a record. What does not fit is read once more, for where that is: good records do not pay for it.
pub(super) fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, Misfit> {
    serde_json::from_slice(value).map_err(|error| {
        if let Some(Framed { schema, .. }) = Framed::read(value) {
            let reason = format!("bears the number of schema {schema}, and is not JSON: nobody reads that here");
            return Misfit { fault: Fault::Syntax, pointer: None, reason };
        }
        let fault = fault(&error);
        let pointer = (fault != Fault::Syntax).then(|| pointer::<T>(value)).flatten();
        Misfit { fault, pointer, reason: format!("not a valid JSON record: {}", unquoted(&error)) }
    })
}

fn fault(error: &serde_json::Error) -> Fault {
    let words = error.to_string();
    match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => Fault::Syntax,
        Category::Data if words.starts_with("missing field") => Fault::Missing,
        Category::Data if words.starts_with("invalid type") || words.starts_with("invalid length") => Fault::Type,
        Category::Data => Fault::Rule,
    }
}

fn pointer<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(value)).err()?;
    let mut pointer = String::new();
    for part in error.path() {
        pointer.push('/');
        pointer.push_str(&part.to_string().replace('~', "~0").replace('/', "~1"));
    }
    // one that is missing, or there twice, is told by name only; the names are those of the type
    let words = error.inner().to_string();
    let named = ["missing field `", "duplicate field `"].iter().find_map(|start| words.strip_prefix(start));
    match named.and_then(|rest| rest.split_once('`')) {
        Some((name, _)) if !pointer.ends_with(&format!("/{name}")) => Some(format!("{pointer}/{name}")),
        _ => Some(pointer),
    }
}

/// The parser's words without what it quotes from the record: that may be an address.
fn unquoted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) => format!("{}…{}", &text[..first], &text[last + 1..]),
        _ => text,
    }
}
