use axum::http::{HeaderMap, header::ACCEPT_LANGUAGE};

use super::{accept::weighted, request::cookie};
use crate::domain::Lang;

/// The cookie in which a reader's choice of a language is kept.
pub const LANG_COOKIE: &str = "lang";

/// The language to answer in: that of `?lang=`, else the one that was chosen before, else the first choice of
/// `Accept-Language` (RFC 9110 §12.5.4) that there is, else the default.
pub fn language(asked: Option<&str>, headers: &HeaderMap) -> Lang {
    if let Some(lang) = asked.and_then(Lang::meant_by).or_else(|| chosen(headers)) {
        return lang;
    }
    let mut best = (0.0, Lang::default());
    for (range, weight) in weighted(headers, ACCEPT_LANGUAGE) {
        if let Some(lang) = Lang::meant_by(range)
            && weight > best.0
        {
            best = (weight, lang);
        }
    }
    best.1
}

fn chosen(headers: &HeaderMap) -> Option<Lang> {
    cookie(headers, LANG_COOKIE).and_then(Lang::meant_by)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header::COOKIE};

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

    #[test]
    fn what_was_chosen_before_wins_over_the_browser() {
        let mut headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static("es"))]);
        headers.insert(COOKIE, HeaderValue::from_static("a=b; lang=en; c=d"));
        assert_eq!(language(None, &headers), Lang::En);
        assert_eq!(language(Some("es"), &headers), Lang::Es);
        headers.insert(COOKIE, HeaderValue::from_static("lang=xx"));
        assert_eq!(language(None, &headers), Lang::Es);
    }
}
