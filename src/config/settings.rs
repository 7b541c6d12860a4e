use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use super::values::{
    FlowFile, LogUrl, Part, Sender, Span, StoreUrl, Zone, duration, each, flow_file, limit, listen, moment, optional,
    optional_duration, parsed,
};
use crate::{
    domain::{EmailAddress, Flow, Lang, Step, Timestamp, flow::Flaw},
    mail::{Destination, Password},
    store::postgres::Pooling,
    web::{HostName, Origin, Rate},
};

/// All settings; `default.toml` says what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// How long an orderly stop may take.
    #[serde(deserialize_with = "duration")]
    pub shutdown_deadline: Duration,
    /// Which instance this is.
    pub slot: u32,
    /// The event log.
    pub log: Log,
    /// The store.
    pub store: Store,
    /// The schema registry.
    pub registry: Registry,
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
    /// How many instances are wanted.
    pub scale: Scale,
    /// Logging.
    pub logging: Logging,
    /// Traces.
    pub telemetry: Telemetry,
}

#[allow(missing_docs)] // `default.toml` says what each means
mod sections {
    use super::{
        BTreeMap, Deserialize, Destination, Duration, EmailAddress, FlowFile, HostName, Lang, LogUrl, Origin, Part,
        PathBuf, Pooling, Rate, Sender, SocketAddr, StoreUrl, Timestamp, Zone, duration, durations, each, flow_file,
        limit, listen, moment, named, optional, optional_duration, parsed,
    };

    #[derive(Debug, Clone, Deserialize)]
    pub struct Log {
        #[serde(deserialize_with = "optional")]
        pub url: Option<LogUrl>,
        pub partitions: u32,
        #[serde(deserialize_with = "duration")]
        pub retention: Duration,
        pub queue_max: usize,
        pub framing: Framing,
        pub replication: u16,
        pub min_insync: u16,
        #[serde(deserialize_with = "duration")]
        pub message_timeout: Duration,
        #[serde(deserialize_with = "duration")]
        pub transaction_timeout: Duration,
        #[serde(deserialize_with = "duration")]
        pub session_timeout: Duration,
        pub static_membership: bool,
        #[serde(default)]
        pub kafka: BTreeMap<String, String>,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Store {
        #[serde(deserialize_with = "optional")]
        pub url: Option<StoreUrl>,
        pub queue_max: usize,
        pub pool_max: usize,
        #[serde(deserialize_with = "parsed")]
        pub pool: Pooling,
        pub password: String,
        pub ca: PathBuf,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Registry {
        pub url: String,
        pub user: String,
        pub password: String,
        pub ca: PathBuf,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Topics {
        pub orders: String,
        pub states: String,
        pub dead: String,
        pub ids: String,
        pub flows: String,
        pub commands: String,
        pub outcomes: String,
        #[serde(deserialize_with = "named")]
        pub forward_states: Option<String>,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct FlowSettings {
        #[serde(deserialize_with = "flow_file")]
        pub file: Option<FlowFile>,
        pub states: Vec<String>,
        #[serde(deserialize_with = "duration")]
        pub dwell: Duration,
        #[serde(default, deserialize_with = "durations")]
        pub dwells: BTreeMap<String, Duration>,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct CatalogSettings {
        pub path: PathBuf,
        pub currency: String,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Intake {
        #[serde(deserialize_with = "listen")]
        pub listen: SocketAddr,
        pub public_url: String,
        #[serde(deserialize_with = "parsed")]
        pub usermail: EmailAddress,
        pub backlog_max: u64,
        pub backlog_of: Vec<String>,
        #[serde(deserialize_with = "duration")]
        pub idempotency_ttl: Duration,
        #[serde(deserialize_with = "each")]
        pub allowed_origins: Vec<Origin>,
        #[serde(deserialize_with = "limit")]
        pub rate_per_address: Option<Rate>,
        #[serde(deserialize_with = "limit")]
        pub rate_per_client: Option<Rate>,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Http {
        pub body_max: usize,
        pub connections_max: usize,
        pub requests_max: usize,
        #[serde(deserialize_with = "duration")]
        pub idle_timeout: Duration,
        #[serde(deserialize_with = "duration")]
        pub header_timeout: Duration,
        #[serde(deserialize_with = "duration")]
        pub request_timeout: Duration,
        #[serde(deserialize_with = "duration")]
        pub command_wait: Duration,
        #[serde(deserialize_with = "each")]
        pub allowed_hosts: Vec<HostName>,
        pub trusted_hops: usize,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Fulfilment {
        #[serde(deserialize_with = "optional_duration")]
        pub tick: Option<Duration>,
        pub in_flight_max: u64,
        pub remember: usize,
        #[serde(deserialize_with = "named")]
        pub old_group: Option<String>,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Tracking {
        #[serde(deserialize_with = "listen")]
        pub listen: SocketAddr,
        pub public_url: String,
        pub api_key: String,
        #[serde(deserialize_with = "limit")]
        pub lookup_rate_per_client: Option<Rate>,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Mail {
        #[serde(deserialize_with = "optional")]
        pub url: Option<Destination>,
        pub password: String,
        pub token_file: PathBuf,
        pub token_command: String,
        pub ca: PathBuf,
        #[serde(deserialize_with = "parsed")]
        pub from: Sender,
        pub lang: Lang,
        #[serde(deserialize_with = "parsed")]
        pub time_zone: Zone,
        pub templates: PathBuf,
        #[serde(deserialize_with = "moment")]
        pub since: Option<Timestamp>,
        pub batch: usize,
        #[serde(deserialize_with = "duration")]
        pub retry_min: Duration,
        #[serde(deserialize_with = "duration")]
        pub retry_max: Duration,
        #[serde(deserialize_with = "duration")]
        pub deadline: Duration,
        pub copies_max: u32,
        #[serde(deserialize_with = "duration")]
        pub lease: Duration,
        #[serde(deserialize_with = "duration")]
        pub keep: Duration,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Ops {
        #[serde(deserialize_with = "listen")]
        pub listen: SocketAddr,
        pub token: String,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Scale {
        pub intake: u32,
        pub fulfilment: u32,
        pub tracking: u32,
        pub mail: u32,
        pub load: u32,
        #[serde(deserialize_with = "duration")]
        pub start: Duration,
        #[serde(deserialize_with = "duration")]
        pub down_after: Duration,
        pub zero: Vec<String>,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Logging {
        pub level: String,
        pub format: LogFormat,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Telemetry {
        pub otlp: String,
        pub ca: PathBuf,
        #[serde(deserialize_with = "parsed")]
        pub sample: Part,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Framing {
        Plain,
        Confluent,
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
    CatalogSettings, FlowSettings, Framing, Fulfilment, Http, Intake, Log, LogFormat, Logging, Mail, Ops, Registry,
    Scale, Store, Telemetry, Topics, Tracking,
};

impl Config {
    /// Where the event log is.
    pub fn log_url(&self) -> LogUrl {
        self.log.url.clone().unwrap_or_else(|| LogUrl::Sqlite(self.data.join("log.db")))
    }

    /// Where the store is.
    pub fn store_url(&self) -> StoreUrl {
        self.store.url.clone().unwrap_or_else(|| StoreUrl::Sqlite(self.data.join("store.db")))
    }

    /// Time between two commits of fulfilment.
    pub fn tick(&self) -> Duration {
        let usual = if self.log_url().is_shared() { 80 } else { 40 };
        self.fulfilment.tick.unwrap_or(Duration::from_millis(usual))
    }

    /// Where mails go.
    pub fn mail_url(&self) -> Destination {
        let url = self.mail.url.clone().unwrap_or_else(|| Destination::Maildir(self.data.join("mail")));
        // `check` has tried it; without its password the destination says so itself
        self.complete(url.clone()).unwrap_or(url)
    }

    /// With the secrets that stand beside it.
    pub(super) fn complete(&self, url: Destination) -> Result<Destination, String> {
        let Mail { password, token_file, token_command, ca, .. } = &self.mail;
        let password = [
            (!password.is_empty()).then(|| Password::Text(password.clone())),
            (!token_file.as_os_str().is_empty()).then(|| Password::TokenFile(token_file.clone())),
            (!token_command.is_empty()).then(|| Password::TokenCommand(token_command.clone())),
        ];
        if password.iter().flatten().count() > 1 {
            return Err("is set together with mail.token_file or mail.token_command: keep one of them".into());
        }
        let password = password.into_iter().flatten().next();
        url.complete(password, Some(ca.clone()).filter(|path| !path.as_os_str().is_empty()))
    }

    /// The flow that the settings describe, or the file that they name.
    pub fn flow(&self) -> Result<Flow, Flaw> {
        let FlowSettings { file, states, dwell, dwells } = &self.flow;
        if let Some(file) = file {
            return Ok(file.flow.clone());
        }
        let step = |state: &String| Step::timer(state, dwells.get(state).copied().unwrap_or(*dwell));
        Flow::new(states.iter().map(step).collect())
    }
}

/// A name; empty text stands for none.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(deserializer)?).filter(|name| !name.is_empty()))
}

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Duration>, D::Error> {
    let spans = BTreeMap::<String, Span>::deserialize(deserializer)?;
    Ok(spans.into_iter().map(|(name, Span(duration))| (name, duration)).collect())
}
