//! Watches an order through its tracking address until it is finished.

use std::time::Duration;

use anyhow::{Result, bail};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    output::{Out, StatusLine, Tone, explain, plain},
    time,
};
use crate::{
    clock::{Clock, Monotonic},
    domain::Timestamp,
};

/// How often the server is asked.
const POLL: Duration = Duration::from_millis(250);
/// How long the server may be silent, or not know the order, before this gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// One frame per poll, so that a standing line is seen to live.
const FRAMES: [char; 8] = ['⠋', '⠙', '⠸', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// What is needed of the tracking answer; what else it says is passed on in JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Tracked {
    estado: String,
    finished: bool,
    /// How its life ended, if it did; servers of before tell only whether it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closes: Option<String>,
    placed_at: Timestamp,
    at: Timestamp,
    next_at: Option<Timestamp>,
    history: Vec<Entered>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entered {
    estado: String,
    at: Timestamp,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// Shows the order's way on a status line, or line by line where there is no terminal, and the end of it on `out`.
pub(super) async fn follow(
    client: &Client,
    clock: &Clock,
    order: u64,
    track: &str,
    out: &mut Out,
    as_json: bool,
) -> Result<()> {
    let status = StatusLine::new();
    let mut heard_at = clock.monotonic();
    let mut told = 0;
    for frame in FRAMES.iter().cycle() {
        match ask(client, track).await {
            Ok(order_now) => {
                heard_at = clock.monotonic();
                tell(&status, &order_now, &mut told);
                if order_now.finished || order_now.closes.is_some() {
                    drop(status);
                    return finish(out, order, &order_now, as_json);
                }
                status.show(&format!("{frame} {}", on_its_way(order, &order_now, clock.now())));
            }
            Err(why) => wait_on(&status, clock, heard_at, order, &why)?,
        }
        clock.sleep(POLL).await;
    }
    unreachable!("the frames never end")
}

/// One line per state; a terminal shows them all on its status line.
fn tell(status: &StatusLine, order: &Tracked, told: &mut usize) {
    for entered in order.history.iter().skip(*told) {
        if !status.is_live() {
            explain(&format!("{}  {}", time::full(entered.at), plain(&entered.estado)));
        }
    }
    *told = order.history.len();
}

fn on_its_way(order: u64, now: &Tracked, at: Timestamp) -> String {
    let passed: Vec<_> = now.history.iter().rev().skip(1).rev().map(|entered| plain(&entered.estado)).collect();
    let passed = if passed.is_empty() { String::new() } else { format!("{} › ", passed.join(" › ")) };
    let next = now.next_at.map(|next_at| format!(", next {}", time::due(next_at, at))).unwrap_or_default();
    format!("order {order}: {passed}{}{next}", plain(&now.estado))
}

fn finish(out: &mut Out, number: u64, order: &Tracked, as_json: bool) -> Result<()> {
    if as_json {
        out.json(order)?;
        return out.flush();
    }
    let took = order.at.since(order.placed_at).as_secs_f64();
    let state = out.paint(if order.finished { Tone::Good } else { Tone::Bad }, &plain(&order.estado));
    out.line(&format!("Order {number} is {state}, {took:.1} s after it was placed"))?;
    out.flush()
}

fn wait_on(status: &StatusLine, clock: &Clock, heard_at: Monotonic, order: u64, why: &str) -> Result<()> {
    let silent = clock.monotonic().saturating_sub(heard_at);
    if silent > SILENCE_MAX {
        bail!("order {order} was accepted, but there has been no news of it for {}: {why}", time::span(silent));
    }
    status.show(&format!("order {order}: accepted; waiting for news ({why})"));
    Ok(())
}

/// The order as it stands, or why that is not known now.
async fn ask(client: &Client, track: &str) -> Result<Tracked, String> {
    let response = client.get(track).send().await.map_err(|_| "the tracking address does not answer".to_owned())?;
    match response.status() {
        StatusCode::OK => response.json().await.map_err(|_| "the tracking address answers something else".to_owned()),
        StatusCode::NOT_FOUND => Err("not known there yet".into()),
        other => Err(format!("it answers {other}")),
    }
}
