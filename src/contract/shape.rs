//! What stands where in a JSON Schema, of whatever draft from the fourth on: what is none is not compared.

use serde_json::Value;

/// Keywords whose value is a schema.
const ONE: [&str; 11] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords with a list of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords with schemas by name.
const NAMED: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Where something is no JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: is no JSON Schema: it must be {wanted}", place(at))]
pub struct NoSchema {
    /// JSON Pointer.
    at: String,
    /// What must stand there.
    wanted: &'static str,
}

/// A JSON Pointer for people.
pub(super) fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole" } else { pointer }
}

/// Refuses what is no schema, wherever in it that is.
pub(super) fn check(schema: &Value, at: &str) -> Result<(), NoSchema> {
    check_keywords(schema, at)?;
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let at = format!("{at}/{keyword}");
        let keyword = keyword.as_str();
        match value {
            Value::Object(named) if NAMED.contains(&keyword) => {
                for (name, schema) in named {
                    check(schema, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")))?;
                }
            }
            Value::Array(list) if LIST.contains(&keyword) || keyword == "items" => {
                for (index, schema) in list.iter().enumerate() {
                    check(schema, &format!("{at}/{index}"))?;
                }
            }
            schema if ONE.contains(&keyword) => check(schema, &at)?,
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what is no schema, without looking into those within it.
pub(super) fn check_keywords(schema: &Value, at: &str) -> Result<(), NoSchema> {
    let refused = |at: &str, wanted| Err(NoSchema { at: at.to_owned(), wanted });
    let Some(keywords) = schema.as_object() else {
        return if schema.is_boolean() { Ok(()) } else { refused(at, "an object, true or false") };
    };
    for (keyword, value) in keywords {
        let (fits, wanted) = wanted(keyword, value);
        if !fits {
            return refused(&format!("{at}/{keyword}"), wanted);
        }
    }
    Ok(())
}

/// Whether a keyword's value is of the kind that it must be of, and which that is.
fn wanted(keyword: &str, value: &Value) -> (bool, &'static str) {
    let number = value.as_f64();
    let is_list_of = |fits: fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(fits));
    match keyword {
        "maxItems" | "maxLength" | "maxProperties" | "minItems" | "minLength" | "minProperties" => {
            (number.is_some_and(|number| number >= 0.0 && number.fract() == 0.0), "a whole number from 0")
        }
        "maximum" | "minimum" => (number.is_some(), "a number"),
        "exclusiveMaximum" | "exclusiveMinimum" => {
            (number.is_some() || value.is_boolean(), "a number or, up to draft 4, true or false")
        }
        "multipleOf" => (number.is_some_and(|number| number > 0.0), "a number above 0"),
        "pattern" | "$ref" => (value.is_string(), "a text"),
        "uniqueItems" => (value.is_boolean(), "true or false"),
        "required" => (is_list_of(Value::is_string), "a list of names"),
        "enum" => (value.is_array(), "a list"),
        "type" => (is_type(value) || is_list_of(is_type), "the name of a type, or a list of such"),
        _ if NAMED.contains(&keyword) => (value.is_object(), "an object of schemas"),
        _ if LIST.contains(&keyword) => (value.as_array().is_some_and(|list| !list.is_empty()), "a list of schemas"),
        _ => (true, ""),
    }
}

fn is_type(value: &Value) -> bool {
    value.as_str().is_some_and(|name| TYPES.contains(&name))
}
