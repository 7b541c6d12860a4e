use axum::http::{HeaderMap, header::ACCEPT_LANGUAGE};

use crate::domain::Lang;

/// The language to answer in: that of `?lang=`, else the first choice of `Accept-Language` (RFC 9110 §12.5.4) that
/// there is, else the default.
pub fn language(asked: Option<&str>, headers: &HeaderMap) -> Lang {
    if let Some(lang) = asked.and_then(Lang::meant_by) {
        return lang;
    }
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut best = (0.0, Lang::default());
    for choice in accepted.split(',') {
        let (range, parameters) = choice.split_once(';').unwrap_or((choice, ""));
        let weight = match parameters.trim().strip_prefix("q=") {
            Some(weight) => weight.parse().unwrap_or(0.0),
            None => 1.0,
        };
        if let Some(lang) = Lang::meant_by(range)
            && weight > best.0
        {
            best = (weight, lang);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_query_wins_over_the_browser_and_that_over_the_default() {
        for (asked, accepted, expected) in [
            (None, "", Lang::Es),
            (None, "en", Lang::En),
            (None, "EN-GB,en;q=0.9", Lang::En),
            (None, "de, en;q=0.5, es;q=0.8", Lang::Es),
            (None, "es;q=0, en;q=0.1", Lang::En),
            (None, "en;q=x, fr", Lang::Es),
            (Some("en"), "es", Lang::En),
            (Some("de"), "en", Lang::En),
            (Some("en-US"), "es", Lang::En),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(accepted))]);
            assert_eq!(language(asked, &headers), expected, "{asked:?} {accepted:?}");
        }
        assert_eq!(language(None, &HeaderMap::new()), Lang::Es);
    }
}
