use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::{
    Settings, open,
    output::{Out, Tone, count, explain, plain},
    table::{Cell, Table},
    time,
};
use crate::{
    clock::Clock,
    domain::{Closing, Flow, OrderId, Timestamp, Waits},
    store::orders::{OrderView, Query},
    tracking::OrderJson,
};

/// Most orders fetched at once.
const PAGE: usize = 500;

/// Flags of `encargo list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo list --state preparando\n  encargo list --stuck\n  \
                        encargo list --limit 1000 --json | jq -r .usermail | sort -u")]
pub(super) struct List {
    /// Only orders in this state
    #[arg(long)]
    state: Option<String>,
    /// Only orders in flight that should have left their state more than 5 s ago, by their timer or by a command
    #[arg(long)]
    stuck: bool,
    /// Only orders with a mail about one of their states that was refused for good
    #[arg(long)]
    mail_refused: bool,
    /// Most orders to list, newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Only orders with a smaller number: the next page
    #[arg(long, value_name = "ID")]
    below: Option<OrderId>,
    /// Print one line of JSON per order
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

impl List {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&self.store.settings())?.config;
        if self.limit == 0 {
            bail!("--limit must be at least 1");
        }
        let store = open::store(&config).await?;
        let now = Clock::system().now();
        let all = if self.stuck { Query::stuck(now) } else { Query::default() };
        let mut query = Query { estado: self.state.clone(), mail_refused: self.mail_refused, below: self.below, ..all };
        let mut out = Out::new();
        let mut table = table();
        let (mut shown, mut more) = (0, true);
        while more && shown < self.limit {
            query.limit = PAGE.min(self.limit - shown);
            let page = store.orders(query.clone()).await?;
            more = page.len() == query.limit;
            shown += page.len();
            query.below = page.last().map(|view| view.order.id).or(query.below);
            for view in &page {
                if self.json {
                    out.json(&OrderJson::for_shop(view, &[], None))?;
                } else {
                    table.row(row(view, now));
                }
            }
        }
        table.print(&mut out)?;
        out.flush()?;
        self.say(&config.flow()?, shown, query.below.filter(|_| more));
        Ok(ExitCode::SUCCESS)
    }

    fn say(&self, flow: &Flow, shown: usize, next: Option<OrderId>) {
        let filtered = self.state.is_some() || self.stuck || self.mail_refused || self.below.is_some();
        match (&self.state, next) {
            (Some(state), _) if shown == 0 && flow.states().all(|other| other != state) => {
                explain(&no_such_state(flow, state));
            }
            _ if shown == 0 && self.stuck => explain("No order is stuck."),
            _ if shown == 0 && filtered => explain("No such orders."),
            _ if shown == 0 => explain(
                "No orders yet. Place one: encargo place PRODUCT --email you@example.org\n\
                 Products: encargo catalog search",
            ),
            (_, Some(below)) => {
                explain(&format!("{} shown; older ones: --below {below}", count(shown as u64, "order")));
            }
            _ => {}
        }
    }
}

/// Why there is no order in a state.
pub(super) fn no_such_state(flow: &Flow, state: &str) -> String {
    let states: Vec<_> = flow.states().collect();
    format!("No orders; {state:?} is none of the states {}", states.join(", "))
}

fn table() -> Table<6> {
    Table::new([">ORDER", "STATE", "SINCE", "NEXT", ">PRICE", "PRODUCT"])
}

/// Prints some orders.
pub(super) fn print(out: &mut Out, orders: &[OrderView]) -> Result<()> {
    let now = Clock::system().now();
    let mut table = table();
    for view in orders {
        table.row(row(view, now));
    }
    table.print(out)
}

/// What an order waits for, in words; empty when it waits for nothing.
pub(super) fn next(view: &OrderView, now: Timestamp) -> String {
    match (view.waits, view.exits.expect_at) {
        (Waits::Held(_), _) => "held".into(),
        (Waits::Until(due), _) => time::due(due, now),
        (Waits::ForCommand, Some(expected)) => format!("by hand, {}", time::due(expected, now)),
        (Waits::ForCommand, None) => "by hand".into(),
        (Waits::Closed(_) | Waits::Untold, _) => String::new(),
    }
}

/// How the state of an order looks.
pub(super) fn tone(view: &OrderView) -> Tone {
    match view.closes() {
        None => Tone::Busy,
        Some(Closing::Finished) => Tone::Good,
        Some(Closing::Cancelled | Closing::Refused) => Tone::Dim,
    }
}

fn row(view: &OrderView, now: Timestamp) -> [Cell; 6] {
    let should_be_gone = view.next_at().or(view.exits.expect_at);
    let is_late = should_be_gone.is_some_and(|at| now.since(at) > Query::STUCK_AFTER);
    let next_tone = if is_late { Tone::Bad } else { Tone::Plain };
    [
        view.order.id.get().into(),
        Cell::from(plain(&view.estado)).tone(tone(view)),
        time::ago(view.at, now).into(),
        Cell::from(next(view, now)).tone(next_tone),
        view.order.product.price.as_str().into(),
        plain(&view.order.product.name).into(),
    ]
}
