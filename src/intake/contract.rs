//! What this listener answers to programs, as an OpenAPI document.

use serde_json::{Value, json};

use super::{
    json::{Accepted, Body},
    products::{Answer, Item},
};
use crate::web::openapi::{About, Content, Endpoint, document, parameter};

const ABOUT: About = About {
    title: "Encargo: intake",
    description: "Takes orders. Pages for people, which the same paths answer to browsers, are left out.",
    key: None,
};

/// The document.
pub fn openapi() -> Value {
    document(&ABOUT, vec![place(), products(), old_form()])
}

fn place() -> Endpoint {
    let key = json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" });
    Endpoint {
        method: "post",
        path: "/orders",
        id: "placeOrder",
        summary: "Place an order",
        parameters: vec![parameter(
            "header",
            "Idempotency-Key",
            "A random name for the request: the same one again gets the same answer, and no second order.",
            key,
        )],
        takes: Some(Content::read::<Body<'static>>()),
        answers: vec![(202, "It is taken, and will not be lost.", Some(Content::answered::<Accepted<'static>>()))],
        problems: &[400, 409, 413, 415, 422, 429, 500, 503],
    }
}

fn products() -> Endpoint {
    let number = |least: u64, most: u64| json!({ "type": "integer", "minimum": least, "maximum": most });
    let text = || json!({ "type": "string" });
    let Content(media, items) = Content::answered::<Vec<Item<'static>>>();
    let Content(_, page) = Content::answered::<Answer<'static>>();
    Endpoint {
        method: "get",
        path: "/products",
        id: "findProducts",
        summary: "Find products: the best matches as a list or, with page, order, over or up_to, a page of all",
        parameters: vec![
            parameter("query", "q", "Words of names, or a product's key; 200 bytes at most.", text()),
            parameter("query", "limit", "How many at a time; 20 unless told.", number(1, 100)),
            parameter("query", "page", "Which page, from 1.", json!({ "type": "integer", "minimum": 1 })),
            parameter(
                "query",
                "order",
                "What comes first.",
                json!({ "enum": ["best", "cheapest", "dearest", "name"] }),
            ),
            parameter("query", "over", "The least price.", text()),
            parameter("query", "up_to", "The highest price.", text()),
            parameter("query", "sample", "So many at random, instead of a search.", number(1, 100)),
            parameter(
                "query",
                "seed",
                "What chance begins with: the same seed, the same products.",
                number(0, u64::MAX),
            ),
        ],
        takes: None,
        answers: vec![(200, "What was found.", Some(Content(media, json!({ "anyOf": [items, page] }))))],
        problems: &[422, 503],
    }
}

fn old_form() -> Endpoint {
    let fields = json!({
        "value": { "type": "string", "description": "The product's row in the catalogue." },
        "usermail": { "type": "string", "description": "Where mails about the order go." },
    });
    let form = json!({ "type": "object", "properties": fields, "required": ["value"] });
    Endpoint {
        method: "post",
        path: "/",
        id: "placeOrderByForm",
        summary: "Place an order as the old service took it",
        parameters: Vec::new(),
        takes: Some(Content("application/x-www-form-urlencoded", form)),
        answers: [
            (200, "It is taken: Transaccion enviada!", "text/html"),
            (400, "The form cannot be read.", "text/plain"),
            (413, "It is too long.", "text/plain"),
            (415, "The body is no form.", "text/plain"),
            (422, "A field is wrong.", "text/plain"),
            (429, "There were too many orders.", "text/plain"),
            (503, "Not now; the order was not taken.", "text/plain"),
        ]
        .map(|(status, meaning, media)| (status, meaning, Some(Content::text(media))))
        .into(),
        problems: &[],
    }
}
