use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Method, Uri, request::Parts},
};

use crate::{
    domain::Lang,
    web::{LANG_COOKIE, accepts_gzip, language, query_fields},
};

/// A visit to pages on which something can be changed. Who lets a request in puts it into its extensions.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    /// What stands in the visit's forms, and no other site can read.
    pub form: String,
    /// The name of the session, where somebody has logged in.
    pub session: Option<String>,
}

/// Who reads a page: in which language, and where they are.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Their language.
    pub lang: Lang,
    /// Whether they have just chosen it.
    has_chosen: bool,
    pub(super) takes_gzip: bool,
    pub(super) is_get: bool,
    /// The address's fields, without the language.
    query: Vec<(String, String)>,
    /// Their visit, where there are visits.
    pub visit: Option<Visit>,
}

impl Reader {
    /// As a request tells.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let (asked, query): (Vec<_>, Vec<_>) = query_fields(uri).partition(|(name, _)| name == "lang");
        let asked = asked.first().map(|(_, lang)| lang.as_str());
        Self {
            lang: language(asked, headers),
            has_chosen: asked.and_then(Lang::meant_by).is_some(),
            takes_gzip: accepts_gzip(headers),
            is_get: method == Method::GET || method == Method::HEAD,
            query,
            visit: None,
        }
    }

    /// The name of the session, where they have logged in.
    pub fn session(&self) -> Option<&str> {
        self.visit.as_ref()?.session.as_deref()
    }

    /// The link to the same page in a language.
    pub(super) fn link(&self, lang: Lang) -> String {
        let fields = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields = fields.chain([("lang", lang.code())]);
        format!("?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
    }

    /// What remembers the choice, on all three listeners of a host.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        let cookie = format!("{LANG_COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly", self.lang);
        self.has_chosen.then(|| cookie.parse().expect("two letters are plain"))
    }
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let visit = parts.extensions.get().cloned();
        Ok(Self { visit, ..Self::of(&parts.method, &parts.uri, &parts.headers) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_to_a_language_keeps_what_else_the_address_says() {
        let reader = |uri: &str| Reader::of(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new());
        assert_eq!(reader("/?q=a%26b&lang=en&page=2").link(Lang::Es), "?q=a%26b&page=2&lang=es");
        assert_eq!(reader("/").link(Lang::En), "?lang=en");
        assert!(reader("/?lang=en").cookie().unwrap().to_str().unwrap().starts_with("lang=en;"));
        assert_eq!((reader("/?lang=xx").cookie(), reader("/").cookie()), (None, None));
    }
}
