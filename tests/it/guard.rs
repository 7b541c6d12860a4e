//! Who may ask what: foreign web pages, foreign names, wrong keys, and too many orders.

use encargo::config;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::harness::{app::TestApp, eventually, smtp::Sink};

const ORDER: &str = r#"{"product":"1010","email":"ana@example.org"}"#;

fn post(app: &TestApp, path: &str, kind: &str, body: &str) -> RequestBuilder {
    app.http.post(app.intake(path)).header("content-type", kind).body(body.to_owned())
}

fn form(app: &TestApp, body: &str) -> RequestBuilder {
    post(app, "/", "application/x-www-form-urlencoded", body)
}

async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn no_listener_answers_a_foreign_name_or_site() {
    let app = TestApp::start().await;
    let handle = app.place("1010", "ana@example.org").await["handle"].as_str().unwrap().to_owned();
    app.in_state(1, "recibido").await;
    let urls = [
        app.tracking("/?value=1"),
        app.tracking("/orders/1"),
        app.intake("/products"),
        app.ops("/mailbox?q=ana@"),
        app.ops("/ledger"),
        app.ops("/metrics"),
    ];
    for url in urls {
        assert_eq!(answer(app.http.get(&url)).await.0, 200, "{url}");
        let foreign = answer(app.http.get(&url).header("host", "evil.example:5000")).await;
        assert!(foreign.0 == 403 && foreign.1.contains("http.allowed_hosts"), "{url}: {foreign:?}");
        assert!(!foreign.1.contains("ana@"), "{url}: {foreign:?}");
        let image = app.http.get(&url).header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "no-cors");
        assert_eq!(answer(image).await.0, 403, "{url}");
        let link = app.http.get(&url).header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "navigate");
        assert_eq!(answer(link.header("sec-fetch-dest", "document")).await.0, 200, "{url}");
    }
    let link = app.http.get(app.tracking(&format!("/track/{handle}"))).header("sec-fetch-site", "cross-site");
    assert_eq!(answer(link.header("sec-fetch-mode", "navigate")).await.0, 200);
    // a foreign page orders nothing, in whatever way
    for request in [
        form(&app, "value=1").header("origin", "http://evil.example").header("sec-fetch-site", "cross-site"),
        form(&app, "value=1").header("origin", "http://evil.example"),
        form(&app, "value=1").header("origin", "null"),
        form(&app, "value=1").header("origin", "http://evil.example").header("host", "evil.example"),
        post(&app, "/orders", "application/json", ORDER).header("origin", "https://evil.example"),
    ] {
        let (status, text) = answer(request).await;
        assert!(status == 403 && text.contains("\\n"), "in both languages: {status} {text}");
    }
    // and a program may call us as it likes
    assert_eq!(answer(form(&app, "value=1").header("host", "tienda.example")).await.0, 200);
    assert_eq!(app.metric("encargo_orders_accepted_total{via=\"form\"}").await, 1);
}

#[tokio::test]
async fn a_proxy_publishes_what_is_for_customers_and_no_addresses() {
    let settings = [
        ("http.allowed_hosts", "tienda.example"),
        ("tracking.public_url", "https://seguir.example"),
        ("tracking.api_key", "0123456789abcdef"),
    ];
    let app = TestApp::start_with(&settings).await;
    let placed = app.place("1010", "ana@example.org").await;
    app.in_state(1, "recibido").await;
    let handle = placed["handle"].as_str().unwrap();
    assert_eq!(placed["track"], format!("https://seguir.example/track/{handle}"));
    let as_host =
        |url: String, host: &str| app.http.get(url).header("host", host).header("x-forwarded-for", "203.0.113.9");
    assert_eq!(answer(as_host(app.intake("/products"), "tienda.example")).await.0, 200);
    assert_eq!(answer(as_host(app.tracking(&format!("/track/{handle}")), "seguir.example")).await.0, 200);
    for host in ["tienda.example", "seguir.example", "localhost"] {
        for path in ["/?value=1", "/orders/1"] {
            let by_number = answer(as_host(app.tracking(path), host)).await;
            assert!(by_number.0 == 401 && !by_number.1.contains("ana@"), "{host} {path}: {by_number:?}");
            let with_key = as_host(app.tracking(path), host).bearer_auth("0123456789abcdef");
            assert_eq!(answer(with_key).await.0, 200, "{host} {path}");
        }
        assert_eq!(answer(as_host(app.ops("/ledger"), host)).await.0, 403, "{host}");
    }
    let browser = form(&app, "value=1").header("host", "tienda.example").header("origin", "https://tienda.example");
    assert_eq!(answer(browser.header("sec-fetch-site", "same-origin")).await.0, 200);
}

#[tokio::test]
async fn an_allowed_page_orders_and_reads_the_answer() {
    let app =
        TestApp::start_with(&[("intake.allowed_origins", "https://shop.example,http://other.example:8080")]).await;
    let preflight = |origin: &str| {
        let request = app.http.request(reqwest::Method::OPTIONS, app.intake("/orders")).header("origin", origin);
        request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,idempotency-key")
            .header("sec-fetch-site", "cross-site")
    };
    let allowed = preflight("https://shop.example").send().await.unwrap();
    let headers = allowed.headers();
    assert!(allowed.status().is_success());
    assert_eq!(headers["access-control-allow-origin"], "https://shop.example");
    assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("POST"), "{headers:?}");
    let names = headers["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
    assert!(names.contains("content-type") && names.contains("idempotency-key"), "{names}");
    let (status, text) = answer(preflight("https://evil.example")).await;
    assert!(status == 403 && text.contains("intake.allowed_origins"), "{status} {text}");

    let from = |request: RequestBuilder, origin: &str| {
        request.header("origin", origin).header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "cors")
    };
    let order = from(post(&app, "/orders", "application/json", ORDER), "https://shop.example").send().await.unwrap();
    assert_eq!(
        (order.status(), &order.headers()["access-control-allow-origin"]),
        (StatusCode::ACCEPTED, &"https://shop.example".parse().unwrap())
    );
    assert!(order.headers()["access-control-expose-headers"].to_str().unwrap().contains("location"));
    let handle = order.json::<Value>().await.unwrap()["handle"].as_str().unwrap().to_owned();
    app.in_state(1, "recibido").await;
    for (url, is_shared) in [
        (app.intake("/products"), true),
        (app.tracking(&format!("/track/{handle}")), true),
        (app.tracking("/orders/1"), false),
    ] {
        let response = from(app.http.get(&url), "http://other.example:8080").send().await.unwrap();
        assert_eq!(response.headers().contains_key("access-control-allow-origin"), is_shared, "{url}");
        // also to who sends no origin, or a cache would give one page's answer to another
        let plain = app.http.get(&url).send().await.unwrap();
        let vary = plain.headers().get("vary").map_or("", |vary| vary.to_str().unwrap()).to_ascii_lowercase();
        assert_eq!(vary.contains("origin"), is_shared, "{url}: {vary}");
    }
    // what is wrong with an order its page may read, too
    let wrong = from(post(&app, "/orders", "application/json", "{}"), "https://shop.example").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.headers().contains_key("access-control-allow-origin"));
    // and what was refused before any route was asked
    for (origin, may_read) in [("https://shop.example", true), ("https://evil.example", false)] {
        let long = "x".repeat(1 << 20);
        let long = from(post(&app, "/orders", "application/json", &long), origin).send().await.unwrap();
        assert_eq!(long.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(long.headers().contains_key("access-control-allow-origin"), may_read, "{origin}");
    }
}

#[tokio::test]
async fn a_wrong_api_key_is_counted_and_challenged() {
    let settings = [("tracking.listen", "0.0.0.0:0"), ("tracking.api_key", "0123456789abcdef")];
    let app = TestApp::start_with(&settings).await;
    let port = app.app().addresses.tracking.unwrap().port();
    app.place("1010", "ana@example.org").await;
    let ask = |authorization: &str| {
        let request = app.http.get(format!("http://127.0.0.1:{port}/orders/1"));
        if authorization.is_empty() { request } else { request.header("authorization", authorization) }
    };
    for right in ["Bearer 0123456789abcdef", "bearer 0123456789abcdef", "BEARER  0123456789abcdef"] {
        eventually(right, async || match ask(right).send().await.unwrap().status() {
            StatusCode::OK => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
    }
    let wrong = [
        "Bearer 0123456789abcdeF",
        "Bearer 0123456789abcde",
        "Bearer 0123456789abcdef0",
        "Bearer ",
        "Bearer",
        "Basic 0123456789abcdef",
        "0123456789abcdef",
        "Bearer\u{a0}0123456789abcdef",
    ];
    for wrong in wrong {
        let refused = ask(wrong).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(
            refused.headers()["www-authenticate"],
            "Bearer realm=\"encargo\", error=\"invalid_token\"",
            "{wrong}"
        );
    }
    let without = ask("").send().await.unwrap();
    assert_eq!(
        (without.status().as_u16(), &without.headers()["www-authenticate"]),
        (401, &"Bearer realm=\"encargo\"".parse().unwrap())
    );
    assert_eq!(app.metric("encargo_lookups_denied_total{key=\"wrong\"}").await, wrong.len() as u64);
    assert_eq!(app.metric("encargo_lookups_denied_total{key=\"none\"}").await, 1);
}

#[test]
fn a_key_that_can_be_guessed_or_never_sent_is_refused_at_the_start() {
    for (key, reason) in [
        ("k", "16 characters"),
        ("0123456789abcde", "16 characters"),
        ("ключ-ключ-ключ-ключ", "visible ASCII"),
        ("0123456789 abcdef", "visible ASCII"),
    ] {
        let error = config::load(None, &[("tracking.api_key", key.to_owned())]).unwrap_err().to_string();
        assert!(
            error.contains("tracking.api_key") && error.contains(reason) && (key.len() == 1 || !error.contains(key)),
            "{error}"
        );
    }
    for key in ["", "0123456789abcdef"] {
        config::load(None, &[("tracking.api_key", key.to_owned())]).unwrap();
    }
}

#[tokio::test]
async fn too_many_orders_for_one_address_are_a_429() {
    let settings = [("intake.rate_per_address", "3/h"), ("intake.rate_per_client", "5/h"), ("http.trusted_hops", "1")];
    let app = TestApp::start_with(&settings).await;
    let order = |email: &str| {
        post(&app, "/orders", "application/json", &json!({"product": "1010", "email": email}).to_string())
    };
    for email in ["ana@example.org", "ANA@example.org", "ana+1@example.org"] {
        assert_eq!(answer(order(email).header("idempotency-key", email)).await.0, 202, "{email}");
    }
    let refused = order("ana+2@example.org").send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1200".parse().unwrap()));
    let refused = form(&app, "value=1&usermail=ana%40example.org").send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1200".parse().unwrap()));
    assert_eq!(refused.text().await.unwrap().lines().count(), 2);
    // what was answered is answered again, others have their own, and the form's own address has no bound
    assert_eq!(answer(order("ana@example.org").header("idempotency-key", "ana@example.org")).await.0, 202);
    assert_eq!(answer(order("eva@example.org")).await.0, 202);
    for _ in 0..7 {
        assert_eq!(answer(form(&app, "value=1")).await.0, 200, "from this machine");
    }
    app.clock.advance(std::time::Duration::from_mins(20));
    assert_eq!(answer(order("ana@example.org")).await.0, 202);
    // whom the proxy served, not what they say of themselves
    let by = |client: &str| form(&app, "value=1").header("x-forwarded-for", format!("198.51.100.7, {client}"));
    for _ in 0..5 {
        assert_eq!(answer(by("203.0.113.9")).await.0, 200);
    }
    assert_eq!(answer(by("203.0.113.9")).await.0, 429);
    assert_eq!(answer(by("203.0.113.10")).await.0, 200);
    assert_eq!(app.metric("encargo_orders_refused_total{reason=\"limited\"}").await, 3);
}

#[tokio::test]
async fn links_never_lead_to_all_addresses() {
    let sink = Sink::start().await;
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let app = TestApp::start_with(&[("tracking.listen", listen), ("mail.url", &sink.url())]).await;
        let email = format!("{}@example.org", if listen.starts_with('[') { "six" } else { "four" });
        let track = app.place("1010", &email).await["track"].as_str().unwrap().to_owned();
        assert!(track.starts_with("http://127.0.0.1:") || track.starts_with("http://[::1]:"), "{track}");
        let mail = eventually("a mail", async || {
            sink.mails().into_iter().find(|mail| mail.to == email).ok_or_else(|| "none yet".to_owned())
        })
        .await;
        let text = String::from_utf8_lossy(&mail.raw).replace("=\r\n", "");
        assert!(text.contains("Linterna") && !text.contains("/track/"), "{text}");
    }
    for nowhere in ["http://0.0.0.0:5000", "http://[::]/"] {
        assert!(config::load(None, &[("tracking.public_url", nowhere.to_owned())]).is_err(), "{nowhere}");
    }
}
