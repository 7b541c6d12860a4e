//! What this listener answers to programs, as an OpenAPI document.

use serde_json::{Value, json};

use super::{
    OldAnswer, OrderJson,
    outcome::{OutcomeJson, PendingJson},
};
use crate::{
    domain::command::Verb,
    web::openapi::{About, Content, Endpoint, document, parameter, parameter_like},
};

const ABOUT: About = About {
    title: "Encargo: tracking",
    description: "Tells where orders are. By number they are for the shop alone: from this machine, or with the key. Of parameters with the \
                  same name the first counts, and unknown ones are ignored. Pages for people, which the same paths answer to browsers, are \
                  left out.",
    key: Some("tracking.api_key"),
};
const UNKNOWN: &str = "There is no such order.";
/// What a lookup by handle answers when there is nothing to show.
const NOT_SHOWN: &str = "There is no such order, or it is taken and waits to be shown: then `waiting` tells how many are before it, and `wait_s` how \
                         many seconds that takes.";

/// The document.
pub fn openapi() -> Value {
    let looks = [by_value(), by_id(), shop_command(), outcome_by_id()];
    let customers = [by_handle(), cancel(), outcome_by_handle(), events()];
    let mut document = document(&ABOUT, looks.into_iter().chain(customers).collect());
    let for_the_shop = [
        ("/", "get"),
        ("/orders/{id}", "get"),
        ("/orders/{id}/{verb}", "post"),
        ("/orders/{id}/commands/{command}", "get"),
    ];
    for (path, method) in for_the_shop {
        document["paths"][path][method]["security"] = json!([{}, { "key": [] }]);
    }
    document
}

fn by_value() -> Endpoint {
    const NUMBER: &str = "The order's number; what is none has no order.";
    let mut value = parameter_like("query", "value", NUMBER, json!({ "type": "string" }), "1");
    value["required"] = true.into();
    let found = Content::answered::<OldAnswer<'static>>().like(include_str!("examples/old.json"));
    Endpoint {
        parameters: vec![value],
        answers: vec![(200, "Where it is.", Some(found)), (404, UNKNOWN, Some(Content::text("text/plain")))],
        problems: &[401, 422],
        meanings: &[(422, "There is no value.")],
        ..Endpoint::new("get", "/", "findOrderByValue", "Look an order up by number, as the old service answered")
    }
}

fn id() -> Value {
    parameter_like("path", "id", "The order's number.", json!({ "type": "string", "pattern": "^[0-9]+$" }), "1")
}

fn handle() -> Value {
    parameter("path", "handle", "The handle from the answer to the order.", json!({ "type": "string" }))
}

/// A command's name, which the client may choose.
fn name() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$" })
}

fn by_id() -> Endpoint {
    let order = Content::answered::<OrderJson<'static>>().like(include_str!("examples/order.json"));
    Endpoint {
        parameters: vec![id()],
        answers: vec![(200, "The order.", Some(order))],
        problems: &[401, 404],
        meanings: &[(404, UNKNOWN)],
        ..Endpoint::new("get", "/orders/{id}", "getOrder", "All about an order, by number")
    }
}

fn by_handle() -> Endpoint {
    let order = Content::answered::<OrderJson<'static>>().like(include_str!("examples/tracked.json"));
    Endpoint {
        parameters: vec![handle()],
        answers: vec![(200, "The order.", Some(order))],
        problems: &[404],
        meanings: &[(404, NOT_SHOWN)],
        ..Endpoint::new(
            "get",
            "/track/{handle}",
            "trackOrder",
            "Where an order is, without addresses, for who has its handle",
        )
    }
}

fn events() -> Endpoint {
    let seen = "The id of the last event that was seen.";
    let stream = Content::text("text/event-stream").like(include_str!("examples/events.txt"));
    Endpoint {
        parameters: vec![
            handle(),
            parameter("query", "since", seen, json!({ "type": "string" })),
            parameter("header", "Last-Event-ID", seen, json!({ "type": "string" })),
        ],
        answers: vec![(200, "What happens, as it happens.", Some(stream))],
        problems: &[404],
        meanings: &[(404, NOT_SHOWN)],
        ..Endpoint::new(
            "get",
            "/track/{handle}/events",
            "followOrder",
            "Changes of an order as server-sent events: each `change` is the order as trackOrder answers it, `end` the last",
        )
    }
}

/// The name of a command, with one for examples.
fn key(example: &str) -> Value {
    let what = "A random name for the command: the same one again gets the same answer, and nothing is done twice.";
    parameter_like("header", "Idempotency-Key", what, name(), example)
}

const WRITTEN: &str = "It is written down, and not decided yet.";
/// Of a command that somebody asks about, and that may not have come this far.
const UNDECIDED: &str = "It is not decided yet, if it was ever sent: nobody can tell which.";

fn decided(example: &str, pending: &'static str) -> Vec<(u16, &'static str, Option<Content>)> {
    vec![
        (200, "What became of it.", Some(Content::answered::<OutcomeJson<'static>>().like(example))),
        (202, pending, Some(Content::answered::<PendingJson<'static>>())),
    ]
}

fn shop_command() -> Endpoint {
    let verbs = json!({ "type": "string", "enum": Verb::ALL.map(Verb::name) });
    let fields = json!({
        "reason": words("Why, for the order's history; 500 characters at most, no control characters.", 500),
        "by": words("Who does it, for the order's history; 64 characters at most, `shop` unless told.", 64),
        "until": { "type": ["string", "null"], "format": "date-time", "description": "delay, instead of `for`: until when." },
        "for": { "type": ["string", "null"], "description": "delay: for how much longer, like 20m.", "examples": ["20m"] },
        "usermail": { "type": ["string", "null"], "description": "address: where mails go from now on." },
    });
    let body = json!({ "type": "object", "properties": fields, "additionalProperties": false });
    let body = Content::of("application/json", body).like(r#"{"reason":"The customer asked us to wait."}"#);
    Endpoint {
        parameters: vec![id(), parameter_like("path", "verb", "What is to be done.", verbs, "hold"), key("docs-hold")],
        takes: Some(body),
        can_do_without: true,
        answers: decided(include_str!("examples/held.json"), WRITTEN),
        problems: &[401, 404, 409, 422],
        meanings: &[
            (404, UNKNOWN),
            (409, "It changes nothing: as the order stands that is not possible. `code` says why, `allowed` what is."),
            (422, "A field is wrong or none of this command, or the Idempotency-Key was used for something else."),
        ],
        ..Endpoint::new(
            "post",
            "/orders/{id}/{verb}",
            "commandOrder",
            "Cancel, advance, refuse, hold, resume or delay an order, or correct its address",
        )
    }
}

/// A text that somebody may have written.
fn words(what: &str, most: u32) -> Value {
    json!({ "type": ["string", "null"], "minLength": 1, "maxLength": most, "description": what })
}

fn cancel() -> Endpoint {
    let really = "true: really; without it the answer says what would be cancelled.";
    let mut key_in_body = name();
    key_in_body["type"] = json!(["string", "null"]);
    key_in_body["description"] = "The Idempotency-Key, where no header can be sent.".into();
    let fields = json!({
        "confirm": { "type": ["boolean", "null"], "description": really },
        "reason": words("Why, for the shop; 500 characters at most, no control characters.", 500),
        "key": key_in_body,
    });
    let body = json!({ "type": "object", "properties": fields, "additionalProperties": false });
    Endpoint {
        parameters: vec![handle(), key("docs-cancel")],
        takes: Some(Content::of("application/json", body).like(r#"{"confirm":true}"#)),
        can_do_without: true,
        answers: decided(include_str!("examples/cancelled.json"), WRITTEN),
        problems: &[404, 409, 422],
        meanings: &[
            (404, NOT_SHOWN),
            (409, "It changes nothing: the order cannot be cancelled any more. `code` says why."),
            (422, "It is not confirmed, a field is wrong, or the Idempotency-Key was used for something else."),
        ],
        ..Endpoint::new("post", "/track/{handle}/cancel", "cancelOrder", "Cancel an order, as its customer")
    }
}

/// Where to look what became of a command.
fn outcome(path: &'static str, id: &'static str, order: Value, command: &str) -> Endpoint {
    let sent = "The copy of the command that was sent, as `Location` has it.";
    let copy = json!({ "type": "string", "pattern": "^[0-9]{1,9}-[0-9]{1,18}$" });
    Endpoint {
        parameters: vec![
            order,
            parameter_like("path", "command", "The command's name.", name(), command),
            parameter("query", "copy", sent, copy),
        ],
        meanings: &[(404, "There is no such order, or the command is about another one.")],
        ..Endpoint::new("get", path, id, "What became of a command")
    }
}

fn outcome_by_id() -> Endpoint {
    Endpoint {
        answers: decided(include_str!("examples/held.json"), UNDECIDED),
        problems: &[401, 404, 422],
        ..outcome("/orders/{id}/commands/{command}", "getOutcome", id(), "docs-hold")
    }
}

fn outcome_by_handle() -> Endpoint {
    Endpoint {
        answers: decided(include_str!("examples/cancelled.json"), UNDECIDED),
        problems: &[404, 422],
        ..outcome("/track/{handle}/commands/{command}", "trackOutcome", handle(), "docs-cancel")
    }
}
