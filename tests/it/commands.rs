//! Commands about orders, over HTTP: who may want what, and what becomes of it.

mod alone;
mod by_hand;
mod races;
mod week;

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::harness::{app::TestApp, eventually};

/// The standard dwell.
const DWELL: Duration = Duration::from_secs(8);

/// An answer: its status and what it says.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn form(request: RequestBuilder, body: &'static str) -> RequestBuilder {
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

/// An order in its first state; its handle.
async fn placed(app: &TestApp) -> String {
    let placed = app.place("1010", "ana@example.org").await;
    app.in_state(placed["orderid"].as_u64().unwrap(), "recibido").await;
    placed["handle"].as_str().unwrap().to_owned()
}

fn ask(app: &TestApp, order: u64, verb: &str, body: &Value) -> RequestBuilder {
    app.http.post(app.tracking(&format!("/orders/{order}/{verb}"))).json(body)
}

async fn shop(app: &TestApp, order: u64, verb: &str, body: Value) -> Value {
    let (status, said) = answer(ask(app, order, verb, &body)).await;
    assert_eq!(status, 200, "{verb} {body}: {said}");
    assert_eq!(said["result"], "done", "{said}");
    said
}

async fn order(app: &TestApp, id: u64) -> Value {
    answer(app.http.get(app.tracking(&format!("/orders/{id}")))).await.1
}

async fn commands_in_log(app: &TestApp) -> usize {
    let done = crate::cli::beside(app, &["log", "read", "encargo_commands", "--json"]).await;
    done.json().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_cancels_after_a_second_word_and_hears_of_it() {
    let app = TestApp::start().await;
    let handle = placed(&app).await;
    let cancel = || app.http.post(app.tracking(&format!("/track/{handle}/cancel")));
    let (status, said) = answer(cancel()).await;
    assert_eq!((status, &said["errors"][0]["field"]), (422, &json!("confirm")), "{said}");
    let detail = said["detail"].as_str().unwrap();
    for part in ["cancelaría el pedido 1", "would cancel order 1", "12.50", "recibido", "confirm=true"] {
        assert!(detail.contains(part), "{part} is not in {detail}");
    }
    assert_eq!(commands_in_log(&app).await, 0, "asking costs nothing");

    let (status, said) = answer(form(cancel(), "confirm=true&reason=me+equivoqu%C3%A9")).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(
        (&said["result"], &said["estado"], &said["closes"], &said["allowed"], &said["seq"]),
        (&json!("done"), &json!("cancelado"), &json!("cancelled"), &json!([]), &json!(2))
    );
    // whoever looks next sees it
    let (_, track) = answer(app.http.get(app.tracking(&format!("/track/{handle}")))).await;
    assert_eq!((&track["estado"], &track["closes"]), (&json!("cancelado"), &json!("cancelled")));
    assert_eq!((&track["finished"], &track["allowed"], &track["next_at"]), (&json!(false), &json!([]), &Value::Null));
    assert!(track["history"][1].get("by").is_none(), "that is for the shop: {track}");
    let shown = order(&app, 1).await;
    assert_eq!(shown["history"][1]["by"], "customer");
    assert_eq!(shown["history"][1]["reason"], "me equivoqué");

    let (status, said) = answer(form(cancel(), "confirm=true")).await;
    assert_eq!((status, &said["code"], &said["estado"]), (409, &json!("closed"), &json!("cancelado")), "{said}");
    assert!(
        said["detail"].as_str().unwrap().starts_with("El pedido ya está cancelado.\nThe order is cancelled already.")
    );
    assert_eq!(commands_in_log(&app).await, 1, "a closed order is answered without a command");

    app.clock.advance(DWELL * 4);
    app.place("1020", "eva@example.org").await;
    app.in_state(2, "recibido").await; // so all that was due before is done
    assert_eq!(order(&app, 1).await["seq"], shown["seq"], "nothing comes after the end");
    let mut states: Vec<_> =
        app.mails(3).await.into_iter().filter(|mail| mail.id == 1).map(|mail| mail.estado).collect();
    states.sort();
    assert_eq!(states, ["cancelado", "recibido"]);
    assert_eq!(app.metric("encargo_orders{state=\"cancelled\"}").await, 1);
    assert_eq!(app.metric("encargo_commands_total{do=\"cancel\",result=\"done\"}").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_its_way_only_the_shop_cancels() {
    let app = TestApp::start().await;
    let handle = placed(&app).await;
    for state in ["preparando", "entregando"] {
        app.advance_to(1, state, DWELL).await;
    }
    let cancel = || app.http.post(app.tracking(&format!("/track/{handle}/cancel")));
    for request in [cancel(), cancel().json(&json!({ "confirm": true }))] {
        let (status, said) = answer(request).await;
        assert_eq!((status, &said["code"], &said["allowed"]), (409, &json!("too-late"), &json!([])), "{said}");
        assert_eq!(said["estado"], "entregando");
    }
    let shown = order(&app, 1).await;
    assert_eq!(shown["allowed"], json!(["cancel", "hold", "delay", "address"]));
    let said = shop(&app, 1, "cancel", json!({ "reason": "no hay repartidor", "by": "eva" })).await;
    assert_eq!(said["estado"], "cancelado");
    let shown = order(&app, 1).await;
    let last = shown["history"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["by"], &last["reason"], &last["command"]),
        (&json!("eva"), &json!("no hay repartidor"), &said["command"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_holds_resumes_delays_and_corrects() {
    let app = TestApp::start().await;
    let handle = placed(&app).await;
    app.clock.advance(Duration::from_secs(3));
    let held = shop(&app, 1, "hold", json!({})).await;
    assert_eq!((&held["waits"], &held["next_at"], &held["estado"]), (&json!("held"), &Value::Null, &json!("recibido")));
    assert_eq!(held["allowed"], json!(["cancel", "resume", "address"]));
    app.clock.advance(Duration::from_hours(1));
    for (verb, body, code) in
        [("hold", json!({}), "held"), ("delay", json!({ "for": "1m" }), "held"), ("advance", json!({}), "held")]
    {
        let (status, said) = answer(ask(&app, 1, verb, &body)).await;
        assert_eq!((status, &said["code"]), (409, &json!(code)), "{verb}: {said}");
    }
    let resumed = shop(&app, 1, "resume", json!({})).await;
    assert_eq!((&resumed["waits"], &resumed["next_at"]), (&json!("timer"), &json!("2025-11-24T17:00:08.000Z")));
    let delayed = shop(&app, 1, "delay", json!({ "for": "20m" })).await;
    assert_eq!(delayed["next_at"], "2025-11-24T17:20:08.000Z");
    let until = "2025-11-24T17:00:09.500Z";
    assert_eq!(shop(&app, 1, "delay", json!({ "until": until })).await["next_at"], until);
    let (status, said) = answer(ask(&app, 1, "delay", &json!({ "until": "2020-01-01T00:00:00Z" }))).await;
    assert_eq!((status, &said["code"]), (409, &json!("time")), "{said}");

    shop(&app, 1, "address", json!({ "usermail": "ana.b@example.org" })).await;
    let (status, said) = answer(ask(&app, 1, "address", &json!({ "usermail": "ana.b@example.org" }))).await;
    assert_eq!((status, &said["code"]), (409, &json!("same-address")), "{said}");
    for (verb, code) in [("resume", "not-held"), ("advance", "only-by-timer"), ("refuse", "no-such-end")] {
        let (status, said) = answer(ask(&app, 1, verb, &json!({}))).await;
        assert_eq!((status, &said["code"]), (409, &json!(code)), "{verb}: {said}");
        assert!(said["detail"].as_str().unwrap().contains('\n'), "in both languages: {said}");
        assert_eq!(said["allowed"], json!(["cancel", "hold", "delay", "address"]));
    }
    let shown = app.advance_to(1, "preparando", DWELL).await;
    assert_eq!(
        (&shown["usermail"], &shown["placed_usermail"]),
        (&json!("ana.b@example.org"), &json!("ana@example.org"))
    );
    let changes: Vec<_> = shown["history"].as_array().unwrap().iter().map(|entry| entry["change"].clone()).collect();
    assert_eq!(changes, ["entered", "held", "resumed", "delayed", "delayed", "readdressed", "entered"]);
    let (_, track) = answer(app.http.get(app.tracking(&format!("/track/{handle}")))).await;
    assert!(!track.to_string().contains("@example.org"), "{track}");
    let mails = eventually("a mail to the corrected address", async || {
        let mails = app.mails(2).await;
        let is_there = mails.iter().any(|mail| mail.estado == "preparando");
        if is_there { Ok(mails) } else { Err(format!("{mails:?}")) }
    })
    .await;
    let mut to: Vec<_> = mails.iter().map(|mail| (mail.estado.as_str(), mail.to.as_str())).collect();
    to.sort_unstable();
    assert_eq!(to, [("preparando", "ana.b@example.org"), ("recibido", "ana@example.org")], "changes are not mailed");
    let (_, old) = answer(app.http.get(app.tracking("/?value=1"))).await;
    assert_eq!(old["usermail"], "ana.b@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_command() {
    let app = TestApp::start().await;
    placed(&app).await;
    placed(&app).await;
    let keyed = |order: u64, verb: &str, key: &str| {
        app.http.post(app.tracking(&format!("/orders/{order}/{verb}"))).header("idempotency-key", key)
    };
    let first = answer(keyed(1, "hold", "k-1")).await;
    assert_eq!((first.0, &first.1["command"]), (200, &json!("k-1")), "{first:?}");
    assert_eq!(answer(keyed(1, "hold", "k-1")).await, first, "the same answer");
    assert_eq!(commands_in_log(&app).await, 1, "and no second command");
    for (order, verb) in [(1, "cancel"), (1, "resume"), (2, "hold")] {
        let (status, said) = answer(keyed(order, verb, "k-1")).await;
        assert_eq!((status, &said["type"]), (422, &json!("urn:encargo:problem:key-reused")), "{order} {verb}: {said}");
    }
    // what was refused is asked again
    assert_eq!(answer(keyed(2, "resume", "k-2")).await.1["code"], "not-held");
    shop(&app, 2, "hold", json!({})).await;
    assert_eq!(answer(keyed(2, "resume", "k-2")).await.1["result"], "done");
    // and an end is remembered as the answer that it was
    let cancelled = answer(keyed(1, "cancel", "k-3")).await;
    assert_eq!(cancelled.0, 200, "{cancelled:?}");
    assert_eq!(answer(keyed(1, "cancel", "k-3")).await, cancelled);
    assert_eq!(answer(keyed(1, "cancel", "k-4")).await.1["code"], "closed");
    for key in ["a b", &"k".repeat(65)] {
        let (status, said) = answer(keyed(2, "hold", key)).await;
        assert_eq!(status, 400, "{said}");
    }
    let twice = keyed(2, "hold", "k-5").header("idempotency-key", "k-6");
    assert_eq!(answer(twice).await.0, 400);
    let readdress = |to: &str| answer(keyed(2, "address", "k-7").json(&json!({ "usermail": to })));
    let first = readdress("eva@example.org").await;
    assert_eq!((first.0, readdress("eva@example.org").await), (200, first));
    assert_eq!(readdress("ana2@example.org").await.1["type"], "urn:encargo:problem:key-reused");
    // what became of it can be looked up by the order's own path alone
    let look = |path: &str| app.http.get(app.tracking(path));
    let (status, said) = answer(look("/orders/1/commands/k-1")).await;
    assert_eq!((status, &said["result"], &said["orderid"]), (200, &json!("done"), &json!(1)), "{said}");
    assert_eq!(answer(look("/orders/2/commands/k-1")).await.0, 404);
    assert_eq!(answer(look("/orders/1/commands/k-never")).await.0, 202);
    assert_eq!(answer(look("/orders/1/commands/a%20b")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_and_what_is_wrong_is_told() {
    let app = TestApp::start_with(&[
        ("tracking.api_key", "0123456789abcdef"),
        ("intake.allowed_origins", "https://shop.example"),
    ])
    .await;
    let handle = placed(&app).await;
    let hold = || app.http.post(app.tracking("/orders/1/hold"));
    let cancel = || form(app.http.post(app.tracking(&format!("/track/{handle}/cancel"))), "confirm=true");
    // pages of others, in whatever way, and those whose scripts may order
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "https://shop.example"),
        ("origin", "http://localhost:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(answer(hold().header(name, value)).await.0, 403, "{name}: {value}");
    }
    for origin in ["https://evil.example", "null"] {
        assert_eq!(answer(cancel().header("origin", origin)).await.0, 403, "{origin}");
    }
    let by_proxy = || hold().header("x-forwarded-for", "203.0.113.9");
    assert_eq!(answer(by_proxy()).await.0, 401);
    assert_eq!(answer(by_proxy().bearer_auth("0123456789abcdee")).await.0, 401);
    let unknown = answer(app.http.post(app.tracking("/orders/99/hold"))).await;
    assert_eq!(unknown.0, 404);
    for path in [
        "/orders/0/hold",
        "/orders/x/hold",
        "/track/00000000000000000000000000000000/cancel",
        "/track/x/cancel",
        "/track/x/commands/k",
    ] {
        let request =
            if path.ends_with('k') { app.http.get(app.tracking(path)) } else { app.http.post(app.tracking(path)) };
        assert_eq!(answer(request).await, unknown, "{path}");
    }
    assert_eq!(answer(app.http.post(app.tracking("/orders/1/explode"))).await.0, 404);
    assert_eq!(answer(app.http.get(app.tracking("/orders/1/hold"))).await.0, 405);
    assert_eq!(answer(hold().body("x".repeat(1 << 20)).header("content-type", "application/json")).await.0, 413);
    assert_eq!(answer(hold().body("x")).await.0, 415);
    let (status, said) = answer(hold().json(&json!({ "reson": "x" }))).await;
    assert_eq!((status, &said["errors"][0]["field"]), (422, &json!("reson")), "{said}");
    assert_eq!(commands_in_log(&app).await, 0, "none of these was taken");
    // the shop's own page, a proxy with the key, and a page whose scripts may order with the customer's handle
    let own = hold().header("origin", app.tracking("").as_str()).header("sec-fetch-site", "same-origin");
    assert_eq!(answer(own).await.0, 200);
    let resume = app.http.post(app.tracking("/orders/1/resume")).header("x-forwarded-for", "203.0.113.9");
    assert_eq!(answer(resume.bearer_auth("0123456789abcdef")).await.0, 200);
    let page = cancel().header("origin", "https://shop.example").header("sec-fetch-site", "cross-site");
    let response = page.send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "https://shop.example");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_ended_are_not_asked_about() {
    let app = TestApp::start().await;
    placed(&app).await;
    for state in ["preparando", "entregando", "finalizado"] {
        app.advance_to(1, state, DWELL).await;
    }
    for verb in ["cancel", "advance", "refuse", "hold", "resume"] {
        let (status, said) = answer(ask(&app, 1, verb, &json!({}))).await;
        assert_eq!(
            (status, &said["code"], &said["estado"]),
            (409, &json!("closed"), &json!("finalizado")),
            "{verb}: {said}"
        );
        assert_eq!(said["allowed"], json!([]));
    }
    assert_eq!(commands_in_log(&app).await, 0);
    let shown = order(&app, 1).await;
    assert_eq!((&shown["finished"], &shown["closes"]), (&json!(true), &json!("finished")));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_after_a_restart_and_the_answers_are_kept() {
    let mut app = TestApp::start().await;
    placed(&app).await;
    let keyed = |app: &TestApp| app.http.post(app.tracking("/orders/1/hold")).header("idempotency-key", "k-1");
    let first = answer(keyed(&app)).await;
    assert_eq!(first.0, 200, "{first:?}");
    app.stop().await;
    app.start_again().await;
    assert_eq!(answer(keyed(&app)).await, first);
    app.clock.advance(Duration::from_mins(1));
    shop(&app, 1, "resume", json!({})).await;
    app.advance_to(1, "preparando", DWELL).await;
}
