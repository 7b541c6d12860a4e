//! Keywords that bound a value: a reader must not be stricter than the writer.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::decimal::Decimal;

const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
const LOWER: [&str; 2] = ["minimum", "exclusiveMinimum"];
/// Lower bounds of what cannot be less than 0.
const LEAST: [&str; 3] = ["minLength", "minItems", "minProperties"];
const MULTIPLE: &str = "multipleOf";
/// What differs, and may mean anything.
pub(super) const DIFFERS: &str = "is not understood here, and differs";

/// Whether it is a keyword that is compared here.
pub(super) fn is_one(keyword: &str) -> bool {
    matches!(keyword, "pattern" | MULTIPLE | "uniqueItems")
        || [&UPPER[..], &LOWER, &LEAST].iter().any(|keywords| keywords.contains(&keyword))
}

/// Tells of each keyword in which the reader is stricter, and how.
pub(super) fn compare(read: &Map<String, Value>, written: &Map<String, Value>, mut stricter: impl FnMut(&str, String)) {
    let said = |keyword: &str| written.get(keyword).map_or("no bound".to_owned(), |bound| format!("{bound}"));
    for keyword in UPPER.into_iter().chain(LOWER).chain(LEAST).chain([MULTIPLE]) {
        // up to draft 4, false goes without saying
        let of = |keywords: &Map<String, Value>| {
            keywords.get(keyword).filter(|bound| **bound != Value::Bool(false)).cloned()
        };
        let least = LEAST.contains(&keyword).then(|| Value::from(0));
        let (bound, other) = (of(read), of(written).or(least));
        match [&bound, &other].map(|bound| bound.as_ref().map(Decimal::of)) {
            [None, _] => {}
            [Some(Some(bound)), Some(Some(other))] if is_as_wide(keyword, bound, other) => {}
            [Some(Some(_)), None | Some(Some(_))] => {
                stricter(keyword, format!("is {}, and the writer has {}", read[keyword], said(keyword)));
            }
            // true, which means something only beside another bound
            _ if bound == other => {}
            _ => stricter(keyword, DIFFERS.to_owned()),
        }
    }
    for (keyword, none) in [("pattern", Value::Null), ("uniqueItems", Value::Bool(false))] {
        let bound = read.get(keyword).unwrap_or(&none);
        if *bound != none && written.get(keyword) != Some(bound) {
            stricter(keyword, format!("is {bound}, and the writer has {}", said(keyword)));
        }
    }
}

/// Whether whatever keeps the writer's bound keeps the reader's.
fn is_as_wide(keyword: &str, bound: Decimal, other: Decimal) -> bool {
    match keyword {
        MULTIPLE => other.is_multiple_of(bound),
        _ if UPPER.contains(&keyword) => other.compare(bound) != Ordering::Greater,
        _ => other.compare(bound) != Ordering::Less,
    }
}
