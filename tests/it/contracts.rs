//! The formats of records as their JSON Schemas tell them: what is written fits them, and what was released is still understood.

mod clients;
mod compatibility;
mod docs;
mod openapi;

use std::{fs, path::Path, process::Command};

use encargo::{
    contract,
    domain::{DeadLetter, Invalid, Source, Timestamp, wire},
};
use serde_json::{Value, json};

use crate::{
    cli::Done,
    harness::{
        app::TestApp,
        process::{lines_of, output},
    },
};

/// Each has a document of what it answers to programs.
const LISTENERS: [&str; 3] = ["intake", "tracking", "ops"];

fn run(arguments: &[&str]) -> Done {
    Done::from(output(Command::new(env!("CARGO_BIN_EXE_encargo")).arg("contract").args(arguments)))
}

fn schema(format: &str) -> Value {
    contract::schemas().find(|(name, _)| *name == format).expect("the format").1
}

fn fields(object: &mut Value) -> &mut serde_json::Map<String, Value> {
    object.as_object_mut().expect("fields")
}

/// What a foreign validator says of each value: `ok`, or what is wrong.
fn judge(pairs: &[(Value, Value)]) -> Vec<String> {
    let line = |(schema, value): &(Value, Value)| format!("{}\n", json!({ "schema": schema, "value": value }));
    let verdicts = lines_of("tests/contract/validate.py", &[], &pairs.iter().map(line).collect::<String>());
    assert_eq!(verdicts.len(), pairs.len());
    verdicts
}

/// The golden samples of a topic.
fn samples(topic: &str) -> Vec<Value> {
    let folder = Path::new("tests/golden").join(topic);
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.map(|text| serde_json::from_slice(&text).unwrap()).collect()
}

#[test]
fn golden_samples_fit_their_schemas_and_spoilt_ones_do_not() {
    let topics = [
        ("order", "compra_detalle", 4, ("price", json!(7.99))),
        ("state", "compra_confirmada", 4, ("seq", json!("2"))),
        ("command", "encargo_commands", 1, ("do", json!("explode"))),
        ("outcome", "encargo_outcomes", 2, ("orderid", json!(0))),
    ];
    let (mut good, mut spoilt) = (Vec::new(), Vec::new());
    for (format, topic, count, (field, value)) in topics {
        let (schema, samples) = (schema(format), samples(topic));
        assert!(samples.len() >= count, "{topic}: {}", samples.len());
        for sample in samples {
            let mut other = sample.clone();
            other[field] = value.clone();
            spoilt.push((schema.clone(), other));
            good.push((schema.clone(), sample));
        }
        // an example of a field is one
        for field in schema["properties"].as_object().unwrap().values() {
            good.extend(
                field["examples"].as_array().into_iter().flatten().map(|example| (field.clone(), example.clone())),
            );
        }
    }
    assert_eq!(judge(&good), vec!["ok"; good.len()]);
    assert!(judge(&spoilt).iter().all(|verdict| verdict.starts_with("$.")));
}

/// They are written one by one, and not from the type that tells them.
#[test]
fn headers_of_dead_letters_are_those_of_the_schema() {
    let mut letter = DeadLetter {
        source: Source { topic: "compra_detalle".into(), partition: 3, offset: 17 },
        reason: String::new(),
        attempts: 0,
        at: Timestamp::default(),
        key: None,
        value: b"{".to_vec(),
        headers: wire::Headers::from_iter([("ce_source", "/shop")]),
    };
    wire::note_misfit(&mut letter, "order", &Invalid::of("price", "must be a number").into());
    wire::note_run(&mut letter, &[17..=20, 22..=22]);
    let headers = wire::dead_letter_headers(&letter);
    let written: serde_json::Map<_, _> = headers
        .iter()
        .filter(|(name, _)| name.starts_with(wire::OWN))
        .map(|(name, value)| (name.to_owned(), String::from_utf8(value.to_vec()).unwrap().into()))
        .collect();
    let mut closed = schema("dead-letter");
    assert_eq!(closed["properties"].as_object().unwrap().len(), written.len());
    closed["additionalProperties"] = false.into();
    assert_eq!(judge(&[(closed, written.into())]), ["ok"]);
}

/// What our records have as CloudEvents, and had before.
#[test]
fn headers_of_records_are_those_that_the_asyncapi_document_tells() {
    let document: Value = serde_json::from_str(&run(&["show", "asyncapi"]).ok()).unwrap();
    let (mut good, mut spoilt) = (Vec::new(), Vec::new());
    for format in ["order", "state", "command", "outcome"] {
        let mut told = document["components"]["messages"][format]["headers"].clone();
        told["additionalProperties"] = false.into();
        let sample = |version: &str| -> Value {
            let text = fs::read(format!("tests/golden/headers/{format}-{version}.json")).unwrap();
            let headers: Vec<(String, Value)> = serde_json::from_slice(&text).unwrap();
            serde_json::Map::from_iter(headers).into()
        };
        good.push((told.clone(), sample("v1")));
        let now = sample("v2");
        told["required"] = told["properties"].as_object().unwrap().keys().cloned().collect();
        for (field, rules) in told["properties"].as_object().unwrap() {
            if let "ce_type" | "ce_source" | "ce_dataschema" | "content-type" = &**field {
                assert_eq!(rules["examples"][0], now[field], "{format}");
            }
        }
        spoilt.push((told.clone(), sample("v1")));
        good.push((told, now));
    }
    assert_eq!(judge(&good), vec!["ok"; good.len()]);
    assert!(
        judge(&spoilt).iter().all(|verdict| verdict.contains("'ce_dataschema' is a required")),
        "{:?}",
        judge(&spoilt)
    );
}

#[test]
fn every_field_says_what_it_is() {
    for (format, schema) in contract::schemas() {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        for (name, field) in schema["properties"].as_object().unwrap() {
            assert!(field["description"].as_str().is_some_and(|told| told.len() > 10), "{format}.{name}");
        }
    }
}

/// By the schema that AsyncAPI has of its documents.
#[test]
fn the_asyncapi_document_is_one() {
    let text = fs::read("tests/contract/node_modules/@asyncapi/specs/schemas/3.0.0.json");
    let rules: Value =
        serde_json::from_slice(&text.expect("npm ci in tests/contract was run, as scripts/test does")).unwrap();
    let document: Value = serde_json::from_str(&run(&["show", "asyncapi"]).ok()).unwrap();
    let mut spoilt = document.clone();
    spoilt["operations"]["intake.send.orders"]["action"] = "sned".into();
    let verdicts = judge(&[(rules.clone(), document), (rules, spoilt)]);
    assert_eq!(verdicts[0], "ok");
    assert!(verdicts[1].starts_with("$.operations['intake.send.orders']"), "{}", verdicts[1]);
}

/// Whoever writes or reads topics finds the documents where the service is operated.
#[tokio::test(flavor = "multi_thread")]
async fn the_documents_are_served_as_they_are_exported() {
    let folder = tempfile::tempdir().unwrap();
    run(&["export", folder.path().to_str().unwrap()]).ok();
    let app = TestApp::start().await;
    let formats = contract::schemas().map(|(name, _)| format!("schemas/{name}.json"));
    let topics = formats.chain(["asyncapi.json".to_owned()]).map(|path| (app.ops(&format!("/{path}")), path));
    let listeners = [app.intake("/openapi.json"), app.tracking("/openapi.json"), app.ops("/openapi.json")];
    let listeners = listeners.into_iter().zip(LISTENERS.map(|listener| format!("openapi-{listener}.json")));
    for (url, path) in topics.chain(listeners) {
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/json".parse().unwrap()),
            "{path}"
        );
        let exported: Value = serde_json::from_slice(&fs::read(folder.path().join(&path)).unwrap()).unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), exported, "{path}");
    }
}
