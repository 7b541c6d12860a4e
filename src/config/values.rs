//! What settings are made of, with words for those who write them.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    causes::with_causes,
    domain::{EmailAddress, Flow, Timestamp, parse_duration},
    flows,
};

/// Where the event log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A Kafka cluster: some of its brokers, `host:port,host:port`.
    Kafka(String),
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database: its whole URL, perhaps with a password.
    Postgres(String),
}

/// A time zone by its name in the IANA database: `UTC`, `Europe/Madrid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(pub jiff::tz::TimeZone);

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "UTC" {
            return Ok(Self(jiff::tz::TimeZone::UTC)); // the default: no command need walk through the system's database
        }
        let zone = jiff::tz::TimeZone::get(name);
        zone.map(Self).map_err(|_| "must be the name of a time zone, like UTC or Europe/Madrid".into())
    }
}

impl FromStr for LogUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("kafka", brokers)) => kafka_brokers(brokers).map(Self::Kafka),
            Some((scheme, _)) => Err(format!("{scheme}: is not supported, sqlite:PATH and kafka://HOST:PORT are")),
            None => Err("must be sqlite:PATH or kafka://HOST:PORT".into()),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", rest)) if rest.len() > 2 && rest.starts_with("//") => {
                Ok(Self::Postgres(url.to_owned()))
            }
            Some(("postgres" | "postgresql", _)) => Err("must look like postgres://USER@HOST/DATABASE".into()),
            Some((scheme, _)) => {
                Err(format!("{scheme}: is not supported, sqlite:PATH and postgres://USER@HOST/DATABASE are"))
            }
            None => Err("must be sqlite:PATH or postgres://USER@HOST/DATABASE".into()),
        }
    }
}

impl LogUrl {
    /// Whether several processes can use it at the same time.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Kafka(_))
    }
}

impl StoreUrl {
    /// Whether several processes can use it at the same time.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl fmt::Display for LogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Kafka(brokers) => write!(f, "kafka://{brokers}"),
        }
    }
}

impl fmt::Display for StoreUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(&without_password(url)),
        }
    }
}

/// A URL without the password that it may hold before the host or among its parameters.
pub(super) fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("//")?;
        let (user, host) = rest.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}//{name}:(hidden)@{host}"))
    };
    let url = hidden().unwrap_or_else(|| url.to_owned());
    let Some((before, after)) = url.split_once("password=") else { return url };
    let rest = after.find('&').map_or("", |end| &after[end..]);
    format!("{before}password=(hidden){rest}")
}

fn sqlite_path(path: &str) -> Result<PathBuf, String> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() { Err("a path must follow, like sqlite:data/file.db".into()) } else { Ok(path.into()) }
}

fn kafka_brokers(text: &str) -> Result<String, String> {
    let brokers = text.strip_prefix("//").unwrap_or(text).trim_end_matches('/');
    let is_broker = |broker: &str| match broker.rsplit_once(':') {
        Some((host, port)) => {
            !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => false,
    };
    if brokers.split(',').all(is_broker) {
        return Ok(brokers.to_owned());
    }
    Err("must name brokers with their ports, like kafka://host1:9092,host2:9092; a login goes under [log.kafka]".into())
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

/// A part of all, from 0 to 1; written as a percentage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part(pub f64);

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
        let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
        percent.map(|percent: f64| Self(percent / 100.0)).ok_or_else(|| "must be from 0% to 100%, like 0.5%".into())
    }
}

/// A duration in words, like `8s`, `500ms`, `1h 30m`, `30d`.
#[derive(Deserialize)]
pub(super) struct Span(#[serde(deserialize_with = "duration")] pub(super) Duration);

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(D::Error::custom)
}

/// The same where empty text stands for a default that depends on other settings.
pub(super) fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { parse_duration(&text).map(Some).map_err(D::Error::custom) }
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

/// A limit, or `off`: the environment cannot say it by an empty text.
pub(super) fn limit<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    if ["", "off"].contains(&text.trim()) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|e| D::Error::custom(format!("cannot be {text:?}: {e}, or off")))
}

/// A moment, as RFC 3339 or in milliseconds since 1970 as Kafka's tools print it; empty text stands for none.
pub(super) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // fewer digits are seconds: taken for milliseconds they would be a day in 1970, and everything would be mailed
        return match text.parse() {
            Ok(millis) if text.len() == 13 => Ok(Some(Timestamp::from_millis(millis))),
            _ => Err(D::Error::custom(format!("must have 13 digits as milliseconds since 1970, not {text:?}"))),
        };
    }
    text.parse().map(Some).map_err(|_| {
        let like = "\"2026-01-31T12:00:00Z\", \"2026-01-31T13:00:00+01:00\" or milliseconds since 1970";
        D::Error::custom(format!("must be a time with its zone, like {like}, not {text:?}"))
    })
}

/// A flow file with what it says.
#[derive(Debug, Clone)]
pub struct FlowFile {
    /// The file.
    pub path: PathBuf,
    /// The flow.
    pub flow: Flow,
}

/// A flow file, read at once, so that whatever is wrong with it is told where the file is named; empty text stands for none.
pub(super) fn flow_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<FlowFile>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    match flows::file::load(&path) {
        Ok(flow) => Ok(Some(FlowFile { path, flow })),
        Err(error) => Err(D::Error::custom(format!("cannot be used: {}", with_causes(&error)))),
    }
}

/// A list of texts that are read one by one; an empty one is how the environment says "none".
pub(super) fn each<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = |text: String| text.parse().map_err(|e| D::Error::custom(format!("cannot hold {text:?}: {e}")));
    texts.into_iter().filter(|text| !text.is_empty()).map(read).collect()
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
