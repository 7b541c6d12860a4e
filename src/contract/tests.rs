use serde_json::{Value, json};

use super::{Break, Direction, Incomparable, compatibility};

const BACKWARD: Direction = Direction { backward: true, forward: false };
const FORWARD: Direction = Direction { backward: false, forward: true };

fn order() -> Value {
    json!({
        "type": "object",
        "properties": {
            "orderid": { "type": "integer", "minimum": 1 },
            "price": { "type": "string", "pattern": "^[0-9]+$", "maxLength": 20 },
            "lang": { "type": ["string", "null"] },
            "party": { "anyOf": [{ "oneOf": [{ "const": "customer" }, { "const": "operator" }] }, { "type": "null" }] },
            "lines": { "type": "array", "items": { "type": "object", "properties": { "n": { "type": "integer" } } } },
        },
        "required": ["orderid", "price"],
    })
}

fn changed(change: impl Fn(&mut Value)) -> Value {
    let mut schema = order();
    change(&mut schema);
    schema
}

fn breaks(old: &Value, new: &Value, direction: Direction) -> Vec<Break> {
    compatibility::breaks(old, new, direction).unwrap()
}

fn words(found: &[Break]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_breaks_where_nothing_changes_but_words() {
    let told = changed(|schema| schema["description"] = "An order".into());
    for direction in [BACKWARD, FORWARD] {
        assert_eq!(breaks(&order(), &told, direction), []);
    }
}

/// What must be refused, in which direction, where and why.
#[test]
fn what_breaks_is_named() {
    let cases: [(&str, Value, Direction, &str); 9] = [
        (
            "a field removed",
            changed(|s| {
                s["properties"].as_object_mut().unwrap().remove("lang");
            }),
            FORWARD,
            "/properties/lang",
        ),
        (
            "a required field removed",
            changed(|s| {
                s["properties"].as_object_mut().unwrap().remove("price");
                s["required"] = json!(["orderid"]);
            }),
            FORWARD,
            "/required",
        ),
        (
            "a type narrowed",
            changed(|s| s["properties"]["lang"]["type"] = "string".into()),
            BACKWARD,
            "/properties/lang",
        ),
        ("made required", changed(|s| s["required"] = json!(["orderid", "price", "lang"])), BACKWARD, "/required"),
        (
            "values shortened",
            changed(|s| s["properties"]["party"]["anyOf"][0] = json!({ "enum": ["customer"] })),
            BACKWARD,
            "/properties/party",
        ),
        (
            "renamed",
            changed(|s| {
                let price = s["properties"].as_object_mut().unwrap().remove("price").unwrap();
                s["properties"]["precio"] = price;
                s["required"] = json!(["orderid", "precio"]);
            }),
            FORWARD,
            "/required",
        ),
        (
            "a bound lowered",
            changed(|s| s["properties"]["price"]["maxLength"] = 10.into()),
            BACKWARD,
            "/properties/price/maxLength",
        ),
        (
            "a bound raised",
            changed(|s| s["properties"]["price"]["maxLength"] = 30.into()),
            FORWARD,
            "/properties/price/maxLength",
        ),
        (
            "a type changed, deeper",
            changed(|s| s["properties"]["lines"]["items"]["properties"]["n"]["type"] = "string".into()),
            FORWARD,
            "/properties/lines/items/properties/n",
        ),
    ];
    for (what, new, direction, pointer) in cases {
        let found = breaks(&order(), &new, direction);
        assert!(
            found.iter().any(|found| found.pointer == pointer && !found.is_new_name),
            "{what}: {:?}",
            words(&found)
        );
    }
}

/// The verdicts of a Confluent-compatible registry on added fields.
#[test]
fn added_fields_are_judged_as_registries_do() {
    let closed = |open: &Value| {
        let mut schema = open.clone();
        schema["additionalProperties"] = false.into();
        schema
    };
    let optional = changed(|s| s["properties"]["gift"] = json!({ "type": "boolean" }));
    let required = changed(|s| {
        s["properties"]["gift"] = json!({ "type": "boolean" });
        s["required"] = json!(["orderid", "price", "gift"]);
    });
    let any = changed(|s| s["properties"]["gift"] = json!({}));
    for (what, old, new, backward, forward) in [
        ("optional, open", order(), optional.clone(), false, true),
        ("optional, closed", closed(&order()), closed(&optional), true, false),
        ("required, open", order(), required.clone(), false, true),
        ("required, closed", closed(&order()), closed(&required), false, false),
        ("any value, open", order(), any, true, true),
        ("closed", order(), closed(&order()), false, true),
    ] {
        let agrees = |direction| breaks(&old, &new, direction).is_empty();
        assert_eq!((agrees(BACKWARD), agrees(FORWARD)), (backward, forward), "{what}");
    }
    let found = breaks(&order(), &optional, BACKWARD);
    assert!(found.len() == 1 && found[0].is_new_name, "{found:?}");
    assert_eq!(
        found[0].to_string(),
        "/properties/gift: is new, and whoever did not know it may put something else under that name; that breaks new \
         readers of old records"
    );
}

#[test]
fn what_is_not_understood_must_stay() {
    let odd = changed(|schema| schema["dependentRequired"] = json!({ "lang": ["party"] }));
    assert_eq!(breaks(&order(), &odd, FORWARD)[0].pointer, "/dependentRequired");
    assert_eq!(breaks(&odd, &odd, FORWARD), []);
}

/// What must be refused besides, and by which readers; the other direction is fine where `both` does not say otherwise.
#[test]
fn what_is_of_another_kind_than_expected_is_no_less_different() {
    let x =
        json!({ "type": "object", "patternProperties": { "^x": { "type": "string" } }, "additionalProperties": false });
    let with_x1 = {
        let mut schema = x.clone();
        schema["properties"] = json!({ "x1": { "type": "integer" } });
        schema
    };
    let by_name = |kind: &str| json!({ "allOf": [{ "$ref": "#/$defs/a" }], "$defs": { "a": { "type": kind } } });
    let kinds = |first: &str| json!({ "oneOf": [{ "type": first }, { "type": "number" }] });
    let lines = |kind: &str| json!({ "items": [{ "type": kind }] });
    for (what, old, new, backward, forward) in [
        ("items by place", lines("string"), lines("integer"), false, false),
        ("items by place, and any", lines("string"), json!({}), true, false),
        ("a large number", json!({ "maximum": u64::MAX }), json!({ "maximum": u64::MAX - 1 }), false, true),
        (
            "a long text",
            json!({ "maxLength": 9_007_199_254_740_993_u64 }),
            json!({ "maxLength": 9_007_199_254_740_992_u64 }),
            false,
            true,
        ),
        ("draft 4", json!({ "minimum": 1, "exclusiveMinimum": true }), json!({ "minimum": 1 }), true, false),
        ("draft 4, no", json!({ "minimum": 1, "exclusiveMinimum": false }), json!({ "minimum": 1 }), true, true),
        (
            "draft 4 to 6",
            json!({ "minimum": 1, "exclusiveMinimum": true }),
            json!({ "exclusiveMinimum": 1 }),
            false,
            false,
        ),
        ("both branches", json!({ "type": "integer" }), kinds("integer"), false, false),
        ("the same branches", kinds("integer"), kinds("integer"), true, true),
        ("branches apart", json!({ "type": "string" }), kinds("string"), true, false),
        ("fields by pattern", x, with_x1, false, false),
        ("finer", json!({ "multipleOf": 0.1 }), json!({ "multipleOf": 0.01 }), true, false),
        ("behind a reference", by_name("string"), by_name("integer"), false, false),
        ("a whole number", json!({ "type": "integer", "enum": [1.0] }), json!({ "type": "string" }), false, false),
        (
            "a closed record",
            json!({ "type": "object", "properties": { "a": true }, "unevaluatedProperties": false }),
            json!({ "type": "object", "unevaluatedProperties": false }),
            false,
            true,
        ),
    ] {
        let agrees = |direction| breaks(&old, &new, direction).is_empty();
        assert_eq!((agrees(BACKWARD), agrees(FORWARD)), (backward, forward), "{what}");
    }
    // two branches that a field tells apart are as good as two types
    let one_of = |kinds: &[&str]| {
        let branch = |kind: &&str| json!({ "type": "object", "properties": { "kind": { "const": kind } }, "required": ["kind"] });
        json!({ "oneOf": kinds.iter().map(branch).collect::<Vec<_>>() })
    };
    assert_eq!(breaks(&one_of(&["a", "b"]), &one_of(&["a", "b", "c"]), BACKWARD), []);
}

#[test]
fn what_is_no_schema_is_not_compared() {
    for (none, expected) in [
        (json!([]), "the whole: is no JSON Schema: it must be an object, true or false"),
        (json!(null), "the whole: is no JSON Schema"),
        (json!("a"), "the whole: is no JSON Schema"),
        (json!(5), "the whole: is no JSON Schema"),
        (json!({ "minLength": -1 }), "/minLength: is no JSON Schema: it must be a whole number from 0"),
        (json!({ "minLength": 1.5 }), "/minLength: is no JSON Schema"),
        (json!({ "maximum": "9" }), "/maximum: is no JSON Schema: it must be a number"),
        (json!({ "multipleOf": 0 }), "/multipleOf: is no JSON Schema: it must be a number above 0"),
        (json!({ "properties": [] }), "/properties: is no JSON Schema: it must be an object of schemas"),
        (json!({ "properties": { "a/b": 7 } }), "/properties/a~1b: is no JSON Schema"),
        (json!({ "items": [{ "type": "text" }] }), "/items/0/type: is no JSON Schema: it must be the name of a type"),
        (json!({ "anyOf": [] }), "/anyOf: is no JSON Schema: it must be a list of schemas"),
        (json!({ "not": { "required": "a" } }), "/not/required: is no JSON Schema: it must be a list of names"),
        (json!({ "$ref": "#/x", "x": [] }), "/x: is no JSON Schema"),
        (json!({ "$ref": "#/x", "x": { "pattern": 1 } }), "/x/pattern: is no JSON Schema: it must be a text"),
    ] {
        let any = json!(true);
        for (old, new) in [(&none, &none), (&none, &any), (&any, &none)] {
            match compatibility::breaks(old, new, BACKWARD) {
                Err(error) => assert!(error.to_string().starts_with(expected), "{none}: {error}"),
                // to whoever reads anything, no reference matters
                Ok(found) => assert!(none["$ref"].is_string() && new == &any && found.is_empty(), "{none}"),
            }
        }
    }
    // what is no keyword may be anything
    let told = json!({ "const": [], "default": null, "examples": 7, "x-type": { "type": 1 } });
    assert_eq!(breaks(&told, &told, BACKWARD), []);
}

#[test]
fn references_and_sums_are_followed() {
    let by_name = json!({ "$defs": { "Id": { "type": "integer" } }, "properties": { "id": { "$ref": "#/$defs/Id" } } });
    let plain = json!({ "properties": { "id": { "type": "integer" } } });
    let wider = json!({ "properties": { "id": { "type": ["integer", "string"] } } });
    for direction in [BACKWARD, FORWARD] {
        assert_eq!(breaks(&by_name, &plain, direction), []);
    }
    assert_eq!(breaks(&by_name, &wider, BACKWARD), []);
    assert_eq!(
        words(&breaks(&by_name, &wider, FORWARD)),
        ["/properties/id: does not take a string; that breaks old readers of new records"]
    );
    let odd = json!({ "$defs": { "a b/c": { "type": "string" } }, "$ref": "#/$defs/a%20b~1c" });
    assert_eq!(breaks(&odd, &json!({ "type": "string" }), BACKWARD), []);
    let itself = json!({ "properties": { "next": { "$ref": "#" } } });
    assert_eq!(breaks(&itself, &itself, BACKWARD), []);
}

/// A verdict on these would be a guess, or take for ever.
#[test]
fn what_cannot_be_compared_is_said() {
    fn doubled(times: u8) -> Value {
        if times == 0 {
            json!({ "type": "string" })
        } else {
            json!({ "anyOf": [doubled(times - 1), doubled(times - 1)] })
        }
    }
    let beside = json!({ "properties": { "a": {} }, "anyOf": [{ "properties": { "b": {} } }] });
    for (schema, expected) in [
        (json!({ "$ref": "#" }), "the whole: references and alternatives go round in circles, or deeper than 64"),
        (
            json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
            "/anyOf/0: references and alternatives go round in circles",
        ),
        (json!({ "properties": { "a": { "$ref": "#/nowhere" } } }), "/properties/a: #/nowhere names nothing"),
        (beside, "/anyOf/0: properties stands beside it, too"),
        (doubled(12), "its alternatives cannot be compared in 300000 steps"),
    ] {
        let error: Incomparable = compatibility::breaks(&schema, &schema, BACKWARD).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    // those that are the same to a reader are told once
    assert_eq!(words(&breaks(&doubled(8), &order(), BACKWARD)).len(), 1);
}
