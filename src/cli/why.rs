use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::{
    Settings, open,
    output::{Out, Tone, plain},
    time,
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        Lang, OrderId,
        why::{Facts, Road, Why},
    },
    eventlog::EventLog,
    fulfilment,
    store::{
        dead::DeadItem,
        orders::{HistoryEntry, OrderView},
    },
    tracking,
};

/// Flags of `encargo why`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo why 17\n  encargo why 17 --json | jq -r .code")]
pub(super) struct WhyFlags {
    /// Number of the order
    #[arg(value_name = "ID")]
    id: OrderId,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

impl WhyFlags {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&self.store.settings())?.config;
        let store = open::store(&config).await?;
        let now = Clock::system().now();
        let mut out = Out::new();
        match store.order(self.id).await? {
            Some((view, history)) => {
                let road = if view.next_at().is_some() { road(&config, &view) } else { Road::Unknown };
                let why = Why::of(view.waits, view.exits, road, now);
                self.tell(&mut out, &view, &history, &why)?;
            }
            // the record of an order that never became one
            None => match store.dead_record_of(self.id).await? {
                Some(item) => self.tell_dead(&mut out, &item)?,
                None => bail!("there is no order {}; `encargo list` shows the newest ones", self.id),
            },
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, out: &mut Out, view: &OrderView, history: &[HistoryEntry], why: &Why) -> Result<()> {
        let facts = facts(view, history);
        let details = why.details(&facts, Lang::En, &time::full, &time::span);
        if self.json {
            return out.json(&json!({
                "orderid": self.id.get(), "code": why.code(), "late": why.is_late(), "estado": view.estado, "since": view.at,
                "next_at": view.next_at(), "expect_at": view.exits.expect_at, "by": facts.by, "reason": facts.reason,
                "title": why.title(Lang::En), "detail": details,
            }));
        }
        let tone = if why.is_late() { Tone::Bad } else { Tone::Bold };
        let (state, title) = (plain(&view.estado), out.paint(tone, why.title(Lang::En)));
        out.line(&format!("Order {}, {state}: {title}", self.id))?;
        out.line(&plain(&details))?;
        Ok(())
    }

    fn tell_dead(&self, out: &mut Out, item: &DeadItem) -> Result<()> {
        let (id, reason) = (item.id.to_string(), item.reason.as_str());
        if self.json {
            return out.json(&json!({
                "orderid": self.id.get(), "code": "dead-letter", "late": false, "since": item.at, "dead": id, "reason": reason,
                "title": "It was set aside.",
            }));
        }
        out.line(&format!("Order {}: {}", self.id, out.paint(Tone::Bad, "It was set aside.")))?;
        out.line(&format!("Since {}: {}", time::full(item.at), plain(reason)))?;
        out.line(&format!("`encargo dead show {}` shows the record.", plain(&id)))?;
        Ok(())
    }
}

/// Who made it what it is, and why.
fn facts<'a>(view: &OrderView, history: &'a [HistoryEntry]) -> Facts<'a> {
    let last = history.last();
    Facts {
        at: view.at,
        waits: view.waits,
        exits: view.exits,
        by: last.and_then(|entry| entry.by.as_deref()),
        reason: last.and_then(|entry| entry.reason.as_deref()),
    }
}

/// What is between an order and its next state; unknown where the log cannot be looked at.
fn road(config: &Config, view: &OrderView) -> Road {
    let Some(partition) = view.partition else { return Road::Unknown };
    let Ok(log) = open::log(config) else { return Road::Unknown };
    let behind = |group: &str, topic: &str| {
        let lags = log.lag(group, &[topic]).ok()?;
        lags.into_iter().find(|lag| lag.of.partition == partition)
    };
    let (orders, states) = (&config.topics.orders, &config.topics.states);
    let Some(input) = behind(fulfilment::GROUP, orders) else { return Road::Unknown };
    if config.log_url().is_shared() && !is_owned(&*log, &input.of) {
        return Road::Unread { partition: input.of.to_string() };
    }
    if input.records() > 0 {
        return Road::Behind { partition: input.of.to_string(), records: input.records() };
    }
    match behind(tracking::GROUP, states) {
        Some(lag) if lag.records() > 0 => Road::Untold { partition: lag.of.to_string(), records: lag.records() },
        Some(_) => Road::Clear,
        None => Road::Unknown,
    }
}

/// Whether a member of fulfilment owns the partition; what cannot be asked is taken for owned.
fn is_owned(log: &dyn EventLog, of: &crate::eventlog::TopicPartition) -> bool {
    log.owners(fulfilment::GROUP).map_or(true, |owners| owners.iter().any(|(owned, _)| owned == of))
}
