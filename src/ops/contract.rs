//! What this listener answers to programs, as an OpenAPI document.

use serde_json::{Value, json};

use super::{Readiness, answer::LedgerJson, desk::Sought, ledger, scale::ScaleJson};
use crate::web::openapi::{About, Content, Endpoint, document, parameter_like, parameters};

const ABOUT: About = About {
    title: "Encargo: operations",
    description: "Tells whether this process works and what it measures, and describes the formats of records. Of parameters with the same \
                  name the first counts, and unknown ones are ignored. Pages for people, which the same paths answer to browsers, are left \
                  out, and so are their forms.",
    key: Some("ops.token"),
};
/// What those answer that are behind the token, where one is set.
const WITH_TOKEN: [u16; 2] = [401, 429];
const TOO_MANY_TOKENS: (u16, &str) = (429, "There were too many wrong tokens; `Retry-After` says when to come back.");
const NOT_HERE: (u16, &str) = (404, "This process has no store: ask another one.");

/// The document.
pub fn openapi() -> Value {
    document(&ABOUT, vec![livez(), readyz(), metrics(), scale(), ledger(), orders(), asyncapi(), schema()])
}

fn look(path: &'static str, id: &'static str, summary: &'static str) -> Endpoint {
    Endpoint { meanings: &[TOO_MANY_TOKENS], ..Endpoint::new("get", path, id, summary) }
}

fn livez() -> Endpoint {
    Endpoint {
        answers: vec![(200, "It answers.", Some(Content::text("text/plain").like("ok")))],
        ..look("/livez", "isAlive", "Whether this process answers at all; for whoever restarts it when it does not")
    }
}

fn readyz() -> Endpoint {
    let checks = Content::answered::<Readiness>;
    let met = checks().like(include_str!("examples/ready.json"));
    Endpoint {
        answers: vec![
            (200, "All that an order needs is there.", Some(met)),
            (503, "Something is missing; the checks say what.", Some(checks())),
        ],
        ..look("/readyz", "isReady", "Whether this process can do its work; for whoever sends it requests")
    }
}

fn metrics() -> Endpoint {
    const TOLD: &str = "What is measured; `docs/metrics.md` names it all.";
    let plain = Content::text("text/plain").like(include_str!("examples/metrics.txt"));
    let open = Content::text("application/openmetrics-text");
    Endpoint {
        answers: vec![(200, TOLD, Some(plain)), (200, TOLD, Some(open))],
        problems: &[401, 429],
        ..look(
            "/metrics",
            "getMetrics",
            "What is measured, in Prometheus' text format or, where `Accept` names it, as OpenMetrics",
        )
    }
}

fn scale() -> Endpoint {
    let language = "The language of the reasons, `es` or `en`; else that of `Accept-Language`.";
    let lang = parameter_like("query", "lang", language, json!({ "type": "string" }), "en");
    let wanted = Content::answered::<ScaleJson>().like(include_str!("examples/scale.json"));
    Endpoint {
        parameters: vec![lang],
        answers: vec![(200, "What is wanted of each role.", Some(wanted))],
        problems: &[401, 429],
        meanings: &[TOO_MANY_TOKENS, (503, "Nothing is known yet: keep what runs, and ask again in a moment.")],
        ..look("/scale", "getScale", "How many instances of each role are wanted, and why, for autoscalers")
    }
}

fn ledger() -> Endpoint {
    let mails = Content::answered::<LedgerJson<'static>>().like(include_str!("examples/ledger.json"));
    Endpoint {
        parameters: parameters::<ledger::Asked>("query"),
        answers: vec![(200, "The mails.", Some(mails))],
        problems: &[401, 404, 429],
        meanings: &[TOO_MANY_TOKENS, NOT_HERE],
        ..look(
            "/ledger",
            "getLedger",
            "The mails in numbers, where they go, what waits, what is dead, and who gets none",
        )
    }
}

fn orders() -> Endpoint {
    let table = Content::text("text/csv").like(include_str!("examples/orders.csv"));
    Endpoint {
        parameters: parameters::<Sought>("query"),
        answers: vec![(200, "A header in the reader's language, then an order a line.", Some(table))],
        problems: &[401, 404, 429],
        meanings: &[TOO_MANY_TOKENS, NOT_HERE],
        ..look("/orders.csv", "downloadOrders", "Orders for a spreadsheet, the newest first, 100,000 at most")
    }
}

fn asyncapi() -> Endpoint {
    Endpoint {
        answers: vec![(200, "An AsyncAPI document, version 3.", Some(Content::document(&["asyncapi"])))],
        problems: &WITH_TOKEN,
        ..look(
            "/asyncapi.json",
            "getTopics",
            "The topics of this deployment: keys, formats, who writes, which group reads",
        )
    }
}

fn schema() -> Endpoint {
    let names: Vec<_> = crate::contract::schemas().map(|(name, _)| format!("{name}.json")).collect();
    let names = json!({ "type": "string", "enum": names });
    Endpoint {
        parameters: vec![parameter_like("path", "schema", "Which format.", names, "order.json")],
        answers: vec![(200, "A JSON Schema, 2020-12.", Some(Content::document(&["$schema", "$id"])))],
        problems: &[401, 404, 429],
        ..look("/schemas/{schema}", "getSchema", "The format of a record")
    }
}
