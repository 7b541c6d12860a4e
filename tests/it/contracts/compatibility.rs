//! What was released is still understood, and a change that breaks a reader is refused with its place.

use std::{fs, path::Path};

use encargo::contract::{Direction, breaks};
use serde_json::{Value, json};

use super::{fields, run, schema};

/// Every version that was released: its readers understand what is written today, and today's understand what it wrote.
#[test]
fn what_was_released_is_understood_and_understands() {
    let checked = run(&["check", "contracts", "--mode", "full_transitive", "--own-names"]);
    assert!(checked.err.contains("No reader breaks: compared with contracts/1"), "{checked:?}");
    checked.ok();
}

/// What is changed, how, where that breaks, and whom.
type Case = (&'static str, fn(&mut Value), &'static str, &'static str);

#[test]
fn a_change_that_breaks_readers_is_refused_and_named() {
    let cases: [Case; 6] = [
        ("a field removed", |state| drop(properties(state).remove("next_at")), "/properties/next_at", "old readers"),
        (
            "a type narrowed",
            |state| state["properties"]["seq"]["type"] = "integer".into(),
            "/properties/seq",
            "new readers",
        ),
        (
            "a type changed",
            |state| state["properties"]["seq"]["type"] = "string".into(),
            "/properties/seq",
            "old readers",
        ),
        (
            "made required",
            |state| state["required"].as_array_mut().unwrap().push("seq".into()),
            "/required",
            "new readers",
        ),
        (
            "values shortened",
            |state| state["properties"]["cancel"] = json!({ "enum": ["customer", null] }),
            "/properties/cancel",
            "new readers",
        ),
        ("renamed", renamed, "/required", "old readers"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("1"), folder.path().join("2"));
    let [old, new] = [&old, &new].map(|path| path.to_str().unwrap());
    for version in [old, new] {
        run(&["export", version]).ok();
    }
    let full = ["check", old, new, "--mode", "full", "--own-names", "--json"];
    assert_eq!(run(&full).json(), [] as [Value; 0]);
    for (what, change, pointer, breaks) in cases {
        let mut state = schema("state");
        change(&mut state);
        fs::write(Path::new(new).join("schemas/state.json"), state.to_string()).unwrap();
        let refused = run(&full);
        assert_eq!(refused.status, 1, "{what}");
        let found: Vec<Value> = refused.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let named =
            |found: &Value| found["format"] == "state" && found["pointer"] == pointer && found["breaks"] == breaks;
        assert!(found.iter().any(named), "{what}: {found:?}");
    }
    let words = run(&["check", old, new, "--mode", "forward"]);
    assert!(
        words.out.contains("state /required: wants estado, and a record may be without it; that breaks old readers"),
        "{words:?}"
    );
    fs::remove_file(Path::new(new).join("schemas/state.json")).unwrap();
    let gone = run(&["check", old, new]);
    assert!(gone.status == 1 && gone.err.contains("has the format state, and the newer version does not"), "{gone:?}");
}

/// Where no reader breaks by our rules, none breaks by another's: whatever fits the old schema fits the new one.
#[test]
fn what_is_said_to_break_nobody_breaks_nobody() {
    let object = |fields: Value| {
        let mut schema = json!({ "type": "object" });
        super::fields(&mut schema).extend(super::fields(&mut fields.clone()).clone());
        schema
    };
    let draft_4 = "http://json-schema.org/draft-04/schema#";
    let draft_7 = "http://json-schema.org/draft-07/schema#";
    let schemas = [
        json!(true),
        json!({}),
        json!({ "type": "string" }),
        json!({ "type": "integer" }),
        json!({ "type": "number" }),
        json!({ "type": ["integer", "null"] }),
        json!({ "enum": [1, "x", null] }),
        json!({ "type": "integer", "enum": [1.0, 2] }),
        json!({ "const": 2 }),
        json!({ "type": "string", "maxLength": 1 }),
        json!({ "type": "string", "minLength": 2 }),
        json!({ "minimum": 1 }),
        json!({ "exclusiveMinimum": 1 }),
        json!({ "$schema": draft_4, "minimum": 1, "exclusiveMinimum": true }),
        json!({ "$schema": draft_4, "minimum": 1 }),
        json!({ "maximum": u64::MAX }),
        json!({ "maximum": u64::MAX - 1 }),
        json!({ "multipleOf": 0.5 }),
        json!({ "multipleOf": 1 }),
        json!({ "$schema": draft_7, "items": [{ "type": "string" }] }),
        json!({ "$schema": draft_7, "items": [{ "type": "integer" }] }),
        json!({ "items": { "type": "integer" } }),
        json!({ "prefixItems": [{ "type": "string" }] }),
        json!({ "oneOf": [{ "type": "integer" }, { "type": "number" }] }),
        json!({ "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
        json!({ "anyOf": [{ "type": "integer" }, { "type": "number" }] }),
        json!({ "allOf": [{ "$ref": "#/$defs/a" }], "$defs": { "a": { "type": "string" } } }),
        json!({ "allOf": [{ "$ref": "#/$defs/a" }], "$defs": { "a": { "type": "integer" } } }),
        json!({ "not": { "type": "integer" } }),
        object(json!({ "properties": { "x1": { "type": "integer" } } })),
        object(json!({ "properties": { "x1": { "type": "integer" } }, "required": ["x1"] })),
        object(json!({ "properties": { "x1": { "type": "integer" } }, "additionalProperties": false })),
        object(json!({ "patternProperties": { "^x": { "type": "string" } }, "additionalProperties": false })),
        object(
            json!({ "patternProperties": { "^x": { "type": "string" } }, "properties": { "x1": { "type": "integer" } },
                       "additionalProperties": false }),
        ),
        object(json!({ "properties": { "x1": true }, "unevaluatedProperties": false })),
        object(json!({ "unevaluatedProperties": false })),
        object(json!({ "minProperties": 1 })),
    ];
    let values = [
        json!(null),
        json!(1),
        json!(2),
        json!(1.5),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!("ñandú"),
        json!([]),
        json!(["x"]),
        json!([1]),
        json!([1, "x"]),
        json!({}),
        json!({ "x1": 1 }),
        json!({ "x1": "x" }),
        json!({ "x2": "x" }),
        json!({ "y": 1 }),
    ];
    let pairs: Vec<_> =
        schemas.iter().flat_map(|schema| values.iter().map(|value| (schema.clone(), value.clone()))).collect();
    let verdicts: Vec<_> = super::judge(&pairs).into_iter().map(|verdict| verdict == "ok").collect();
    let taken: Vec<_> = verdicts.chunks(values.len()).collect();
    let direction = Direction { backward: true, forward: false };
    let mut fine = 0;
    for (old, written) in schemas.iter().zip(&taken) {
        for (new, read) in schemas.iter().zip(&taken) {
            if !breaks(old, new, direction).unwrap().is_empty() {
                continue;
            }
            fine += 1;
            for ((value, written), read) in values.iter().zip(*written).zip(*read) {
                assert!(!written || *read, "{value} was written by {old}, and is not read by {new}");
            }
        }
    }
    assert!(fine > schemas.len() * 2, "each is fine with itself and with any: {fine}");
}

fn properties(schema: &mut Value) -> &mut serde_json::Map<String, Value> {
    fields(&mut schema["properties"])
}

fn renamed(state: &mut Value) {
    let field = properties(state).remove("estado").unwrap();
    properties(state).insert("state".into(), field);
    let required = state["required"].as_array_mut().unwrap();
    required.iter_mut().filter(|name| **name == "estado").for_each(|name| *name = "state".into());
}
