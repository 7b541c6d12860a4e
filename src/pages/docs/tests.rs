use axum::http::HeaderValue;
use serde_json::json;

use super::*;
use crate::pages::check::flaws;

#[test]
fn commands_show_nothing_of_a_name_that_is_none() {
    for (host, known, expected) in [
        (Some("shop.example:3000"), None, "http://shop.example:3000"),
        (Some("[::1]:3000"), None, "http://[::1]:3000"),
        (Some("shop.example"), Some("https://shop.example"), "https://shop.example"),
        (Some("10.0.0.1:3000"), Some("https://shop.example"), "http://10.0.0.1:3000"),
        (Some("$(reboot)"), None, "http://localhost"),
        (Some("x`y`"), Some("https://shop.example"), "https://shop.example"),
        (Some(""), None, "http://localhost"),
        (None, None, "http://localhost"),
    ] {
        assert_eq!(address(host, known), expected, "{host:?} {known:?}");
    }
}

#[test]
fn what_a_document_says_of_itself_is_text() {
    let document = json!({
        "info": { "description": "A <b> and `c<d`.", "version": "1" },
        "x-order": ["put"],
        "paths": { "/a/{b}/{c}": { "post": {
            "operationId": "put",
            "summary": "<i>",
            "security": [],
            "parameters": [
                { "in": "path", "name": "b", "required": true, "schema": { "type": "string" } },
                { "in": "path", "name": "c", "required": true, "schema": { "type": "string" }, "example": "x y" },
                { "in": "query", "name": "q", "schema": { "enum": ["<", "d"] }, "example": "ñ&" },
                { "in": "header", "name": "H", "schema": { "type": "integer", "minimum": 1 }, "example": 1 },
            ],
            "requestBody": { "content": { "application/json": { "schema": { "type": "object" }, "example": { "it": "'s" } } } },
            "responses": { "200": { "description": "Well.", "content": {} } },
        } } },
        "components": {
            "schemas": { "Problem": { "properties": { "type": { "type": "string" } } } },
            "securitySchemes": { "key": { "description": "a.key" } },
        },
    });
    let told = Told { name: "ops", has_key: true, ..Told::default() };
    let docs = Docs::new(&Site::default(), document, told);
    let reader = Reader::of(&axum::http::Method::GET, &"/docs?lang=en".parse().unwrap(), &HeaderMap::new());
    let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("h:1"))]);
    let html = text(docs.page(&reader, &headers));
    assert_eq!(flaws(&html), Vec::<String>::new(), "{html}");
    assert!(html.contains("A &lt;b&gt; and <code>c&lt;d</code>."), "{html}");
    let command = html.split("data-operation=\"put\"").nth(1).and_then(|rest| rest.split("<code>").nth(1)).unwrap();
    let command = command.split("</code>").next().unwrap();
    let command = [("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/"), ("&amp;", "&")]
        .iter()
        .fold(command.to_owned(), |text, (entity, sign)| text.replace(entity, sign));
    let expected = r#"curl -i "http://h:1/a/$B/x%20y?q=%C3%B1%26" -H 'H: 1' -H "Authorization: Bearer $ENCARGO_A_KEY" -H 'Content-Type: application/json' -d '{"it":"'\''s"}'"#;
    assert_eq!(command, expected);
}

fn text(response: Response) -> String {
    let bytes = futures_executor(axum::body::to_bytes(response.into_body(), 1 << 20));
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

fn futures_executor<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
