//! A shop that changes orders all the time and keeps account of what it was told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use encargo::audit::Commanded;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    eventually,
    load::{Requests, random_below},
    real_clock,
};

/// By order and command, whether it was done; nothing while there is no answer.
pub type Changes = Arc<Mutex<BTreeMap<(u64, String), Option<bool>>>>;

const VERBS: [&str; 5] = ["cancel", "hold", "resume", "delay", "address"];
/// Among how many of the newest orders one is chosen: those before are likely to be finished.
const NEWEST: usize = 40;

/// Changes orders, chosen by chance among the newest of `requests`, until it is aborted or the server is gone: as long as
/// there is no order, it does not notice the latter.
pub async fn change(url: String, changer: usize, requests: Requests, changes: Changes) {
    let http = reqwest::Client::new();
    loop {
        let Some(order) = one_of_the_newest(&requests).await else {
            real_clock().sleep(Duration::from_millis(5)).await;
            continue;
        };
        let verb = VERBS[random_below(VERBS.len() as u64) as usize];
        // a command that is refused may be asked again, and then be done
        let key = (order, format!("{verb}-{order}-{changer}"));
        changes.lock().await.insert(key.clone(), None);
        match ask(&http, &url, &key).await {
            Ok(is_done) => drop(changes.lock().await.insert(key, is_done)),
            Err(_gone) => return,
        }
    }
}

/// An order that was acknowledged; numbers between them may be of none.
async fn one_of_the_newest(requests: &Requests) -> Option<u64> {
    let mut orders: Vec<u64> = requests.lock().await.values().flatten().map(|placed| placed.id).collect();
    orders.sort_unstable();
    let newest = &orders[orders.len().saturating_sub(NEWEST)..];
    newest.get(random_below(newest.len().max(1) as u64) as usize).copied()
}

/// Asks again for whatever has no answer, as a careful client does, and lets all go on that is held.
pub async fn settle_all(url: &str, changes: &Changes) -> Vec<Commanded> {
    let http = reqwest::Client::new();
    let asked = changes.lock().await.clone();
    for ((order, command), is_done) in asked.clone() {
        if is_done.is_none() {
            settle(&http, url, (order, command), changes).await;
        }
    }
    for (order, command) in asked.into_keys() {
        if command.starts_with("hold") {
            settle(&http, url, (order, format!("resume-{order}-last")), changes).await;
        }
    }
    let known = changes.lock().await;
    let told = known.iter().map(|((id, command), is_done)| Commanded {
        id: *id,
        command: command.clone(),
        is_done: is_done.expect("all are settled"),
    });
    told.collect()
}

async fn settle(http: &reqwest::Client, url: &str, key: (u64, String), changes: &Changes) {
    let is_done = eventually("an answer to a command", async || match ask(http, url, &key).await {
        Ok(Some(is_done)) => Ok(is_done),
        other => Err(format!("{key:?}: {other:?}")),
    })
    .await;
    changes.lock().await.insert(key, Some(is_done));
}

/// `None` when nobody knows: the order is not there yet, or what becomes of the command is not decided yet.
async fn ask(
    http: &reqwest::Client,
    url: &str,
    (order, command): &(u64, String),
) -> Result<Option<bool>, reqwest::Error> {
    let verb = command.split('-').next().unwrap_or_default();
    let body = match verb {
        "delay" => json!({ "for": "100ms" }),
        "address" => json!({ "usermail": format!("{command}@example.org") }),
        _ => json!({}),
    };
    let request = http.post(format!("{url}/orders/{order}/{verb}")).header("idempotency-key", command);
    let response = request.json(&body).send().await?;
    let status = response.status().as_u16();
    let said: Value = response.json().await?;
    match status {
        200 => Ok(Some(true)),
        409 => Ok(Some(false)),
        202 | 404 | 503 => Ok(None),
        _ => panic!("{command}: {status} {said}"),
    }
}
