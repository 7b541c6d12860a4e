use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use reqwest::{Client, Response, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Settings, follow,
    http::{by_proxy, client_for, in_words, new_key, root_cause},
    output::{Out, Tone, explain, plain},
};
use crate::{
    clock::Clock,
    domain::{EmailAddress, Lang},
};

/// How often an order is sent again when the server is busy or its answer got lost.
const TRIES_MAX: u32 = 5;
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
