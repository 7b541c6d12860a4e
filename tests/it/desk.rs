//! The operations desk over HTTP, with its forms.

mod capacity;
mod live;
mod log;
mod resend;
mod shown;

use std::time::Duration;

use encargo::{
    domain::{Lang, OrderId, wire::Headers},
    eventlog::NewRecord,
    store::dead::DeadId,
};
use reqwest::{Response, StatusCode, redirect::Policy};
use serde_json::Value;

use crate::{
    harness::{app::TestApp, eventually},
    ledger::bounce,
};

const BROWSER: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

async fn page_in(app: &TestApp, path: &str, lang: Lang) -> String {
    let request = app.http.get(app.ops(path)).header("accept", BROWSER).header("accept-language", lang.code());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.text().await.unwrap().replace("&#x2f;", "/")
}

async fn page(app: &TestApp, path: &str) -> String {
    page_in(app, path, Lang::En).await
}

/// The page, once it has these words: what it shows is up to a second old.
async fn page_with(app: &TestApp, path: &str, words: &str) -> String {
    eventually(&format!("{words:?} on {path}"), async || {
        let html = page(app, path).await;
        if html.contains(words) { Ok(html) } else { Err(html) }
    })
    .await
}

/// The hidden fields of the form on a page.
fn fields(html: &str) -> Vec<(String, String)> {
    let of = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next()?.replace("&amp;", "&").replace("&#x2f;", "/"))
    };
    let hidden = html.split("<input").skip(1).filter(|tag| tag.contains("type=\"hidden\""));
    hidden.filter_map(|tag| Some((of(tag, "name")?, of(tag, "value")?))).collect()
}

/// Sends a form as a browser does, and stays where the answer is.
async fn send(app: &TestApp, path: &str, fields: &[(String, String)], origin: Option<&str>) -> Response {
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let own = app.ops("");
    let request = client.post(app.ops(path)).header("accept", BROWSER).header("accept-language", "en");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    request.header("origin", origin.unwrap_or(&own)).body(body).send().await.unwrap()
}

fn with(fields: &[(String, String)], more: &[(&str, &str)]) -> Vec<(String, String)> {
    let kept = fields.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name)).cloned();
    kept.chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
}

async fn order(app: &TestApp, id: u64) -> Value {
    app.http.get(app.tracking(&format!("/orders/{id}"))).send().await.unwrap().json().await.unwrap()
}

/// Waits until no mail is on its way.
async fn all_sent(app: &TestApp) {
    eventually("no mail on its way", async || {
        let ledger: Value = app.http.get(app.ops("/ledger")).send().await.unwrap().json().await.unwrap();
        if ledger["mails"]["sent"] == 1 { Ok(()) } else { Err(ledger["mails"].to_string()) }
    })
    .await;
}

async fn placed(app: &TestApp) -> u64 {
    let id = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
    app.in_state(id, "recibido").await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_says_first_whether_all_is_well() {
    let app = TestApp::start().await;
    assert!(page_in(&app, "/", Lang::Es).await.contains("Todo listo. Todavía no hay pedidos"));
    assert!(page(&app, "/").await.contains("All set. There are no orders yet"));
    let id = placed(&app).await;
    let calm = page_with(&app, "/", "Everything goes as planned").await;
    for words in [
        "<b class=\"n\">1</b> accepted",
        "It adds up",
        "Being prepared",
        "compra_detalle/",
        "encargo log groups",
        "<dt>Turned away</dt><dd>0 <span",
    ] {
        assert!(calm.contains(words), "{words} is missing in {calm}");
    }
    all_sent(&app).await;
    bounce(&app, 901, "rosa@example.org", "550 5.1.1 <rosa@example.org> no such user").await;
    let alarmed = page_with(&app, "/", "One thing needs attention").await;
    assert!(alarmed.contains("One failure to look at") && alarmed.contains("href=\"/failures\""), "{alarmed}");
    let spanish = page_in(&app, "/", Lang::Es).await;
    assert!(spanish.contains("<html lang=\"es\">") && spanish.contains("Una cosa pide atención"), "{spanish}");
    let act = format!("/orders/{id}/hold");
    for path in ["/mailbox", "/mailbox/gallery", "/ledger", "/log", &act, "/failures/decide?do=redrive"] {
        assert!(page(&app, path).await.contains("<span class=\"count\">1<span"), "the bar of {path} tells of it");
    }
    let order = page(&app, &format!("/orders/{id}")).await;
    for words in [
        "It waits for its time to pass.",
        "It has been like this since <time datetime=",
        "data-as=\"exact\">16:00:00.000</time>",
        " · 0</code></a>",
        "aria-label=\"What is in the log: 2\"",
        "aria-label=\"The mails: 1\"",
    ] {
        assert!(order.contains(words), "{words} is missing in {order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_by_number_address_product_and_state() {
    let app = TestApp::start().await;
    let ana = placed(&app).await;
    let leo = app.place("1010", "leo@example.org").await["orderid"].as_u64().unwrap();
    app.in_state(leo, "recibido").await;
    let (ana, leo) = (format!("/orders/{ana}\""), format!("/orders/{leo}\""));
    let name = order(&app, 1).await["name"].as_str().unwrap().to_uppercase();
    let word = name.split(' ').next().unwrap();
    for (asked, has_ana, has_leo) in [
        ("", true, true),
        ("?q=LEO%40example.org", false, true),
        ("?q=nobody%40example.org", false, false),
        ("?q=no%40", false, false),
        (&format!("?q={word}"), true, true),
        ("?q=no-such-product", false, false),
        ("?state=recibido", true, true),
        ("?state=preparando", false, false),
        ("?late=1", false, false),
        ("?below=2&shown=7", true, false),
        ("?refused=1", false, false),
        ("?below=x&state=%3Cb%3E", false, false),
    ] {
        let html = page(&app, &format!("/orders{asked}")).await;
        assert_eq!((html.contains(&ana), html.contains(&leo)), (has_ana, has_leo), "{asked}: {html}");
        assert!(!html.contains("<b>\""), "{asked}");
    }
    let (all, second) = (page(&app, "/orders").await, page(&app, "/orders?below=2&shown=1").await);
    assert!(all.contains(">1–2 of 2<") && second.contains(">2–2 of 2<"), "{all} {second}");
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let found = client.get(app.ops("/orders?q=%231")).send().await.unwrap();
    assert_eq!((found.status(), &found.headers()["location"]), (StatusCode::SEE_OTHER, &"/orders/1".parse().unwrap()));
    let none = app.http.get(app.ops("/orders/77")).header("accept", BROWSER).send().await.unwrap();
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_orders_is_had_as_a_file_without_formulas() {
    let app = TestApp::start().await;
    bounce(&app, 901, "-rosa@example.org", "550 5.1.1 no such user").await;
    placed(&app).await;
    let leo = app.place("1010", "=1+cmd|x!a@example.org").await["orderid"].as_u64().unwrap();
    app.in_state(leo, "recibido").await;
    let file = async |asked: &str| {
        let response =
            app.http.get(app.ops(&format!("/orders.csv{asked}"))).header("accept-language", "es").send().await.unwrap();
        let headers = response.headers().clone();
        assert_eq!(
            (response.status(), &headers["content-disposition"].to_str().unwrap()),
            (StatusCode::OK, &"attachment; filename=\"orders.csv\"")
        );
        response.text().await.unwrap()
    };
    let all = file("").await;
    let [head, rows @ ..] = &all.split_terminator("\r\n").collect::<Vec<_>>()[..] else { panic!("{all}") };
    assert_eq!(*head, "\u{feff}Pedido,Producto,Precio,Cliente,Estado,Desde,Siguiente");
    assert_eq!(rows.len(), 3, "{all}");
    assert!(
        rows[0].starts_with("901,King's Bounty,7.99,'-rosa@example.org,Recibido,2025-11-24T16:00:00.000Z,"),
        "{all}"
    );
    assert!(rows[1].contains(",'=1+cmd|x!a@example.org,Recibido,"), "{all}");
    assert!(rows[2].starts_with("1,") && rows[2].contains(",ana@example.org,Recibido,"), "{all}");
    let refused = file("?refused=1").await;
    assert_eq!(refused.split_terminator("\r\n").collect::<Vec<_>>(), [*head, rows[0]]);
    assert_eq!(file("?q=no%40").await, format!("{head}\r\n"));
    let listed = page_with(&app, "/orders?refused=1", "1–1 of 1").await;
    assert!(listed.contains("href=\"/orders/901\"") && listed.contains("href=\"/orders.csv?refused=1\""), "{listed}");
    assert!(listed.contains("encargo list --mail-refused"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_confirmed_on_a_page_and_leaves_who_did_it() {
    let app = TestApp::start().await;
    let id = placed(&app).await;
    let path = |verb: &str| format!("/orders/{id}/{verb}");
    let old = with(&fields(&page(&app, &path("hold")).await), &[("key", "")]);
    for (verb, more, change) in [
        ("hold", &[("reason", "no power")][..], "held"),
        ("resume", &[("by", "kitchen")], "resumed"),
        ("delay", &[("value", "20m")], "delayed"),
        ("address", &[("value", "eva@example.org")], "readdressed"),
        ("cancel", &[("reason", "the customer called")], "entered"),
    ] {
        let asked = page(&app, &path(verb)).await;
        let form = with(&fields(&asked), more);
        let before = order(&app, id).await["history"].as_array().unwrap().len();
        assert!(!asked.contains("role=\"alert\""), "{verb} is possible: {asked}");
        let done = send(&app, &path(verb), &form, None).await;
        assert_eq!(done.status(), StatusCode::SEE_OTHER, "{verb}: {}", done.text().await.unwrap());
        let there = done.headers()["location"].to_str().unwrap().to_owned();
        // an answer that comes late tells where to look, and nothing else
        let after = eventually(&format!("{verb} in the history"), async || {
            let after = order(&app, id).await;
            let count = after["history"].as_array().unwrap().len();
            if count > before { Ok(after) } else { Err(after.to_string()) }
        })
        .await;
        let history = after["history"].as_array().unwrap();
        let last = history.last().unwrap();
        assert_eq!(history.len(), before + 1, "{verb}");
        let by = more.iter().find(|(name, _)| *name == "by").map_or("desk", |(_, by)| by);
        assert_eq!((last["change"].as_str(), last["by"].as_str()), (Some(change), Some(by)), "{verb}: {after}");
        let shown = page(&app, &there).await;
        assert!(shown.contains("role=\"status\"") && shown.contains(&format!("by {by}")), "{verb}: {shown}");
        // the same form again does nothing more
        let again = send(&app, &path(verb), &form, None).await;
        assert_eq!(again.status(), StatusCode::SEE_OTHER, "{verb}");
        assert_eq!(order(&app, id).await["seq"], after["seq"], "{verb}");
    }
    assert_eq!(order(&app, id).await["closes"], "cancelled");
    let shown = page(&app, &format!("/orders/{id}")).await;
    assert!(shown.contains("It is cancelled.") && shown.contains("the customer called"), "{shown}");
    let late = page(&app, &path("hold")).await;
    assert!(late.contains("The order has ended.") && !late.contains("method=\"post\""), "{late}");
    let refused = send(&app, &path("hold"), &old, None).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.unwrap().contains("The order has ended."));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_a_form_is_said_and_changes_nothing() {
    let app = TestApp::start().await;
    let id = placed(&app).await;
    let long = "x".repeat(501);
    let hold = fields(&page(&app, &format!("/orders/{id}/hold")).await);
    for (verb, more, words) in [
        ("delay", &[("value", "soon")][..], "no length of time"),
        ("delay", &[("value", "0s")], "no length of time"),
        ("address", &[("value", "<script>x</script>")], "no address"),
        ("hold", &[("reason", &*long)], "at most 500"),
        ("resume", &[], "not held"),
        ("advance", &[], "when its time is over"),
    ] {
        let path = format!("/orders/{id}/{verb}");
        let form = with(&with(&hold, &[("key", "")]), more);
        let answer = send(&app, &path, &form, None).await;
        assert!(answer.status().is_client_error(), "{verb} {more:?}");
        let html = answer.text().await.unwrap();
        assert!(
            html.contains(words) && html.contains("role=\"alert\"") && !html.contains("<script>x"),
            "{verb}: {html}"
        );
    }
    assert_eq!(order(&app, id).await["history"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_another_site_is_taken() {
    let app = TestApp::start().await;
    let id = placed(&app).await;
    all_sent(&app).await;
    bounce(&app, 901, "rosa@example.org", "550 5.1.1 no such user").await;
    let group = page(&app, "/failures").await.split("group=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut forms = vec![(format!("/failures/decide?do=drop&group={group}"), "/failures/decide".to_owned())];
    forms.extend(
        ["cancel", "hold", "delay", "address"]
            .map(|verb| (format!("/orders/{id}/{verb}"), format!("/orders/{id}/{verb}"))),
    );
    for (asking, acting) in &forms {
        let form = with(&fields(&page(&app, asking).await), &[("value", "eva@example.org")]);
        let foreign = send(&app, acting, &form, Some("https://elsewhere.example")).await;
        assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "{acting}");
        for wrong in
            [with(&form, &[("form", "")]), with(&form, &[("form", "0123456789abcdef0123456789abcdef")]), Vec::new()]
        {
            assert_eq!(send(&app, acting, &wrong, None).await.status(), StatusCode::FORBIDDEN, "{acting}");
        }
    }
    assert_eq!(order(&app, id).await["history"].as_array().unwrap().len(), 1);
    assert_eq!(app.app().store().dead(None, 10).await.unwrap().len(), 1);
    // nor is a page shown to who calls by another name
    let other = app.http.get(app.ops("/")).header("host", "desk.elsewhere.example").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_grouped_and_only_those_that_were_shown_are_decided_about() {
    let app = TestApp::start().await;
    page(&app, "/").await; // what was seen then says nothing of them
    bounce(&app, 901, "rosa@example.org", "550 5.1.1 <rosa@example.org>: no such user").await;
    let one = page(&app, "/failures").await;
    assert!(one.contains("</svg>Try again</a>") && one.contains("<span class=\"soft n\">1</span></h2>"), "{one}");
    bounce(&app, 902, "leo@example.net", "550 5.1.1 <leo@example.net>: no such user").await;
    let html = page(&app, "/failures").await;
    assert!(html.contains("The server refuses the address") && html.contains("<b class=\"big n\">2</b>"), "{html}");
    assert!(html.contains("r***@example.org") && html.matches("do=redrive&amp;group=").count() == 1, "{html}");
    let group = html.split("do=redrive&amp;group=").nth(1).unwrap().split('"').next().unwrap();
    let asked = page(&app, &format!("/failures/decide?do=redrive&group={group}")).await;
    assert!(asked.contains("Try 2 mails again?") && asked.contains("let through again"), "{asked}");
    let form = fields(&asked);
    // another one comes meanwhile
    bounce(&app, 903, "mia@example.com", "550 5.1.1 <mia@example.com>: no such user").await;
    let stale = send(&app, "/failures/decide", &form, None).await;
    assert_eq!(stale.status(), StatusCode::CONFLICT);
    let asked = stale.text().await.unwrap();
    assert!(asked.contains("Try 3 mails again?"), "{asked}");
    let store = app.app().store();
    assert_eq!((store.dead(None, 10).await.unwrap().len(), store.ledger_counts().await.unwrap().suppressed), (3, 3));
    // one is given up, the others are tried again
    let one = page(&app, "/failures/decide?do=drop&id=mail%3A902.1").await;
    let given_up = send(&app, "/failures/decide", &fields(&one), None).await;
    assert_eq!(given_up.headers()["location"], "/failures?dropped=1");
    bounce(&app, 904, "eva@example.com", "550 5.1.1 <eva@example.com>: no such user").await;
    let as_many = send(&app, "/failures/decide", &fields(&asked), None).await;
    assert_eq!(as_many.status(), StatusCode::CONFLICT, "as many, but others");
    let one = page(&app, "/failures/decide?do=drop&id=mail%3A904.1").await;
    let given_up = send(&app, "/failures/decide", &fields(&one), None).await;
    assert_eq!(given_up.headers()["location"], "/failures?dropped=1");
    let asked = page(&app, &format!("/failures/decide?do=redrive&group={group}")).await;
    let redriven = send(&app, "/failures/decide", &fields(&asked), None).await;
    assert_eq!(redriven.headers()["location"], "/failures?redriven=2", "{redriven:?}");
    assert!(page(&app, "/failures?redriven=2").await.contains("2 are tried again."));
    app.clock.advance(Duration::from_hours(2));
    let mails = app.mails(2).await;
    let mut to: Vec<_> = mails.iter().map(|mail| mail.to.as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["mia@example.com", "rosa@example.org"]);
    let gone = app.http.get(app.ops(&format!("/failures/decide?do=redrive&group={group}"))).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    // an address alone
    let let_through = page(&app, "/failures/decide?do=release&address=leo%40example.net").await;
    let released = send(&app, "/failures/decide", &fields(&let_through), None).await;
    assert_eq!(released.headers()["location"], "/failures?released=1");
    assert!(page(&app, "/failures").await.contains("Nothing has failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_redriven_at_the_desk_goes_back_to_its_topic() {
    let app = TestApp::start().await;
    let value = br#"{"orderid":7,"name":"</pre><script>x</script>","usermail":"ana@example.org"}"#.to_vec();
    let record = NewRecord {
        topic: app.config.topics.orders.clone(),
        partition: Some(0),
        key: None,
        value,
        headers: Headers::default(),
        at: app.clock.now(),
    };
    let position = app.app().log().append(vec![record]).await.unwrap()[0];
    let id: DeadId = format!("{}/0/{}", app.config.topics.orders, position.offset).parse().unwrap();
    let html = page_with(&app, "/failures", "The record cannot be processed").await;
    assert!(
        html.contains("&lt;script&gt;")
            && !html.contains("<script>x")
            && html.contains("***@example.org")
            && !html.contains("ana@"),
        "{html}"
    );
    let path = format!("/failures/decide?do=redrive&id={}", id.to_string().replace('/', "%2F"));
    let done = send(&app, "/failures/decide", &fields(&page(&app, &path).await), None).await;
    assert_eq!(done.headers()["location"], "/failures?redriven=1", "{done:?}");
    // back on its topic it is read again, and dead again, under its new place
    let again = eventually("the record, dead again", async || {
        app.clock.advance(Duration::from_secs(1));
        let dead = app.app().store().dead(None, 10).await.unwrap();
        let [item] = &dead[..] else { return Err(format!("{} dead", dead.len())) };
        if item.id == id { Err("as before".to_owned()) } else { Ok(item.clone()) }
    })
    .await;
    assert_eq!((again.order.map(OrderId::get), again.attempts), (Some(7), 1));
}
