//! Orders in over HTTP: what is taken, what is refused, and what then lies in the log.

use encargo::domain::{Lang, wire};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::shop::{Shop, handles, id};

#[tokio::test]
async fn the_old_form_is_answered_as_by_the_old_service() {
    let shop = Shop::start().await;
    let response = shop.form("value=1").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(response.text().await.unwrap(), "Transaccion enviada!");
    let response = shop.form("value=+3&otro=x&usermail=ana%40example.org&value=4").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "Transaccion enviada!");

    let orders = shop.orders();
    let values: Vec<Value> = orders.iter().map(|(_, record)| serde_json::from_slice(&record.value).unwrap()).collect();
    let first = &values[0];
    assert_eq!((&first["orderid"], &first["gameid"]), (&json!(1), &json!("1010")));
    assert_eq!(first["name"], "Linterna de bolsillo \"Faro\"");
    assert_eq!((&first["price"], &first["usermail"]), (&json!("12.50"), &json!("cliente@localhost")));
    assert_eq!((&values[1]["gameid"], &values[1]["usermail"]), (&json!("1030"), &json!("ana@example.org")));
    for (order, record) in &orders {
        assert_eq!(record.key, Some(wire::key(order.id)));
        assert_eq!(order.handle, Some(handles().seal(order.id)));
        assert_eq!(order.placed_at, shop.clock.now());
        assert_eq!(record.headers, wire::order_headers(order));
    }
}

#[tokio::test]
async fn a_bad_form_is_explained_in_both_languages_and_nothing_is_written() {
    let shop = Shop::start().await;
    let rows = shop.get("/products?limit=100").send().await.unwrap().json::<Vec<Value>>().await.unwrap().len();
    let beyond = format!("value={}", rows + 1);
    let unprocessable: [&[u8]; 13] = [
        b"value=abc",
        b"value=0",
        b"value=999999",
        beyond.as_bytes(),
        b"value=99999999999999999999999999",
        b"value=-1",
        b"value=1.5",
        b"value=",
        b"value=%ff",
        b"value=\xff\xfe",
        b"usermail=ana@example.org",
        b"value=1&usermail=ana",
        b"value=1&usermail=ana%40example.org%0d%0aBcc:%20eva%40example.org",
    ];
    let mut cases: Vec<(reqwest::RequestBuilder, u16)> =
        unprocessable.into_iter().map(|body| (shop.form(body.to_vec()), 422)).collect();
    cases.push((shop.client.post(&shop.url), 422)); // no body
    cases.push((shop.client.post(&shop.url).body("value=1"), 415));
    for broken in ["--b", "", "--b\r\n\r\n1\r\n"] {
        let request = shop.client.post(&shop.url).header("content-type", "multipart/form-data; boundary=b");
        cases.push((request.body(broken), if broken.is_empty() { 422 } else { 400 }));
    }
    cases.push((shop.client.post(&shop.url).header("content-type", "multipart/form-data").body("--b--\r\n"), 400));
    for plus in ["value=1&usermail=ana+tag@example.org", "value=1&usermail=+ana@example.org"] {
        cases.push((shop.form(plus), 422));
    }
    cases.push((shop.form("value=1&x=".repeat(100_000)), 413)); // 1 MB
    for (i, (request, status)) in cases.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "case {i}");
        let text = response.text().await.unwrap().replace("\\n", "\n");
        assert!(text.trim_end().lines().count() == 2, "case {i}: {text}");
    }
    // the service goes on, and no id was spent
    assert_eq!(shop.form("value=1").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(shop.ids(), [1]);
}

#[tokio::test]
async fn an_order_by_json_can_be_followed() {
    let shop = Shop::start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = r#"{"product":"1050","email":"ana@example.org","lang":"en"}"#;
    let response = shop.json(body).header("traceparent", trace).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let page = format!("http://shop.example/track/{}", handles().seal(id(1)));
    assert_eq!(response.headers()["location"], *page);
    assert_eq!(response.headers()["content-type"], "application/json");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer, json!({"orderid": 1, "handle": handles().seal(id(1)).to_string(), "track": page}));

    let (order, _) = &shop.orders()[0];
    assert_eq!(&*order.product.name, "Cuaderno de Ñandú");
    assert_eq!((order.email.as_str(), order.lang), ("ana@example.org", Some(Lang::En)));
    assert_eq!(order.trace.unwrap().to_string(), trace);
    let metrics = shop.metrics();
    assert!(metrics.contains("encargo_orders_accepted_total{via=\"json\"} 1"), "{metrics}");
    assert!(metrics.contains("encargo_intake_request_seconds_count 1"), "{metrics}");
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let shop = Shop::start().await;
    let cases = [
        (r"", 400, ""),
        (r#"{"product":"1010""#, 400, ""),
        (r"[]", 400, ""),
        (r#"["1010","ana@example.org","es"]"#, 400, ""), // its fields in their order
        (r#"{"product":"1010","email":"a@b.c","email":"d@e.f"}"#, 400, ""),
        (r"{}", 422, "product email"),
        (r#"{"product":1010,"email":null}"#, 422, "product email"),
        (r#"{"product":"7","email":"ana"}"#, 422, "product email"),
        (r#"{"product":"1010","email":"ana@example.org","orderid":5,"estado":"finalizado"}"#, 422, "estado orderid"),
    ];
    for (body, status, fields) in cases {
        let response = shop.json(body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{body}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: Value = response.json().await.unwrap();
        let named: Vec<&str> =
            problem["errors"].as_array().into_iter().flatten().map(|e| e["field"].as_str().unwrap()).collect();
        assert_eq!(named.join(" "), fields, "{body}");
    }
    let plain = shop.client.post(format!("{}/orders", shop.url)).body(r#"{"product":"1010","email":"a@b.c"}"#);
    assert_eq!(plain.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(shop.ids().is_empty());
    let metrics = shop.metrics();
    assert!(metrics.contains("encargo_orders_refused_total{reason=\"invalid\"} 10"), "{metrics}");
}

#[tokio::test]
async fn the_old_form_is_taken_in_every_shape_that_flask_took() {
    let shop = Shop::start().await;
    let multipart = |fields: &[(&str, &str)]| {
        let part = |(name, value): &(&str, &str)| {
            format!("--x0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        fields.iter().map(part).collect::<String>() + "--x0--\r\n"
    };
    let ana = ("usermail", "ana+tag@example.org");
    let with_file = format!(
        "--x0\r\nContent-Disposition: form-data; name=\"value\"; filename=\"a.txt\"\r\n\r\n2\r\n{}",
        multipart(&[("value", "1"), ana])
    );
    let (urlencoded, form_data) = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x0");
    let default = "cliente@localhost";
    for (kind, body, email) in [
        (form_data, multipart(&[("value", "1"), ana]), ana.1),
        ("Multipart/Form-Data; charset=utf-8; boundary=\"x0\"", multipart(&[("value", "1"), ana]), ana.1),
        (form_data, multipart(&[("value", "1"), ("value", "2"), ana, ("usermail", "eva@example.org")]), ana.1),
        (form_data, multipart(&[("value", " 1 "), ("usermail", " ana+tag@example.org\n")]), ana.1),
        (form_data, multipart(&[("value", "1"), ("usermail", "")]), default),
        (form_data, with_file, ana.1),
        (urlencoded, "value=1&usermail=ana%2Btag%40example.org&value=2&usermail=eva@example.org".into(), ana.1),
        (urlencoded, "value=1&usermail=".into(), default),
        (urlencoded, "value=1&usermail=++".into(), default),
        (urlencoded, "value=1&usermail".into(), default),
        (urlencoded, "value=%31&usermail=ana%2Btag@example.org%0a".into(), ana.1),
        ("APPLICATION/X-WWW-FORM-URLENCODED; charset=ISO-8859-1", "value=1".into(), default),
        ("application/x-www-form-urlencoded;charset", "value=1".into(), default),
        (" application/x-url-encoded ;", "value=1".into(), default),
    ] {
        let request = shop.client.post(&shop.url).header("content-type", kind).body(body.clone());
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "Transaccion enviada!", "{kind} {body}");
        let (order, _) = shop.orders().pop().unwrap();
        assert_eq!((order.email.as_str(), &*order.product.id), (email, "1010"), "{kind} {body}");
        shop.consume_all().await; // the gate stays open
    }
    let query = shop.client.post(format!("{}/?value=1&value=2&usermail=ana%2Btag@example.org", shop.url));
    assert_eq!(query.send().await.unwrap().text().await.unwrap(), "Transaccion enviada!");
    let (order, _) = shop.orders().pop().unwrap();
    assert_eq!((order.email.as_str(), &*order.product.id), (ana.1, "1010"));
}

#[tokio::test]
async fn a_plus_that_became_a_blank_is_explained() {
    let shop = Shop::start().await;
    for body in ["value=1&usermail=ana+tag@example.org", "value=1&usermail=+ana@example.org"] {
        let refused = shop.form(body).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(refused.text().await.unwrap().contains("%2B"), "{body}");
    }
    assert!(shop.ids().is_empty());
}

#[tokio::test]
async fn no_order_is_refused_for_its_language() {
    let shop = Shop::start().await;
    for (lang, meant) in [
        (json!("en"), Some(Lang::En)),
        (json!("en-US"), Some(Lang::En)),
        (json!("EN"), Some(Lang::En)),
        (json!("es-MX"), Some(Lang::Es)),
        (json!("en_GB"), Some(Lang::En)),
        (json!(["de-DE", "en-US", "es"]), Some(Lang::En)),
        (json!("fr"), None),
        (json!(""), None),
        (json!("klingon-KL!\u{0}"), None),
        (json!("x".repeat(5_000)), None),
        (json!(null), None),
        (json!(1), None),
        (json!({"code": "en"}), None),
        (json!([[1], null, true]), None),
    ] {
        let body = json!({"product": "1010", "email": "ana@example.org", "lang": lang}).to_string();
        assert_eq!(shop.json(body.clone()).send().await.unwrap().status(), StatusCode::ACCEPTED, "{body}");
        let (order, _) = shop.orders().pop().unwrap();
        assert_eq!(order.lang, meant, "{body}");
        shop.consume_all().await;
    }
}

#[tokio::test]
async fn products_are_found() {
    let shop = Shop::start().await;
    let found = |path: &'static str| async { shop.get(path).send().await.unwrap().json::<Value>().await.unwrap() };
    let item = json!([{"row": 5, "product": "1050", "name": "Cuaderno de Ñandú", "price": "4.75", "tile": "5503"}]);
    assert_eq!(found("/products?q=nandu%20CUAD").await, item);
    assert_eq!(found("/products?limit=2").await.as_array().unwrap().len(), 2);
    assert_eq!(found("/products").await.as_array().unwrap().len(), 20);
    // a program that orders the first must not get what was not asked for
    assert_eq!(found("/products?q=cuaderon").await, json!([]));
    for path in [
        "/products?limit=0",
        "/products?limit=101",
        "/products?limit=x",
        &format!("/products?q={}", "a".repeat(201)),
        "/products?page=0",
        "/products?page=-1",
        "/products?order=random",
        "/products?over=1,5",
        "/products?up_to=%0d%0aSet-Cookie:x",
        "/products?sample=101",
        "/products?sample=3&seed=x",
    ] {
        let problem = shop.get(path).send().await.unwrap();
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}");
    }
}

#[tokio::test]
async fn a_page_of_products_says_how_many_there_are_and_what_was_meant() {
    let shop = Shop::start().await;
    let found = |path: &str| {
        let request = shop.get(path);
        async { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let page = found("/products?q=CUADERON&page=1").await;
    assert_eq!((&page["spelling"], &page["catalog"]), (&json!("cuaderno"), &json!(56)), "{page}");
    assert_eq!(page["total"], page["items"].as_array().unwrap().len());
    let first = &page["items"][0];
    assert_eq!(first["parts"].as_array().unwrap()[1].as_str().unwrap().to_lowercase(), "cuaderno", "{first}");
    let exact = found("/products?q=cuaderno&page=1").await;
    assert_eq!((&exact["items"], &exact["spelling"]), (&page["items"], &Value::Null));

    let all = found("/products?page=2&limit=50&order=cheapest").await;
    assert_eq!((&all["total"], &all["pages"], all["items"].as_array().unwrap().len()), (&json!(56), &json!(2), 6));
    assert_eq!(found("/products?page=3&limit=50").await["items"], json!([]));
    assert_eq!(found("/products?page=18446744073709551615&limit=100").await["items"], json!([]));
    let some = found("/products?over=2&up_to=5&order=dearest&limit=100&page=1").await;
    let prices: Vec<f64> =
        some["items"].as_array().unwrap().iter().map(|item| item["price"].as_str().unwrap().parse().unwrap()).collect();
    assert!(!prices.is_empty() && prices.is_sorted_by(|a, b| a >= b), "{prices:?}");
    assert!(prices.iter().all(|price| *price > 2.0 && *price <= 5.0), "{prices:?}");
    assert_eq!((&some["total"], &some["at_any_price"]), (&json!(prices.len()), &json!(56)));

    let drawn = found("/products?sample=6&seed=7").await;
    assert_eq!((drawn.as_array().unwrap().len(), &found("/products?sample=6&seed=7").await), (6, &drawn));
    assert_eq!(found("/products?sample=100").await.as_array().unwrap().len(), 56, "no more than there are");
    let rows: std::collections::BTreeSet<u64> =
        drawn.as_array().unwrap().iter().map(|item| item["row"].as_u64().unwrap()).collect();
    assert_eq!(rows.len(), 6, "each once: {drawn}");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let shop = Shop::start().await;
    let unknown = shop.get("/nothing").send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(unknown.headers()["content-type"], "application/problem+json");
    assert_eq!(unknown.headers()["x-content-type-options"], "nosniff");
    assert_eq!(unknown.headers()["cache-control"], "no-store");
    let wrong = shop.get("/orders").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()["allow"], "POST");
    assert_eq!(wrong.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn options_name_the_methods_as_the_readme_says() {
    let shop = Shop::start().await;
    let asked = shop.client.request(reqwest::Method::OPTIONS, &shop.url).send().await.unwrap();
    assert_eq!(
        (asked.status().as_u16(), &asked.headers()["allow"]),
        (405, &reqwest::header::HeaderValue::from_static("POST"))
    );
}
