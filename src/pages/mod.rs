//! What the pages of all listeners share: layout, style, words in Spanish and in English, and how numbers, prices and
//! times are written.
//!
//! Pages are rendered on the server from templates that escape, and work without script; scripts only add life, and come
//! from the listener itself. A policy forbids what else a browser might run or fetch. Style sheet, marks and scripts have
//! addresses that never mean anything else, so that they are cached for ever; pages never are.
//!
//! A service's own pages stand with the service; errors are pages, too ([`errors`]).

mod assets;
#[cfg(test)]
pub mod check;
pub mod docs;
mod errors;
pub mod format;
mod functions;
mod reader;
mod sprite;
mod tile;

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{
            CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, SET_COOKIE,
            VARY,
        },
    },
    response::{IntoResponse, Response},
};
use flate2::Compression;
use jiff::tz::TimeZone;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use reqwest::Url;

pub use assets::assets;
pub use errors::errors;
pub use functions::{escaped, filled};
pub use reader::{Reader, Visit};
pub use tile::Tile;

use crate::{domain::Lang, web::Problem, words};

macro_rules! built_in {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("templates/", $name)))),*] };
}

const SHARED: [(&str, &str); 3] = built_in! { "layout.html" "macros.html" "error.html" };

/// What all pages know of the shop.
#[derive(Debug, Clone)]
pub struct Site {
    /// Where the shop is, without a slash at the end, if customers can reach it.
    pub shop: Option<String>,
    /// Where orders are followed, likewise.
    pub tracking: Option<String>,
    /// Where the link to an order is asked for, if links are mailed.
    pub lookup: Option<String>,
    /// The time zone in which times are told.
    pub zone: TimeZone,
    /// What stands beside prices: `€`, `EUR`, or nothing.
    pub currency: String,
}

impl Default for Site {
    fn default() -> Self {
        Self { shop: None, tracking: None, lookup: None, zone: TimeZone::UTC, currency: String::new() }
    }
}

/// The pages of one listener: its templates over the shared layout, all escaping what they are given.
pub struct Pages {
    env: Environment<'static>,
    site: Value,
    policy: HeaderValue,
}

impl Pages {
    /// Templates by name; they extend `layout.html`, and find the words in `t`.
    ///
    /// # Panics
    ///
    /// When a template does not parse: they are compiled in.
    pub fn new(site: &Site, templates: &[(&'static str, &'static str)]) -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_auto_escape_callback(|_| AutoEscape::Html);
        functions::add(&mut env, site);
        for (name, source) in SHARED.iter().chain(templates) {
            env.add_template(name, source).expect("a built-in template parses");
        }
        let value = context! { shop => &site.shop, tracking => &site.tracking, lookup => &site.lookup };
        Self { env, site: value, policy: policy(site) }
    }

    /// Renders a page. It is compressed for who takes that, so a page that holds a secret of its reader must not repeat
    /// what anybody can make them ask for.
    pub fn render(&self, name: &str, reader: &Reader, values: Value) -> Response {
        let languages: Vec<_> = Lang::ALL
            .map(|lang| context! { code => lang.code(), link => reader.link(lang), is_here => lang == reader.lang })
            .into();
        let t = words::values(reader.lang);
        let visit = reader.visit.as_ref().map(|visit| context! { form => &visit.form, session => &visit.session });
        let shared = context! { visit, lang => reader.lang.code(), t, languages, site => self.site.clone() };
        let rendered =
            self.env.get_template(name).and_then(|template| template.render(context! { ..values, ..shared }));
        match rendered {
            Ok(html) => self.answer(&sprite::embed(&html), reader),
            Err(error) => {
                tracing::error!(page = name, %error, "a page cannot be rendered");
                Problem::internal().into_response()
            }
        }
    }

    /// A page that is a file of its own: it has its style in it, as `css`, and needs no server.
    pub fn document(&self, name: &str, lang: Lang, values: Value) -> Result<String, minijinja::Error> {
        let (t, css) = (words::values(lang), Value::from_safe_string(assets::text_of("pages.css").to_owned()));
        let shared = context! { lang => lang.code(), t, css, site => self.site.clone() };
        let html = self.env.get_template(name)?.render(context! { ..values, ..shared })?;
        Ok(sprite::embed(&html))
    }

    fn answer(&self, html: &str, reader: &Reader) -> Response {
        let mut response = if reader.takes_gzip {
            assets::gzip(html.as_bytes(), Compression::fast()).into_response()
        } else {
            html.to_owned().into_response()
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(reader.lang.code()));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-language, accept-encoding, cookie"));
        // with none at all, forms would come from nowhere, and be refused; links must not tell others a handle
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        if reader.takes_gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(cookie) = reader.cookie() {
            headers.insert(SET_COOKIE, cookie);
        }
        response
    }
}

/// What a page may load and do: our own style, marks, scripts and frames, and no inline ones. Forms may lead on to where
/// orders are followed, since browsers apply the rule to what an answer redirects to.
fn policy(site: &Site) -> HeaderValue {
    let origin = |url: &String| Url::parse(url).ok().map(|url| url.origin().ascii_serialization());
    let tracking = site.tracking.as_ref().and_then(origin).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
         frame-src 'self'; form-action 'self' {tracking}; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("an origin is plain ASCII")
}

/// A foreign document, to be shown in a frame with `sandbox`: no script, nothing fetched, and links open a new window.
pub fn foreign_html(html: impl Into<String>) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox";
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::OK, headers, html.into()).into_response()
}

#[cfg(test)]
mod tests;
