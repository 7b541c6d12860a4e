//! Customers that order all the time until something is struck, and keep account of what they were told.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use encargo::{
    audit::Placed,
    bench::load::{Answer, Client},
};
use serde_json::json;
use tokio::{sync::Mutex, task::AbortHandle};

use super::eventually;

/// What the senders know: by idempotency key, the order that was acknowledged, or none yet.
pub type Requests = Arc<Mutex<BTreeMap<String, Option<Placed>>>>;

/// Places orders until the server is gone or does not take one; every second one with an idempotency key that is tried again later.
pub async fn send(to: SocketAddr, round: u32, sender: usize, most: usize, requests: Requests) -> Vec<Placed> {
    let mut client = Client::new(to, "localhost", None);
    let mut acknowledged = Vec::new();
    for number in 0..most {
        let email = format!("r{round}s{sender}n{number}@example.org");
        let key = (number % 2 == 0).then(|| email.replace('@', "-"));
        if let Some(key) = &key {
            requests.lock().await.insert(key.clone(), None);
        }
        let Some(placed) = place(&mut client, &email, key.as_deref()).await else { break };
        match key {
            Some(key) => drop(requests.lock().await.insert(key, Some(placed))),
            None => acknowledged.push(placed),
        }
    }
    acknowledged
}

/// Waits until less than `most` further requests with a key, how many is chance, are acknowledged, or until no sender goes on: a
/// moment for a strike that is amid the work however slow the machine is.
pub async fn amid(most: u64, requests: &Requests, senders: &[AbortHandle]) {
    let acknowledged = async || requests.lock().await.values().flatten().count() as u64;
    let enough = acknowledged().await + random_below(most);
    eventually("acknowledgements", async || {
        let so_far = acknowledged().await;
        let is_over = so_far >= enough || senders.iter().all(AbortHandle::is_finished);
        if is_over { Ok(()) } else { Err(format!("{so_far} of {enough}")) }
    })
    .await;
}

/// `None` when there is no answer: the order may be there or not.
async fn place(client: &mut Client, email: &str, key: Option<&str>) -> Option<Placed> {
    let body = json!({ "product": "1010", "email": email }).to_string();
    match client.order(&body, key).await {
        Answer::Accepted(id, _) => Some(Placed { id, product: "1010".into(), email: email.to_owned() }),
        Answer::Refused(409 | 503) | Answer::Lost => None,
        answer => panic!("{answer:?}"),
    }
}

/// Tries every request that has no answer again under its key, as a careful client does.
pub async fn settle_all(to: SocketAddr, requests: &Requests) {
    let mut client = Client::new(to, "localhost", None);
    let open: Vec<String> =
        requests.lock().await.iter().filter(|(_, placed)| placed.is_none()).map(|(key, _)| key.clone()).collect();
    for key in open {
        let email = key.replace("-example", "@example");
        let placed = eventually("an answer under the same key", async || {
            place(&mut client, &email, Some(&key)).await.ok_or_else(|| "still running".to_owned())
        })
        .await;
        requests.lock().await.insert(key, Some(placed));
    }
}

pub fn random_below(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    encargo::env::Random::system().fill(&mut bytes).expect("random numbers");
    u64::from_le_bytes(bytes) % limit
}
