use axum::http::{
    HeaderMap,
    header::{ACCEPT, ACCEPT_ENCODING, AsHeaderName},
};

/// Whether a page is wanted and not JSON: `text/html` is named, and JSON is not, or later and no more wanted. Programs
/// name neither, or `*/*`; those that name `text/html` beside `*/*`, as Java's do, take what they are given. Only browsers
/// name XHTML as well, or say what they fetch for.
pub fn accepts_html(headers: &HeaderMap) -> bool {
    let is_named = |name: &str| weighted(headers, ACCEPT).any(|(range, _)| range.eq_ignore_ascii_case(name));
    let is_browser = is_named("application/xhtml+xml") || headers.contains_key("sec-fetch-mode");
    if !is_browser && (is_named("*/*") || is_named("*")) {
        return false;
    }
    let mut json = 0.0;
    for (range, weight) in weighted(headers, ACCEPT) {
        if range.eq_ignore_ascii_case("text/html") {
            let best_json = weighted(headers, ACCEPT).filter(|(range, _)| is_json(range)).map(|(_, weight)| weight);
            return weight > json && weight >= best_json.fold(0.0, f32::max);
        }
        if is_json(range) {
            json = weight.max(json);
        }
    }
    false
}

/// Whether events are wanted, as they happen.
pub fn accepts_events(headers: &HeaderMap) -> bool {
    weighted(headers, ACCEPT).any(|(range, weight)| range.eq_ignore_ascii_case("text/event-stream") && weight > 0.0)
}

/// Whether an answer may come compressed by gzip (RFC 9110 §12.5.3).
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weight = |coding: &str| {
        weighted(headers, ACCEPT_ENCODING)
            .find(|(found, _)| found.eq_ignore_ascii_case(coding))
            .map(|(_, weight)| weight)
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

fn is_json(range: &str) -> bool {
    ["application/json", "application/problem+json"].iter().any(|json| range.eq_ignore_ascii_case(json))
}

/// The choices of a header, each with its weight, in their order.
pub(super) fn weighted(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = (&str, f32)> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|choice| {
        let mut parts = choice.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (range, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_who_names_html_before_or_above_json_gets_a_page() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (accept, expected) in [
            (browser, true),
            ("text/html", true),
            ("TEXT/HTML;charset=utf-8", true),
            ("text/html, application/json", true),
            ("application/json, text/html", false),
            ("application/json;q=0.5, text/html", true),
            ("text/html;q=0.5, application/json", false),
            ("text/html;q=0", false),
            ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", false),
            ("text/html, */*", false),
            ("text/html, text/plain, application/xhtml+xml, */*;q=0.01", true),
            ("application/problem+json, text/html", false),
            ("*/*", false),
            ("text/*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_html(&headers), expected, "{accept}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
        let by_script = [("accept", "text/html, */*; q=0.01"), ("sec-fetch-mode", "cors")];
        let by_script = by_script.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        assert!(accepts_html(&HeaderMap::from_iter(by_script)));
    }

    #[test]
    fn gzip_is_taken_where_it_is_named_and_not_refused() {
        for (accept, expected) in
            [("gzip, deflate, br", true), ("br", false), ("gzip;q=0, *", false), ("*;q=0.1", true), ("", false)]
        {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_gzip(&headers), expected, "{accept}");
        }
    }
}
