use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use super::values::{
    FlowFile, LogUrl, Sender, Span, StoreUrl, Zone, duration, each, flow_file, limit, listen, moment, optional, parsed,
};
use crate::{
    domain::{EmailAddress, Flow, Lang, Step, Timestamp, flow::Flaw},
    intake::Rate,
    mail::{Destination, Password},
    store::postgres::Pooling,
    web::{HostName, Origin},
};

/// Shortest key for lookups by number.
const API_KEY_MIN: usize = 16;

/// The default of `flow.dwell`.
const DWELL: Duration = Duration::from_secs(8);

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
        BTreeMap, Deserialize, Destination, Duration, EmailAddress, FlowFile, HostName, Lang, LogUrl, Origin, PathBuf,
        Pooling, Rate, Sender, SocketAddr, StoreUrl, Timestamp, Zone, duration, durations, each, flow_file, limit,
        listen, moment, named, optional, parsed,
    };

    #[derive(Debug, Clone, Deserialize)]
    pub struct Log {
        #[serde(deserialize_with = "optional")]
        pub url: Option<LogUrl>,
        pub partitions: u32,
        #[serde(deserialize_with = "duration")]
        pub retention: Duration,
        pub queue_max: usize,
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
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Intake {
        #[serde(deserialize_with = "listen")]
        pub listen: SocketAddr,
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
        #[serde(deserialize_with = "each")]
        pub allowed_hosts: Vec<HostName>,
        pub trusted_hops: usize,
    }

    #[derive(Debug, Clone, Deserialize)]
    pub struct Fulfilment {
        #[serde(deserialize_with = "duration")]
        pub tick: Duration,
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

impl Topics {
    /// The topics that are ours alone, with their keys.
    fn own(&self) -> [(&'static str, &String); 7] {
        [
            ("topics.orders", &self.orders),
            ("topics.states", &self.states),
            ("topics.dead", &self.dead),
            ("topics.ids", &self.ids),
            ("topics.flows", &self.flows),
            ("topics.commands", &self.commands),
            ("topics.outcomes", &self.outcomes),
        ]
    }
}

impl Config {
    /// Where the event log is.
    pub fn log_url(&self) -> LogUrl {
        self.log.url.clone().unwrap_or_else(|| LogUrl::Sqlite(self.data.join("log.db")))
    }

    /// Where the store is.
    pub fn store_url(&self) -> StoreUrl {
        self.store.url.clone().unwrap_or_else(|| StoreUrl::Sqlite(self.data.join("store.db")))
    }

    /// Where mails go.
    pub fn mail_url(&self) -> Destination {
        let url = self.mail.url.clone().unwrap_or_else(|| Destination::Maildir(self.data.join("mail")));
        // `check` has tried it; without its password the destination says so itself
        self.complete(url.clone()).unwrap_or(url)
    }

    fn complete(&self, url: Destination) -> Result<Destination, String> {
        let Mail { password, token_file, token_command, ca, .. } = &self.mail;
        let password = [
            (!password.is_empty()).then(|| Password::Text(password.clone())),
            (!token_file.as_os_str().is_empty()).then(|| Password::TokenFile(token_file.clone())),
            (!token_command.is_empty()).then(|| Password::TokenCommand(token_command.clone())),
        ];
        if password.iter().flatten().count() > 1 {
            return Err("stands beside mail.token_file or mail.token_command: keep one of them".into());
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

    /// What types cannot say; names the key.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: &str| Err((key.to_owned(), text.to_owned()));
        self.check_flow()?;
        for (key, too_small) in self.too_small() {
            if too_small {
                return bad(key, "must not be zero");
            }
        }
        if let Err(reason) = self.mail.url.clone().map_or(Ok(Destination::None), |url| self.complete(url)) {
            return bad("mail.password", &reason);
        }
        if self.mail.retry_min > self.mail.retry_max {
            return bad("mail.retry_min", "must not be longer than mail.retry_max");
        }
        self.check_log()?;
        if let Some(other) = self.intake.backlog_of.iter().find(|role| !["fulfilment", "tracking"].contains(&&***role))
        {
            return bad("intake.backlog_of", &format!("can name fulfilment and tracking, not {other:?}"));
        }
        let topics = self.topics.own();
        for (index, (key, name)) in topics.iter().enumerate() {
            if topics[..index].iter().any(|(_, other)| other == name) {
                return bad(key, &format!("must be a topic of its own, {name:?} is another's"));
            }
        }
        self.check_forwarding()?;
        self.check_tracking()?;
        let level = self.logging.level.as_str();
        if !["off", "error", "warn", "info", "debug", "trace"].contains(&level) && !level.contains('=') {
            return bad(
                "logging.level",
                "must be error, warn, info, debug or trace, or filters like \"info,encargo=debug\"",
            );
        }
        Ok(())
    }

    fn check_flow(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: &str| Err((key.to_owned(), text.to_owned()));
        if let Err(flaw) = self.flow() {
            let key = if flaw.key.ends_with("dwell") { "flow.dwell" } else { "flow.states" };
            return bad(key, &flaw.text);
        }
        let FlowSettings { file, states, dwell, dwells } = &self.flow;
        if let Some(stranger) = dwells.keys().find(|name| !states.contains(name)) {
            return bad(&format!("flow.dwells.{stranger}"), &format!("is none of the states {}", states.join(", ")));
        }
        let beside = [
            ("flow.states", *states != Flow::STATES),
            ("flow.dwell", *dwell != DWELL),
            ("flow.dwells", !dwells.is_empty()),
        ];
        match beside.into_iter().find(|(_, changed)| *changed) {
            Some((key, _)) if file.is_some() => bad("flow.file", &format!("says all of the flow: take out {key}")),
            _ => Ok(()),
        }
    }

    fn check_tracking(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: &str| Err((key.to_owned(), text.to_owned()));
        let Tracking { public_url: url, api_key, .. } = &self.tracking;
        if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
            return bad("tracking.public_url", "must begin with http:// or https://");
        }
        let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let is_nowhere = host.is_none_or(|host| ["0.0.0.0", "[::]"].contains(&host.as_str()));
        if !url.is_empty() && is_nowhere {
            return bad("tracking.public_url", "must name a host that customers can reach, like https://shop.example");
        }
        if !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return bad("tracking.api_key", "must be visible ASCII characters: no header can carry others");
        }
        if (1..API_KEY_MIN).contains(&api_key.len()) {
            let text =
                format!("must have {API_KEY_MIN} characters at least, or it can be guessed: openssl rand -hex 16");
            return bad("tracking.api_key", &text);
        }
        Ok(())
    }

    fn check_forwarding(&self) -> Result<(), (String, String)> {
        let bad = |text: &str| Err(("topics.forward_states".to_owned(), text.to_owned()));
        let Some(forward) = &self.topics.forward_states else { return Ok(()) };
        if self.topics.own().iter().any(|(_, name)| *name == forward) {
            return bad(
                "must be the topic that old readers know, and none that Encargo uses otherwise: give topics.states a \
                 name of its own, like \"encargo_states\"",
            );
        }
        if !self.log_url().is_shared() {
            return bad("is for old services on Kafka: set log.url to kafka://HOST:PORT");
        }
        Ok(())
    }

    fn check_log(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: &str| Err((key.to_owned(), text.to_owned()));
        if self.log.min_insync > self.log.replication {
            return bad("log.replication", "must not be less than log.min_insync: no record could ever be written");
        }
        // an order writes two records one after the other: one for its id, and itself
        if self.http.request_timeout <= self.log.message_timeout * 2 {
            return bad(
                "log.message_timeout",
                "must be less than half of http.request_timeout, or no client would hear why",
            );
        }
        if self.log.kafka.contains_key("bootstrap.servers") {
            return bad("log.kafka.bootstrap.servers", "stands in log.url: kafka://HOST:PORT,HOST:PORT");
        }
        Ok(())
    }

    fn too_small(&self) -> [(&'static str, bool); 21] {
        [
            ("log.partitions", self.log.partitions == 0),
            ("log.queue_max", self.log.queue_max == 0),
            ("log.replication", self.log.replication == 0),
            ("log.min_insync", self.log.min_insync == 0),
            ("log.message_timeout", self.log.message_timeout.is_zero()),
            ("log.transaction_timeout", self.log.transaction_timeout.is_zero()),
            ("log.session_timeout", self.log.session_timeout.is_zero()),
            ("store.queue_max", self.store.queue_max == 0),
            ("store.pool_max", self.store.pool_max == 0),
            ("intake.backlog_max", self.intake.backlog_max == 0),
            ("http.body_max", self.http.body_max == 0),
            ("http.connections_max", self.http.connections_max == 0),
            ("http.requests_max", self.http.requests_max == 0),
            ("http.idle_timeout", self.http.idle_timeout.is_zero()),
            ("http.header_timeout", self.http.header_timeout.is_zero()),
            ("http.request_timeout", self.http.request_timeout.is_zero()),
            ("fulfilment.tick", self.fulfilment.tick.is_zero()),
            ("fulfilment.in_flight_max", self.fulfilment.in_flight_max == 0),
            ("mail.batch", self.mail.batch == 0),
            ("mail.lease", self.mail.lease.is_zero()),
            ("mail.copies_max", self.mail.copies_max == 0),
        ]
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
