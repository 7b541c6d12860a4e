//! Reading the JSON of a record, and where it does not fit.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::Segment;

use super::framing::Framed;
use crate::domain::{Fault, Misfit};

/// Reads the value of a record, which is an object: serde would also take a list, as its fields in their order. What does not fit
/// is read once more, for where that is: good records do not pay for it.
pub(super) fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, Misfit> {
    if !value.trim_ascii_start().starts_with(b"{") {
        return Err(no_object(value));
    }
    serde_json::from_slice(value).map_err(|error| {
        let fault = fault(&error);
        let pointer = (fault != Fault::Syntax).then(|| pointer::<T>(value)).flatten();
        Misfit { fault, pointer, reason: in_words(&error) }
    })
}

fn no_object(value: &[u8]) -> Misfit {
    let no_json = |reason| Misfit { fault: Fault::Syntax, pointer: None, reason };
    if let Some(Framed { schema, .. }) = Framed::read(value) {
        return no_json(format!("bears the number of schema {schema}, and is not JSON: nobody reads that here"));
    }
    match serde_json::from_slice::<IgnoredAny>(value) {
        Ok(_) => Misfit { fault: Fault::Type, pointer: Some(String::new()), reason: "must be a JSON object".into() },
        Err(error) => no_json(in_words(&error)),
    }
}

fn in_words(error: &serde_json::Error) -> String {
    format!("not a valid JSON record: {}", unquoted(error))
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
        let part = match part {
            Segment::Seq { index } => index.to_string(),
            named => escaped(&named.to_string()),
        };
        pointer.push('/');
        pointer.push_str(&part);
    }
    // one that is missing, or there twice, is told by name only; the names are those of the type
    let words = error.inner().to_string();
    let named = ["missing field `", "duplicate field `"].iter().find_map(|start| words.strip_prefix(start));
    match named.and_then(|rest| rest.split_once('`')) {
        Some((name, _)) => {
            let part = format!("/{}", escaped(name));
            Some(if pointer.ends_with(&part) { pointer } else { pointer + &part })
        }
        None => Some(pointer),
    }
}

/// A name as part of a JSON Pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The parser's words without what it quotes from the record: that may be an address.
fn unquoted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) => format!("{}…{}", &text[..first], &text[last + 1..]),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_through_lists_and_odd_names() {
        #[derive(Debug, Deserialize)]
        struct Line {
            #[serde(rename = "a/b~c")]
            _count: u8,
        }
        #[derive(Debug, Deserialize)]
        struct Lines {
            #[serde(rename = "lines")]
            _lines: Vec<Line>,
        }
        for (value, place) in [
            (r#"{"lines":[{"a/b~c":1},{"a/b~c":"x"}]}"#, "/lines/1/a~1b~0c"),
            (r#"{"lines":[{"a/b~c":1},{}]}"#, "/lines/1/a~1b~0c"),
            (r#"{"lines":[7]}"#, "/lines/0"),
            (r#"{"lines":{}}"#, "/lines"),
        ] {
            let misfit = parse::<Lines>(value.as_bytes()).unwrap_err();
            assert_eq!(misfit.pointer.as_deref(), Some(place), "{value}: {misfit}");
        }
    }
}
