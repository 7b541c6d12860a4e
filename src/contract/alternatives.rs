//! A schema as what it takes instead of each other: one type at a time, one value at a time.

use std::cell::Cell;

use serde_json::{Map, Value, json};

/// The keywords of a schema without sums and references, and where it stands.
pub(super) struct Alternative {
    /// JSON Pointer.
    pub(super) at: String,
    pub(super) keywords: Map<String, Value>,
}

/// Why a schema cannot be compared: a verdict would be a guess.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// A reference into the schema that names nothing there.
    #[error("{}: {reference} names nothing in this schema", place(at))]
    Dangling {
        /// JSON Pointer.
        at: String,
        /// As it is written.
        reference: String,
    },
    /// A keyword that another one beside a reference or a sum would have to be combined with.
    #[error("{}: {keyword} stands beside it, too, with another value; write both in one place", place(at))]
    Doubled {
        /// JSON Pointer.
        at: String,
        /// Its name.
        keyword: String,
    },
    /// References and sums lead back to where they began, or deeper than any format goes.
    #[error("{}: references and alternatives go round in circles, or deeper than {DEPTH_MAX}", place(at))]
    TooDeep {
        /// JSON Pointer.
        at: String,
    },
    /// There are too many alternatives to try each with each.
    #[error("its alternatives cannot be compared in {STEPS_MAX} steps; write fewer of them")]
    TooMany,
}

/// Deeper than any format goes.
const DEPTH_MAX: usize = 64;
/// What a comparison may cost: a second or two.
const STEPS_MAX: u32 = 300_000;

/// The steps that are left.
pub(super) struct Steps(Cell<u32>);

impl Steps {
    pub(super) const fn new() -> Self {
        Self(Cell::new(STEPS_MAX))
    }

    pub(super) fn take(&self) -> Result<(), Incomparable> {
        self.0.set(self.0.get().checked_sub(1).ok_or(Incomparable::TooMany)?);
        Ok(())
    }
}

/// All that a schema takes; none when it takes nothing.
pub(super) fn of(schema: &Value, at: &str, root: &Value, steps: &Steps) -> Result<Vec<Alternative>, Incomparable> {
    let mut found = Vec::new();
    expand(schema, at.to_owned(), &Map::new(), (root, steps), 0, &mut found)?;
    Ok(found)
}

fn expand(
    schema: &Value,
    at: String,
    around: &Map<String, Value>,
    (root, steps): (&Value, &Steps),
    depth: usize,
    found: &mut Vec<Alternative>,
) -> Result<(), Incomparable> {
    steps.take()?;
    if depth > DEPTH_MAX {
        return Err(Incomparable::TooDeep { at });
    }
    let Some(own) = schema.as_object() else {
        if *schema != Value::Bool(false) {
            found.push(Alternative { at, keywords: around.clone() });
        }
        return Ok(());
    };
    let differs = |(keyword, value): &(&String, &Value)| around.get(*keyword).is_some_and(|beside| beside != *value);
    if let Some((keyword, _)) = own.iter().filter(|(keyword, _)| !is_in_words(keyword)).find(differs) {
        return Err(Incomparable::Doubled { at, keyword: keyword.clone() });
    }
    let mut keywords = around.clone();
    keywords.extend(own.clone());
    if let Some(target) = own.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#')) {
        keywords.remove("$ref");
        let Some(schema) = root.pointer(target) else {
            return Err(Incomparable::Dangling { at, reference: format!("#{target}") });
        };
        return expand(schema, target.to_owned(), &keywords, (root, steps), depth + 1, found);
    }
    for sum in ["anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = keywords.remove(sum) {
            for (index, branch) in branches.iter().enumerate() {
                expand(branch, format!("{at}/{sum}/{index}"), &keywords, (root, steps), depth + 1, found)?;
            }
            return Ok(());
        }
    }
    for (keyword, one) in [("type", "type"), ("enum", "const")] {
        if let Some(Value::Array(several)) = keywords.get(keyword).cloned() {
            keywords.remove(keyword);
            for value in several {
                keywords.insert(one.to_owned(), value);
                expand(&json!({}), at.clone(), &keywords, (root, steps), depth + 1, found)?;
            }
            return Ok(());
        }
    }
    // what a type list and a list of values allow together
    let contradicts = keywords.get("const").is_some_and(|value| !is_of(value, keywords.get("type")));
    if !contradicts {
        found.push(Alternative { at, keywords });
    }
    Ok(())
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

/// Whether a keyword only tells people something.
pub(super) fn is_in_words(keyword: &str) -> bool {
    const WORDS: [&str; 12] = [
        "$anchor",
        "$comment",
        "$id",
        "$schema",
        "contentMediaType",
        "default",
        "deprecated",
        "description",
        "examples",
        "format",
        "readOnly",
        "title",
    ];
    WORDS.contains(&keyword) || keyword.starts_with("x-")
}

/// A JSON Pointer for people.
pub(super) fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole" } else { pointer }
}
