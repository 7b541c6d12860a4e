//! Changing orders, one or many, through the tracking listener of the running server.

mod ask;
mod which;

use std::{fmt::Write as _, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Map, Value};

use self::{
    ask::{Answer, Server},
    which::Which,
};
use super::{
    Settings, open,
    output::{Out, Tone, count, explain, plain},
};
use crate::domain::{EmailAddress, OrderId, Timestamp, command::Verb, parse_duration};

/// Flags of `encargo cancel`, `advance`, `refuse`, `hold` and `resume`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Change {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    how: How,
}

/// Flags of `encargo delay`.
#[derive(Debug, Args)]
#[group(skip)]
#[command(after_help = "Examples:\n  encargo delay 17 --by 20m --reason 'the oven is out of order'\n  \
                        encargo delay 17 --until 2026-01-31T12:00:00Z\n  \
                        encargo delay --state preparando --by 1h --dry-run")]
pub(super) struct Delay {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct When {
    /// When the order leaves its state, like 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// How much later than it would, like 20m or 1h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    by: Option<String>,
}

/// Flags of `encargo readdress`.
#[derive(Debug, Args)]
#[group(skip)]
#[command(after_help = "Example:\n  encargo readdress 17 --to ana@example.org")]
pub(super) struct Readdress {
    /// Numbers of the orders
    #[arg(value_name = "ID", required = true)]
    ids: Vec<OrderId>,
    /// Where mails go from now on
    #[arg(long, value_name = "ADDRESS")]
    to: EmailAddress,
    #[command(flatten)]
    how: How,
}

/// How the server is asked, and what it is told beside.
#[derive(Debug, Args)]
#[group(skip)]
struct How {
    /// Why; the order's history keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who does it, as the order's history says [default: shop]
    #[arg(long = "as", value_name = "NAME")]
    who: Option<String>,
    /// Idempotency key: the same command under the same key does nothing more [default: a new one]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Where orders are looked up [default: http:// and tracking.listen]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print one line of JSON per order
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

impl Change {
    pub(super) async fn run(self, verb: Verb, settings: &Settings) -> Result<ExitCode> {
        change(settings, verb, Map::new(), self.which, self.how).await
    }
}

impl Delay {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let until = self.when.until.map(|until| ("until".to_owned(), until.to_string().into()));
        let by = self.when.by.map(|by| ("for".to_owned(), by.into()));
        change(settings, Verb::Delay, until.into_iter().chain(by).collect(), self.which, self.how).await
    }
}

impl Readdress {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let body = Map::from_iter([("usermail".to_owned(), self.to.as_str().into())]);
        change(settings, Verb::Address, body, Which::these(self.ids), self.how).await
    }
}

async fn change(
    settings: &Settings,
    verb: Verb,
    mut body: Map<String, Value>,
    which: Which,
    how: How,
) -> Result<ExitCode> {
    let config = settings.load(&how.store.settings())?.config;
    for (name, value) in [("reason", &how.reason), ("by", &how.who)] {
        body.extend(value.clone().map(|value| (name.to_owned(), value.into())));
    }
    let Some(orders) = which.orders(&config, verb, how.json).await? else { return Ok(ExitCode::SUCCESS) };
    let base = how.url.clone().unwrap_or_else(|| format!("http://{}", config.tracking.listen));
    let server = Server::new(&base, &config.tracking.api_key, how.key.clone(), orders.len() > 1)?;
    let mut tally = Tally::default();
    let mut out = Out::new();
    for order in &orders {
        let answer = match server.ask(verb, *order, &body).await {
            Ok(answer) => answer,
            Err(error) if orders.len() == 1 => return Err(error),
            Err(error) => bail!("{error:#}\n  Of {} orders, {}", orders.len(), tally.words(verb)),
        };
        tally.tell(&mut out, *order, &answer, how.json)?;
        out.flush()?;
    }
    if orders.len() > 1 {
        explain(&tally.words(verb));
    }
    Ok(ExitCode::from(u8::from(tally.refused + tally.failed > 0)))
}

/// What became of the orders so far.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    refused: u64,
    failed: u64,
}

impl Tally {
    fn tell(&mut self, out: &mut Out, order: OrderId, answer: &Answer, as_json: bool) -> Result<()> {
        let (counter, said) = match answer {
            Answer::Done(said) => (&mut self.done, said),
            Answer::Refused(said) => (&mut self.refused, said),
            Answer::Failed(said) => (&mut self.failed, said),
        };
        *counter += 1;
        if as_json {
            return out.json(said);
        }
        if let Answer::Done(said) = answer {
            let state = out.paint(Tone::Good, &plain(said["estado"].as_str().unwrap_or("?")));
            let again = if said["result"] == "repeated" { "  (done before)" } else { "" };
            return out.line(&format!("{}  {state}{again}", out.paint(Tone::Bold, &format!("Order {order}"))));
        }
        out.flush()?;
        explain(&format!("order {order}: {}", ask::words(said)));
        Ok(())
    }

    fn words(&self, verb: Verb) -> String {
        let Self { done, refused, failed } = self;
        let mut words = format!("{} {}", done_word(verb), count(*done, "order"));
        for (number, what) in [(refused, "refused"), (failed, "failed")] {
            if *number > 0 {
                let _ = write!(words, ", {number} {what}"); // a text takes everything
            }
        }
        words + "."
    }
}

/// What a command is called on the command line.
const fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Address => "readdress",
        other => other.name(),
    }
}

const fn done_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Cancel => "cancelled",
        Verb::Advance => "advanced",
        Verb::Refuse => "refused",
        Verb::Hold => "held",
        Verb::Resume => "resumed",
        Verb::Delay => "delayed",
        Verb::Address => "readdressed",
    }
}

/// A duration that can be read, as it was written.
fn duration(text: &str) -> Result<String, String> {
    match parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(text.to_owned()),
        Ok(_) => Err("must be longer than nothing".into()),
        Err(error) => Err(error.to_string()),
    }
}
