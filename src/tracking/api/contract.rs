//! What this listener answers to programs, as an OpenAPI document.

use serde_json::{Value, json};

use super::{
    OldAnswer, OrderJson,
    outcome::{OutcomeJson, PendingJson},
};
use crate::{
    domain::command::Verb,
    web::openapi::{About, Content, Endpoint, document, parameter},
};

const ABOUT: About = About {
    title: "Encargo: tracking",
    description: "Tells where orders are. By number they are for the shop alone: from this machine, or with the key. Pages for people, \
                  which the same paths answer to browsers, are left out.",
    key: Some("tracking.api_key"),
};
const UNKNOWN: &str = "There is no such order.";

/// What a command can take without a body.
const NO_BODY: [&str; 2] = ["/orders/{id}/{verb}", "/track/{handle}/cancel"];

/// The document.
pub fn openapi() -> Value {
    let looks = vec![by_value(), by_id(), by_handle(), events()];
    let commands = vec![shop_command(), cancel(), outcome_by_id(), outcome_by_handle()];
    let mut document = document(&ABOUT, looks.into_iter().chain(commands).collect());
    let for_the_shop = [
        ("/", "get"),
        ("/orders/{id}", "get"),
        ("/orders/{id}/{verb}", "post"),
        ("/orders/{id}/commands/{command}", "get"),
    ];
    for (path, method) in for_the_shop {
        document["paths"][path][method]["security"] = json!([{}, { "key": [] }]);
    }
    for path in NO_BODY {
        document["paths"][path]["post"]["requestBody"]["required"] = false.into();
    }
    document
}

fn by_value() -> Endpoint {
    Endpoint {
        method: "get",
        path: "/",
        id: "findOrderByValue",
        summary: "Look an order up by number, as the old service answered",
        parameters: vec![parameter("query", "value", "The order's number.", json!({ "type": "string" }))],
        takes: None,
        answers: vec![
            (200, "Where it is.", Some(Content::answered::<OldAnswer<'static>>())),
            (404, UNKNOWN, Some(Content::text("text/plain"))),
        ],
        problems: &[401, 403, 422, 503],
    }
}

fn id() -> Value {
    parameter("path", "id", "The order's number.", json!({ "type": "string", "pattern": "^[0-9]+$" }))
}

fn handle() -> Value {
    parameter("path", "handle", "The handle from the answer to the order.", json!({ "type": "string" }))
}

/// A command's name, which the client may choose.
fn name() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$" })
}

fn by_id() -> Endpoint {
    Endpoint {
        method: "get",
        path: "/orders/{id}",
        id: "getOrder",
        summary: "All about an order, by number",
        parameters: vec![id()],
        takes: None,
        answers: vec![(200, "The order.", Some(Content::answered::<OrderJson<'static>>()))],
        problems: &[401, 403, 404, 503],
    }
}

fn by_handle() -> Endpoint {
    Endpoint {
        method: "get",
        path: "/track/{handle}",
        id: "trackOrder",
        summary: "Where an order is, without addresses, for who has its handle",
        parameters: vec![handle()],
        takes: None,
        answers: vec![(200, "The order.", Some(Content::answered::<OrderJson<'static>>()))],
        problems: &[404, 503],
    }
}

fn events() -> Endpoint {
    let seen = "The id of the last event that was seen.";
    Endpoint {
        method: "get",
        path: "/track/{handle}/events",
        id: "followOrder",
        summary: "Changes of an order as server-sent events: each `change` is the order as trackOrder answers it, `end` the last",
        parameters: vec![
            handle(),
            parameter("query", "since", seen, json!({ "type": "string" })),
            parameter("header", "Last-Event-ID", seen, json!({ "type": "string" })),
        ],
        takes: None,
        answers: vec![(200, "What happens, as it happens.", Some(Content::text("text/event-stream")))],
        problems: &[404, 503],
    }
}

fn key() -> Value {
    let what = "A random name for the command: the same one again gets the same answer, and nothing is done twice.";
    parameter("header", "Idempotency-Key", what, name())
}

fn decided() -> Vec<(u16, &'static str, Option<Content>)> {
    vec![
        (200, "What became of it.", Some(Content::answered::<OutcomeJson<'static>>())),
        (202, "It is written down, and not decided yet.", Some(Content::answered::<PendingJson<'static>>())),
    ]
}

fn shop_command() -> Endpoint {
    let verbs = Verb::ALL.map(Verb::name);
    let text = |description, most: u32| json!({ "type": "string", "minLength": 1, "maxLength": most, "description": description });
    let fields = json!({
        "reason": text("Why, for the order's history.", 500),
        "by": text("Who does it, for the order's history; `shop` unless told.", 64),
        "until": { "type": "string", "format": "date-time", "description": "delay: until when." },
        "for": { "type": "string", "description": "delay: for how much longer, like 20m.", "examples": ["20m"] },
        "usermail": { "type": "string", "description": "address: where mails go from now on." },
    });
    let body = json!({ "type": "object", "properties": fields, "additionalProperties": false });
    Endpoint {
        method: "post",
        path: "/orders/{id}/{verb}",
        id: "commandOrder",
        summary: "Cancel, advance, refuse, hold, resume or delay an order, or correct its address",
        parameters: vec![id(), parameter("path", "verb", "What is to be done.", json!({ "enum": verbs })), key()],
        takes: Some(Content("application/json", body)),
        answers: decided(),
        problems: &[400, 401, 403, 404, 409, 413, 415, 422, 500, 503],
    }
}

fn cancel() -> Endpoint {
    let fields = json!({
        "confirm": { "type": "boolean", "description": "true: really; without it the answer says what would be cancelled." },
        "reason": { "type": "string", "minLength": 1, "maxLength": 500, "description": "Why, for the shop." },
        "key": name(),
    });
    let body = json!({ "type": "object", "properties": fields, "additionalProperties": false });
    Endpoint {
        method: "post",
        path: "/track/{handle}/cancel",
        id: "cancelOrder",
        summary: "Cancel an order, as its customer",
        parameters: vec![handle(), key()],
        takes: Some(Content("application/json", body)),
        answers: decided(),
        problems: &[400, 404, 409, 413, 415, 422, 500, 503],
    }
}

/// Where to look what became of a command.
fn outcome(path: &'static str, id: &'static str, order: Value, problems: &'static [u16]) -> Endpoint {
    let sent = "The copy of the command that was sent, as `Location` has it.";
    Endpoint {
        method: "get",
        path,
        id,
        summary: "What became of a command",
        parameters: vec![
            order,
            parameter("path", "command", "The command's name.", name()),
            parameter("query", "copy", sent, json!({ "type": "string" })),
        ],
        takes: None,
        answers: decided(),
        problems,
    }
}

fn outcome_by_id() -> Endpoint {
    outcome("/orders/{id}/commands/{command}", "getOutcome", id(), &[401, 403, 404, 422, 503])
}

fn outcome_by_handle() -> Endpoint {
    outcome("/track/{handle}/commands/{command}", "trackOutcome", handle(), &[404, 422, 503])
}
