use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::{
    Settings, list, open,
    output::{Out, Tone, plain},
    table::Table,
    time,
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{Change, Closing, Handle, HandleKey, OrderId, Timestamp},
    store::{
        Store,
        ledger::MailStatus,
        orders::{HistoryEntry, OrderView},
    },
    tracking::OrderJson,
};

/// Flags of `encargo show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo show 17\n  encargo show 17 --json | jq .history")]
pub(super) struct Show {
    /// Number of the order
    #[arg(value_name = "ID")]
    id: OrderId,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

impl Show {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&self.store.settings())?.config;
        let store = open::store(&config).await?;
        let Some((view, history)) = store.order(self.id).await? else {
            bail!("there is no order {}; `encargo list` shows the newest ones", self.id);
        };
        let handle = handle_of(store.as_ref(), self.id).await?;
        let mut out = Out::new();
        if self.json {
            out.json(&OrderJson::for_shop(&view, &history, Some(handle)))?;
        } else {
            print(&mut out, &config, &view, &history, handle)?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The handle under which the customer follows the order. Handles are not stored, only the secret they are made with.
async fn handle_of(store: &dyn Store, id: OrderId) -> Result<Handle> {
    let mut fresh = [0; 16];
    getrandom::fill(&mut fresh)?;
    let secret = store.secret("handle", fresh).await?;
    Ok(HandleKey::new(secret).seal(id))
}

fn print(out: &mut Out, config: &Config, view: &OrderView, history: &[HistoryEntry], handle: Handle) -> Result<()> {
    let now = Clock::system().now();
    let order = &view.order;
    let lang = order.lang.unwrap_or(config.mail.lang);
    out.line(&out.paint(Tone::Bold, &format!("Order {}", order.id)))?;
    let state = out.paint(list::tone(view), &plain(&view.estado));
    out.field("state", &format!("{state}{}", next(view, now)))?;
    out.field("product", &format!("{}  (id {})", plain(&order.product.name), plain(&order.product.id)))?;
    out.field("price", order.product.price.as_str())?;
    let was = view.address.as_ref().map_or_else(String::new, |_| format!(", placed as {}", order.email.as_str()));
    out.field("customer", &format!("{}  ({lang}{was})", view.recipient().as_str()))?;
    out.field("placed", &format!("{}  ({})", time::full(order.placed_at), time::ago(order.placed_at, now)))?;
    out.field("tracking", &format!("{}/track/{handle}", tracking_url(config)))?;
    if let Some(trace) = order.trace {
        out.field("trace", &trace.to_string())?;
    }
    out.line("")?;
    let has_cause = history.iter().any(|entry| entry.by.is_some());
    let cause = if has_cause { "BECAUSE" } else { "" };
    let mut table = Table::new([">", "STATE", "SINCE", "AFTER", "MAIL", cause]);
    let mut before = order.placed_at;
    for entry in history {
        let (mail, tone) = mail_of(entry);
        table.row([
            u64::from(entry.seq).into(),
            state_of(entry).into(),
            time::full(entry.at).into(),
            format!("+{}", precise(entry.at, before)).into(),
            super::table::Cell::from(mail).tone(tone),
            because(entry).into(),
        ]);
        before = entry.at;
    }
    table.print(out)
}

fn next(view: &OrderView, now: Timestamp) -> String {
    match (view.closes(), view.next_at(), list::next(view, now)) {
        (Some(Closing::Finished), ..) => String::new(),
        (Some(closing), ..) => format!(", {}", closing.name()),
        (None, Some(_), next) => format!(", the next one {next}"),
        (None, None, next) if next.is_empty() => next,
        (None, None, next) => format!(", {next}"),
    }
}

/// The state that was entered, or what happened in it.
fn state_of(entry: &HistoryEntry) -> String {
    match entry.change {
        Change::Entered => plain(&entry.estado),
        change => format!("{} ({})", plain(&entry.estado), change.name()),
    }
}

/// Who did it and why, where somebody did.
fn because(entry: &HistoryEntry) -> String {
    let by = entry.by.as_deref().map(plain).unwrap_or_default();
    match entry.reason.as_deref() {
        Some(reason) => format!("{by}: {}", plain(reason)),
        None => by,
    }
}

/// What became of a change's mail; most have none.
fn mail_of(entry: &HistoryEntry) -> (&'static str, Tone) {
    if entry.mail.is_none() && entry.change != Change::Entered { ("", Tone::Plain) } else { mail_word(entry.mail) }
}

/// Between two states, where a tenth of a second tells something.
fn precise(at: Timestamp, before: Timestamp) -> String {
    let passed = at.since(before);
    if passed.as_secs() < 60 { format!("{:.1} s", passed.as_secs_f64()) } else { time::span(passed) }
}

pub(super) fn mail_word(status: Option<MailStatus>) -> (&'static str, Tone) {
    let Some(status) = status else { return ("off", Tone::Dim) };
    let tone = match status {
        MailStatus::Sent => Tone::Good,
        MailStatus::Pending | MailStatus::Sending => Tone::Busy,
        MailStatus::Dead => Tone::Bad,
        MailStatus::Dropped => Tone::Dim,
    };
    (status.name(), tone)
}

/// How customers reach the tracking listener.
fn tracking_url(config: &Config) -> String {
    match config.tracking.public_url.trim_end_matches('/') {
        "" => format!("http://{}", config.tracking.listen),
        url => url.to_owned(),
    }
}
