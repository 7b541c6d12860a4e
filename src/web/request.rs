//! What a request says, read the same way everywhere.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Query, Request},
    http::{HeaderMap, HeaderValue, Uri, header::COOKIE, request::Parts},
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// Cancelled when the listener is to stop: an answer that would go on for long ends then.
#[derive(Debug, Clone, Default)]
pub struct Stopping(pub CancellationToken);

impl<S: Sync> FromRequestParts<S> for Stopping {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// The fields of a query in their order, whatever they are; of several equal ones, the first counts everywhere.
pub fn query_fields(uri: &Uri) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned()
}

/// The first field of that name.
pub fn query_field(uri: &Uri, name: &str) -> Option<String> {
    query_fields(uri).find(|(field, _)| field == name).map(|(_, value)| value)
}

/// The fields of a query as a type. Of several equal ones the first counts; what cannot be read asks for nothing.
#[derive(Debug)]
pub struct Fields<T>(pub T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequestParts<S> for Fields<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(read(&parts.uri).unwrap_or_default()))
    }
}

fn read<T: DeserializeOwned>(uri: &Uri) -> Option<T> {
    let mut once = Vec::<(String, String)>::new();
    for (name, value) in query_fields(uri) {
        if once.iter().all(|(other, _)| *other != name) {
            once.push((name, value));
        }
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(once).finish();
    let Query(fields) = Query::try_from_uri(&format!("/?{query}").parse().ok()?).ok()?;
    Some(fields)
}

/// The first cookie of that name.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The key of an `Authorization` header; schemes are the same in any case (RFC 9110 §11.1).
pub fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, key) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}

/// Whether the client speaks TLS with a trusted proxy, as that one says. A client that lies about it harms only itself.
pub fn is_tls(headers: &HeaderMap, trusted_hops: usize) -> bool {
    let said = || headers.get_all("x-forwarded-proto").iter().filter_map(|value| value.to_str().ok());
    trusted_hops > 0
        && said().flat_map(|value| value.split(',')).any(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

/// Who sent a request: the peer; or, behind `trusted_hops` proxies, whom the outermost of them served, as
/// `X-Forwarded-For` says. `None` for this machine itself. What is further left in that header anybody may have written.
pub fn client(request: &Request, trusted_hops: usize) -> Option<IpAddr> {
    let forwarded = || forwarded_for(request.headers(), trusted_hops);
    let peer =
        || request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    forwarded().or_else(peer).filter(|address| !address.is_loopback())
}

fn forwarded_for(headers: &HeaderMap, trusted_hops: usize) -> Option<IpAddr> {
    let nth_from_the_right = trusted_hops.checked_sub(1)?;
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or("")).collect();
    let hop = lines.iter().flat_map(|line| line.split(',')).rev().nth(nth_from_the_right)?.trim();
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_fields_counts() {
        let field = |uri: &str| query_field(&uri.parse().unwrap(), "value");
        assert_eq!(field("/?value=1&value=2"), Some("1".into()));
        assert_eq!(field("/?x=&value=a%20b+c&value"), Some("a b c".into()));
        assert_eq!(field("/?value"), Some(String::new()));
        assert_eq!((field("/?values=1"), field("/")), (None, None));
    }

    #[test]
    fn of_equal_fields_the_first_is_read_into_a_type() {
        #[derive(Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(default)]
        struct Asked {
            q: String,
            page: usize,
        }
        let asked = |uri: &str| read::<Asked>(&uri.parse().unwrap()).unwrap_or_default();
        let of = |q: &str, page| Asked { q: q.into(), page };
        assert_eq!(asked("/?q=a%26b&q=c&page=2&page=x&z=1&z=2"), of("a&b", 2));
        assert_eq!(asked("/?q=a&page=x&page=2"), Asked::default(), "what cannot be read asks for nothing");
        assert_eq!((asked("/"), asked("/?q")), (Asked::default(), Asked::default()));
    }

    #[test]
    fn a_client_is_the_peer_or_whom_a_trusted_proxy_served() {
        let client = |peer: &str, forwarded: &[&str], hops| {
            let mut request = Request::new(axum::body::Body::empty());
            let peer: IpAddr = peer.parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 1)));
            for line in forwarded {
                request.headers_mut().append("x-forwarded-for", line.parse().unwrap());
            }
            client(&request, hops).map(|address| address.to_string())
        };
        for (peer, forwarded, hops, expected) in [
            ("192.0.2.1", &[][..], 0, Some("192.0.2.1")),
            ("192.0.2.1", &["203.0.113.9"], 0, Some("192.0.2.1")),
            ("127.0.0.1", &["203.0.113.9"], 0, None),
            ("::ffff:127.0.0.1", &[], 0, None),
            ("127.0.0.1", &["203.0.113.9"], 1, Some("203.0.113.9")),
            ("127.0.0.1", &["198.51.100.1, 203.0.113.9"], 1, Some("203.0.113.9")),
            ("127.0.0.1", &["198.51.100.1", "203.0.113.9, 10.0.0.1"], 2, Some("203.0.113.9")),
            ("192.0.2.1", &["203.0.113.9"], 2, Some("192.0.2.1")),
            ("192.0.2.1", &["unknown"], 1, Some("192.0.2.1")),
            ("127.0.0.1", &["[2001:db8::1]:4711"], 1, Some("2001:db8::1")),
            ("127.0.0.1", &["203.0.113.9:80"], 1, Some("203.0.113.9")),
            ("127.0.0.1", &["::1"], 1, None),
        ] {
            assert_eq!(client(peer, forwarded, hops).as_deref(), expected, "{peer} {forwarded:?} {hops}");
        }
    }
}
