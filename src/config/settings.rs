use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::domain::{EmailAddress, Flow, Invalid, Lang, Step};

/// All settings; `default.toml` says what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// How long an orderly stop may take.
    #[serde(deserialize_with = "duration")]
    pub shutdown_deadline: Duration,
    /// The event log.
    pub log: Log,
    /// The store.
    pub store: Store,
    /// Topic names.
    pub topics: Topics,
    /// States and dwells.
    pub flow: FlowSettings,
    /// The catalogue.
    pub catalog: CatalogSettings,
    /// Intake.
    pub intake: Intake,
    /// Limits of the listeners.
    pub http: Http,
    /// Fulfilment.
    pub fulfilment: Fulfilment,
    /// Tracking.
    pub tracking: Tracking,
    /// Mail.
    pub mail: Mail,
    /// Operations.
    pub ops: Ops,
    /// Logging.
    pub logging: Logging,
}

#[allow(missing_docs)] // `default.toml` says what each means
mod sections {
    use super::{
        BTreeMap, Deserialize, Duration, EmailAddress, Lang, PathBuf, SocketAddr, duration, durations, parsed,
    };

    #[derive(Debug, Clone, Deserialize)]
    pub struct Log {
        pub url: String,
        pub partitions: u32,
        #[serde(deserialize_with = "duration")]
        pub retention: Duration,
        pub queue_max: usize,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Store {
        pub url: String,
        pub queue_max: usize,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Topics {
        pub orders: String,
        pub states: String,
        pub dead: String,
        pub ids: String,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct FlowSettings {
        pub states: Vec<String>,
        #[serde(deserialize_with = "duration")]
        pub dwell: Duration,
        #[serde(default, deserialize_with = "durations")]
        pub dwells: BTreeMap<String, Duration>,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct CatalogSettings {
        pub path: PathBuf,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Intake {
        #[serde(deserialize_with = "parsed")]
        pub listen: SocketAddr,
        #[serde(deserialize_with = "parsed")]
        pub usermail: EmailAddress,
        pub backlog_max: u64,
        #[serde(deserialize_with = "duration")]
        pub idempotency_ttl: Duration,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Http {
        pub body_max: usize,
        pub connections_max: usize,
        pub requests_max: usize,
        #[serde(deserialize_with = "duration")]
        pub header_timeout: Duration,
        #[serde(deserialize_with = "duration")]
        pub request_timeout: Duration,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Fulfilment {
        #[serde(deserialize_with = "duration")]
        pub tick: Duration,
        pub in_flight_max: u64,
        pub remember: usize,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Tracking {
        #[serde(deserialize_with = "parsed")]
        pub listen: SocketAddr,
        pub public_url: String,
        pub api_key: String,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Mail {
        pub url: String,
        pub from: String,
        pub lang: Lang,
        pub templates: PathBuf,
        pub connections: usize,
        pub batch: usize,
        #[serde(deserialize_with = "duration")]
        pub retry_min: Duration,
        #[serde(deserialize_with = "duration")]
        pub retry_max: Duration,
        #[serde(deserialize_with = "duration")]
        pub deadline: Duration,
        #[serde(deserialize_with = "duration")]
        pub lease: Duration,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Ops {
        #[serde(deserialize_with = "parsed")]
        pub listen: SocketAddr,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Logging {
        pub level: String,
        pub format: LogFormat,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum LogFormat {
        Auto,
        Text,
        Json,
    }
}
pub use sections::{
    CatalogSettings, FlowSettings, Fulfilment, Http, Intake, Log, LogFormat, Logging, Mail, Ops, Store, Topics,
    Tracking,
};

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

impl Config {
    /// Where the event log is.
    pub fn log_url(&self) -> LogUrl {
        LogUrl::Sqlite(sqlite_path(&self.log.url).unwrap_or_else(|| self.data.join("log.db")))
    }

    /// Where the store is.
    pub fn store_url(&self) -> StoreUrl {
        StoreUrl::Sqlite(sqlite_path(&self.store.url).unwrap_or_else(|| self.data.join("store.db")))
    }

    /// The mail transport's address, as [`crate::mail`] reads it.
    pub fn mail_url(&self) -> String {
        if self.mail.url.is_empty() {
            return format!("maildir:{}", self.data.join("mail").display());
        }
        self.mail.url.clone()
    }

    /// The flow that the settings describe.
    pub fn flow(&self) -> Result<Flow, Invalid> {
        let FlowSettings { states, dwell, dwells } = &self.flow;
        if let Some(stranger) = dwells.keys().find(|name| !states.contains(name)) {
            return Err(Invalid(format!("flow.dwells: {stranger:?} is none of the states").into()));
        }
        let step = |state: &String| Step {
            state: Arc::from(state.as_str()),
            dwell: dwells.get(state).copied().unwrap_or(*dwell),
        };
        Flow::new(states.iter().map(step).collect())
    }

    /// What types cannot say; names the key.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        self.flow().map_err(|reason| ("flow.states", reason.to_string()))?;
        for (key, url) in [("log.url", &self.log.url), ("store.url", &self.store.url)] {
            if !url.is_empty() && sqlite_path(url).is_none() {
                return Err((key, format!("cannot be {url:?}: supported is sqlite:PATH")));
            }
        }
        for (key, zero) in [
            ("log.partitions", self.log.partitions == 0),
            ("log.queue_max", self.log.queue_max == 0),
            ("store.queue_max", self.store.queue_max == 0),
            ("http.connections_max", self.http.connections_max == 0),
            ("http.requests_max", self.http.requests_max == 0),
            ("mail.connections", self.mail.connections == 0),
            ("mail.batch", self.mail.batch == 0),
            ("fulfilment.in_flight_max", self.fulfilment.in_flight_max == 0),
        ] {
            if zero {
                return Err((key, "must be at least 1".into()));
            }
        }
        if self.mail.retry_min > self.mail.retry_max {
            return Err(("mail.retry_min", "must not be longer than mail.retry_max".into()));
        }
        Ok(())
    }
}

fn sqlite_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.is_empty()).then(|| path.into())
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(D::Error::custom)
}

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Duration>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    let parse = |(name, text): (String, String)| Ok((name, parse_duration(&text).map_err(D::Error::custom)?));
    texts.into_iter().map(parse).collect()
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("must be a duration like \"8s\", \"500ms\" or \"30d\", not {text:?}"))
}

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|e| D::Error::custom(format!("cannot be {text:?}: {e}")))
}
