//! Talking to a running server, as its customers and the shop do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::output::plain;
use crate::web;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// A client for one address. What is on this machine is asked at once, whatever proxy `HTTP_PROXY` names for the rest.
pub(super) fn client_for(url: &str) -> Result<Client> {
    let mut builder = Client::builder().timeout(ANSWER_MAX);
    if is_this_machine(url) {
        builder = builder.no_proxy();
    }
    builder.build().context("cannot start an HTTP client")
}

fn is_this_machine(url: &str) -> bool {
    // intake.listen may be "all addresses", which as a destination is this machine
    let is_here = |host: &str| web::is_loopback_name(host) || ["0.0.0.0", "[::]"].contains(&host);
    reqwest::Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_here))
}

/// A proxy may be what cannot be reached.
pub(super) fn by_proxy(url: &str) -> String {
    const NAMES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let set = NAMES.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    set.filter(|_| !is_this_machine(url)).map_or_else(String::new, |name| format!(" (by the proxy that {name} names)"))
}

/// What is behind an error; the layers above it only repeat the address.
pub(super) fn root_cause(error: &dyn std::error::Error) -> &dyn std::error::Error {
    error.source().map_or(error, root_cause)
}

/// A problem document (RFC 9457) as words; the bare status when it is something else.
pub(super) fn in_words(status: StatusCode, text: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Value>(text) else { return status.to_string() };
    let fields = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let fields: Vec<_> = fields
        .iter()
        .filter_map(|error| Some(format!("{}: {}", error["field"].as_str()?, error["detail"].as_str()?)))
        .collect();
    if !fields.is_empty() {
        return plain(&fields.join("; "));
    }
    let said = problem["detail"].as_str().or(problem["title"].as_str());
    said.map_or_else(|| status.to_string(), plain)
}

pub(super) fn new_key() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("the system has no random numbers")?;
    Ok(format!("cli-{:032x}", u128::from_be_bytes(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_not_asked_for_what_is_on_this_machine() {
        for url in [
            "http://127.0.0.1:3000/orders",
            "http://localhost/",
            "http://[::1]:1/",
            "http://127.9.9.9",
            "http://LOCALHOST.",
            "http://0.0.0.0:3000",
            "http://[::]:3000",
        ] {
            assert!(is_this_machine(url), "{url}");
        }
        for url in ["http://shop.example:3000", "http://192.0.2.1", "http://localhost.example", "nonsense", ""] {
            assert!(!is_this_machine(url), "{url}");
        }
    }

    #[test]
    fn tells_what_a_server_complains_about() {
        let problem =
            r#"{"title":"Not valid","detail":"see errors","errors":[{"field":"email","detail":"must be there"}]}"#;
        assert_eq!(in_words(StatusCode::UNPROCESSABLE_ENTITY, problem), "email: must be there");
        assert_eq!(in_words(StatusCode::CONFLICT, r#"{"title":"Busy","detail":"still running"}"#), "still running");
        assert_eq!(in_words(StatusCode::BAD_GATEWAY, "<html>"), "502 Bad Gateway");
        assert_ne!(new_key().unwrap(), new_key().unwrap());
    }
}
