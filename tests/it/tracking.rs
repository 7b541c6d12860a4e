//! The page of an order, as browsers meet it: with and without script, in both languages, and whoever asks.

mod streams;

use std::time::Duration;

use encargo::domain::Lang;
use reqwest::{Response, StatusCode, redirect};
use serde_json::Value;

use crate::{
    harness::{app::TestApp, eventually},
    pages::check::flaws,
};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const DWELL: Duration = Duration::from_secs(8);

/// Follows no redirect by itself.
fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(redirect::Policy::none()).build().unwrap()
}

async fn browse(url: &str, lang: Lang) -> Response {
    browser().get(url).header("accept", BROWSER).header("accept-language", lang.code()).send().await.unwrap()
}

/// A page of ours, with nothing wrong with it.
async fn page(url: &str, lang: Lang) -> String {
    let response = browse(url, lang).await;
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    let html = response.text().await.unwrap();
    assert_eq!(flaws(&html), Vec::<String>::new(), "{html}");
    html
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// An order's number, and the address of its page.
async fn placed(app: &TestApp) -> (u64, String) {
    let answer = app.place("1010", "cliente@example.org").await;
    let id = answer["orderid"].as_u64().unwrap();
    app.in_state(id, "recibido").await;
    (id, app.tracking(&format!("/track/{}", answer["handle"].as_str().expect("a handle"))))
}

#[tokio::test]
async fn an_order_is_followed_to_its_end_in_both_languages() {
    let app = TestApp::start().await;
    let (id, url) = placed(&app).await;
    app.mails(1).await;
    for (state, es, en, painted) in [
        ("recibido", "Lo tenemos", "We have it", 0),
        ("preparando", "Lo estamos preparando", "We are preparing it", 4),
        ("entregando", "Va en camino", "It is on its way", 8),
        ("finalizado", "Está completo", "It is complete", 16),
    ] {
        if state != "recibido" {
            app.advance_to(id, state, DWELL).await;
        }
        for (lang, title) in [(Lang::Es, es), (Lang::En, en)] {
            let html = page(&url, lang).await;
            assert!(html.contains(&format!("<h1>{title}</h1>")), "{html}");
            assert!(html.contains(&format!("<title>{title} · ")), "{html}");
            assert!(html.contains("Linterna de bolsillo &quot;Faro&quot;"), "{html}");
            assert!(html.contains("c•••••e@example.org") && !html.contains("cliente@"), "{html}");
            assert_eq!(html.matches("<use href=\"#tt\"/>").count(), 16, "{html}");
            assert_eq!(html.matches("<svg class=\"bq").count(), 16 - painted, "{html}");
            assert!(html.contains("<svg class=\"qr\""), "{html}");
        }
    }
    let program = app.http.get(&url).send().await.unwrap();
    assert_eq!(header(&program, "content-type"), "application/json");
    let order: Value = program.json().await.unwrap();
    assert_eq!((&order["estado"], &order["finished"]), (&"finalizado".into(), &true.into()));
}

#[tokio::test]
async fn times_to_come_are_told() {
    let app = TestApp::start_with(&[("mail.time_zone", "Europe/Madrid")]).await;
    let (_, url) = placed(&app).await;
    // the clock stands at 16:00 UTC
    let html = page(&url, Lang::Es).await;
    for time in ["17:00:08", "17:00:16", "17:00:24"] {
        assert!(html.contains(&format!(">{time}</time>")), "{time}: {html}");
    }
    assert!(html.contains("(CET)") && html.contains("<data>24</data>"), "{html}");
}

#[tokio::test]
async fn nobodys_handles_look_alike() {
    let app = TestApp::start().await;
    let other = "0123456789abcdef0123456789abcdef"; // of another deployment
    let mut seen = Vec::new();
    for handle in [other, "x", "0", "..%2f..", "%3Cscript%3E", &"a".repeat(300), "%00"] {
        for place in ["", "/cancel", "/events"] {
            let response = browse(&app.tracking(&format!("/track/{handle}{place}")), Lang::Es).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{handle}{place}");
            seen.push(response.text().await.unwrap());
        }
        let problem = app.http.get(app.tracking(&format!("/track/{handle}"))).send().await.unwrap();
        assert_eq!(problem.status(), StatusCode::NOT_FOUND);
    }
    assert!(seen[0].contains("Aquí no hay ningún pedido"), "{}", seen[0]);
    assert_eq!(flaws(&seen[0]), Vec::<String>::new());
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// The value of a hidden field.
fn field<'a>(html: &'a str, name: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{name}: {html}"));
    rest.split('"').next().unwrap()
}

async fn send(url: &str, origin: &str, key: &str) -> Response {
    let form = browser().post(url).header("content-type", "application/x-www-form-urlencoded");
    let form = form.header("accept", BROWSER).header("origin", origin).body(format!("confirm=true&key={key}"));
    form.send().await.unwrap()
}

#[tokio::test]
async fn an_order_is_cancelled_in_two_steps_without_script() {
    let app = TestApp::start().await;
    let (id, url) = placed(&app).await;
    let html = page(&url, Lang::En).await;
    let handle = url.rsplit('/').next().unwrap();
    assert!(html.contains(&format!("href=\"{handle}/cancel\"")) && html.contains("until it leaves"), "{html}");
    let question = page(&format!("{url}/cancel"), Lang::En).await;
    assert!(question.contains("Cancel order 1?") && question.contains("at about"), "{question}");
    let key = field(&question, "key").to_owned();
    let cancel = format!("{url}/cancel");
    let foreign = send(&cancel, "https://shop.example", &key).await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    let origin = app.tracking("");
    for _ in 0..2 {
        // twice, as a double click does
        let sent = send(&cancel, &origin, &key).await;
        assert_eq!(sent.status(), StatusCode::SEE_OTHER, "{:?}", sent.text().await);
        assert!(header(&sent, "location").starts_with(&format!("../{handle}")), "{sent:?}");
    }
    app.in_state(id, "cancelado").await;
    let gone = page(&format!("{url}?command={key}"), Lang::Es).await;
    for words in ["<h1>Pedido cancelado</h1>", "Lo cancelaste tú", "no se hará", "mark-x."] {
        assert!(gone.contains(words), "{words}: {gone}");
    }
    assert!(!gone.contains("/cancel\""), "{gone}");
    let history = app.in_state(id, "cancelado").await["history"].as_array().unwrap().len();
    assert_eq!(history, 2);
    // there is nothing left to ask
    let asked = browse(&cancel, Lang::En).await;
    assert_eq!((asked.status(), header(&asked, "location")), (StatusCode::SEE_OTHER, &*format!("../{handle}")));
}

#[tokio::test]
async fn who_cancels_too_late_is_told_so() {
    let app = TestApp::start().await;
    let (id, url) = placed(&app).await;
    let key = field(&page(&format!("{url}/cancel"), Lang::Es).await, "key").to_owned();
    app.advance_to(id, "preparando", DWELL).await;
    app.advance_to(id, "entregando", DWELL).await;
    let sent = send(&format!("{url}/cancel"), &app.tracking(""), &key).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    let (_, query) = header(&sent, "location").split_once('?').expect("a query");
    let html = page(&format!("{url}?{query}"), Lang::En).await;
    assert!(html.contains("It can no longer be cancelled") && html.contains("role=\"alert\""), "{html}");
    assert!(html.contains("It is on its way"), "{html}");
}

#[tokio::test]
async fn a_held_order_says_so() {
    let app = TestApp::start().await;
    let (id, url) = placed(&app).await;
    let hold = app.http.post(app.tracking(&format!("/orders/{id}/hold"))).send().await.unwrap();
    assert_eq!(hold.status(), StatusCode::OK);
    let html = page(&url, Lang::En).await;
    assert!(html.contains("It is on hold") && html.contains("no time for now"), "{html}");
}

/// Asks for the link to an order as the page's form does. The answer has its time, by the clock that the test drives.
async fn ask_link(app: &TestApp, number: &str, email: &str) -> (StatusCode, String, String) {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("order", number)
        .append_pair("email", email)
        .finish();
    let form = browser().post(app.tracking("/lookup")).header("accept", BROWSER).header("origin", app.tracking(""));
    let form =
        form.header("content-type", "application/x-www-form-urlencoded").header("accept-language", "es").body(body);
    let asking = tokio::spawn(async move {
        let answer = form.send().await.unwrap();
        (answer.status(), header(&answer, "location").to_owned(), answer.text().await.unwrap())
    });
    app.in_its_time(asking).await
}

#[tokio::test]
async fn a_lost_link_comes_by_mail_and_nobody_else_learns_anything() {
    let app = TestApp::start_with(&[("flow.dwell", "1h")]).await;
    let (id, url) = placed(&app).await;
    app.mails(1).await;
    for lang in [Lang::Es, Lang::En] {
        let form = page(&app.tracking("/lookup"), lang).await;
        assert!(form.contains("name=\"order\"") && form.contains("name=\"email\""), "{form}");
        let sent = page(&app.tracking("/lookup/sent"), lang).await;
        assert!(!sent.contains("/track/"), "{sent}");
        let at_home = page(&app.intake("/"), lang).await.replace("&#x2f;", "/");
        assert!(at_home.contains(&format!("href=\"{}\"", app.tracking("/lookup"))), "{at_home}");
    }
    let number = id.to_string();
    let long = "1".repeat(300);
    let mut answers = Vec::new();
    for (number, email) in [
        (&*number, "eva@example.org"),
        ("999", "cliente@example.org"),
        ("", ""),
        ("x", "cliente@example.org"),
        (&*number, "cliente"),
        (&*long, "cliente@example.org"),
        ("-1", "\0\r\nBcc: eva@example.org"),
        (&*number, "CLIENTE@example.org"),
        (&*number, "cliente@example.org"), // again
    ] {
        answers.push(ask_link(&app, number, email).await);
    }
    assert_eq!(answers[0], (StatusCode::SEE_OTHER, "lookup/sent".into(), String::new()));
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let mails = app.mails(2).await;
    let links: Vec<_> = mails.iter().filter(|mail| mail.is_link).collect();
    assert_eq!(links.iter().map(|mail| (mail.id, &*mail.to)).collect::<Vec<_>>(), [(id, "cliente@example.org")]);
    let folder = app.config.data.join("mail/new");
    let texts = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let link = texts.filter(|text| text.contains("X-Order-Mail: link")).collect::<String>().replace("=\r\n", "");
    assert!(link.contains(&url.replace('=', "=3D")), "{link}");
    assert_eq!(app.metric("encargo_links_asked_total{mailed=\"yes\"}").await, 1);
    // the desk tells of it, and the history of the order does not
    let desk = browse(&app.ops(&format!("/orders/{id}")), Lang::Es).await.text().await.unwrap();
    assert!(desk.contains("Enlace al pedido"), "{desk}");
    assert_eq!(app.in_state(id, "recibido").await["history"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_asks_for_too_many_links_is_told_to_wait() {
    let app = TestApp::start_with(&[("tracking.lookup_rate_per_client", "2/h"), ("http.trusted_hops", "1")]).await;
    let ask = async |client: &str| {
        let request = app.http.post(app.tracking("/lookup")).header("x-forwarded-for", client);
        let asking =
            tokio::spawn(request.header("content-type", "application/x-www-form-urlencoded").body("order=1").send());
        let answer = app.in_its_time(asking).await.unwrap();
        (answer.status(), !header(&answer, "retry-after").is_empty())
    };
    // a program follows to the page
    assert_eq!(ask("192.0.2.7").await, (StatusCode::OK, false));
    assert_eq!(ask("192.0.2.7").await, (StatusCode::OK, false));
    assert_eq!(ask("192.0.2.7").await, (StatusCode::TOO_MANY_REQUESTS, true));
    assert_eq!(ask("192.0.2.8").await, (StatusCode::OK, false));
}

#[tokio::test]
async fn without_mail_nobody_is_promised_a_link() {
    let app = TestApp::start_with(&[("mail.url", "none:")]).await;
    assert_eq!(browse(&app.tracking("/lookup"), Lang::Es).await.status(), StatusCode::NOT_FOUND);
    assert!(!page(&app.intake("/"), Lang::Es).await.contains("lookup\""));
}

#[tokio::test]
async fn programs_read_what_is_to_come() {
    let app = TestApp::start().await;
    let (id, url) = placed(&app).await;
    for url in [&url, &app.tracking(&format!("/orders/{id}"))] {
        let order: Value = app.http.get(url).send().await.unwrap().json().await.unwrap();
        let step = |index: usize| order["steps"][index].clone();
        assert_eq!((&step(0)["estado"], &step(0)["place"]), (&"recibido".into(), &"now".into()), "{order}");
        assert_eq!((&step(0)["at"], &step(0)["expected_at"]), (&order["at"], &Value::Null));
        assert_eq!((&step(1)["place"], &step(1)["expected_at"]), (&"ahead".into(), &order["next_at"]));
        assert_eq!(step(3)["expected_at"], order["expected_end_at"]);
        assert_eq!(order["steps"].as_array().unwrap().len(), 4);
    }
}

#[tokio::test]
async fn short_and_long_lines_have_a_strip_of_their_own() {
    let states = ["recibido", "b", "c", "d", "e", "f", "g", "h", "i", "finalizado"];
    for (count, shape) in [(2, "few"), (6, "some"), (10, "many")] {
        let line = [&states[..count - 1], &states[9..]].concat();
        let app = TestApp::start_with(&[("flow.states", &line.join(","))]).await;
        let (_, url) = placed(&app).await;
        let html = page(&url, Lang::Es).await;
        assert!(html.contains(&format!("class=\"strip {shape}\"")), "{html}");
        assert!(html.contains(&format!("class=\"steps {shape}\"")), "{html}");
        assert_eq!(html.matches("<use href=\"#tt\"/>").count(), 4 * count);
    }
}
