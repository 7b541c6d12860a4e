//! What settings are made of, with words for those who write them.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::domain::EmailAddress;

/// Where the event log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
}

impl FromStr for LogUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        sqlite_path(url).map(Self::Sqlite)
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        sqlite_path(url).map(Self::Sqlite)
    }
}

fn sqlite_path(url: &str) -> Result<PathBuf, String> {
    match url.split_once(':') {
        Some(("sqlite", path)) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() { Err("a path must follow, like sqlite:data/file.db".into()) } else { Ok(path.into()) }
        }
        Some((scheme, _)) => Err(format!("{scheme}: is not supported, sqlite:PATH is")),
        None => Err("must be sqlite:PATH".into()),
    }
}

/// Who the mails come from: `Name <address>`, or an address alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The name, if there is one.
    pub name: Option<String>,
    /// The address.
    pub address: EmailAddress,
}

impl FromStr for Sender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
            Some((name, address)) => (name.trim().trim_matches('"'), address),
            None => ("", text.trim()),
        };
        if name.contains(char::is_control) {
            return Err("the name must have no control characters".into());
        }
        let address = address.parse().map_err(|_| "must look like \"Shop <orders@shop.example>\"")?;
        Ok(Self { name: Some(name.to_owned()).filter(|name| !name.is_empty()), address })
    }
}

/// A duration in words, like `8s`, `500ms`, `1h 30m`, `30d`.
#[derive(Deserialize)]
pub(super) struct Span(#[serde(deserialize_with = "duration")] pub(super) Duration);

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|_| {
        D::Error::custom(format!("must be a duration with its unit, like \"8s\", \"500ms\" or \"30d\", not {text:?}"))
    })
}

/// Anything that can be read from text.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|e| D::Error::custom(format!("cannot be {text:?}: {e}")))
}

/// The same where empty text stands for a default that depends on other settings.
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    // the text itself is left out: it may hold a password
    text.parse().map(Some).map_err(|e: T::Err| D::Error::custom(format!("cannot be that: {e}")))
}

/// An address to listen on.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<std::net::SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    // names are not resolved: what one listens on should not depend on a name server
    let numeric = text.strip_prefix("localhost:").map_or_else(|| text.clone(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| {
        D::Error::custom(format!("must be an address with its port, like \"127.0.0.1:3000\", not {text:?}"))
    })
}
