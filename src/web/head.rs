//! What the HTTP library lets pass of a request's head, and a proxy in front may read otherwise (RFC 9112): refused
//! here, so that nothing behind has to think of it.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{CONTENT_ENCODING, EXPECT, HOST, TRANSFER_ENCODING},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use percent_encoding::percent_decode_str;

use super::Problem;

/// Checks a head and brings its target into origin form; the host is then the one valid `Host`, whatever form it had.
/// Only requests of HTTP/1.0 may have none.
pub(super) fn check(head: &mut Parts) -> Result<(), Problem> {
    check_host(head)?;
    check_target(head)?;
    check_codings(&head.headers)?;
    let expects =
        head.headers.get_all(EXPECT).iter().any(|what| !what.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if expects && head.version > Version::HTTP_10 {
        let detail = "no expectation but 100-continue can be met";
        return Err(Problem::new(StatusCode::EXPECTATION_FAILED, "expectation", "Expectation failed", detail));
    }
    Ok(())
}

/// RFC 9112 §3.2.
fn check_host(head: &Parts) -> Result<(), Problem> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_authority(host) => Ok(()),
        (None, None) if head.version <= Version::HTTP_10 => Ok(()),
        (None, _) => Err(Problem::malformed("the request has no Host header")),
        (Some(_), Some(_)) => Err(Problem::malformed("the request has more than one Host header")),
        (Some(_), None) => Err(Problem::malformed("the Host header must be HOST or HOST:PORT")),
    }
}

/// `uri-host [ ":" port ]` of RFC 9110 §7.2.
fn is_authority(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    // without this prefix there is a user before the host
    port.is_some_and(|port| {
        port.is_empty()
            || port.strip_prefix(':').is_some_and(|digits| digits.is_empty() || digits.parse::<u16>().is_ok())
    })
}

/// RFC 9112 §3.2.1 to §3.2.4.
fn check_target(head: &mut Parts) -> Result<(), Problem> {
    if head.method == Method::CONNECT {
        let detail = "this server is no proxy";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "not-implemented", "Not implemented", detail));
    }
    let target = &head.uri;
    if let Some(scheme) = target.scheme() {
        let host = target.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let host = host.filter(is_authority).filter(|_| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        let Some(host) = host else { return Err(bad_target()) };
        head.headers.insert(HOST, host);
        head.uri = origin_form(target);
    } else if target.path() == "*" && head.method == Method::OPTIONS {
        head.uri = Uri::from_static("/");
    } else if target.authority().is_some() || !target.path().starts_with('/') {
        return Err(bad_target());
    }
    // nothing here has such a name, and no handler has to find its own words for that
    let is_text = percent_decode_str(head.uri.path()).decode_utf8().is_ok();
    if is_text { Ok(()) } else { Err(Problem::not_found("there is nothing at this path")) }
}

fn origin_form(target: &Uri) -> Uri {
    let path = target.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

fn bad_target() -> Problem {
    Problem::malformed("the request's target must be a path, or a whole http:// address")
}

/// RFC 9112 §6.1 and RFC 9110 §8.4: bodies come as they are, or in chunks.
fn check_codings(headers: &HeaderMap) -> Result<(), Problem> {
    let transfer = tokens(headers, &TRANSFER_ENCODING);
    if transfer.iter().any(|coding| coding != "chunked") {
        let detail = "no Transfer-Encoding but chunked is known";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "not-implemented", "Not implemented", detail));
    }
    if transfer.len() > 1 {
        return Err(Problem::malformed("the body is chunked more than once"));
    }
    if tokens(headers, &CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        let detail = "the body must come as it is, without a Content-Encoding";
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-encoding",
            "Unsupported content encoding",
            detail,
        ));
    }
    Ok(())
}

/// The members of a list in a header, in lower case; what is no text is a member too, and no known one.
fn tokens(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    values
        .flat_map(|value| value.split(',').map(|token| token.trim().to_ascii_lowercase()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn checked(version: Version, method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Parts, u16> {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        check(&mut head).map(|()| head).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn exactly_one_valid_host() {
        let host = |hosts: &[&str]| {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            checked(Version::HTTP_11, "GET", "/", &headers).map(|_| ())
        };
        for good in ["x", "X.example", "x.example:80", "x:", "127.0.0.1:3000", "[::1]:9000", "[::1]"] {
            assert_eq!(host(&[good]), Ok(()), "{good}");
        }
        for bad in ["", " ", "a b", "a/b", "u@x", "x:99999", "x:80x", "x:80:80", "http://x", "x?y", "x#y", "[::1"] {
            assert_eq!(host(&[bad]), Err(400), "{bad}");
        }
        assert_eq!(host(&[]), Err(400));
        assert_eq!(host(&["x", "x"]), Err(400));
        assert!(checked(Version::HTTP_10, "GET", "/", &[]).is_ok());
        assert_eq!(checked(Version::HTTP_10, "GET", "/", &[("host", "x"), ("host", "y")]).err(), Some(400));
    }

    #[test]
    fn every_target_is_brought_into_origin_form_and_its_host_counts() {
        let at = |method, target| {
            let head = checked(Version::HTTP_11, method, target, &[("host", "x")])?;
            Ok((head.headers[HOST].to_str().unwrap().to_owned(), head.uri.to_string()))
        };
        for (method, target, host, uri) in [
            ("GET", "/a?b=c", "x", "/a?b=c"),
            ("GET", "http://y.example:80/a?b", "y.example:80", "/a?b"),
            ("GET", "HTTPS://y", "y", "/"),
            ("GET", "http://y?b", "y", "/?b"),
            ("GET", "//y/a", "x", "//y/a"),
            ("OPTIONS", "*", "x", "/"),
            ("GET", "/ma%C3%B1ana", "x", "/ma%C3%B1ana"),
        ] {
            assert_eq!(at(method, target), Ok((host.to_owned(), uri.to_owned())), "{method} {target}");
        }
        for (method, target, status) in [
            ("GET", "*", 400),
            ("GET", "y:80", 400),
            ("GET", "ftp://y/a", 400),
            ("GET", "http://user@y/a", 400),
            ("CONNECT", "y:80", 501),
            ("GET", "/track/%ff", 404),
        ] {
            assert_eq!(at(method, target), Err(status), "{method} {target}");
        }
    }

    #[test]
    fn codings_and_expectations_are_known_ones() {
        for (name, value, expected) in [
            ("transfer-encoding", "chunked", None),
            ("transfer-encoding", "Chunked", None),
            ("transfer-encoding", "gzip, chunked", Some(501)),
            ("transfer-encoding", "chunked, chunked", Some(400)),
            ("transfer-encoding", "xchunked", Some(501)),
            ("content-encoding", "identity", None),
            ("content-encoding", "gzip", Some(415)),
            ("content-encoding", "identity, br", Some(415)),
            ("expect", "100-Continue", None),
            ("expect", "a-pony", Some(417)),
        ] {
            let status = checked(Version::HTTP_11, "POST", "/", &[("host", "x"), (name, value)]).err();
            assert_eq!(status, expected, "{name}: {value}");
        }
        assert!(checked(Version::HTTP_10, "POST", "/", &[("expect", "a-pony")]).is_ok());
    }
}
