//! `/docs`: what people are shown of what listeners answer to programs is what these answer.

use std::{collections::BTreeMap, process::Command};

use encargo::domain::Lang;
use serde_json::Value;

use super::{LISTENERS, judge};
use crate::{
    cli::Done,
    harness::{
        eventually,
        process::{Process, output},
    },
    pages::check::flaws,
};

/// The page of a listener.
async fn page(up: &Process, listener: &str, lang: Lang) -> String {
    let ask = reqwest::Client::new().get(up.url(listener, "/docs")).header("accept-language", lang.code());
    let page = ask.send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    page.text().await.unwrap()
}

/// The commands of a page in their order, each with the operation that it is an example of.
fn commands(html: &str) -> Vec<(String, String)> {
    let shown = html.split("<div class=\"cmd\" data-operation=\"").skip(1);
    let text = |markup: &str| {
        let signs = [("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
        signs.iter().fold(markup.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
    };
    let command = |rest: &str| {
        let (operation, rest) = rest.split_once('"').unwrap();
        let (code, _) = rest.split_once("<code>").unwrap().1.split_once("</code>").unwrap();
        (operation.to_owned(), text(code))
    };
    shown.map(command).collect()
}

/// The method, the path and what else a document says of an operation.
fn operation<'a>(document: &'a Value, id: &str) -> &'a Value {
    let paths = document["paths"].as_object().unwrap().values();
    let mut all = paths.flat_map(|methods| methods.as_object().unwrap().values());
    all.find(|operation| operation["operationId"] == id).expect("the page names operations of the document")
}

/// Whether two values have the same fields, of the same types. A value that is not there is of any type; of lists the first
/// values count.
fn are_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Object(one), Value::Object(other)) => {
            one.keys().eq(other.keys()) && one.iter().all(|(name, value)| are_alike(value, &other[name]))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.iter().zip(other).take(1).all(|(one, other)| are_alike(one, other))
        }
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// Every line of a text that is shown is one of what came, whatever numbers and names of orders stand in it.
fn are_lines_of(shown: &str, came: &str) -> bool {
    let plain =
        |line: &str| line.replace(|c: char| c.is_ascii_digit(), "0").trim_start_matches('\u{feff}').trim().to_owned();
    let came: Vec<_> = came.lines().map(plain).collect();
    shown.lines().map(plain).all(|line| came.contains(&line))
}

/// An answer as `curl -i` prints it: status, media type, body.
fn read(answer: &str) -> (u16, &str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let media = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    (status, media.split(';').next().unwrap_or_default(), body)
}

/// Waits for the mail about the order that the shop's page has placed.
async fn told_by_mail(up: &Process) {
    eventually("the mail about the first order", async || {
        let order = reqwest::get(up.url("tracking", "/orders/1")).await.map_err(|error| error.to_string())?;
        let order: Value = order.json().await.map_err(|error| error.to_string())?;
        if order["history"][0]["mail"] == "sent" { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_is_shown_does_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let up = Process::start(&folder.path().join("data"), &["--dwell", "1h"]).await;
    let mut pairs = Vec::new();
    let mut whose = Vec::new();
    for listener in LISTENERS {
        if listener == "tracking" {
            told_by_mail(&up).await;
        }
        let html = page(&up, listener, Lang::Es).await;
        assert_eq!(flaws(&html), Vec::<String>::new(), "{html}");
        let shown = commands(&html);
        let english = page(&up, listener, Lang::En).await;
        assert_eq!(commands(&english), shown, "the same in both languages");
        let document: Value = reqwest::get(up.url(listener, "/openapi.json")).await.unwrap().json().await.unwrap();
        let before = shown.iter().find(|(operation, _)| operation == "before").map_or("", |(_, command)| command);
        let shown: BTreeMap<_, _> = shown.iter().filter(|(operation, _)| operation != "before").cloned().collect();
        let ids: Vec<_> = document["x-order"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        assert_eq!(shown.len(), ids.len(), "each operation has an example: {shown:?}");
        for id in ids {
            let command = &shown[id];
            assert!(command.contains(&up.url(listener, "")), "{command}");
            let done = Done::from(output(Command::new("sh").args(["-c", &format!("{before}\n{command}")])));
            assert_eq!(done.status, 0, "{command}\n{}", done.err);
            let (status, media, body) = read(&done.out);
            let response = &operation(&document, id)["responses"][&status.to_string()];
            assert!((200..300).contains(&status), "{command}: {}", done.out);
            let told = &response["content"][media];
            assert!(told["schema"].is_object(), "{command} answers {status} {media}, which is not told");
            match &told["example"] {
                Value::String(example) => {
                    assert!(are_lines_of(example, body), "{id} shows\n{example}\nand answers\n{body}");
                }
                example if media == "application/json" => {
                    let body: Value = serde_json::from_str(body).unwrap();
                    // a part of it, where there is much of the same
                    let part =
                        if id == "getScale" { serde_json::json!({ "mail": body["mail"] }) } else { body.clone() };
                    assert!(are_alike(example, &part), "{id} shows\n{example:#}\nand answers\n{body:#}");
                    let mut schema = told["schema"].clone();
                    schema["components"] = document["components"].clone();
                    pairs.push((schema, body));
                    whose.push(command.clone());
                }
                _ => {}
            }
        }
    }
    let verdicts = judge(&pairs);
    let wrong: Vec<_> = whose.iter().zip(&verdicts).filter(|(_, verdict)| *verdict != "ok").collect();
    assert!(wrong.is_empty() && pairs.len() > 12, "{wrong:#?}");
}

/// Whoever shows a key in front of a listener is shown commands that have it.
#[tokio::test(flavor = "multi_thread")]
async fn commands_have_the_key_where_one_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Process::command(&folder.path().join("data"), &["--dwell", "1h"]);
    command.env("ENCARGO_TRACKING_API_KEY", "0123456789abcdef").env("ENCARGO_OPS_TOKEN", "fedcba9876543210");
    let up = Process::spawn(command, folder.path().join("data.log"));
    up.ready().await;
    let html = page(&up, "tracking", Lang::En).await;
    let order = commands(&html).into_iter().find(|(operation, _)| operation == "getOrder").unwrap().1;
    assert!(order.ends_with(" -H \"Authorization: Bearer $ENCARGO_TRACKING_API_KEY\""), "{order}");
    let closed = reqwest::get(up.url("ops", "/docs")).await.unwrap();
    assert_eq!(closed.status(), 401, "with the numbers, behind the token");
}
