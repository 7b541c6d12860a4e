//! Looks at the running system again and again, from outside: what has to be true at all times, not only in the end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use fastrand::Rng;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::bench::{load::Progress, scrape::Scrape};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// Orders that are looked up each time.
const LOOKUPS: usize = 5;
/// Whose pages try to order; on no machine's list.
const FOREIGN: &str = "https://elsewhere.example";

/// Who looks, and what was seen.
pub(super) struct Watch {
    http: reqwest::Client,
    intake: String,
    tracking: String,
    ops: String,
    random: Rng,
    /// The latest event that was seen of each order.
    seen: BTreeMap<u64, u64>,
    pub(super) seen_now: Seen,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Lookups of an order (I4).
    pub(super) lookups: u64,
    /// Times at which the counters were read (I5).
    pub(super) balances: u64,
    /// Requests of a foreign page that were refused (I8).
    pub(super) foreign: u64,
    /// What was wrong, with the promise that it breaks.
    pub(super) objections: Vec<String>,
}

impl Watch {
    pub(super) fn new(http: reqwest::Client, [intake, tracking, ops]: [String; 3], seed: u64) -> Self {
        let (random, seen) = (Rng::with_seed(seed), BTreeMap::new());
        Self { http, intake, tracking, ops, random, seen, seen_now: Seen::default() }
    }

    /// Looks until it is told to stop. A system that does not answer is looked at again later.
    pub(super) async fn look(mut self, progress: Arc<Progress>, stop: CancellationToken) -> Seen {
        while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
            let orders = progress.orders();
            for _ in 0..LOOKUPS {
                if let Some(order) = self.random.choice(&orders) {
                    let _ = self.look_up(*order).await; // it may be down
                }
            }
            let _ = self.balance().await;
            let _ = self.order_from_elsewhere().await;
        }
        self.seen_now
    }

    /// I4: what the status view has told of an order it does not take back.
    async fn look_up(&mut self, order: u64) -> Result<()> {
        let answer = self.http.get(format!("{}/orders/{order}", self.tracking)).send().await?;
        let is_known = answer.status().is_success();
        if !is_known && answer.status() != 404 {
            return Ok(()); // busy, or not there yet
        }
        let seq = if is_known { answer.json::<Value>().await?["seq"].as_u64().unwrap_or(0) } else { 0 };
        self.seen_now.lookups += 1;
        let before = self.seen.insert(order, seq).unwrap_or(0);
        if seq < before {
            let text = format!("I4: order {order} was shown with event {before}, and later with {seq}");
            self.seen_now.objections.push(text);
        }
        Ok(())
    }

    /// I5: accepted = in flight + finished + cancelled + dead-lettered.
    async fn balance(&mut self) -> Result<()> {
        let text = self.http.get(format!("{}/metrics", self.ops)).send().await?.error_for_status()?.text().await?;
        let scrape = Scrape::parse(&text);
        let value = |state: &str| scrape.value(&format!("encargo_orders{{state=\"{state}\"}}"));
        let parts = ["in_flight", "finished", "cancelled", "dead"].map(value);
        let accepted = value("accepted");
        self.seen_now.balances += 1;
        if (accepted - parts.iter().sum::<f64>()).abs() > 0.5 {
            self.seen_now.objections.push(format!("I5: {accepted} were accepted, which are not {parts:?}"));
        }
        Ok(())
    }

    /// I8: a page of somebody else orders nothing.
    async fn order_from_elsewhere(&mut self) -> Result<()> {
        let body = serde_json::json!({ "product": "1010", "email": "foreign@example.org" });
        let request = self.http.post(format!("{}/orders", self.intake)).header("origin", FOREIGN);
        let status = request.json(&body).send().await?.status();
        self.seen_now.foreign += 1;
        if status != 403 {
            self.seen_now.objections.push(format!("I8: an order of a page of {FOREIGN} was answered {status}"));
        }
        Ok(())
    }
}
