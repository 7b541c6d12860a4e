//! A dead record beside the contract that it does not keep.

use anyhow::Result;
use serde_json::Value;

use crate::{
    cli::{
        output::{Out, Tone, plain},
        table::{Cell, Table},
    },
    contract,
    domain::{DeadLetter, wire},
};

/// Longest value of a field that is shown whole, in characters.
const SHOWN_MAX: usize = 60;
/// What stands before the field that is wrong.
const MARK: &str = ">";

/// Prints the fields of a record, each beside what its format wants of it, with the wrong one marked; then what the format says about
/// that one. Prints nothing where the letter does not tell by which format it was read, or the record has no fields.
pub(super) fn print(letter: &DeadLetter, out: &mut Out) -> Result<()> {
    let told = wire::told(&letter.headers);
    let Some((name, schema)) = contract::schemas().find(|(name, _)| told.schema == Some(&wire::schema_id(name))) else {
        return Ok(());
    };
    let version = told.version.map_or_else(String::new, |version| format!(", version {version}"));
    out.field("contract", &format!("{}{version}  (encargo contract show {name})", wire::schema_id(name)))?;
    if let Some(pointer) = told.pointer {
        let pointer = if pointer.is_empty() { "the whole record" } else { pointer };
        out.field("wrong", &out.paint(Tone::Bad, &plain(pointer)))?;
    }
    // of a structured CloudEvent, its data
    let content = wire::content(&letter.value, &letter.headers);
    let (data, place) = content.map_or(((&letter.value).into(), ""), |content| (content.data, content.place));
    let Ok(Value::Object(record)) = serde_json::from_slice(&data) else { return Ok(()) };
    let wrong = told.pointer.and_then(|pointer| pointer.strip_prefix(place)?.strip_prefix('/'));
    let (fields, required) = (schema["properties"].as_object(), schema["required"].as_array());
    out.line("")?;
    let mut table = Table::new(["", "FIELD", "IN THE RECORD", "IN THE CONTRACT"]).whole();
    for (field, rules) in fields.into_iter().flatten() {
        let is_required = required.is_some_and(|required| required.iter().any(|name| name == field));
        let is_wrong = wrong == Some(field);
        if !is_required && !is_wrong && !record.contains_key(field) {
            continue;
        }
        let tone = if is_wrong { Tone::Bad } else { Tone::Plain };
        let need = if is_required { "must be there; " } else { "" };
        table.row([
            Cell::from(if is_wrong { MARK } else { "" }).tone(tone),
            Cell::from(&**field).tone(tone),
            Cell::from(record.get(field).map_or_else(|| "-".to_owned(), shown)).tone(tone),
            format!("{need}{}", bounds(rules)).into(),
        ]);
    }
    table.print(out)?;
    if let Some((field, rules)) = wrong.and_then(|field| Some((field, fields?.get(field)?))) {
        let says = rules["description"].as_str().unwrap_or_default();
        out.line(&format!("\n{field}: {says}"))?;
    }
    Ok(())
}

/// A field's value on one line, cut where it is long.
fn shown(value: &Value) -> String {
    let text = plain(&value.to_string());
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A field's type, bounds and example in words.
fn bounds(rules: &Value) -> String {
    let kinds = rules["type"].as_array().cloned().unwrap_or_else(|| vec![rules["type"].clone()]);
    let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect();
    let mut words: Vec<String> = kinds.into_iter().map(Into::into).collect();
    let values = values(rules);
    if !values.is_empty() {
        words.push(format!("one of {}", values.join(", ")));
    }
    match (rules["minLength"].as_u64(), rules["maxLength"].as_u64()) {
        (Some(least), Some(most)) => words.push(format!("{least} to {most} characters")),
        (Some(least), None) => words.push(format!("{least} characters at least")),
        (None, Some(most)) => words.push(format!("{most} characters at most")),
        (None, None) => {}
    }
    for (keyword, before) in [("minimum", "from"), ("maximum", "to"), ("pattern", "like"), ("format", "as")] {
        match &rules[keyword] {
            Value::Null => {}
            Value::String(text) => words.push(format!("{before} {text}")),
            bound => words.push(format!("{before} {bound}")),
        }
    }
    if let Some(example) = rules["examples"].get(0) {
        words.push(format!("for example {example}"));
    }
    words.join(", ")
}

/// The values that a field may have, where its format names them.
fn values(rules: &Value) -> Vec<String> {
    let forms = |keyword: &str| rules[keyword].as_array().into_iter().flatten();
    let listed = forms("enum").map(ToString::to_string);
    let one = rules.get("const").map(ToString::to_string);
    let within = forms("anyOf").chain(forms("oneOf")).flat_map(values);
    listed.chain(one).chain(within).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_told_in_words() {
        let (_, schema) = contract::schemas().find(|(name, _)| *name == "order").unwrap();
        let of = |field: &str| bounds(&schema["properties"][field]);
        assert_eq!(of("orderid"), "integer, from 1, to 9007199254740991, as uint64, for example 1");
        assert_eq!(of("gameid"), "string, 1 to 64 characters, for example \"3170\"");
        assert!(of("price").starts_with("string, 20 characters at most, like ^[0-9]+"), "{}", of("price"));
        assert!(of("lang").starts_with("string") && of("lang").ends_with("for example \"es\""), "{}", of("lang"));
    }

    #[test]
    fn every_field_of_every_format_is_told() {
        for (name, schema) in contract::schemas() {
            for (field, rules) in schema["properties"].as_object().unwrap() {
                let told = bounds(rules);
                let kind = told.split([',', ' ']).next().unwrap();
                assert!(["string", "integer", "boolean", "one"].contains(&kind), "{name} {field}: {told:?}");
            }
        }
        let (_, state) = contract::schemas().find(|(name, _)| *name == "state").unwrap();
        let cancel = bounds(&state["properties"]["cancel"]);
        assert!(cancel.starts_with("one of \"customer\", \"operator\""), "{cancel}");
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shown(&"ñ".repeat(90).into()), format!("\"{}…", "ñ".repeat(SHOWN_MAX - 1)));
        assert_eq!(shown(&7.into()), "7");
    }
}
