//! The end of a trial: everything comes to rest.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::system::System;
use crate::{
    bench::scrape::Ops,
    clock::Clock,
    store::{
        Store,
        dead::{Action, DeadId},
    },
};

/// How often it is asked whether all is over.
const ASK: Duration = Duration::from_millis(100);
/// Dead letters that are driven again at a time.
const DEAD_MAX: usize = 500;

/// Waits until every order's life is over and no mail waits, and drives dead mails again, as a person would: a mail that was
/// handed over too often without an answer waits for one. What kept it from coming to rest, and how many were driven.
pub(super) async fn rest(
    system: &mut System,
    store: &dyn Store,
    ops: &Ops,
    patience: Duration,
    say: &impl Fn(&str),
) -> (Vec<String>, u64) {
    let (began, mut redriven) = (Instant::now(), 0);
    loop {
        system.stand_up().await;
        redriven += redrive(store).await.unwrap_or(0);
        let open = open(store, ops).await.unwrap_or_else(|error| format!("{error:#}"));
        if open.is_empty() {
            return (Vec::new(), redriven);
        }
        if began.elapsed() > patience || !system.is_alive() {
            let waited = began.elapsed().as_secs();
            return (vec![format!("after {waited} s it had not come to rest: {open}")], redriven);
        }
        say(&format!("waiting: {open}"));
        tokio::time::sleep(ASK).await;
    }
}

/// What is not over yet, in words; nothing when all is.
async fn open(store: &dyn Store, ops: &Ops) -> Result<String> {
    // first the store: with an order's end come the mails about it
    let counts = store.order_counts().await?;
    let over = counts.finished + counts.cancelled;
    let scrape = ops.scrape().await?;
    let accepted = scrape.value("encargo_orders{state=\"accepted\"}") as u64;
    let waiting: f64 =
        ["pending", "sending"].map(|is| scrape.value(&format!("encargo_ledger_mails{{status=\"{is}\"}}"))).iter().sum();
    if over == accepted && waiting == 0.0 {
        return Ok(String::new());
    }
    Ok(format!("{over} of {accepted} orders are over, {waiting} mails wait"))
}

/// Drives all dead mails again; how many there were.
async fn redrive(store: &dyn Store) -> Result<u64> {
    let mut redriven = 0;
    for item in store.dead(None, DEAD_MAX).await? {
        if matches!(item.id, DeadId::Mail(_)) && store.decide(&item.id, Action::Redrive, Clock::system().now()).await? {
            redriven += 1;
        }
    }
    Ok(redriven)
}
