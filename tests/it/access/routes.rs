//! What holds on every route of the three listeners. The paths are found in the sources and the methods asked of the
//! running routers, so that no route is forgotten.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use encargo::domain::command::Verb;
use reqwest::{Method, Request, StatusCode};

use super::*;

/// The folders with each listener's routes.
const FOLDERS: [(&str, &[&str]); 3] =
    [("intake", &["intake", "pages"]), ("tracking", &["tracking", "pages"]), ("ops", &["ops", "pages"])];
/// Where routes come from a list whose paths are literals as well.
const LISTED: &str = "path, route)";

/// A path of a listener, with the names of what varies in braces, and the methods that it has.
struct Route {
    listener: &'static str,
    path: String,
    methods: Vec<Method>,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The paths that a source gives routes to, and those in its lists of routes.
fn paths(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    let mut found = Vec::new();
    for call in text.split(".route(").skip(1).filter(|call| !call.starts_with(LISTED)) {
        let path = call.trim_start().trim_start_matches("&format!(").strip_prefix('"');
        let path = path.unwrap_or_else(|| panic!("{}: begin .route( with the path itself", file.display()));
        found.extend(path.split('"').next());
    }
    for method in ["\", get(", "\", post(", "\", put(", "\", patch(", "\", delete(", "\", any("] {
        let before = text.match_indices(method).map(|(at, _)| &text[..at]);
        found.extend(before.filter_map(|text| text.rsplit('"').next()).filter(|path| path.starts_with('/')));
    }
    // those that are formatted have a verb in them
    found.iter().map(|path| path.replace("{}", "{verb}").replace("{{", "{").replace("}}", "}")).collect()
}

/// Every route of an application, whose desk has [`TOKEN`].
async fn routes(app: &TestApp) -> Vec<Route> {
    let mut routes = Vec::new();
    for (listener, folders) in FOLDERS {
        let mut files = Vec::new();
        for folder in folders {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder), &mut files);
        }
        let paths: BTreeSet<_> = files.iter().flat_map(|file| paths(file)).collect();
        assert!(paths.len() > 4, "hardly any route of {listener} was found: {paths:?}");
        let with_verbs = paths.iter().flat_map(|path| Verb::ALL.map(|verb| path.replace("{verb}", verb.name())));
        for path in with_verbs.collect::<BTreeSet<_>>() {
            // no route has it, so the router says which it has
            let asked = app.http.patch(url(app, listener, &path)).bearer_auth(TOKEN).send().await.unwrap();
            assert_eq!(asked.status(), StatusCode::METHOD_NOT_ALLOWED, "{listener} {path}");
            let methods = header(&asked, "allow").split(',').map(|method| method.parse().unwrap()).collect();
            routes.push(Route { listener, path, methods });
        }
    }
    routes
}

fn url(app: &TestApp, listener: &str, path: &str) -> String {
    match listener {
        "intake" => app.intake(path),
        "tracking" => app.tracking(path),
        _ => app.ops(path),
    }
}

impl Route {
    fn changes(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter().filter(|method| ![Method::GET, Method::HEAD].contains(method))
    }

    /// Its path with these in the place of names.
    fn filled(&self, values: &[(&str, &str)]) -> String {
        let path = values.iter().fold(self.path.clone(), |path, (name, value)| path.replace(name, value));
        assert!(!path.contains('{'), "say what stands in {path}");
        path
    }
}

/// Sends a request. The answer to one for a link has its time, by the clock that the test drives.
async fn sent(app: &TestApp, http: &Client, request: Request) -> Response {
    let is_slow = request.method() == Method::POST && request.url().path() == "/lookup";
    let answer = tokio::spawn(http.execute(request));
    if is_slow { app.in_its_time(answer).await } else { answer.await.unwrap() }.unwrap()
}

/// An order whose first mail is written; what stands in paths about it.
async fn names(app: &TestApp) -> Vec<(&'static str, String)> {
    let placed = app.place("1010", "ana@example.org").await;
    app.mails(1).await;
    let mails = app.http.get(app.ops("/mailbox")).bearer_auth(TOKEN).header("accept", BROWSER).send().await.unwrap();
    let mails = mails.text().await.unwrap().replace("&#x2f;", "/");
    let is_id = |id: &&str| !["html", "gallery"].contains(id) && !id.is_empty();
    let mail = mails.split("href=\"/mailbox/").skip(1).filter_map(|rest| rest.split(['"', '?']).next()).find(is_id);
    vec![
        ("/mailbox/{id}", format!("/mailbox/{}", mail.expect("a mail"))),
        ("{id}", placed["orderid"].to_string()),
        ("{handle}", placed["handle"].as_str().unwrap().to_owned()),
        ("{command}", "c-1".to_owned()),
        ("{number}", "0".to_owned()),
        ("{file}", "pages.css".to_owned()),
        ("{schema}", "order.json".to_owned()),
    ]
}

fn as_texts<'a>(names: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    names.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn no_foreign_page_changes_anything_wherever_something_can_be_changed() {
    let app = with_token(&[]).await;
    let names = names(&app).await;
    let shown = app.tracking("/orders/1");
    let order = async || app.http.get(&shown).send().await.unwrap().json::<Value>().await.unwrap();
    let mut ana = Person::new(&app);
    ana.log_in().await;
    let mut refusals = BTreeSet::new();
    for route in routes(&app).await {
        let path = route.filled(&as_texts(&names));
        for method in route.changes() {
            let url = url(&app, route.listener, &path);
            let ask = |origin: &'static str| {
                let request = ana.dressed(ana.http.request(method.clone(), &url)).header("origin", origin);
                request.header("content-type", "application/x-www-form-urlencoded").body("confirm=yes&value=1")
            };
            for (origin, site) in
                [("https://evil.example", "cross-site"), ("null", "cross-site"), ("https://evil.example", "same-site")]
            {
                let refused = ask(origin).header("sec-fetch-site", site).send().await.unwrap();
                assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{method} {url} from {origin}, {site}");
            }
            let refused = ask("https://evil.example").send().await.unwrap(); // of an old browser
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{method} {url}");
            // nor does a page of another port of this host, whose cookies are the same, without the secret
            if route.listener == "ops" && path != "/login" {
                let refused = ana.post(&path, &[("do", "drop"), ("key", "k")]).send().await.unwrap();
                assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{method} {url} without the secret");
            }
            refusals.insert(url);
        }
    }
    println!("{} places at which something can be changed", refusals.len());
    let after = order().await;
    assert_eq!((&after["seq"], &after["waits"]), (&1.into(), &"timer".into()), "{after}");
    assert_eq!(app.place("1010", "leo@example.org").await["orderid"], 2, "and nothing was ordered");
}

#[tokio::test]
async fn no_page_of_any_route_can_be_framed() {
    let app = with_token(&[]).await;
    let names = names(&app).await;
    let mut ana = Person::new(&app);
    ana.log_in().await;
    let mut pages = BTreeSet::new();
    let mut routes = routes(&app).await;
    let nowhere = |listener| Route { listener, path: "/nowhere".into(), methods: vec![Method::GET] };
    routes.extend(["intake", "tracking", "ops"].map(nowhere));
    for route in routes {
        let path = route.filled(&as_texts(&names));
        let url = url(&app, route.listener, &path);
        let long = "x".repeat(app.config.http.body_max + 1);
        let ask = |method: &Method| ana.dressed(ana.http.request(method.clone(), &url));
        let mut requests = vec![
            ask(&Method::GET),
            ana.http.get(&url).header("accept", BROWSER),
            ask(&Method::PATCH),
            ask(&Method::GET).header("host", "evil.example"),
            ask(&Method::GET).header("sec-fetch-site", "cross-site").header("sec-fetch-dest", "iframe"),
            ask(&Method::GET).bearer_auth("wrong"),
            ask(&Method::POST).body(long),
        ];
        for method in route.changes() {
            requests.push(ask(method));
            requests.push(ask(method).header("origin", "https://evil.example"));
            requests.push(ask(method).header("content-type", "application/x-www-form-urlencoded").body("value=%00"));
        }
        for request in requests {
            let request = request.build().unwrap();
            let asked = format!("{} {} {:?}", request.method(), request.url(), request.headers());
            let answer = sent(&app, &ana.http, request).await;
            let policy = header(&answer, "content-security-policy");
            // a mail's own HTML, which the mailbox frames
            let is_mail = policy.contains("frame-ancestors 'self'; sandbox");
            assert!(!is_mail || path.starts_with("/mailbox/"), "{asked}");
            if header(&answer, "content-type").starts_with("text/html") {
                assert!(policy.contains("frame-ancestors 'none'") || is_mail, "{asked}: {answer:?}");
                pages.insert((route.listener, answer.status().as_u16()));
            }
        }
    }
    println!("{pages:?}");
    for (listener, statuses) in [
        ("intake", &[200, 403, 404, 405, 413]),
        ("tracking", &[200, 403, 404, 405, 413]),
        ("ops", &[200, 401, 403, 404, 413]),
    ] {
        assert!(statuses.iter().all(|status| pages.contains(&(listener, *status))), "{listener}: {pages:?}");
    }
}

#[tokio::test]
async fn nothing_in_an_address_leads_to_a_file_or_becomes_a_header_or_markup() {
    let app = with_token(&[]).await;
    let ana = Person::new(&app);
    let hostile = [
        "x%0d%0ax-smuggled:%20yes",
        "x%0ax-smuggled:%20yes",
        "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e%2f..%5c..%5cencargo.toml",
        "%2fetc%2fpasswd",
        "%00",
        "%ff%fe",
        "%3Cimg%20src=x%20onerror=alert(1)%3E",
        "%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        &"9".repeat(3_000),
    ];
    for route in routes(&app).await {
        for value in hostile {
            let path = route
                .filled(&["{id}", "{handle}", "{command}", "{number}", "{file}", "{schema}"].map(|name| (name, value)));
            let queried = format!("{path}?lang={value}&value={value}&q={value}&product={value}");
            let is_asked = |method: &&Method| **method != Method::HEAD;
            for (path, method) in
                [path, queried].iter().flat_map(|path| route.methods.iter().filter(is_asked).map(move |m| (path, m)))
            {
                app.clock.advance(Duration::from_secs(12)); // or the log-in says no more than to wait
                let url = url(&app, route.listener, path);
                let request = app.http.request(method.clone(), &url).header("accept", BROWSER).bearer_auth(TOKEN);
                let request = request.header("cookie", format!("lang={value}")).build().unwrap();
                let answer = sent(&app, &ana.http, request).await;
                assert!(answer.status().as_u16() < 500, "{method} {url}: {answer:?}");
                assert!(!answer.headers().contains_key("x-smuggled"), "{method} {url}: {answer:?}");
                let text = String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned();
                for wrong in ["root:", "[package]", "<img src=x", "<script>alert"] {
                    assert!(!text.contains(wrong), "{method} {url}: {text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_learns_by_guessing_which_orders_there_are() {
    let app = with_token(&[("tracking.api_key", "0123456789abcdef")]).await;
    let names = names(&app).await;
    let long = "9".repeat(30);
    for (name, status, guesses) in [
        ("{id}", StatusCode::UNAUTHORIZED, ["1", "2", "0", "x", long.as_str()]),
        // the first is of another deployment
        ("{handle}", StatusCode::NOT_FOUND, ["0123456789abcdef0123456789abcdef", "1", "x", "..%2f", &"a".repeat(300)]),
    ] {
        let mut routes = routes(&app).await;
        routes.push(Route { listener: "tracking", path: "/?value={id}".into(), methods: vec![Method::GET] });
        for route in routes.iter().filter(|route| route.listener == "tracking" && route.path.contains(name)) {
            let mut answers = BTreeSet::new();
            for (guess, method) in guesses.iter().flat_map(|guess| route.methods.iter().map(move |m| (guess, m))) {
                let values: Vec<_> = [(name, *guess)].into_iter().chain(as_texts(&names)).collect();
                let url = app.tracking(&route.filled(&values));
                for kind in [BROWSER, "*/*"] {
                    let request = app.http.request(method.clone(), &url).header("accept", kind);
                    let answer = request.header("x-forwarded-for", "203.0.113.9").send().await.unwrap();
                    let kind = header(&answer, "content-type");
                    assert_eq!(answer.status(), status, "{method} {url}");
                    // a page links to itself in the other language
                    let text = answer.text().await.unwrap().replace(&format!("value={guess}"), "");
                    answers.insert((method == Method::HEAD, kind, text));
                }
            }
            // one for browsers and one for programs, without a body to HEAD
            assert!(answers.len() <= 4, "{}: {answers:?}", route.path);
        }
    }
}
