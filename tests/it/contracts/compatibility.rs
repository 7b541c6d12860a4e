//! What was released is still understood, and a change that breaks a reader is refused with its place.

use std::{fs, path::Path};

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

fn properties(schema: &mut Value) -> &mut serde_json::Map<String, Value> {
    fields(&mut schema["properties"])
}

fn renamed(state: &mut Value) {
    let field = properties(state).remove("estado").unwrap();
    properties(state).insert("state".into(), field);
    let required = state["required"].as_array_mut().unwrap();
    required.iter_mut().filter(|name| **name == "estado").for_each(|name| *name = "state".into());
}
