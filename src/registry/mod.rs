//! A schema registry that speaks Confluent's API, as those of Apicurio, Karapace and Redpanda do, too.
//!
//! It keeps schemas by number, and by subject: `TOPIC-value` and `TOPIC-key`, each with versions and a rule of what the next
//! one may change. Nothing is asked of it but what stands here, and no answer is believed to be short.

#[cfg(feature = "avro")]
mod avro;
#[cfg(not(feature = "avro"))]
#[path = "no_avro.rs"]
mod avro;
mod reader;

use std::{path::PathBuf, time::Duration};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use self::reader::Reader;

use crate::{
    reach,
    request::{self, Client},
    tls::{self, Trust},
    web,
};

/// The dialect of JSON Schema in which schemas are given to it.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// As the API calls its JSON.
const MEDIA: &str = "application/vnd.schemaregistry.v1+json";

/// The error code of a schema that is not there, in Confluent's API.
const SCHEMA_NOT_FOUND: u64 = 40403;

/// Where it is, and who asks.
#[derive(Clone)]
pub struct Options {
    /// Its address, with the path of the API if that is not at the root.
    pub url: String,
    /// The user for basic authentication, if it wants one.
    pub user: Option<String>,
    /// That user's password.
    pub password: String,
    /// A PEM file with certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
}

/// Why it did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not with these settings.
    #[error("{0}")]
    Settings(String),
    /// It does not answer, or not now: trying again may help.
    #[error("the schema registry {url} cannot be used now: {why}")]
    Unavailable {
        /// Its address.
        url: String,
        /// In words.
        why: String,
    },
    /// It answered that it will not.
    #[error("the schema registry {url} refuses {what}: {why}")]
    Refused {
        /// Its address.
        url: String,
        /// What was asked.
        what: String,
        /// In its words.
        why: String,
        /// The status of its answer.
        status: StatusCode,
        /// Its own number for what is wrong (`error_code`), if it gave one.
        code: Option<u64>,
    },
}

/// What is asked of the registry fails so.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A schema as the registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Schema {
    /// `AVRO`, `JSON` or `PROTOBUF`; Avro's is left out.
    #[serde(rename = "schemaType", default = "avro")]
    pub kind: String,
    /// Its text.
    #[serde(rename = "schema")]
    pub text: String,
    /// Other schemas that it needs.
    #[serde(default)]
    pub references: Vec<Value>,
}

fn avro() -> String {
    "AVRO".to_owned()
}

/// A schema in a subject.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// Its number in the registry, as it stands before each record.
    pub id: u32,
    /// Its number in the subject, from 1.
    pub version: u32,
    /// The schema.
    #[serde(flatten)]
    pub schema: Schema,
}

/// Whether a schema may follow those of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// Whether it may.
    pub is_compatible: bool,
    /// Why not, in the registry's words.
    #[serde(default)]
    pub messages: Vec<String>,
}

/// A registry that can be asked.
#[derive(Clone)]
pub struct Registry {
    http: Client,
    login: Option<HeaderValue>,
    base: Url,
}

impl Registry {
    /// Asks nothing yet. Refuses settings that cannot work, and a password in clear over a network.
    pub fn new(options: &Options) -> Result<Self> {
        let bad = |text: String| Error::Settings(text);
        // not what it is: a password may stand in it
        let wrong = || bad("registry.url must look like https://registry.example".into());
        let base = Url::parse(&options.url).map_err(|_| wrong())?;
        let host = base.host_str().filter(|_| ["http", "https"].contains(&base.scheme())).ok_or_else(wrong)?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad("registry.url must name no user: set registry.user and registry.password_file".into()));
        }
        if options.user.is_some() && base.scheme() == "http" && !web::is_loopback_name(host) {
            return Err(bad(
                "registry.user would send its password in clear text: give registry.url with https, or no user".into(),
            ));
        }
        let tls = tls::client(Trust::Known(options.ca.as_deref())).map_err(bad)?;
        let login = options.user.as_deref().map(|user| login(user, &options.password));
        Ok(Self { http: Client::new(tls), login, base })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The schema with that number; `None` only when the registry itself says that it has none: who believed a web server
    /// at another address would give records up.
    pub async fn schema(&self, id: u32) -> Result<Option<Schema>> {
        let url = self.at(&["schemas", "ids", &id.to_string()]);
        match self.answer(Method::GET, &url, None, &format!("schema {id}")).await {
            Err(Error::Refused { status: StatusCode::NOT_FOUND, code: Some(SCHEMA_NOT_FOUND), .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The versions of a subject, oldest first; none when there is no such subject.
    pub async fn versions(&self, subject: &str) -> Result<Vec<u32>> {
        let found = self.find(Method::GET, &["subjects", subject, "versions"], None, subject).await?;
        Ok(found.unwrap_or_default())
    }

    /// A version of a subject.
    pub async fn version(&self, subject: &str, version: u32) -> Result<Version> {
        let url = self.at(&["subjects", subject, "versions", &version.to_string()]);
        self.answer(Method::GET, &url, None, subject).await
    }

    /// Where a JSON Schema stands in a subject, if it does.
    pub async fn registered(&self, subject: &str, schema: &Value) -> Result<Option<Version>> {
        self.find(Method::POST, &["subjects", subject], Some(as_json_schema(schema)), subject).await
    }

    /// Whether a JSON Schema may follow the versions that a subject has, by the rule that is set for it.
    pub async fn judge(&self, subject: &str, schema: &Value) -> Result<Verdict> {
        let mut url = self.at(&["compatibility", "subjects", subject, "versions", "latest"]);
        url.set_query(Some("verbose=true")); // or it keeps the reasons for itself
        self.answer(Method::POST, &url, Some(as_json_schema(schema)), subject).await
    }

    /// Makes a JSON Schema the newest version of a subject; its number.
    pub async fn register(&self, subject: &str, schema: &Value) -> Result<u32> {
        #[derive(Deserialize)]
        struct Answer {
            id: u32,
        }
        let url = self.at(&["subjects", subject, "versions"]);
        let answer: Answer = self.answer(Method::POST, &url, Some(as_json_schema(schema)), subject).await?;
        Ok(answer.id)
    }

    /// The rule of a subject of its own, like `FORWARD`.
    pub async fn level(&self, subject: &str) -> Result<Option<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            compatibility_level: String,
        }
        let answer = self.find::<Answer>(Method::GET, &["config", subject], None, subject).await?;
        Ok(answer.map(|answer| answer.compatibility_level))
    }

    /// Sets that.
    pub async fn set_level(&self, subject: &str, level: &str) -> Result<()> {
        let url = self.at(&["config", subject]);
        let _: Value = self.answer(Method::PUT, &url, Some(json!({ "compatibility": level })), subject).await?;
        Ok(())
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(path);
        url
    }

    /// The answer; `None` when the registry knows nothing of the kind.
    async fn find<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
        what: &str,
    ) -> Result<Option<T>> {
        match self.answer(method, &self.at(path), body, what).await {
            Err(Error::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        body: Option<Value>,
        what: &str,
    ) -> Result<T> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let sent = match self.request(method, url, body) {
            Ok(request) => self.http.send(request, ANSWER_MAX).await,
            Err(error) => Err(error),
        };
        let answer = sent.map_err(|e| self.away(reach::explain(e.as_ref(), "registry.url", "registry.ca")))?;
        let (status, body) = (answer.status(), answer.into_body());
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| {
                self.away(format!("its answer is none of a schema registry's ({e}): is registry.url right?"))
            });
        }
        let said: Said = serde_json::from_slice(&body).unwrap_or_default();
        let (code, is_json) = (said.error_code, !said.message.is_empty());
        let said = if is_json { format!("{} ({status})", said.message) } else { status.to_string() };
        let refused = |why| Error::Refused { url: self.url().to_owned(), what: what.to_owned(), why, status, code };
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => refused(format!(
                "{said}: are registry.user and registry.password_file right, and may that user do this?"
            )),
            // a registry tells what it does not know in JSON; a web server at another address does not
            StatusCode::NOT_FOUND if !is_json => {
                self.away(format!("it answers {said}: has registry.url the path of the API?"))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => self.away(said),
            _ => refused(said),
        })
    }

    fn request(&self, method: Method, url: &Url, body: String) -> Result<Request<Body>, request::Failure> {
        let mut request = Request::builder().method(method).uri(url.as_str()).header(ACCEPT, MEDIA);
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, MEDIA);
        }
        Ok(request.body(Body::from(body))?)
    }

    fn away(&self, why: String) -> Error {
        Error::Unavailable { url: self.url().to_owned(), why }
    }
}

/// What a registry says when it does not do what was asked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    message: String,
    error_code: Option<u64>,
}

/// Basic authentication (RFC 7617).
fn login(user: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut login = HeaderValue::from_str(&text).expect("base64 is ASCII");
    login.set_sensitive(true);
    login
}

/// In the draft that all registries know: Apicurio's fails when it has to judge schemas of a later one. For the keywords of our
/// formats both say the same.
fn as_json_schema(schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["$schema"] = DRAFT.into();
    json!({ "schemaType": "JSON", "schema": schema.to_string() })
}
