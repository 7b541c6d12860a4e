use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};

use super::{
    super::{
        list, open,
        output::{Out, count, explain},
    },
    word,
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{OrderId, command::Verb, parse_duration},
    store::{
        Store,
        orders::{OrderView, Query},
    },
    tracking::OrderJson,
};

/// Most orders fetched at once.
const PAGE: usize = 500;

/// Which orders are changed: some by number, or all that are like this.
#[derive(Debug, Default, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("which").args(["ids", "state", "older"]).required(true).multiple(true))]
pub(super) struct Which {
    /// Numbers of the orders
    #[arg(value_name = "ID")]
    ids: Vec<OrderId>,
    /// All orders in this state
    #[arg(long, conflicts_with = "ids")]
    state: Option<String>,
    /// All orders to which nothing has happened for so long, like 1h
    #[arg(long, value_name = "DURATION", conflicts_with = "ids", value_parser = parse_duration)]
    older: Option<Duration>,
    /// Most orders to change, newest first
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "ids")]
    limit: usize,
    /// Only list which orders it would be
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before many orders are changed
    #[arg(long)]
    yes: bool,
}

impl Which {
    pub(super) fn these(ids: Vec<OrderId>) -> Self {
        Self { ids, ..Self::default() }
    }

    /// The orders to change; `None` when none are. What is found by its state is listed first, and asked about.
    pub(super) async fn orders(&self, config: &Config, verb: Verb, as_json: bool) -> Result<Option<Vec<OrderId>>> {
        if !self.ids.is_empty() && !self.dry_run {
            let mut seen = BTreeSet::new();
            return Ok(Some(self.ids.iter().copied().filter(|id| seen.insert(*id)).collect()));
        }
        if self.limit == 0 && self.ids.is_empty() {
            bail!("--limit must be at least 1");
        }
        let store = open::store(config).await?;
        let (found, more) = self.find(store.as_ref()).await?;
        if self.dry_run || !self.yes {
            list(&found, as_json)?;
        }
        if more {
            explain(&format!("There are more: these are the newest {}, see --limit.", self.limit));
        }
        let orders = count(found.len() as u64, "order");
        if found.is_empty() {
            let flow = config.flow()?;
            let stranger = self.state.as_ref().filter(|state| flow.states().all(|other| other != **state));
            match stranger {
                Some(state) => explain(&list::no_such_state(&flow, state)),
                None => explain("No such orders."),
            }
            return Ok(None);
        }
        if self.dry_run {
            explain(&format!("Would {} {orders}; nothing was changed.", word(verb)));
            return Ok(None);
        }
        if !self.yes && !is_confirmed(&format!("{} {orders}?", word(verb)))? {
            explain("Nothing was changed.");
            return Ok(None);
        }
        Ok(Some(found.iter().map(|view| view.order.id).collect()))
    }

    /// Orders in flight, and whether there are more than may be.
    async fn find(&self, store: &dyn Store) -> Result<(Vec<OrderView>, bool)> {
        let mut found = Vec::new();
        for id in &self.ids {
            let Some((view, _)) = store.order(*id).await? else { bail!("there is no order {id}") };
            found.push(view);
        }
        if !found.is_empty() {
            return Ok((found, false));
        }
        let entered_before = self.older.map(|older| Clock::system().now() - older);
        let mut query = Query { estado: self.state.clone(), entered_before, limit: PAGE, ..Query::default() };
        loop {
            let page = store.orders(query.clone()).await?;
            query.below = page.last().map(|view| view.order.id);
            let is_last = page.len() < PAGE;
            found.extend(page.into_iter().filter(|view| view.closes().is_none()));
            if is_last || found.len() > self.limit {
                let more = found.len() > self.limit;
                found.truncate(self.limit);
                return Ok((found, more));
            }
        }
    }
}

fn list(found: &[OrderView], as_json: bool) -> Result<()> {
    let mut out = Out::new();
    if as_json {
        for view in found {
            out.json(&OrderJson::for_shop(view, &[], None))?;
        }
    } else {
        list::print(&mut out, found)?;
    }
    out.flush()
}

fn is_confirmed(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("cannot ask for confirmation without a terminal: {question} Confirm with --yes");
    }
    explain(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes", "s", "si", "sí"].contains(&answer.trim().to_lowercase().as_str()))
}
