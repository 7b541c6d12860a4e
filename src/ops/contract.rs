//! What this listener answers to programs, as an OpenAPI document.

use serde_json::{Value, json};

use super::{Readiness, answer::LedgerJson, desk::Sought, ledger, scale::ScaleJson};
use crate::web::openapi::{About, Content, Endpoint, document, parameter, parameters};

const ABOUT: About = About {
    title: "Encargo: operations",
    description: "Tells whether this process works and what it measures, and describes the formats of records. Pages for people, \
                  which the same paths answer to browsers, are left out, and so are their forms.",
    key: Some("ops.token; where none is set, nobody is asked for one"),
};

const JSON: &str = "application/json";
/// What those answer that are behind the token, where one is set.
const WITH_TOKEN: [u16; 2] = [401, 429];

/// The document.
pub fn openapi() -> Value {
    let looks = [livez(), readyz(), metrics(), scale(), ledger(), orders()];
    document(&ABOUT, looks.into_iter().chain([asyncapi(), schema()]).collect())
}

/// A look at something, which takes nothing.
fn look(path: &'static str, id: &'static str, summary: &'static str) -> Endpoint {
    let (parameters, answers) = (Vec::new(), Vec::new());
    Endpoint { method: "get", path, id, summary, parameters, takes: None, answers, problems: &[] }
}

fn livez() -> Endpoint {
    Endpoint {
        answers: vec![(200, "`ok`: it answers.", Some(Content::text("text/plain")))],
        ..look("/livez", "isAlive", "Whether this process answers at all; for whoever restarts it when it does not")
    }
}

fn readyz() -> Endpoint {
    let checks = || Some(Content::answered::<Readiness>());
    Endpoint {
        answers: vec![
            (200, "All that an order needs is there.", checks()),
            (503, "Something is missing; the checks say what.", checks()),
        ],
        ..look("/readyz", "isReady", "Whether this process can do its work; for whoever sends it requests")
    }
}

fn metrics() -> Endpoint {
    const TOLD: &str = "Prometheus' text format; `docs/metrics.md` names them all.";
    Endpoint {
        answers: ["text/plain", "application/openmetrics-text"]
            .map(|media| (200, TOLD, Some(Content::text(media))))
            .into(),
        problems: &[401, 429, 500],
        ..look(
            "/metrics",
            "getMetrics",
            "What is measured, in the older text format or, where Accept names it, as OpenMetrics",
        )
    }
}

fn scale() -> Endpoint {
    let lang = json!({ "type": "string", "examples": ["es", "en"] });
    Endpoint {
        parameters: vec![parameter(
            "query",
            "lang",
            "The language of the reasons; else that of Accept-Language.",
            lang,
        )],
        answers: vec![(200, "What is wanted of each role.", Some(Content::answered::<ScaleJson>()))],
        problems: &[401, 429, 503],
        ..look("/scale", "getScale", "How many instances of each role are wanted, and why, for autoscalers")
    }
}

fn ledger() -> Endpoint {
    Endpoint {
        parameters: parameters::<ledger::Asked>("query"),
        answers: vec![(200, "The mails.", Some(Content::answered::<LedgerJson<'static>>()))],
        problems: &[401, 403, 404, 429, 503],
        ..look(
            "/ledger",
            "getLedger",
            "The mails in numbers, where they go, what waits, what is dead, and who gets none",
        )
    }
}

fn orders() -> Endpoint {
    Endpoint {
        parameters: parameters::<Sought>("query"),
        answers: vec![(
            200,
            "A header in the reader's language, then an order a line.",
            Some(Content::text("text/csv")),
        )],
        problems: &[401, 403, 404, 429, 503],
        ..look("/orders.csv", "downloadOrders", "Orders for a spreadsheet, the newest first, 100,000 at most")
    }
}

fn asyncapi() -> Endpoint {
    let any = json!({ "type": "object", "required": ["asyncapi"] });
    Endpoint {
        answers: vec![(200, "An AsyncAPI document, version 3.", Some(Content(JSON, any)))],
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
    let of = parameter("path", "schema", "Which format.", json!({ "type": "string", "enum": names }));
    let any = json!({ "type": "object", "required": ["$schema", "$id"] });
    Endpoint {
        parameters: vec![of],
        answers: vec![(200, "A JSON Schema, 2020-12.", Some(Content(JSON, any)))],
        problems: &[401, 404, 429],
        ..look("/schemas/{schema}", "getSchema", "The format of a record")
    }
}
