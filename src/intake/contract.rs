//! What this listener answers to programs, as an OpenAPI document.

use serde_json::{Value, json};

use super::{
    json::{Accepted, Body},
    products::{Answer, Item},
};
use crate::{
    domain::Price,
    web::openapi::{About, Content, Endpoint, document, parameter, parameter_like},
};

const ABOUT: About = About {
    title: "Encargo: intake",
    description: "Takes orders. Of parameters with the same name the first counts, and unknown ones are ignored. Pages for people, which \
                  the same paths answer to browsers, are left out.",
    key: None,
};

/// The document.
pub fn openapi() -> Value {
    document(&ABOUT, vec![place(), products(), old_form()])
}

fn place() -> Endpoint {
    let key = json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" });
    let order = r#"{"product":"1010","email":"ana@example.org","lang":"es"}"#;
    let accepted = Content::answered::<Accepted<'static>>().like(include_str!("examples/accepted.json"));
    Endpoint {
        parameters: vec![parameter(
            "header",
            "Idempotency-Key",
            "A random name for the request: the same one again gets the same answer, and no second order.",
            key,
        )],
        takes: Some(Content::read::<Body<'static>>().like(order)),
        answers: vec![(202, "It is taken, and will not be lost.", Some(accepted))],
        problems: &[409, 422, 429],
        meanings: &[
            (400, "The body is no JSON object of this form, or the Idempotency-Key is none."),
            (409, "The first request with this Idempotency-Key is still being answered."),
            (422, "A field is wrong, or the Idempotency-Key was used with another body."),
            (
                429,
                "There were too many orders from this client or for this address, or its share of what waits is full.",
            ),
        ],
        ..Endpoint::new("post", "/orders", "placeOrder", "Place an order")
    }
}

fn products() -> Endpoint {
    let number = |least: u64, most: u64| json!({ "type": "integer", "minimum": least, "maximum": most });
    let words = json!({ "type": "string", "maxLength": 200 });
    let price = || json!({ "type": "string", "maxLength": Price::LENGTH_MAX, "pattern": "^[0-9]+(\\.[0-9]+)?$" });
    let orders = json!({ "type": "string", "enum": ["best", "cheapest", "dearest", "name"] });
    let found = Content::answered::<Vec<Item<'static>>>().or(Content::answered::<Answer<'static>>());
    Endpoint {
        parameters: vec![
            parameter_like(
                "query",
                "q",
                "Words of names, or a product's key; 200 characters at most.",
                words,
                "cuaderno",
            ),
            parameter("query", "limit", "How many at a time; 20 unless told.", number(1, 100)),
            parameter_like("query", "page", "Which page, from 1.", number(1, u64::MAX), 1),
            parameter("query", "order", "What comes first; the best matches unless told.", orders),
            parameter("query", "over", "Only products that cost more.", price()),
            parameter("query", "up_to", "Only products that cost this at most.", price()),
            parameter("query", "sample", "So many at random, whatever else is looked for.", number(1, 100)),
            parameter(
                "query",
                "seed",
                "With sample, what chance begins with: the same seed, the same products.",
                number(0, u64::MAX),
            ),
        ],
        answers: vec![(200, "What was found.", Some(found.like(include_str!("examples/products.json"))))],
        problems: &[422],
        ..Endpoint::new(
            "get",
            "/products",
            "findProducts",
            "Find products: the best matches as a list or, with page, order, over or up_to, a page of all",
        )
    }
}

fn old_form() -> Endpoint {
    let row = "The product's row in the catalogue, in digits.";
    let fields = json!({
        "value": { "type": "string", "pattern": "^[0-9]+$", "description": row },
        "usermail": { "type": "string", "description": "Where mails about the order go; that of the settings unless told." },
    });
    let form = json!({ "type": "object", "properties": fields, "required": ["value"] });
    let form = Content::of("application/x-www-form-urlencoded", form).like("value=1&usermail=ana@example.org");
    Endpoint {
        takes: Some(form),
        answers: [
            (200, "It is taken.", "text/html"),
            (400, "The form cannot be read.", "text/plain"),
            (413, "It is too long.", "text/plain"),
            (415, "The body is no form.", "text/plain"),
            (422, "A field is wrong.", "text/plain"),
            (429, "There were too many orders.", "text/plain"),
            (500, "Something failed, and the server's log has the reason.", "text/plain"),
            (503, "Not now; the order was not taken.", "text/plain"),
        ]
        .map(|(status, meaning, media)| {
            let text = Content::text(media);
            (status, meaning, Some(if status == 200 { text.like("Transaccion enviada!") } else { text }))
        })
        .into(),
        ..Endpoint::new(
            "post",
            "/",
            "placeOrderByForm",
            "Place an order as the old service took it; the fields may come in the query or as multipart/form-data, too",
        )
    }
}
