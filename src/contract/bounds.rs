//! Keywords that bound a value: a reader must not be stricter than the writer.

use serde_json::{Map, Value};

const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
const LOWER: [&str; 2] = ["minimum", "exclusiveMinimum"];
/// Lower bounds of what cannot be less than 0.
const LEAST: [&str; 3] = ["minLength", "minItems", "minProperties"];

/// Whether it is a keyword that is compared here.
pub(super) fn is_one(keyword: &str) -> bool {
    matches!(keyword, "pattern" | "multipleOf" | "uniqueItems")
        || [&UPPER[..], &LOWER, &LEAST].iter().any(|keywords| keywords.contains(&keyword))
}

/// Tells of each keyword in which the reader is stricter, and how.
pub(super) fn compare(read: &Map<String, Value>, written: &Map<String, Value>, mut stricter: impl FnMut(&str, String)) {
    let number = |keywords: &Map<String, Value>, keyword: &str| keywords.get(keyword).and_then(Value::as_f64);
    let said = |keyword: &str| written.get(keyword).map_or("no bound".to_owned(), |bound| format!("{bound}"));
    for keyword in UPPER {
        let Some(bound) = number(read, keyword) else { continue };
        if number(written, keyword).is_none_or(|other| other > bound) {
            stricter(keyword, format!("is {}, and the writer has {}", read[keyword], said(keyword)));
        }
    }
    for keyword in LOWER.into_iter().chain(LEAST) {
        let least = LEAST.contains(&keyword).then_some(0.0);
        let Some(bound) = number(read, keyword) else { continue };
        if number(written, keyword).or(least).is_none_or(|other| other < bound) {
            stricter(keyword, format!("is {}, and the writer has {}", read[keyword], said(keyword)));
        }
    }
    if let Some(bound) = number(read, "multipleOf")
        && number(written, "multipleOf").is_none_or(|other| other % bound != 0.0)
    {
        stricter("multipleOf", format!("is {bound}, and the writer has {}", said("multipleOf")));
    }
    for (keyword, none) in [("pattern", Value::Null), ("uniqueItems", Value::Bool(false))] {
        let bound = read.get(keyword).unwrap_or(&none);
        if *bound != none && written.get(keyword) != Some(bound) {
            stricter(keyword, format!("is {bound}, and the writer has {}", said(keyword)));
        }
    }
}
