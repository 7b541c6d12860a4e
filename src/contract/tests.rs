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
