//! What this listener answers to programs, as an OpenAPI document.

use serde_json::{Value, json};

use super::{OldAnswer, OrderJson};
use crate::web::openapi::{Content, Endpoint, document, parameter};

const ABOUT: &str = "Tells where orders are. By number they are for the shop alone: from this machine, or with the key. Pages for people, \
                     which the same paths answer to browsers, and commands, are left out.";
const UNKNOWN: &str = "There is no such order.";

/// The document.
pub fn openapi() -> Value {
    let mut document = document("Encargo: tracking", ABOUT, vec![by_value(), by_id(), by_handle()]);
    for path in ["/", "/orders/{id}"] {
        document["paths"][path]["get"]["security"] = json!([{}, { "key": [] }]);
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

fn by_id() -> Endpoint {
    let number = json!({ "type": "string", "pattern": "^[0-9]+$" });
    Endpoint {
        method: "get",
        path: "/orders/{id}",
        id: "getOrder",
        summary: "All about an order, by number",
        parameters: vec![parameter("path", "id", "The order's number.", number)],
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
        parameters: vec![parameter(
            "path",
            "handle",
            "The handle from the answer to the order.",
            json!({ "type": "string" }),
        )],
        takes: None,
        answers: vec![(200, "The order.", Some(Content::answered::<OrderJson<'static>>()))],
        problems: &[404, 503],
    }
}
