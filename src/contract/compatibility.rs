//! Whether who reads by one JSON Schema understands what was written by another, by the rules of schema registries.
//!
//! They compare schemas, not records. One rule surprises: where records are open to fields of other names, a field may not be
//! added for new readers of old records, since somebody may have written one of that name with another meaning before
//! (`PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL` in Confluent's terms). Such breaks are marked ([`Break::is_new_name`]), for whoever
//! owns all the names. Keywords that are not understood here must stay as they are.

use serde_json::{Map, Value};

use super::{
    alternatives::{self, Alternative, Incomparable, ONE_OF, Steps, is_in_words, referred},
    bounds::{self, DIFFERS},
    shape::{self, place},
};

/// In which direction schemas must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// Who reads by the new one must understand what was written by the old one.
    pub backward: bool,
    /// Who reads by the old one must understand what is written by the new one.
    pub forward: bool,
}

/// What breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// JSON Pointer (RFC 6901) into the schema of the reader.
    pub pointer: String,
    /// What the reader wants, in words that go on after the pointer.
    pub reason: String,
    /// Whether new readers break, and not old ones.
    pub backward: bool,
    /// Only a field is added, to records that are open to any.
    pub is_new_name: bool,
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = if self.backward { "new readers of old records" } else { "old readers of new records" };
        let pointer = place(&self.pointer);
        write!(f, "{pointer}: {}; that breaks {who}", self.reason)
    }
}

/// What breaks between two versions of a schema.
pub fn breaks(old: &Value, new: &Value, direction: Direction) -> Result<Vec<Break>, Incomparable> {
    for schema in [old, new] {
        shape::check(schema, "")?;
    }
    let steps = Steps::new();
    let mut found = Vec::new();
    for (wanted, reader, writer, backward) in
        [(direction.backward, new, old, true), (direction.forward, old, new, false)]
    {
        if wanted {
            let pair = Pair { reader, writer, backward, steps: &steps };
            found.extend(pair.compare([reader, writer], ["", ""], &mut Vec::new())?);
        }
    }
    Ok(found)
}

/// What there is where nothing is said: any value is taken.
static ANY: Value = Value::Bool(true);

/// What is being compared, so that a schema that contains itself comes to an end.
type Open = Vec<[String; 2]>;

/// The two whole schemas, to which references point.
#[derive(Clone, Copy)]
struct Pair<'a> {
    reader: &'a Value,
    writer: &'a Value,
    backward: bool,
    steps: &'a Steps,
}

impl Pair<'_> {
    fn found(&self, pointer: String, reason: impl Into<String>) -> Break {
        Break { pointer, reason: reason.into(), backward: self.backward, is_new_name: false }
    }

    /// Two schemas of reader and writer, which stand at these pointers.
    fn compare(&self, schemas: [&Value; 2], at: [&str; 2], open: &mut Open) -> Result<Vec<Break>, Incomparable> {
        let mut found = Vec::new();
        if *schemas[0] == ANY {
            return Ok(found);
        }
        let read = alternatives::of(schemas[0], at[0], self.reader, self.steps)?;
        for written in alternatives::of(schemas[1], at[1], self.writer, self.steps)? {
            let mut tries = Vec::new();
            for one in read.iter().filter(|one| one.may_take(&written)) {
                tries.push(self.compare_one(one, &written, open)?);
            }
            let not_taken = || vec![self.found(at[0].to_owned(), format!("does not take {}", written.in_words()))];
            for new in tries.into_iter().min_by_key(Vec::len).unwrap_or_else(not_taken) {
                if !found.contains(&new) {
                    found.push(new);
                }
            }
        }
        Ok(found)
    }

    fn compare_one(
        &self,
        reader: &Alternative,
        writer: &Alternative,
        open: &mut Open,
    ) -> Result<Vec<Break>, Incomparable> {
        self.steps.take()?;
        let (read, written, at) = (&reader.keywords, &writer.keywords, [&*reader.at, &*writer.at]);
        let pair = at.map(str::to_owned);
        if open.contains(&pair) {
            return Ok(Vec::new());
        }
        open.push(pair);
        let mut found = Vec::new();
        bounds::compare(read, written, |keyword, reason| {
            found.push(self.found(format!("{}/{keyword}", at[0]), reason));
        });
        found.extend(self.compare_fields([read, written], at, open)?);
        for keyword in ["items", "additionalProperties"] {
            let schemas = [read, written].map(|keywords| keywords.get(keyword).unwrap_or(&ANY));
            let at = at.map(|at| format!("{at}/{keyword}"));
            if schemas.iter().any(|schemas| schemas.is_array()) {
                // up to draft 7, `items` may be a list of schemas, one for each place
                if *schemas[0] != ANY && !self.is_same(schemas, &mut Vec::new()) {
                    found.push(self.found(at[0].clone(), DIFFERS));
                }
                continue;
            }
            found.extend(self.compare(schemas, [&at[0], &at[1]], open)?);
        }
        open.pop();
        let at = at[0];
        for keyword in read.keys().chain(written.keys()).filter(|keyword| !is_known(keyword)) {
            // whatever branch of a sum something was written by, a reader without that sum takes it or not as it is
            let is_wider = keyword == ONE_OF && !read.contains_key(keyword);
            let both = [read, written].map(|keywords| keywords.get(keyword));
            let is_same = if let [Some(read), Some(written)] = both {
                self.is_same([read, written], &mut Vec::new())
            } else {
                false
            };
            if !is_wider && !is_same && !found.iter().any(|found| found.pointer == format!("{at}/{keyword}")) {
                found.push(self.found(format!("{at}/{keyword}"), DIFFERS));
            }
        }
        Ok(found)
    }

    /// Whether what is not understood says the same to both, also where it refers to something.
    fn is_same(&self, values: [&Value; 2], open: &mut Vec<[String; 2]>) -> bool {
        match values {
            [Value::Object(read), Value::Object(written)] => {
                let same = |(name, value): (&String, &Value)| {
                    let Some(other) = written.get(name) else { return false };
                    match [value, other].map(Value::as_str) {
                        [Some(one), Some(other)] if name == "$ref" && one.starts_with('#') => {
                            self.refer_to_the_same([one, other], open)
                        }
                        _ => self.is_same([value, other], open),
                    }
                };
                read.len() == written.len() && read.iter().all(same)
            }
            [Value::Array(read), Value::Array(written)] => {
                read.len() == written.len()
                    && read.iter().zip(written).all(|(one, other)| self.is_same([one, other], open))
            }
            [read, written] => read == written,
        }
    }

    fn refer_to_the_same(&self, references: [&str; 2], open: &mut Vec<[String; 2]>) -> bool {
        let pair = references.map(str::to_owned);
        if open.contains(&pair) {
            return true; // which is found out where that began
        }
        open.push(pair);
        match (referred(references[0], self.reader), referred(references[1], self.writer)) {
            (Some((_, read)), Some((_, written))) => self.is_same([read, written], open),
            (None, None) => references[0] == references[1],
            _ => false,
        }
    }

    /// Fields by name, and which of them must be there.
    fn compare_fields(
        &self,
        keywords: [&Map<String, Value>; 2],
        at: [&str; 2],
        open: &mut Open,
    ) -> Result<Vec<Break>, Incomparable> {
        let none = Map::new();
        let [read, written] =
            keywords.map(|keywords| keywords.get("properties").and_then(Value::as_object).unwrap_or(&none));
        let [other_read, other_written] = keywords.map(|keywords| keywords.get("additionalProperties").unwrap_or(&ANY));
        // what reads by this takes no field that it does not name, either
        let other_read =
            if *other_read == ANY { keywords[0].get("unevaluatedProperties").unwrap_or(&ANY) } else { other_read };
        let patterns = keywords[1].get("patternProperties").and_then(Value::as_object).unwrap_or(&none);
        let mut found = Vec::new();
        for (name, schema) in read {
            let at = at.map(|at| format!("{at}/properties/{}", escaped(name)));
            let other = written.get(name).unwrap_or(other_written);
            let mut breaks = self.compare([schema, other], [&at[0], &at[1]], open)?;
            // which of them fit the name, nobody knows here
            for by_pattern in patterns.values().filter(|_| !written.contains_key(name)) {
                breaks.extend(self.compare([schema, by_pattern], [&at[0], &at[1]], open)?);
            }
            let [pointer, _] = at;
            match written.contains_key(name) {
                true => found.extend(breaks),
                false if breaks.is_empty() => {}
                false => {
                    let reason = if self.backward {
                        "is new, and whoever did not know it"
                    } else {
                        "is gone, and whoever does not know it"
                    };
                    let reason = format!("{reason} may put something else under that name");
                    found.push(Break { is_new_name: self.backward, ..self.found(pointer, reason) });
                }
            }
        }
        for (name, schema) in written.iter().filter(|(name, _)| !read.contains_key(*name)) {
            let others = format!("{}/additionalProperties", at[0]);
            let field = format!("{}/properties/{}", at[1], escaped(name));
            if !self.compare([other_read, schema], [&others, &field], open)?.is_empty() {
                found.push(self.found(others, format!("does not take the field {name}")));
            }
        }
        let [wanted, promised] = keywords.map(required);
        for name in wanted.into_iter().filter(|name| !promised.contains(name)) {
            let has_default = read.get(name).is_some_and(|schema| schema.get("default").is_some());
            if !has_default {
                let reason = format!("wants {name}, and a record may be without it");
                found.push(self.found(format!("{}/required", at[0]), reason));
            }
        }
        Ok(found)
    }
}

/// Whether a keyword is compared, or only tells people something.
fn is_known(keyword: &str) -> bool {
    const COMPARED: [&str; 8] =
        ["type", "const", "properties", "required", "additionalProperties", "items", "$defs", "definitions"];
    COMPARED.contains(&keyword) || is_in_words(keyword) || bounds::is_one(keyword)
}

/// The names of fields that must be there.
fn required(keywords: &Map<String, Value>) -> Vec<&str> {
    keywords.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A name as part of a JSON Pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
