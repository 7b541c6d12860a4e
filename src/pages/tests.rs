use axum::{
    body::to_bytes,
    http::{HeaderMap, HeaderName, Method, header},
};

use super::*;
use crate::web::Browser;

const HOSTILE: &str = "</title><script>x</script>\" onload=\"x {n}";

fn site() -> Site {
    Site {
        shop: Some("http://127.0.0.1:3000".into()),
        tracking: Some("http://127.0.0.1:5000".into()),
        currency: "€".into(),
        ..Site::default()
    }
}

fn reader(uri: &str) -> Reader {
    Reader::of(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new())
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn what_a_page_is_given_cannot_become_markup() {
    const PAGE: &str = "{% extends 'layout.html' %}{% import 'macros.html' as m %}{% block title %}{{ x }}{% endblock %}\
                        {% block main %}<h1>{{ t.retries|fill(n=x) }}</h1>{{ m.tile(x|tile) }}{{ m.glyph(2) }}{{ m.icon('mail') }}\
                        {{ m.strip('6331', 4, 6, true, x) }}{% endblock %}";
    let pages = Pages::new(&site(), &[("x.html", PAGE)]);
    for lang in Lang::ALL {
        let reader = reader(&format!("/?lang={lang}&q={}", "%22%3E%3Cscript%3E"));
        let response = pages.render("x.html", &reader, context! { x => HOSTILE });
        assert_eq!(response.headers()[CONTENT_LANGUAGE], lang.code());
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(!policy.contains("unsafe") && policy.contains("form-action 'self' http://127.0.0.1:5000;"), "{policy}");
        let html = text(response).await;
        assert_eq!(check::flaws(&html), Vec::<String>::new(), "{html}");
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
        assert_eq!(html.matches("class=\"g1\"").count(), 6, "{html}");
        assert_eq!(html.matches("class=\"bq next\"").count(), 1, "{html}");
    }
    let unknown = pages.render("y.html", &reader("/"), context! {});
    assert_eq!(unknown.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn words_whose_places_are_not_filled_in_are_no_page() {
    for template in ["{{ t.retries|fill }}", "{{ t.retries|fill(n=1, m=2) }}", "{{ t.nothing_of_that_name }}"] {
        let pages = Pages::new(&site(), &[("x.html", template)]);
        let response = pages.render("x.html", &reader("/"), context! {});
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{template}");
    }
}

#[tokio::test]
async fn values_are_shown_as_the_reader_writes_them() {
    const PAGE: &str =
        "{{ 12480|number }} {{ '7.19'|price }} {{ at|time(now) }} {{ 185|duration }} {{ 'entregando'|state }}";
    let pages = Pages::new(&site(), &[("x.html", PAGE)]);
    let at = 1_764_000_000_000_i64;
    let mut found = Vec::new();
    for lang in Lang::ALL {
        let values = context! { at, now => at + 1_000 };
        found.push(
            text(pages.render("x.html", &reader(&format!("/?lang={lang}")), values)).await.replace('\u{a0}', " "),
        );
    }
    let time = "<time datetime=\"2025-11-24T16:00:00.000Z\">16:00:00</time>";
    assert_eq!(found[0], format!("12.480 7,19 € {time} 3 min 5 s En camino"));
    assert_eq!(found[1], format!("12,480 €7.19 {time} 3 min 5 s On its way"));
}

fn browser(method: Method, uri: &str) -> Browser {
    let accept = [(header::ACCEPT, HeaderValue::from_static("text/html"))];
    Browser { method, uri: uri.parse().unwrap(), headers: HeaderMap::from_iter(accept) }
}

#[tokio::test]
async fn problems_are_pages_for_browsers_with_the_same_status() {
    let dress = errors(&site());
    let both = "No se puede: <b>.\nNot possible: <b>.";
    for (problem, es, en) in [
        (Problem::not_found("x"), "Esta página no existe", "This page does not exist"),
        (Problem::not_found("x").shown_as("unk"), "Aquí no hay ningún pedido", "There is no order here"),
        (Problem::not_found("x").shown_as("turn").with("waiting", 12_345), "como mucho: 12.345", "at most: 12,345"),
        (Problem::internal(), "Algo ha fallado aquí", "Something failed on our side"),
        (Problem::overloaded("x"), "sola en 1 s", "by itself in 1 s"),
        (Problem::unavailable("x").shown_as("starting"), "Estamos arrancando", "We are starting up"),
        (Problem::malformed(both), "No se puede: &lt;b&gt;.", "Not possible: &lt;b&gt;."),
        (Problem::new(StatusCode::TOO_MANY_REQUESTS, "x", "x", "x").retry_after(7), "sola en 7 s", "by itself in 7 s"),
    ] {
        for (lang, words) in [("es", es), ("en", en)] {
            let plain = problem.clone().into_response();
            let page = dress(&browser(Method::GET, &format!("/x?lang={lang}")), plain);
            assert_eq!(page.status(), problem.status());
            assert_eq!(page.headers().get(header::RETRY_AFTER).is_some(), problem.retry_after_s().is_some());
            assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
            let html = text(page).await;
            assert_eq!(check::flaws(&html), Vec::<String>::new(), "{html}");
            assert!(html.contains(words), "{words}: {html}");
            let waits = problem.member("waiting").is_some();
            assert!(waits || html.contains(&problem.status().as_u16().to_string()));
        }
    }
}

#[tokio::test]
async fn a_problems_page_says_in_its_headers_what_the_problem_says() {
    let mut plain = Problem::new(StatusCode::UNAUTHORIZED, "x", "x", "x").into_response();
    let said = [
        (header::WWW_AUTHENTICATE, "Bearer"),
        (header::WWW_AUTHENTICATE, "Basic"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://shop.example"),
        (header::VARY, "origin"),
        (header::CONTENT_LENGTH, "7"),
    ];
    for (name, value) in said {
        plain.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let page = errors(&site())(&browser(Method::GET, "/x"), plain);
    let all = |name| page.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all(header::WWW_AUTHENTICATE), ["Bearer", "Basic"]);
    assert_eq!(all(header::ACCESS_CONTROL_ALLOW_ORIGIN), ["https://shop.example"]);
    assert!(all(header::VARY).len() == 2 && all(header::VARY)[1] == "origin", "{page:?}");
    assert_eq!(all(CONTENT_TYPE), ["text/html; charset=utf-8"]);
    assert!(all(header::CONTENT_LENGTH).is_empty(), "{page:?}");
}

#[tokio::test]
async fn what_is_no_problem_or_answers_the_old_form_stays() {
    let dress = errors(&site());
    let fine = dress(&browser(Method::GET, "/x"), (StatusCode::NOT_FOUND, "plain").into_response());
    assert_eq!(text(fine).await, "plain");
    let form = dress(&browser(Method::POST, "/"), Problem::malformed("x").into_response());
    assert_eq!(form.headers()[CONTENT_TYPE], "application/problem+json");
    // nobody can load a form's answer again
    let posted = text(dress(&browser(Method::POST, "/x"), Problem::overloaded("x").into_response())).await;
    assert!(!posted.contains("http-equiv=\"refresh\"") && !posted.contains("href=\"\""), "{posted}");
}

#[tokio::test]
async fn a_page_is_compressed_for_who_takes_that_and_remembers_the_language() {
    let pages = Pages::new(&site(), &[("x.html", "{{ t.foot }}")]);
    let ask = |uri: &str, encoding: &'static str| {
        let headers = [(HeaderName::from_static("accept-encoding"), HeaderValue::from_static(encoding))];
        let reader = Reader::of(&Method::GET, &uri.parse().unwrap(), &HeaderMap::from_iter(headers));
        pages.render("x.html", &reader, context! {})
    };
    let zipped = ask("/?lang=en", "gzip");
    assert_eq!(zipped.headers()[CONTENT_ENCODING], "gzip");
    assert!(zipped.headers()[SET_COOKIE].to_str().unwrap().starts_with("lang=en; Path=/;"));
    let bytes = to_bytes(zipped.into_body(), 10_000).await.unwrap();
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain).unwrap();
    assert!(plain.starts_with("No account"), "{plain}");
    let plain = ask("/", "br");
    assert!(!plain.headers().contains_key(CONTENT_ENCODING) && !plain.headers().contains_key(SET_COOKIE));
}
