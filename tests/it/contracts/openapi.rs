//! What each listener answers to programs is what its OpenAPI document tells, and nothing else.

use std::{fs, path::Path, process::Command};

use reqwest::Response;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::{LISTENERS, fields, judge, run};
use crate::{
    cli::Done,
    documents::sources,
    harness::{
        app::TestApp,
        cluster::needed,
        eventually,
        process::{Process, output},
    },
    roles::place,
};

/// What is answered has a type that tells what it is. Values without one are for schemas, and for requests that we make ourselves.
#[test]
fn no_answer_is_without_a_type() {
    const MAY: [&str; 15] = [
        "src/web/openapi.rs",
        "src/contract/alternatives.rs",
        "src/contract/asyncapi.rs",
        "src/contract/subjects.rs",
        "src/intake/contract.rs",
        "src/tracking/api/contract.rs",
        "src/ops/contract.rs",
        // requests
        "src/bench/load/customers.rs",
        "src/bench/shop.rs",
        "src/cli/place.rs",
        "src/prove/watch.rs",
        "src/registry/mod.rs",
        "src/sim/customers.rs",
        // what a load, and its mail server, note
        "src/cli/bench/load.rs",
        "src/cli/bench/sink.rs",
    ];
    let makes_untyped = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
        !path.ends_with("tests.rs") && code.contains("json!(")
    };
    let found = sources(Path::new("src")).into_iter().filter(|path| makes_untyped(path));
    let found: Vec<_> = found.map(|path| path.display().to_string()).collect();
    let strangers: Vec<_> = found.iter().filter(|path| !MAY.contains(&path.as_str())).collect();
    assert!(strangers.is_empty(), "they answer without a type, or belong to those that may: {strangers:?}");
    assert_eq!(found.len(), MAY.len(), "some need it no more: {found:?}");
}

/// By a validator of OpenAPI documents.
#[test]
fn the_openapi_documents_are_such() {
    let folder = tempfile::tempdir().unwrap();
    run(&["export", folder.path().to_str().unwrap()]).ok();
    let validate = |name: &str| {
        let mut validator = Command::new(needed("ENCARGO_TEST_PYTHON"));
        Done::from(output(validator.args(["-m", "openapi_spec_validator"]).arg(folder.path().join(name))))
    };
    for listener in LISTENERS {
        validate(&format!("openapi-{listener}.json")).ok();
    }
    let spoilt =
        fs::read_to_string(folder.path().join("openapi-intake.json")).unwrap().replace("\"responses\"", "\"answers\"");
    fs::write(folder.path().join("spoilt.json"), spoilt).unwrap();
    assert_eq!(validate("spoilt.json").status, 1);
}

/// What a listener's document says of an answer: its schema, with what that refers to.
fn schema_of(document: &Value, method: &str, path: &str, answer: &Response) -> Value {
    let status = answer.status().as_u16().to_string();
    let media = answer.headers()["content-type"].to_str().unwrap().split(';').next().unwrap();
    let schema = &document["paths"][path][method]["responses"][&status]["content"][media]["schema"];
    assert!(!schema.is_null(), "{method} {path} answers {status} {media}, which is not told");
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    schema
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_that_the_openapi_documents_tell() {
    let app = TestApp::start().await;
    let place = |body: Value| app.http.post(app.intake("/orders")).json(&body).send();
    let taken = place(json!({ "product": "1010", "email": "ana@example.org", "lang": "es" })).await.unwrap();
    let refused = place(json!({ "product": "no such", "email": "ana", "gift": true })).await.unwrap();
    let get = |url: String| app.http.get(url).send();
    let intake: Value = get(app.intake("/openapi.json")).await.unwrap().json().await.unwrap();
    let tracking: Value = get(app.tracking("/openapi.json")).await.unwrap().json().await.unwrap();
    let track = {
        let schema = schema_of(&intake, "post", "/orders", &taken);
        let body: Value = taken.json().await.unwrap();
        assert_eq!(judge(&[(schema, body.clone())]), ["ok"]);
        app.tracking(&format!("/track/{}", body["handle"].as_str().unwrap()))
    };
    app.in_state(1, "recibido").await;
    let command = |url: String, body: Value| app.http.post(url).header("Idempotency-Key", "k").json(&body).send();
    let cancel = |body: Value| command(format!("{track}/cancel"), body);
    let unconfirmed = cancel(json!({})).await.unwrap();
    let cancelled = cancel(json!({ "confirm": true })).await.unwrap();
    assert_eq!(cancelled.status(), 200);
    let verb = "/orders/{id}/{verb}";
    let answers = [
        (&tracking, "post", "/track/{handle}/cancel", unconfirmed),
        (&tracking, "post", "/track/{handle}/cancel", cancelled),
        (&tracking, "post", "/track/{handle}/cancel", cancel(json!({ "confirm": 1 })).await.unwrap()),
        (&tracking, "get", "/track/{handle}/commands/{command}", get(format!("{track}/commands/k")).await.unwrap()),
        (&tracking, "get", "/track/{handle}/commands/{command}", get(format!("{track}/commands/x")).await.unwrap()),
        (&tracking, "get", "/orders/{id}/commands/{command}", get(app.tracking("/orders/1/commands/k")).await.unwrap()),
        (&tracking, "get", "/track/{handle}/events", get(app.tracking("/track/nobody/events")).await.unwrap()),
        (&tracking, "post", verb, command(app.tracking("/orders/1/hold"), json!({ "by": "ana" })).await.unwrap()),
        (&tracking, "post", verb, command(app.tracking("/orders/1/delay"), json!({})).await.unwrap()),
        (&intake, "post", "/orders", refused),
        (&intake, "get", "/products", get(app.intake("/products?q=cafe")).await.unwrap()),
        (&intake, "get", "/products", get(app.intake("/products?q=cafe&page=1")).await.unwrap()),
        (&intake, "get", "/products", get(app.intake("/products?limit=0")).await.unwrap()),
        (&tracking, "get", "/track/{handle}", get(track.clone()).await.unwrap()),
        (&tracking, "get", "/track/{handle}", get(app.tracking("/track/nobody")).await.unwrap()),
        (&tracking, "get", "/orders/{id}", get(app.tracking("/orders/1")).await.unwrap()),
        (&tracking, "get", "/orders/{id}", get(app.tracking("/orders/9")).await.unwrap()),
        (&tracking, "get", "/", get(app.tracking("/?value=1")).await.unwrap()),
        (&tracking, "get", "/", get(app.tracking("/")).await.unwrap()),
    ];
    let mut pairs = Vec::new();
    for (document, method, path, answer) in answers {
        let schema = schema_of(document, method, path, &answer);
        pairs.push((schema, answer.json().await.unwrap()));
    }
    assert_eq!(judge(&pairs), vec!["ok"; pairs.len()]);
}

/// The status and the media type of the answer to a request as it stands.
async fn answer_to(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut head, mut line) = (Vec::new(), String::new());
    let mut reader = BufReader::new(stream);
    while reader.read_line(&mut line).await.unwrap() > 2 {
        head.push(std::mem::take(&mut line).trim().to_owned());
    }
    let media =
        head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-type: ").map(str::to_owned));
    let media = media.unwrap_or_else(|| panic!("{request}: {head:?}"));
    (head[0][9..12].to_owned(), media.split(';').next().unwrap().to_owned())
}

/// Who asks, how, and with how much: what stands before the endpoints answers that instead of any.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_before_all_endpoints_is_told_of_each() {
    let app = TestApp::start().await;
    let long = "x".repeat(80_000); // more than twice the room, since what comes at once may be read at once
    let documents = [
        (app.intake(""), encargo::intake::openapi()),
        (app.tracking(""), encargo::tracking::openapi()),
        (app.ops(""), encargo::ops::openapi()),
    ];
    let mut untold = Vec::new();
    for (url, document) in documents {
        let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
        for (path, methods) in document["paths"].as_object().unwrap() {
            let asked = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect::<Vec<_>>();
            let asked = asked.join("/").replace("/orders/1/1", "/orders/1/hold");
            for (method, operation) in methods.as_object().unwrap() {
                let line = format!("{} {asked} HTTP/1.1\r\nConnection: close\r\n", method.to_ascii_uppercase());
                let host = format!("Host: {address}\r\n");
                for (status, rest) in [
                    ("403", format!("{host}Origin: https://evil.example\r\n\r\n")),
                    ("403", "Host: evil.example\r\nSec-Fetch-Site: same-origin\r\n\r\n".to_owned()),
                    ("417", format!("{host}Expect: a-pony\r\n\r\n")),
                    ("415", format!("{host}Content-Encoding: gzip\r\n\r\n")),
                    ("501", format!("{host}Transfer-Encoding: gzip, chunked\r\n\r\n")),
                    ("413", format!("{host}Content-Length: 99999999\r\n\r\n")),
                    ("431", format!("{host}X: {long}\r\n\r\n")),
                    ("400", "\r\n".to_owned()),
                ] {
                    let (found, media) = answer_to(address, &format!("{line}{rest}")).await;
                    assert_eq!((&*found, &*media), (status, "application/problem+json"), "{line}{rest:.99}");
                    if operation["responses"][status]["content"][&media].is_null() {
                        untold.push(format!("{method} {path} answers {status} {media}"));
                    }
                }
                // what takes time, and what no request brings about
                for status in encargo::web::openapi::EVERYWHERE {
                    if operation["responses"][status.to_string()]["content"]["application/problem+json"].is_null() {
                        untold.push(format!("{method} {path} may answer {status}"));
                    }
                }
            }
        }
    }
    assert!(untold.is_empty(), "not told: {untold:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operations_answer_is_what_their_document_tells() {
    let app = TestApp::start_with(&[("mail.url", "smtp://127.0.0.1:1")]).await;
    app.place("1010", "ana@example.org").await;
    let document: Value = app.http.get(app.ops("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let get = |path: &str| app.http.get(app.ops(path)).send();
    let trouble = eventually("a mail that could not be sent", async || {
        let ledger = get("/ledger").await.unwrap();
        let schema = schema_of(&document, "get", "/ledger", &ledger);
        let ledger: Value = ledger.json().await.unwrap();
        let has_trouble =
            ledger["waiting"][0]["class"] == "unreachable" && ledger["destination"]["trouble"].is_object();
        if has_trouble { Ok((schema, ledger)) } else { Err(ledger.to_string()) }
    })
    .await;
    let mail = &trouble.1["waiting"][0];
    assert_eq!((&mail["orderid"], &mail["order"]), (&json!(1), &json!(1)), "old readers keep their name");
    let mut pairs = vec![trouble];
    for (path, asked) in [
        ("/readyz", "/readyz"),
        ("/scale", "/scale?lang=en"),
        ("/asyncapi.json", "/asyncapi.json"),
        ("/schemas/{schema}", "/schemas/order.json"),
        ("/schemas/{schema}", "/schemas/nothing.json"),
    ] {
        let answer = get(asked).await.unwrap();
        pairs.push((schema_of(&document, "get", path, &answer), answer.json().await.unwrap()));
    }
    assert_eq!(judge(&pairs), vec!["ok"; pairs.len()]);
    for (path, asked) in [("/livez", "/livez"), ("/orders.csv", "/orders.csv?late=&q=ana"), ("/metrics", "/metrics")] {
        schema_of(&document, "get", path, &get(asked).await.unwrap());
    }
    let metrics = app.http.get(app.ops("/metrics")).header("Accept", "application/openmetrics-text");
    schema_of(&document, "get", "/metrics", &metrics.send().await.unwrap());
}

/// What a listener asks of everybody, every operation behind it tells.
#[tokio::test(flavor = "multi_thread")]
async fn operations_behind_a_token_tell_that_they_are() {
    let app = TestApp::start_with(&[("ops.token", "0123456789abcdef")]).await;
    let document = encargo::ops::openapi();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let answer = app.http.get(app.ops(&path.replace("{schema}", "order.json"))).send().await.unwrap();
        let is_open = ["/livez", "/readyz"].contains(&path.as_str());
        assert_eq!(answer.status() == 401, !is_open, "{path}");
        assert_eq!(methods["get"]["security"].is_array(), !is_open, "{path}");
        schema_of(&document, "get", path, &answer);
    }
}

/// What a foreign tool checks of each answer to the requests that it makes of a document, good ones and bad ones: that the document
/// tells it, that what the document forbids is refused, and, of reads, that what it allows is not.
const CHECKS: &str = "tests/contract/schemathesis.toml";

/// The answers to requests that are made of a document, by whoever is at `url`: the tool's status and what it says.
fn requested(folder: &Path, document: &str, url: &str, arguments: &[&str]) -> Done {
    let mut tool = Command::new(needed("ENCARGO_TEST_PYTHON"));
    let checks = fs::canonicalize(CHECKS).expect("the checks are there");
    tool.current_dir(folder).args(["-m", "schemathesis.cli", "--config-file"]).arg(checks);
    tool.args(["run", document, "--url", url])
        .args(["--seed", "1", "--generation-database", "none", "--no-color", "--continue-on-failure"])
        .args(arguments);
    Done::from(output(&mut tool))
}

/// What is complained of, and what is done to `GET /products` in a document that it is complained of.
type Spoil = (&'static str, fn(&mut Value));

/// A document that tells less than is answered, one that allows more than is taken, and one that allows less.
const SPOILT: [Spoil; 3] = [
    ("Undocumented status code", |products| {
        fields(&mut products["responses"]).remove("422").expect("it is told");
    }),
    ("Schema-valid request rejected", |products| *schema_in(products, "over") = json!({ "type": "string" })),
    ("Schema-violating request accepted", |products| schema_in(products, "limit")["maximum"] = 50.into()),
];

/// The schema of a parameter.
fn schema_in<'a>(operation: &'a mut Value, name: &str) -> &'a mut Value {
    let mut all = operation["parameters"].as_array_mut().expect("parameters").iter_mut();
    &mut all.find(|parameter| parameter["name"] == name).expect("the parameter")["schema"]
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_requests_get_answers_that_the_documents_tell() {
    let examples = std::env::var("ENCARGO_OPENAPI_EXAMPLES").unwrap_or_else(|_| "5".into());
    let folder = tempfile::tempdir().unwrap();
    let up = Process::start(&folder.path().join("data"), &["--mail", "none:", "--dwell", "1h"]).await;
    place(&up, "ana@example.org").await;
    let document: Value = reqwest::get(up.url("intake", "/openapi.json")).await.unwrap().json().await.unwrap();
    let (folder, up, examples) = (folder.path(), &up, &*examples);
    let all = ["--phases", "examples,coverage,fuzzing", "--max-examples", examples];
    let done = std::thread::scope(|scope| {
        let listeners = LISTENERS.map(|listener| {
            scope.spawn(move || requested(folder, &up.url(listener, "/openapi.json"), &up.url(listener, ""), &all))
        });
        for (complaint, spoil) in SPOILT {
            let mut spoilt = document.clone();
            spoil(&mut spoilt["paths"]["/products"]["get"]);
            fs::write(folder.join("spoilt.json"), spoilt.to_string()).unwrap();
            let one = ["--phases", "coverage", "--include-path", "/products"];
            let spoilt = requested(folder, "spoilt.json", &up.url("intake", ""), &one);
            assert!(spoilt.status == 1 && spoilt.out.contains(complaint), "{complaint}: {spoilt:?}");
        }
        listeners.map(|listener| listener.join().unwrap())
    });
    for done in done {
        assert!(done.status == 0 && done.out.contains("passed"), "{}\n{}", done.out, done.err);
    }
}
