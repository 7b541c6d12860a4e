//! Which requests may be answered at all, on every listener: a web page of somebody else, open in a browser on this
//! machine, must neither read what is here nor make anything happen.
//!
//! - *By a foreign name*: a page whose name was pointed at this machine (DNS rebinding) is of the same origin as a
//!   listener on loopback. What browsers send must therefore name this machine, or a name that the settings know.
//! - *From a foreign site* (CSRF): browsers say so by `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin`. What changes
//!   something wants our own site or an origin that is allowed; what reads may besides be a link that somebody follows.
//!
//! Programs send neither header, and are let through: what they may do, they may do without a browser.
//! `X-Forwarded-Host` is never looked at, since anybody can write it; a proxy passes `Host` on instead.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use axum::{
    Router,
    extract::Request,
    http::{
        HeaderMap, HeaderName, Method, StatusCode, Uri,
        header::{ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, FORWARDED, HOST, LOCATION, ORIGIN, RETRY_AFTER, VIA},
    },
    middleware,
    response::IntoResponse,
};
use reqwest::Url;
use tower_http::cors::CorsLayer;

use super::Problem;
use crate::{clock::Clock, telemetry::ThrottledLog};

/// What no program sends but a proxy that passes a request on.
const OF_PROXIES: [HeaderName; 6] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// The origin of a web page, like `https://shop.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// A name by which a listener may be called, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// Why a text is no origin, or no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseName(&'static str);

impl FromStr for Origin {
    type Err = ParseName;

    /// As browsers write it: in ASCII, and without the scheme's own port.
    fn from_str(text: &str) -> Result<Self, ParseName> {
        let url = Url::parse(text.trim()).ok().filter(|url| {
            let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            is_bare && url.username().is_empty() && ["http", "https"].contains(&url.scheme())
        });
        let url =
            url.ok_or(ParseName("must look like https://shop.example, with a port where it is not the usual one"))?;
        Ok(Self(url.origin().ascii_serialization()))
    }
}

impl FromStr for HostName {
    type Err = ParseName;

    /// As it stands in a `Host` header: in ASCII.
    fn from_str(text: &str) -> Result<Self, ParseName> {
        const SHAPE: ParseName = ParseName("must be a name without a scheme and a port, like shop.example");
        let text = text.trim();
        let text = if text.parse::<Ipv6Addr>().is_ok() { format!("[{text}]") } else { text.to_owned() };
        let url = Url::parse(&format!("http://{text}/")).map_err(|_| SHAPE)?;
        let name = url.host_str().map(name_of).unwrap_or_default();
        // whatever else the text holds is lost in a URL of the name alone
        let is_alone =
            text.matches(':').count() == name.matches(':').count() && !text.contains(['/', '@', '?', '#', '*']);
        if is_alone { Ok(Self(name.trim_end_matches('.').to_owned())) } else { Err(SHAPE) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The guard of one listener.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Whether only this machine reaches the listener.
    pub on_loopback: bool,
    /// Names besides those of this machine.
    pub hosts: Vec<HostName>,
    /// Origins of foreign pages that may use the listener.
    pub origins: Vec<Origin>,
}

impl Guard {
    /// Puts the guard before all routes. Refusals are told now and then: a proxy may have been set up half-way.
    pub fn wrap(self, router: Router, clock: Clock) -> Router {
        let guard = Arc::new((self, clock, ThrottledLog::default()));
        router.layer(middleware::from_fn(move |request: Request, next: middleware::Next| {
            let guard = guard.clone();
            async move {
                let (guard, clock, told) = &*guard;
                match guard.check(request.method(), request.uri(), request.headers()) {
                    Ok(()) => next.run(request).await,
                    Err(problem) => {
                        // not the name itself: anybody can write an address there
                        told.warn(clock, |more| {
                            tracing::warn!(
                                more_before = more,
                                "a browser was refused that called by a name not in http.allowed_hosts, or for a page not in \
                                 intake.allowed_origins"
                            );
                        });
                        problem.into_response()
                    }
                }
            }
        }))
    }

    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let asks = Asks::of(headers);
        let host = host(uri, headers);
        // whoever sends no Host is no browser, and neither is who writes without telling where from
        let may_be_a_page = method == Method::GET || method == Method::HEAD || asks.is_browser();
        if may_be_a_page && host.is_some_and(|host| !self.knows(host)) {
            return Err(foreign_host(host.unwrap_or_default()));
        }
        if asks.origin.is_some_and(|origin| self.allows(origin)) {
            return Ok(());
        }
        let is_fine = if method == Method::OPTIONS {
            // a browser that asks for a page of another origin; the real request would be refused anyway
            !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) || !asks.is_foreign(host)
        } else if method == Method::GET || method == Method::HEAD {
            !asks.is_foreign_read(host)
        } else {
            !asks.is_foreign(host)
        };
        if is_fine { Ok(()) } else { Err(foreign_site(asks.origin)) }
    }

    /// Whether a listener may be called so. Off loopback any name may lead to it, unless the settings name some; an
    /// address is no name that somebody could have pointed here.
    fn knows(&self, host: &str) -> bool {
        let name = name_of(host);
        is_loopback_name(name)
            || self.has_name(name)
            || !self.on_loopback && (self.hosts.is_empty() || name.parse::<IpAddr>().is_ok())
    }

    /// Whether pages of an origin may do what our own may: a listed one, one under a name of ours, and on loopback those
    /// of this machine.
    fn allows(&self, origin: &str) -> bool {
        let name = name_of(authority_of(origin));
        self.origins.iter().any(|allowed| origin.eq_ignore_ascii_case(&allowed.0))
            || self.has_name(name)
            || self.on_loopback && is_loopback_name(name)
    }

    fn has_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.hosts.iter().any(|known| name.eq_ignore_ascii_case(&known.0))
    }
}

/// What browsers tell of where a request comes from.
struct Asks<'a> {
    origin: Option<&'a str>,
    site: Option<&'a str>,
    mode: Option<&'a str>,
    dest: Option<&'a str>,
}

impl<'a> Asks<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        // what is no text is of nobody we know
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        Self {
            origin: text(ORIGIN.as_str()),
            site: text("sec-fetch-site"),
            mode: text("sec-fetch-mode"),
            dest: text("sec-fetch-dest"),
        }
    }

    fn is_browser(&self) -> bool {
        self.origin.is_some() || self.site.is_some()
    }

    /// Whether something would be changed by a page of another site: of another host, since one host's ports are
    /// one site.
    fn is_foreign(&self, host: Option<&str>) -> bool {
        if self.site.is_some_and(|site| ["same-origin", "none"].contains(&site)) {
            return false;
        }
        let is_same =
            |origin| host.is_some_and(|host| name_of(authority_of(origin)).eq_ignore_ascii_case(name_of(host)));
        self.is_browser() && !self.origin.is_some_and(is_same)
    }

    /// Whether a page of another site reads; not when somebody follows a link there.
    fn is_foreign_read(&self, host: Option<&str>) -> bool {
        let is_link = self.mode == Some("navigate") && self.dest.is_none_or(|dest| dest == "document");
        // only scripts tell an origin when they read
        self.site == Some("cross-site") && !is_link || self.origin.is_some() && self.is_foreign(host)
    }
}

/// Whether a request comes from this machine, for all that can be seen: it is called by a name of this machine, and no
/// proxy has passed it on.
pub fn is_from_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_passed_on = OF_PROXIES.iter().any(|name| headers.contains_key(name));
    !is_passed_on && host(uri, headers).is_some_and(|host| is_loopback_name(name_of(host)))
}

/// Whether a page asks that is of another origin than ours: of another host, or of another port of this one.
pub fn is_cross_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    let asks = Asks::of(headers);
    if asks.site.is_some_and(|site| ["same-origin", "none"].contains(&site)) {
        return false;
    }
    let is_same = |origin| host(uri, headers).is_some_and(|host| authority_of(origin).eq_ignore_ascii_case(host));
    asks.is_browser() && !asks.origin.is_some_and(is_same)
}

/// Lets scripts of other origins read the answers of some routes; nothing when no origin is allowed.
pub fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    let allowed: Vec<_> = origins.iter().filter_map(|origin| origin.0.parse().ok()).collect();
    let ours = ["idempotency-key", "traceparent"].map(HeaderName::from_static);
    let [key, trace] = ours;
    (!allowed.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([CONTENT_TYPE, key, trace])
            .expose_headers([LOCATION, RETRY_AFTER])
            .max_age(std::time::Duration::from_hours(1))
    })
}

/// By what name a request calls us (RFC 9112 §3.2.2: a target with a host in it goes before the header).
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let header = || {
        let mut hosts = headers.get_all(HOST).iter();
        let first = hosts.next()?.to_str().unwrap_or("?");
        Some(if hosts.next().is_none() { first } else { "?" }) // of two names, nobody knows which is meant
    };
    uri.authority().map(axum::http::uri::Authority::as_str).or_else(header)
}

/// Host and port of an origin; nothing of `null`.
fn authority_of(origin: &str) -> &str {
    origin.split_once("://").map_or("", |(_, authority)| authority)
}

/// A host without its port, and an IPv6 address without its brackets.
fn name_of(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    };
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

/// Whether a name without a port, or an address, is one of this machine alone (RFC 6761 §6.3).
pub fn is_loopback_name(name: &str) -> bool {
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let plain = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    plain == "localhost"
        || plain.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

// In both languages, as these also meet people.
fn foreign_host(host: &str) -> Problem {
    let host: String = host.chars().filter(char::is_ascii_graphic).take(100).collect();
    let detail = format!(
        "Este puerto no atiende con el nombre {host}, sino como localhost: si un proxy lo publica con ese nombre, añádalo a \
         http.allowed_hosts.\n\
         This listener does not answer by the name {host} but as localhost: if a reverse proxy publishes it by that name, \
         add it to http.allowed_hosts."
    );
    Problem::new(StatusCode::FORBIDDEN, "foreign-host", "Called by a foreign name", detail)
}

fn foreign_site(origin: Option<&str>) -> Problem {
    let origin: String = origin.unwrap_or("?").chars().filter(char::is_ascii_graphic).take(100).collect();
    let detail = format!(
        "Petición de una página de otro sitio ({origin}), que no está en intake.allowed_origins.\n\
         A request of a page of another site ({origin}), which is not in intake.allowed_origins."
    );
    Problem::new(StatusCode::FORBIDDEN, "foreign-site", "Asked for by a foreign site", detail)
}

#[cfg(test)]
mod tests;
