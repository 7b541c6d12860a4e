use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{LOCATION, RETRY_AFTER},
};
use serde_json::{Map, Value};

use super::super::{
    http::{by_proxy, client_for, in_words, new_key, root_cause},
    output::plain,
};
use crate::{
    clock::Clock,
    domain::{CommandId, OrderId, command::Verb},
};

/// How often a command is sent again when the server is busy or its answer got lost.
const TRIES_MAX: u32 = 5;
/// Longest pause that a server can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often the server is asked what became of a command, and for how long.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_FOR: Duration = Duration::from_secs(30);

/// What became of a command, as the server says it.
pub(super) enum Answer {
    /// It happened, now or before.
    Done(Value),
    /// It changes nothing.
    Refused(Value),
    /// There is no such order, or nobody knows yet what became of it.
    Failed(Value),
}

/// A running server.
pub(super) struct Server {
    client: Client,
    clock: Clock,
    base: String,
    api_key: String,
    key: String,
    is_for_many: bool,
}

/// How one try ended.
enum Try {
    Answered(Answer),
    /// It is written down, and there it says what became of it.
    Pending(String),
    /// It can be sent again under the same key.
    Again {
        why: String,
        after: Duration,
    },
}

impl Server {
    /// `key` names one command; of many, each order's number is added.
    pub(super) fn new(base: &str, api_key: &str, key: Option<String>, is_for_many: bool) -> Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        let (api_key, key) = (api_key.to_owned(), key.map_or_else(new_key, Ok)?);
        Ok(Self { client: client_for(&base)?, clock: Clock::system(), base, api_key, key, is_for_many })
    }

    /// Sends a command until there is an answer; its key makes sure that it is done once.
    pub(super) async fn ask(&self, verb: Verb, order: OrderId, body: &Map<String, Value>) -> Result<Answer> {
        let key = if self.is_for_many { format!("{}:{order}", self.key) } else { self.key.clone() };
        let key: CommandId = key.parse().context("--key")?;
        let url = format!("{}/orders/{order}/{}", self.base, verb.name());
        for number in 1.. {
            let request = self.client.post(&url).header("Idempotency-Key", key.as_str()).json(body);
            match self.send(request, order).await? {
                Try::Answered(answer) => return Ok(answer),
                Try::Pending(place) => return self.look(&place, order).await,
                Try::Again { after, .. } if number < TRIES_MAX => self.clock.sleep(after).await,
                Try::Again { why, .. } => {
                    let detail =
                        format!("{why}; to try later without doing it twice, repeat it with --key {}", self.key);
                    return Ok(Answer::Failed(without_answer(order, detail)));
                }
            }
        }
        unreachable!("the last try returns")
    }

    /// Waits until it is known what became of a command.
    async fn look(&self, place: &str, order: OrderId) -> Result<Answer> {
        let url = format!("{}{place}", self.base);
        let begun = self.clock.monotonic();
        while self.clock.monotonic().saturating_sub(begun) < LOOK_FOR {
            self.clock.sleep(LOOK_EVERY).await;
            if let Try::Answered(answer) = self.send(self.client.get(&url), order).await? {
                return Ok(answer);
            }
        }
        let detail = format!("the command was accepted, but its outcome is not known yet: see {url}");
        Ok(Answer::Failed(without_answer(order, detail)))
    }

    async fn send(&self, request: RequestBuilder, order: OrderId) -> Result<Try> {
        let request = if self.api_key.is_empty() { request } else { request.bearer_auth(&self.api_key) };
        match request.send().await {
            Ok(response) => read(response, order).await,
            Err(e) if e.is_connect() => bail!(
                "cannot reach {}{}: {}\n  Is `encargo up` running there?",
                self.base,
                by_proxy(&self.base),
                root_cause(&e)
            ),
            Err(e) if e.is_builder() => Err(e).with_context(|| format!("cannot use --url: {}", self.base)),
            Err(e) => Ok(Try::Again { why: format!("no answer ({})", root_cause(&e)), after: Duration::from_secs(1) }),
        }
    }
}

/// What is said where the server said nothing: in the fields that its answers have.
fn without_answer(order: OrderId, detail: String) -> Value {
    Map::from_iter([("orderid".to_owned(), order.get().into()), ("detail".to_owned(), detail.into())]).into()
}

async fn read(response: Response, order: OrderId) -> Result<Try> {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (place, after) = (header(LOCATION), header(RETRY_AFTER).and_then(|after| after.parse().ok()));
    let text = response.text().await.unwrap_or_default();
    let said = || match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(mut said)) => {
            said.entry("orderid").or_insert(order.get().into());
            Value::Object(said)
        }
        _ => without_answer(order, status.to_string()),
    };
    Ok(match (status, place) {
        (StatusCode::OK, _) => Try::Answered(match said() {
            said if ["done", "repeated"].iter().any(|done| said["result"] == *done) => Answer::Done(said),
            said if said.get("result").is_some() => Answer::Refused(said),
            _ => bail!("not an answer of Encargo: {}", plain(&text)),
        }),
        (StatusCode::ACCEPTED, Some(place)) => Try::Pending(place),
        (StatusCode::CONFLICT, _) => Try::Answered(Answer::Refused(said())),
        (StatusCode::NOT_FOUND, _) => Try::Answered(Answer::Failed(said())),
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => {
            let after = Duration::from_secs(after.unwrap_or(1)).min(PAUSE_MAX);
            Try::Again { why: words(&said()), after }
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => bail!(
            "the server does not let us change orders: {}\n  Set tracking.api_key to the server's own, in the configuration \
             or as ENCARGO_TRACKING_API_KEY",
            in_words(status, &text)
        ),
        _ => bail!("the server refuses the command: {}", in_words(status, &text)),
    })
}

/// What the server says, in English.
pub(super) fn words(said: &Value) -> String {
    let detail = said["detail"].as_str().or(said["title"].as_str()).or(said["result"].as_str()).unwrap_or_default();
    plain(detail.lines().last().unwrap_or_default())
}
