//! A shop that changes orders all the time and keeps account of what it was told.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::load::Progress;
use crate::audit::Commanded;

const VERBS: [&str; 6] = ["cancel", "advance", "hold", "resume", "delay", "address"];
/// Among how many of the newest orders one is chosen: those before are likely to be finished.
const NEWEST: usize = 40;
/// Pause between two commands.
const PAUSE: Duration = Duration::from_millis(100);

/// The shop. A command is asked again under its key until its answer is known, as a careful client does.
#[derive(Debug)]
pub struct Shop {
    http: reqwest::Client,
    /// Where commands are taken, in turn.
    tracking: Vec<String>,
    turn: usize,
    random: Rng,
    /// Begins its keys' numbers, so that several shops are told apart.
    name: u64,
    newest: usize,
    /// By order and key, whether it was done; nothing while there is no answer.
    told: BTreeMap<(u64, String), Option<bool>>,
}

impl Shop {
    /// One that sends its commands to these addresses of the web in turn, and chooses by a seed.
    pub fn new(http: reqwest::Client, tracking: Vec<String>, seed: u64) -> Self {
        let (random, told) = (Rng::with_seed(seed), BTreeMap::new());
        Self { http, tracking, turn: 0, random, name: 0, newest: NEWEST, told }
    }

    /// One of several, which chooses among so many of the newest orders.
    #[must_use]
    pub fn named(self, name: u64, newest: usize) -> Self {
        Self { name, newest: newest.max(NEWEST), ..self }
    }

    /// Changes orders, chosen by chance, until it is told to stop.
    pub async fn work(mut self, progress: Arc<Progress>, stop: CancellationToken) -> Self {
        let mut number = 0_u64;
        while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
            let Some(order) = self.random.choice(progress.newest(self.newest)) else { continue };
            let verb = self.random.choice(VERBS).unwrap_or(VERBS[0]);
            number += 1;
            let key = (order, format!("{verb}-{order}-{}-{number}", self.name));
            let is_done = self.ask(&key).await;
            self.told.insert(key, is_done);
        }
        self
    }

    /// Asks again for whatever has no answer, and lets all go on that is held: what clients were told in the end, and the
    /// commands that nobody answered in time.
    pub async fn settle(&mut self, patience: Duration) -> (Vec<Commanded>, Vec<(u64, String)>) {
        let holds: Vec<u64> =
            self.told.keys().filter(|(_, key)| key.starts_with("hold")).map(|(order, _)| *order).collect();
        for order in holds {
            self.told.insert((order, format!("resume-{order}-last")), None);
        }
        let began = Instant::now();
        loop {
            let open: Vec<_> =
                self.told.iter().filter(|(_, done)| done.is_none()).map(|(key, _)| key.clone()).collect();
            if open.is_empty() || began.elapsed() > patience {
                let known = self.told.iter().filter_map(|((id, command), done)| {
                    Some(Commanded { id: *id, command: command.clone(), is_done: (*done)? })
                });
                return (known.collect(), open);
            }
            for key in open {
                let is_done = self.ask(&key).await;
                self.told.insert(key, is_done);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether it was done; `None` when nobody knows: the server is gone, the order is not there yet, or nothing is decided.
    async fn ask(&mut self, (order, key): &(u64, String)) -> Option<bool> {
        let verb = key.split('-').next().unwrap_or_default();
        let body = match verb {
            "delay" => json!({ "for": "300ms" }),
            "address" => json!({ "usermail": format!("{key}@example.org") }),
            _ => json!({}),
        };
        let url = format!("{}/orders/{order}/{verb}", self.tracking[self.turn % self.tracking.len()]);
        let answer = self.http.post(url).header("idempotency-key", key).json(&body).send().await;
        match answer.map(|answer| answer.status().as_u16()) {
            Ok(200) => Some(true),
            Ok(409) => Some(false),
            // another instance may know, or be there
            _ => {
                self.turn += 1;
                None
            }
        }
    }
}

/// The verb of a command of the shop.
pub fn verb(command: &str) -> &'static str {
    VERBS.into_iter().find(|verb| command.starts_with(verb)).unwrap_or("resume")
}
