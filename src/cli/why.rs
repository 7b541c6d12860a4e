use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::{
    Settings, open,
    output::{Out, Tone, plain},
    time,
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        Lang, OrderId, Timestamp,
        why::{Road, Stretch, Why},
    },
    eventlog::{EventLog, Lag},
    fulfilment,
    store::{
        dead::DeadItem,
        orders::{HistoryEntry, OrderView},
    },
    tracking, words,
};

const SET_ASIDE: &str = "It was set aside.";

/// Why an order stands where it stands, for programs.
#[derive(Serialize)]
struct WhyJson<'a> {
    orderid: u64,
    /// Never renamed.
    code: &'static str,
    late: bool,
    estado: &'a str,
    /// Since when it is like this.
    since: Timestamp,
    /// When its next state is due.
    next_at: Option<Timestamp>,
    /// When somebody is expected to have moved it on.
    expect_at: Option<Timestamp>,
    /// Who did that, and why, if somebody did.
    by: Option<&'a str>,
    reason: Option<&'a str>,
    /// The code in words.
    title: &'a str,
    detail: &'a str,
}

/// The same of an order whose record is a dead letter.
#[derive(Serialize)]
struct WhyDeadJson<'a> {
    orderid: u64,
    code: &'static str,
    late: bool,
    /// Since when it is one.
    since: Timestamp,
    /// The dead letter's name.
    dead: &'a str,
    reason: &'a str,
    title: &'static str,
}

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
        let facts = view.facts(history);
        let details = words::why::details(why, &facts, Lang::En, &time::full, &time::span, &str::to_owned);
        if self.json {
            return out.json(&WhyJson {
                orderid: self.id.get(),
                code: why.code(),
                late: why.is_late(),
                estado: &view.estado,
                since: facts.at,
                next_at: view.next_at(),
                expect_at: view.exits.expect_at,
                by: facts.by,
                reason: facts.reason,
                title: words::why::title(why, Lang::En),
                detail: &details,
            });
        }
        let tone = if why.is_late() { Tone::Bad } else { Tone::Bold };
        let (state, title) = (plain(&view.estado), out.paint(tone, words::why::title(why, Lang::En)));
        out.line(&format!("Order {}, {state}: {title}", self.id))?;
        out.line(&plain(&details))?;
        Ok(())
    }

    fn tell_dead(&self, out: &mut Out, item: &DeadItem) -> Result<()> {
        let (id, reason) = (item.id.to_string(), item.reason.as_str());
        if self.json {
            return out.json(&WhyDeadJson {
                orderid: self.id.get(),
                code: "dead-letter",
                late: false,
                since: item.at,
                dead: &id,
                reason,
                title: SET_ASIDE,
            });
        }
        out.line(&format!("Order {}: {}", self.id, out.paint(Tone::Bad, SET_ASIDE)))?;
        out.line(&format!("Since {}: {}", time::full(item.at), plain(reason)))?;
        out.line(&format!("`encargo dead show {}` shows the record.", plain(&id)))?;
        Ok(())
    }
}

/// What is between an order and its next state; unknown where the log cannot be looked at.
fn road(config: &Config, view: &OrderView) -> Road {
    let Some(partition) = view.partition else { return Road::Unknown };
    let Ok(log) = open::log(config) else { return Road::Unknown };
    let lag = |group: &str, topic: &str| {
        let lags = log.lag(group, &[topic]).ok()?;
        lags.into_iter().find(|lag| lag.tp.partition == partition)
    };
    let of = |lag: Lag, is_read| Stretch {
        partition: lag.tp.to_string(),
        records: lag.records(),
        is_read,
        // what cannot be asked is taken for a record
        is_behind: lag.records() > 0 && log.has_record(&lag.tp, lag.next).unwrap_or(true),
    };
    let (orders, states) = (&config.topics.orders, &config.topics.states);
    let input = lag(fulfilment::GROUP, orders).map(|lag| {
        let is_read = !config.log_url().is_shared() || is_owned(&*log, &lag.tp);
        of(lag, is_read)
    });
    Road::over(input, || Some(of(lag(tracking::GROUP, states)?, true)))
}

/// Whether a member of fulfilment owns the partition; what cannot be asked is taken for owned.
fn is_owned(log: &dyn EventLog, tp: &crate::eventlog::TopicPartition) -> bool {
    log.owners(fulfilment::GROUP).map_or(true, |owners| owners.iter().any(|(owned, _)| owned == tp))
}
