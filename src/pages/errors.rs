use std::{borrow::Cow, sync::Arc};

use axum::http::{
    Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, VARY},
};
use minijinja::context;
use serde_json::Value;

use super::{Pages, Reader, Site, format};
use crate::{
    domain::Lang,
    web::{Browser, Dress, Problem},
    words,
};

/// Shows problems as pages to browsers; programs keep theirs. The form of the old service is answered as it always was.
pub fn errors(site: &Site) -> Dress {
    let pages = Pages::new(site, &[]);
    Arc::new(move |browser: &Browser, response| {
        let is_old_form = browser.method == Method::POST && browser.uri.path() == "/";
        match response.extensions().get::<Problem>().cloned() {
            Some(problem) if !is_old_form => dress(&pages, browser, &problem, response),
            _ => response,
        }
    })
}

fn dress(
    pages: &Pages,
    browser: &Browser,
    problem: &Problem,
    plain: Response<axum::body::Body>,
) -> Response<axum::body::Body> {
    let reader = Reader::of(&browser.method, &browser.uri, &browser.headers);
    let status = problem.status();
    let key = problem.page().unwrap_or_else(|| key_of(status));
    let (title, text) = (format!("{key}_title"), format!("{key}_text"));
    let values = context! {
        title => words::find(reader.lang, &title).unwrap_or_else(|| words::word(reader.lang, "e400_title")),
        text => words::find(reader.lang, &text).map(|text| told(text, problem, reader.lang)),
        detail => (status.is_client_error() && words::find(reader.lang, &text).is_none()).then(|| detail(problem, reader.lang)),
        // what waits for its turn is no error to who reads of it
        waits => problem.member("waiting").is_some() && reader.is_get,
        code => status.as_u16(),
        lost_link => key == "unk",
        retry_after => problem.retry_after_s().filter(|_| reader.is_get),
        can_reload => reader.is_get && (status.is_server_error() || problem.retry_after_s().is_some()),
    };
    let mut page = pages.render("error.html", &reader, values);
    *page.status_mut() = status;
    let mut headers = plain.into_parts().0.headers;
    // all that it says but of its body
    for name in [CONTENT_TYPE, CONTENT_LENGTH] {
        headers.remove(name);
    }
    let vary = headers.remove(VARY);
    page.headers_mut().extend(headers);
    if let Some(vary) = vary {
        page.headers_mut().append(VARY, vary);
    }
    page
}

/// A text with the numbers that the problem has for programs.
fn told(text: &'static str, problem: &Problem, lang: Lang) -> Cow<'static, str> {
    let number = |name| problem.member(name).and_then(Value::as_u64).map(|n| (name, format::number(lang, n)));
    let places: Vec<_> = ["waiting", "wait_s"].into_iter().filter_map(number).collect();
    words::fill(text, &places)
}

/// The words for a status.
fn key_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "e404",
        StatusCode::TOO_MANY_REQUESTS => "e429",
        StatusCode::SERVICE_UNAVAILABLE => "e503",
        status if status.is_server_error() => "e500",
        _ => "e400",
    }
}

/// What is wrong in the reader's language, where it is said in both: a line for each.
fn detail(problem: &Problem, lang: Lang) -> String {
    let detail = problem.detail();
    match (detail.split_once('\n'), lang) {
        (Some((spanish, _)), Lang::Es) => spanish.to_owned(),
        (Some((_, english)), Lang::En) => english.to_owned(),
        (None, _) => detail.to_owned(),
    }
}
