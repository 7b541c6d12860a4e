use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use reqwest::{Client, Response, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Settings, follow,
    output::{Out, Tone, explain, plain},
};
use crate::{
    clock::Clock,
    domain::{EmailAddress, Lang},
    web,
};

/// How often an order is sent again when the server is busy or its answer got lost.
const TRIES_MAX: u32 = 5;
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Longest pause that a server can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Flags of `encargo place`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo place 1010 --email ana@example.org\n  \
                        encargo place 1010 --email ana@example.org --lang en --follow\n  \
                        encargo place 1010 --email ana@example.org --url http://shop.example:3000 --json")]
pub(super) struct Place {
    /// Product's id; `encargo catalog search` finds it
    #[arg(value_name = "PRODUCT")]
    product: String,
    /// Customer's e-mail address
    #[arg(long, value_name = "ADDRESS")]
    email: EmailAddress,
    /// Language of the mails: es or en [default: the server's]
    #[arg(long)]
    lang: Option<Lang>,
    /// Where orders are taken [default: http:// and intake.listen]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Idempotency key: the same order under the same key is placed once [default: a new one]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Follow the order until it is finished
    #[arg(long, short)]
    follow: bool,
    /// Print the answer, or with --follow the finished order, as one line of JSON
    #[arg(long)]
    json: bool,
}

/// What the server answers.
#[derive(Debug, Serialize, Deserialize)]
struct Accepted {
    orderid: u64,
    handle: String,
    track: String,
}

/// How one try ended.
enum Try {
    Accepted(Accepted),
    /// It can be sent again under the same key.
    Again {
        why: String,
        after: Duration,
    },
}

impl Place {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&[])?.config;
        let base = self.url.clone().unwrap_or_else(|| format!("http://{}", config.intake.listen));
        let url = format!("{}/orders", base.trim_end_matches('/'));
        let key = self.key.clone().map_or_else(new_key, Ok)?;
        let clock = Clock::system();
        let client = client_for(&url)?;
        let accepted = self.place(&client, &clock, &url, &key).await?;
        let mut out = Out::new();
        if self.json && !self.follow {
            out.json(&accepted)?;
        } else if !self.json {
            out.line(&format!("{}  {}", out.paint(Tone::Bold, &format!("Order {}", accepted.orderid)), "accepted"))?;
            out.field("tracking", &plain(&accepted.track))?;
        }
        out.flush()?;
        if self.follow {
            follow::follow(
                &client_for(&accepted.track)?,
                &clock,
                accepted.orderid,
                &accepted.track,
                &mut out,
                self.json,
            )
            .await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Sends the order until there is an answer; the key makes sure that it is placed once.
    async fn place(&self, client: &Client, clock: &Clock, url: &str, key: &str) -> Result<Accepted> {
        let mut body = json!({ "product": self.product, "email": self.email.as_str() });
        if let Some(lang) = self.lang {
            body["lang"] = json!(lang);
        }
        for number in 1.. {
            let request = client.post(url).header("Idempotency-Key", key).json(&body);
            let answer = match request.send().await {
                Ok(response) => read(response).await?,
                Err(e) if e.is_connect() => {
                    bail!("cannot reach {url}{}: {}\n  Is `encargo up` running there?", by_proxy(url), root_cause(&e))
                }
                Err(e) if e.is_builder() => return Err(e).with_context(|| format!("cannot use --url: {url}")),
                Err(e) => Try::Again { why: format!("no answer ({})", root_cause(&e)), after: Duration::from_secs(1) },
            };
            match answer {
                Try::Accepted(accepted) => return Ok(accepted),
                Try::Again { why, after } if number < TRIES_MAX => {
                    explain(&format!("{why}; trying again in {} s", after.as_secs()));
                    clock.sleep(after).await;
                }
                Try::Again { why, .. } => bail!(
                    "not placed for certain after {TRIES_MAX} tries: {why}\n  To try later without placing it twice, \
                     repeat the command with --key {key}"
                ),
            }
        }
        unreachable!("the last try returns")
    }
}

/// A client for one address. What is on this machine is asked at once, whatever proxy `HTTP_PROXY` names for the rest.
fn client_for(url: &str) -> Result<Client> {
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
fn by_proxy(url: &str) -> String {
    const NAMES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let set = NAMES.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    set.filter(|_| !is_this_machine(url)).map_or_else(String::new, |name| format!(" (by the proxy that {name} names)"))
}

/// What is behind an error; the layers above it only repeat the address.
fn root_cause(error: &dyn std::error::Error) -> &dyn std::error::Error {
    error.source().map_or(error, root_cause)
}

async fn read(response: Response) -> Result<Try> {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let text = response.text().await.unwrap_or_default();
    match status {
        StatusCode::ACCEPTED => {
            let accepted = serde_json::from_str(&text);
            Ok(Try::Accepted(accepted.with_context(|| format!("not an answer of Encargo: {}", plain(&text)))?))
        }
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let after = Duration::from_secs(after.unwrap_or(1)).min(PAUSE_MAX);
            Ok(Try::Again { why: in_words(status, &text), after })
        }
        _ => {
            bail!("the order was refused: {}\n  `encargo catalog search WORDS` finds products", in_words(status, &text))
        }
    }
}

/// A problem document (RFC 9457) as words; the bare status when it is something else.
fn in_words(status: StatusCode, text: &str) -> String {
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

fn new_key() -> Result<String> {
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
