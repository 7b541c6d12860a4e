//! What all pages have in common, over real sockets.

#[path = "../../src/pages/check.rs"]
pub mod check;

use encargo::domain::Lang;
use reqwest::{Response, StatusCode};

use crate::harness::app::TestApp;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn browse(app: &TestApp, url: &str, lang: Lang) -> Response {
    app.http.get(url).header("accept", BROWSER).header("accept-language", lang.code()).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn what_is_not_there_is_a_page_for_browsers_and_a_problem_for_programs() {
    let app = TestApp::start().await;
    for url in [app.intake("/none"), app.tracking("/none"), app.ops("/none")] {
        for (lang, words) in [(Lang::Es, "Esta página no existe"), (Lang::En, "This page does not exist")] {
            let page = browse(&app, &url, lang).await;
            assert_eq!(
                (page.status(), header(&page, "content-type")),
                (StatusCode::NOT_FOUND, "text/html; charset=utf-8")
            );
            assert_eq!((header(&page, "content-language"), header(&page, "cache-control")), (lang.code(), "no-store"));
            assert_eq!(header(&page, "x-content-type-options"), "nosniff");
            let policy = header(&page, "content-security-policy");
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
            let html = page.text().await.unwrap();
            assert!(html.contains(words), "{html}");
            assert_eq!(check::flaws(&html), Vec::<String>::new(), "{html}");
        }
        let problem = app.http.get(&url).send().await.unwrap();
        assert_eq!(header(&problem, "content-type"), "application/problem+json");
    }
    // the form of the old service is answered as it always was
    let form = app.http.post(app.intake("/")).header("accept", BROWSER).body("value=none");
    let form = form.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    assert!(!header(&form, "content-type").contains("html"), "{form:?}");
}

#[tokio::test]
async fn what_pages_need_is_there_and_stays_for_ever() {
    let app = TestApp::start().await;
    for url in [app.intake("/none"), app.tracking("/none"), app.ops("/none")] {
        let html = browse(&app, &url, Lang::En).await.text().await.unwrap();
        let base = url.trim_end_matches("/none");
        let assets: Vec<_> = html.split('"').filter(|text| text.starts_with("/assets/")).collect();
        assert!(assets.len() >= 2, "{html}");
        for asset in assets {
            let response =
                app.http.get(format!("{base}{asset}")).header("accept-encoding", "gzip").send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{asset}");
            assert!(header(&response, "cache-control").ends_with("immutable"), "{asset}");
            assert_eq!(header(&response, "content-encoding"), "gzip", "{asset}");
        }
    }
}
