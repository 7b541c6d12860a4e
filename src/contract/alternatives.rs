//! A schema as what it takes instead of each other: one type at a time, one value at a time.

use std::cell::Cell;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::shape::{self, NoSchema, place};

/// The keywords of a schema without sums and references, and where it stands. A `oneOf` whose branches may take the same value
/// stays among them: one that two branches take is taken by none.
pub(super) struct Alternative {
    /// JSON Pointer.
    pub(super) at: String,
    pub(super) keywords: Map<String, Value>,
}

/// Why a schema cannot be compared: a verdict would be a guess.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// Something that is no JSON Schema.
    #[error(transparent)]
    NoSchema(#[from] NoSchema),
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
/// The sum whose branches must be apart for it to be one.
pub(super) const ONE_OF: &str = "oneOf";
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
    // references lead anywhere
    shape::check_keywords(schema, &at)?;
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
    if let Some(reference) = own.get("$ref").and_then(Value::as_str).filter(|reference| reference.starts_with('#')) {
        keywords.remove("$ref");
        let Some((target, schema)) = referred(reference, root) else {
            return Err(Incomparable::Dangling { at, reference: reference.to_owned() });
        };
        return expand(schema, target, &keywords, (root, steps), depth + 1, found);
    }
    for sum in ["anyOf", ONE_OF] {
        if let Some(Value::Array(branches)) = keywords.remove(sum) {
            let mut taken = Vec::with_capacity(branches.len());
            for (index, branch) in branches.iter().enumerate() {
                let mut of_branch = Vec::new();
                let at = format!("{at}/{sum}/{index}");
                expand(branch, at, &keywords, (root, steps), depth + 1, &mut of_branch)?;
                taken.push(of_branch);
            }
            if sum == ONE_OF && !are_apart(&taken, (root, steps))? {
                let sum = Value::Array(branches);
                for one in taken.iter_mut().flatten() {
                    let within = one.keywords.remove(ONE_OF);
                    let whole = within.map_or_else(|| sum.clone(), |within| json!([sum, within]));
                    one.keywords.insert(ONE_OF.into(), whole);
                }
            }
            found.extend(taken.into_iter().flatten());
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

/// What a reference into a schema (RFC 6901 §6: a URI's fragment) leads to, with its pointer.
pub(super) fn referred<'a>(reference: &str, root: &'a Value) -> Option<(String, &'a Value)> {
    let pointer = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?.into_owned();
    let schema = root.pointer(&pointer)?;
    Some((pointer, schema))
}

/// Whether no value is taken by two branches, as far as types, values and fields with one value each tell.
fn are_apart(branches: &[Vec<Alternative>], (root, steps): (&Value, &Steps)) -> Result<bool, Incomparable> {
    for (place, branch) in branches.iter().enumerate() {
        for (one, other) in
            branches[..place].iter().flatten().flat_map(|one| branch.iter().map(move |other| (one, other)))
        {
            steps.take()?;
            if !one.is_apart(other, root) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether a value is of a type; of none, any is.
fn is_of(value: &Value, kind: Option<&Value>) -> bool {
    match kind.and_then(Value::as_str) {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        // 1.0 is one
        Some("integer") => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
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

    /// Whether nothing can be both.
    fn is_apart(&self, other: &Self, root: &Value) -> bool {
        let types = |one: &Self| (one.value().cloned(), one.keywords.get("type").cloned());
        let ((value, kind), (other_value, other_kind)) = (types(self), types(other));
        match (value, other_value) {
            (Some(one), Some(other)) => one != other,
            (Some(value), None) => !is_of(&value, other_kind.as_ref()),
            (None, Some(value)) => !is_of(&value, kind.as_ref()),
            (None, None) => match (self.kind(), other.kind()) {
                (Some("object"), Some("object")) => self.differs_in_a_field(other, root),
                (Some("number"), Some("integer")) | (Some("integer"), Some("number")) => false,
                (Some(one), Some(other)) => one != other,
                _ => false,
            },
        }
    }

    /// Whether both must have a field whose value tells them apart.
    fn differs_in_a_field(&self, other: &Self, root: &Value) -> bool {
        let needed = |one: &Self, name: &Value| {
            one.keywords.get("required").and_then(Value::as_array).is_some_and(|needed| needed.contains(name))
        };
        let names = self.keywords.get("required").and_then(Value::as_array).into_iter().flatten();
        names.filter(|name| needed(other, name)).filter_map(Value::as_str).any(|name| {
            let values = |one: &Self| values(one.keywords.get("properties")?.get(name)?, root);
            match (values(self), values(other)) {
                (Some(ours), Some(theirs)) => !ours.iter().any(|value| theirs.contains(value)),
                _ => false,
            }
        })
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

/// The only values that a schema takes, where it names them.
fn values(schema: &Value, root: &Value) -> Option<Vec<Value>> {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| referred(reference, root));
    let schema = target.map_or(schema, |(_, schema)| schema);
    let one = schema.get("const").map(|value| vec![value.clone()]);
    one.or_else(|| schema.get("enum")?.as_array().cloned())
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
