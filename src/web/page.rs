use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::LazyLock,
};

use axum::{
    Router,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::Problem;
use crate::domain::Lang;

const LAYOUT: (&str, &str) = ("layout.html", include_str!("templates/layout.html"));
const STYLE: &str = include_str!("assets/style.css");

/// What a page may load and do: our style sheet and our own frames. No script, from nowhere.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The style sheet's address; another content has another one, so that it can be cached for ever.
static STYLE_PATH: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    STYLE.hash(&mut hasher);
    format!("/assets/style.css?v={:x}", hasher.finish())
});

/// The pages of one listener: its templates over the shared layout, all escaping what they are given.
pub struct Pages {
    env: Environment<'static>,
    words: fn(Lang) -> BTreeMap<&'static str, &'static str>,
    nav: &'static [(&'static str, &'static str)],
}

impl Pages {
    /// Templates by name, the words that they find in `t`, and the navigation: a path and the word for it each.
    ///
    /// # Panics
    ///
    /// When a template does not parse: they are compiled in.
    pub fn new(
        templates: &[(&'static str, &'static str)],
        words: fn(Lang) -> BTreeMap<&'static str, &'static str>,
        nav: &'static [(&'static str, &'static str)],
    ) -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_auto_escape_callback(|_| AutoEscape::Html);
        for (name, source) in [LAYOUT].iter().chain(templates) {
            env.add_template(name, source).expect("a built-in template parses");
        }
        Self { env, words, nav }
    }

    /// Renders a page. `here` are the parameters of its address without the language, for the links that stay.
    pub fn render(&self, name: &str, lang: Lang, here: Value, values: Value) -> Response {
        let words = (self.words)(lang);
        let nav: Vec<Value> =
            self.nav.iter().map(|(path, word)| context! { path => *path, label => words.get(word).copied() }).collect();
        let shared = context! { lang => lang.code(), t => words, nav, here, style => STYLE_PATH.as_str() };
        let rendered =
            self.env.get_template(name).and_then(|template| template.render(context! { ..values, ..shared }));
        match rendered {
            Ok(html) => {
                let mut response = html_response(html, PAGE_POLICY);
                response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(lang.code()));
                response
            }
            Err(error) => {
                tracing::error!(page = name, %error, "a page cannot be rendered");
                Problem::internal().into_response()
            }
        }
    }
}

/// A foreign document, to be shown in a frame with `sandbox`: no script, nothing fetched, and links open a new window.
pub fn foreign_html(html: impl Into<String>) -> Response {
    html_response(
        html.into(),
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox",
    )
}

fn html_response(html: String, policy: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::OK, headers, html).into_response()
}

/// What every page needs: the style sheet.
pub fn assets() -> Router {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Router::new().route("/assets/style.css", get(move || async move { (headers, STYLE) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_page_is_given_cannot_become_markup() {
        let pages = Pages::new(
            &[("x.html", "{% extends 'layout.html' %}{% block title %}{{ x }}{% endblock %}")],
            |_| BTreeMap::new(),
            &[],
        );
        let hostile = "</title><script>x</script>";
        let response = pages.render("x.html", Lang::En, context! {}, context! { x => hostile });
        assert_eq!(response.headers()[CONTENT_LANGUAGE], "en");
        assert!(!response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("unsafe"));
        let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
        let html = String::from_utf8(body.to_vec()).unwrap();
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
        let unknown = pages.render("y.html", Lang::En, context! {}, context! {});
        assert_eq!(unknown.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
