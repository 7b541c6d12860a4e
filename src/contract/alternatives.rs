//! A schema as what it takes instead of each other: one type at a time, one value at a time.

use serde_json::{Map, Value, json};

/// The keywords of a schema without sums and references, and where it stands.
pub(super) struct Alternative {
    /// JSON Pointer.
    pub(super) at: String,
    pub(super) keywords: Map<String, Value>,
}

/// Deeper than any format goes; a schema that is nothing but a reference to itself ends here.
const DEPTH_MAX: usize = 64;

/// All that a schema takes; none when it takes nothing.
pub(super) fn of(schema: &Value, at: &str, root: &Value) -> Vec<Alternative> {
    let mut found = Vec::new();
    expand(schema, at.to_owned(), &Map::new(), root, 0, &mut found);
    found
}

fn expand(
    schema: &Value,
    at: String,
    around: &Map<String, Value>,
    root: &Value,
    depth: usize,
    found: &mut Vec<Alternative>,
) {
    let Some(own) = schema.as_object() else {
        if *schema != Value::Bool(false) {
            found.push(Alternative { at, keywords: around.clone() });
        }
        return;
    };
    let mut keywords = around.clone();
    keywords.extend(own.clone());
    if let Some(target) = own.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#')) {
        keywords.remove("$ref");
        if let Some(schema) = root.pointer(target).filter(|_| depth < DEPTH_MAX) {
            expand(schema, target.to_owned(), &keywords, root, depth + 1, found);
        }
        return;
    }
    for sum in ["anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = keywords.remove(sum) {
            for (index, branch) in branches.iter().enumerate() {
                expand(branch, format!("{at}/{sum}/{index}"), &keywords, root, depth + 1, found);
            }
            return;
        }
    }
    for (keyword, one) in [("type", "type"), ("enum", "const")] {
        if let Some(Value::Array(several)) = keywords.get(keyword).cloned() {
            keywords.remove(keyword);
            for value in several {
                keywords.insert(one.to_owned(), value);
                expand(&json!({}), at.clone(), &keywords, root, depth + 1, found);
            }
            return;
        }
    }
    // what a type list and a list of values allow together
    let contradicts = keywords.get("const").is_some_and(|value| !is_of(value, keywords.get("type")));
    if !contradicts {
        found.push(Alternative { at, keywords });
    }
}

/// Whether a value is of a type; of none, any is.
fn is_of(value: &Value, kind: Option<&Value>) -> bool {
    match kind.and_then(Value::as_str) {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    }
}

impl Alternative {
    /// Its only value, if it has one.
    pub(super) fn value(&self) -> Option<&Value> {
        self.keywords.get("const")
    }

    /// Its type; none: any.
    pub(super) fn kind(&self) -> Option<&str> {
        self.keywords.get("type").and_then(Value::as_str)
    }

    /// Whether a reader that takes this may take the other, as far as type and value tell.
    pub(super) fn may_take(&self, written: &Self) -> bool {
        if let (None, Some(value)) = (self.value(), written.value()) {
            return is_of(value, self.keywords.get("type"));
        }
        let kinds = match (self.kind(), written.kind()) {
            (None, _) | (Some("number"), Some("integer")) => true,
            (read, written) => read == written,
        };
        match self.value() {
            None => kinds,
            value => value == written.value(),
        }
    }

    /// What it takes, in words.
    pub(super) fn in_words(&self) -> String {
        match (self.value(), self.kind()) {
            (Some(value), _) => value.to_string(),
            (None, Some("null")) => "null".into(),
            (None, Some(kind @ ("integer" | "object" | "array"))) => format!("an {kind}"),
            (None, Some(kind)) => format!("a {kind}"),
            (None, None) => "any value".into(),
        }
    }
}
