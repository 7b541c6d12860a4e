//! Who is let in at the desk, by token and session, and what nobody can do on any route of any listener.

mod routes;

use std::time::Duration;

use encargo::{app::App, clock::Clock, config, domain::Timestamp};
use reqwest::{Client, RequestBuilder, Response, redirect::Policy};
use serde_json::Value;

use crate::harness::{app::TestApp, stream::Stream};

const TOKEN: &str = "0123456789abcdef-correct";
const BROWSER: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

/// Somebody with a browser that follows no redirect.
struct Person<'a> {
    app: &'a TestApp,
    http: Client,
    cookie: String,
}

impl<'a> Person<'a> {
    fn new(app: &'a TestApp) -> Self {
        Self { app, http: Client::builder().redirect(Policy::none()).build().unwrap(), cookie: String::new() }
    }

    fn dressed(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("accept", BROWSER).header("accept-language", "en").header("cookie", &self.cookie)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.dressed(self.http.get(self.app.ops(path)))
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.dressed(self.http.post(self.app.ops(path))).header("origin", self.app.ops(""));
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// Logs in; what the server said.
    async fn log_in(&mut self) -> Response {
        let answer = self.post("/login", &[("token", TOKEN)]).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = header(&answer, "set-cookie");
        cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        answer
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).send().await.unwrap().status().as_u16()
    }
}

fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// The value of the first hidden field of that name.
fn hidden(html: &str, name: &str) -> String {
    let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{html}"));
    rest.split('"').next().unwrap().to_owned()
}

async fn with_token(more: &[(&'static str, &str)]) -> TestApp {
    let settings: Vec<_> = [("ops.token", TOKEN)].into_iter().chain(more.iter().copied()).collect();
    TestApp::start_with(&settings).await
}

async fn placed(app: &TestApp) -> u64 {
    let id = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
    app.in_state(id, "recibido").await;
    id
}

#[tokio::test]
async fn off_loopback_nothing_starts_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let flags = [("ops.listen", "0.0.0.0:0".to_owned()), ("data", data.display().to_string())];
    let free = ["intake.listen", "tracking.listen"].map(|key| (key, "127.0.0.1:0".to_owned()));
    let flags: Vec<_> = flags.into_iter().chain(free).collect();
    let config = config::load(None, &flags).unwrap().config;
    let refused = App::start(&config, Clock::manual(Timestamp::from_millis(0))).await.err().unwrap();
    for word in ["ops.listen", "not on loopback", "openssl rand", "ENCARGO_OPS_TOKEN_FILE", "ssh -L"] {
        assert!(format!("{refused:#}").contains(word), "{refused:#}");
    }
    assert!(!data.exists(), "and nothing was begun");
    let app = with_token(&[("ops.listen", "0.0.0.0:0")]).await;
    let mut ana = Person::new(&app);
    assert_eq!(ana.status("/").await, 303);
    ana.log_in().await;
    assert!(ana.page("/").await.contains("action=\"/logout\""));
}

#[tokio::test]
async fn with_a_token_only_health_is_open() {
    let app = with_token(&[]).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(app.http.get(app.ops(path)).send().await.unwrap().status(), 200, "{path}");
    }
    for path in
        ["/", "/orders", "/orders/1", "/failures", "/log", "/mailbox", "/mailbox/gallery", "/ledger", "/metrics"]
    {
        let program = app.http.get(app.ops(path)).send().await.unwrap();
        assert_eq!(program.status(), 401, "{path}");
        assert_eq!(header(&program, "content-type"), "application/problem+json", "{path}");
        assert_eq!(header(&program, "www-authenticate"), "Bearer realm=\"encargo\"", "{path}");
        let person = Person::new(&app).get(path).send().await.unwrap();
        let next = if path == "/" { String::new() } else { format!("?next={}", path.replace('/', "%2F")) };
        assert_eq!((person.status().as_u16(), header(&person, "location")), (303, format!("/login{next}")));
        let script = Person::new(&app).get(path).header("sec-fetch-mode", "cors").send().await.unwrap();
        assert_eq!(script.status(), 401, "a script is told, and led nowhere: {path}");
    }
    let bearer = |key: &str| app.http.get(app.ops("/metrics")).bearer_auth(key).send();
    assert_eq!(bearer(TOKEN).await.unwrap().status(), 200);
    for wrong in ["x", &TOKEN[1..], &format!("{TOKEN}0")] {
        let refused = bearer(wrong).await.unwrap();
        assert_eq!(refused.status(), 401, "{wrong:?}");
        assert!(header(&refused, "www-authenticate").contains("invalid_token"), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_session_acts_under_its_name_and_ends_when_told() {
    let app = with_token(&[]).await;
    let id = placed(&app).await;
    let (mut ana, mut leo) = (Person::new(&app), Person::new(&app));
    let entered = ana.log_in().await;
    leo.log_in().await;
    assert_ne!(ana.cookie, leo.cookie);
    let cookie = header(&entered, "set-cookie");
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(ana.cookie.starts_with("encargo-desk-"), "{cookie}");
    let path = format!("/orders/{id}/hold");
    let (page, other) = (ana.page(&path).await, leo.page(&path).await);
    let (form, key) = (hidden(&page, "form"), hidden(&page, "key"));
    assert_ne!(form, hidden(&other, "form"), "each session has a secret of its own");
    for wrong in ["", &hidden(&other, "form")] {
        let refused = ana.post(&path, &[("form", wrong), ("key", &key)]).send().await.unwrap();
        assert_eq!(refused.status(), 403, "{wrong:?}");
    }
    let done = ana.post(&path, &[("form", &form), ("key", &key), ("by", "Ana")]).send().await.unwrap();
    assert_eq!(done.status(), 303, "{:?}", done.text().await);
    let order: Value = app.http.get(app.tracking(&format!("/orders/{id}"))).send().await.unwrap().json().await.unwrap();
    assert!(order.to_string().contains("\"Ana (desk-"), "{order}");
    let left = ana.post("/logout", &[("form", &form)]).send().await.unwrap();
    assert_eq!((left.status().as_u16(), header(&left, "location")), (303, "/login".to_owned()));
    assert!(header(&left, "set-cookie").contains("Max-Age=0"));
    assert_eq!((ana.status("/orders").await, leo.status("/orders").await), (303, 200));
    app.clock.advance(Duration::from_hours(12));
    assert_eq!(leo.status("/orders").await, 303, "a session ends with the day");
}

#[tokio::test]
async fn a_stream_is_for_who_may_see_the_page_and_ends_with_the_session() {
    let app = with_token(&[]).await;
    let mut ana = Person::new(&app);
    let ask = |cookie: &str| app.http.get(app.ops("/orders")).header("cookie", cookie);
    for path in ["/", "/orders", "/login"] {
        let stranger = app.http.get(app.ops(path)).header("accept", "text/event-stream").send().await.unwrap();
        assert_ne!(header(&stranger, "content-type"), "text/event-stream", "{path}");
        assert_eq!(stranger.status(), if path == "/login" { 200 } else { 401 }, "{path}");
    }
    Stream::open(app.http.get(app.ops("/orders")).bearer_auth(TOKEN)).await.until("event: change").await;
    ana.log_in().await;
    let mut stream = Stream::open(ask(&ana.cookie)).await;
    stream.until("event: change").await;
    let form = hidden(&ana.page("/orders").await, "form");
    assert_eq!(ana.post("/logout", &[("form", &form)]).send().await.unwrap().status(), 303);
    stream.rest().await;
}

#[tokio::test]
async fn the_log_in_leads_on_to_this_listener_and_nowhere_else() {
    let app = with_token(&[]).await;
    let mut ana = Person::new(&app);
    for (next, leads) in [
        ("/orders?q=leo%40example.org&page=2", "/orders?q=leo%40example.org&page=2"),
        ("/failures", "/failures"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/x\r\nset-cookie: a=b", "/"),
        ("/ñ", "/"),
        ("", "/"),
    ] {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let path = format!("/login?{query}");
        let entered = Person::new(&app).post(&path, &[("token", TOKEN)]).send().await.unwrap();
        assert_eq!((entered.status().as_u16(), header(&entered, "location").as_str()), (303, leads), "{next:?}");
        if ana.cookie.is_empty() {
            ana.log_in().await;
        }
        let again = ana.get(&path).send().await.unwrap();
        assert_eq!(header(&again, "location"), leads, "who is logged in is not asked again: {next:?}");
    }
    // a link on another site comes without the cookie, which the page then brings
    let link = Person::new(&app).get("/orders/7").header("sec-fetch-site", "cross-site");
    let link = link.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "document").send().await.unwrap();
    assert_eq!((link.status().as_u16(), header(&link, "refresh").as_str()), (200, "0; url=/login?next=%2Forders%2F7"));
}

#[tokio::test]
async fn who_tries_tokens_has_to_wait() {
    let app = with_token(&[("http.trusted_hops", "1"), ("http.allowed_hosts", "desk.example")]).await;
    let ana = Person::new(&app);
    let try_as = |client: &'static str, token: &'static str| {
        ana.post("/login", &[("token", token)]).header("x-forwarded-for", client).send()
    };
    for _ in 0..5 {
        let wrong = try_as("2001:db8::1", "wrong").await.unwrap();
        assert_eq!(wrong.status(), 401);
        assert!(wrong.text().await.unwrap().contains("That is not the token"));
    }
    let waits = try_as("2001:db8::2", TOKEN).await.unwrap();
    assert_eq!((waits.status().as_u16(), header(&waits, "retry-after").as_str()), (429, "12"), "of the same network");
    assert!(waits.text().await.unwrap().contains("wait 12 s"));
    let program = app.http.get(app.ops("/metrics")).bearer_auth(TOKEN).header("x-forwarded-for", "2001:db8::3");
    assert_eq!(program.send().await.unwrap().status(), 429);
    assert_eq!(try_as("2001:db8:0:1::1", TOKEN).await.unwrap().status(), 303, "another network");
    app.clock.advance(Duration::from_secs(12));
    assert_eq!(try_as("2001:db8::1", TOKEN).await.unwrap().status(), 303);
    for _ in 0..5 {
        assert_eq!(try_as("2001:db8::1", "wrong").await.unwrap().status(), 401, "and it begins anew");
    }
}

#[tokio::test]
async fn behind_tls_the_cookie_is_for_tls_alone_and_nobody_else_says_so() {
    for (hops, starts, is_secure) in [("1", "__Host-encargo-desk-", true), ("0", "encargo-desk-", false)] {
        let app = with_token(&[("http.trusted_hops", hops), ("http.allowed_hosts", "desk.example")]).await;
        let mut ana = Person::new(&app);
        let by_proxy = |request: RequestBuilder| {
            request
                .header("host", "desk.example")
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-for", "192.0.2.1")
        };
        let entered = by_proxy(ana.post("/login", &[("token", TOKEN)])).send().await.unwrap();
        let cookie = header(&entered, "set-cookie");
        let starts = format!("{starts}{}=", app.app().addresses.ops.port());
        assert!(cookie.starts_with(&starts) && cookie.ends_with("; Secure") == is_secure, "{hops}: {cookie}");
        ana.cookie = cookie.split(';').next().unwrap().to_owned();
        assert_eq!(by_proxy(ana.get("/orders")).send().await.unwrap().status(), 200, "{hops}");
    }
}
