//! The fields of a schema, in words.

use minijinja::Value as Shown;
use serde_json::Value;

use crate::{
    domain::Lang,
    pages::functions::escaped,
    words::{fill, word},
};

/// How deep fields lie in each other at most.
const DEPTH_MAX: usize = 4;

/// A field.
pub(super) struct Field<'a> {
    /// Its name, with those that it lies in: `history[].seq`.
    pub(super) name: String,
    /// Whether it must be there.
    pub(super) is_needed: bool,
    pub(super) schema: &'a Value,
    pub(super) about: &'a Value,
}

/// The fields of what a schema describes: of an object, of each of a list, of the first of several forms.
pub(super) fn fields<'a>(document: &'a Value, schema: &'a Value) -> Vec<Field<'a>> {
    let mut found = Vec::new();
    gather(document, schema, "", 0, &mut found);
    found
}

fn gather<'a>(document: &'a Value, schema: &'a Value, prefix: &str, depth: usize, found: &mut Vec<Field<'a>>) {
    if depth > DEPTH_MAX {
        return;
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/")) {
        return gather(document, &document["components"]["schemas"][name], prefix, depth + 1, found);
    }
    let needed = schema["required"].as_array();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let is_needed = needed.is_some_and(|needed| needed.iter().any(|needed| needed == name));
        let whole = format!("{prefix}{name}");
        found.push(Field { name: whole.clone(), is_needed, schema: field, about: &field["description"] });
        gather(document, field, &format!("{whole}."), depth + 1, found);
    }
    let within = |mark: &str| format!("{}{mark}.", prefix.trim_end_matches('.'));
    if schema["items"].is_object() {
        gather(document, &schema["items"], &within("[]"), depth, found);
    }
    if schema["additionalProperties"].is_object() {
        let prefix = if prefix.is_empty() { "*.".to_owned() } else { format!("{prefix}*.") };
        gather(document, &schema["additionalProperties"], &prefix, depth, found);
    }
    for form in schema["anyOf"].as_array().into_iter().flatten() {
        gather(document, form, prefix, depth + 1, found);
    }
}

/// What a value may be, as markup.
pub(super) fn kind(lang: Lang, schema: &Value) -> Shown {
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let values = values(schema);
    let is_time = schema["format"] == "date-time";
    let key = match types.iter().find(|name| **name != "null") {
        Some(&"string") if is_time => "doc_k_time",
        Some(&"integer") => "doc_k_integer",
        Some(&"number") => "doc_k_number",
        Some(&"boolean") => "doc_k_boolean",
        Some(&"array") => "doc_k_array",
        Some(&"object") => "doc_k_object",
        None if values.is_empty() => "doc_k_any",
        Some(_) | None => "doc_k_string",
    };
    let mut parts = vec![escaped(word(lang, key))];
    if !values.is_empty() {
        parts = vec![values.iter().map(|value| code(value)).collect::<Vec<_>>().join(", ")];
    }
    parts.extend(bounds(lang, schema));
    if let Some(pattern) = schema["pattern"].as_str() {
        parts.push(code(pattern));
    }
    if types.contains(&"null")
        || schema["anyOf"].as_array().is_some_and(|forms| forms.iter().any(|form| form["type"] == "null"))
    {
        parts.push(escaped(word(lang, "doc_or_null")));
    }
    if schema["deprecated"] == true {
        parts.push(escaped(word(lang, "doc_older")));
    }
    Shown::from_safe_string(parts.join(" · "))
}

/// Those that a value may be one of.
fn values(schema: &Value) -> Vec<&str> {
    let forms = |name| schema[name].as_array().into_iter().flatten();
    let listed = forms("enum").filter_map(Value::as_str);
    let constants = forms("oneOf").filter_map(|form| form["const"].as_str());
    let within = forms("anyOf").flat_map(values);
    listed.chain(constants).chain(within).collect()
}

fn bounds(lang: Lang, schema: &Value) -> Option<String> {
    let number =
        |name: &str| schema[name].as_u64().filter(|number| *number < u64::MAX).map(|number| number.to_string());
    let told = |key: &str, places: &[(&str, String)]| Some(escaped(&fill(word(lang, key), places)));
    // bounds of the width of a number say nothing
    let has_width = schema["format"].as_str().is_some_and(|format| format.starts_with("uint"));
    match (number("minimum"), number("maximum"), number("minLength"), number("maxLength")) {
        (Some(least), Some(most), ..) if !has_width => told("doc_from_to", &[("a", least), ("b", most)]),
        (Some(least), None, ..) if !has_width => told("doc_from", &[("a", least)]),
        (_, _, Some(least), Some(most)) => told("doc_chars", &[("a", least), ("b", most)]),
        (_, _, None, Some(most)) => told("doc_chars_most", &[("b", most)]),
        _ => None,
    }
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}
