//! `kill -9` of the mailing process, of the mail server and of both, at random.

use std::collections::BTreeMap;

use encargo::store::sqlite::SqliteStore;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::{
    harness::{free_ports, load::random_below, process::Process, smtp::Received},
    kill::wait_until_done,
};

/// Orders in one round; each has four mails.
const ORDERS: usize = 250;

/// Rounds: `ENCARGO_MAIL_KILL_ROUNDS` (4).
#[tokio::test(flavor = "multi_thread")]
async fn every_mail_arrives_in_order_and_repeats_are_among_the_counted() {
    let rounds: u32 = std::env::var("ENCARGO_MAIL_KILL_ROUNDS").map_or(4, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("encargo.toml"));
    // each start has another port for tracking, which would stand in the links of mails
    let settings = "[mail]\nretry_min = \"50ms\"\n[tracking]\npublic_url = \"http://shop.example\"\n";
    std::fs::write(&config, settings).unwrap();
    let addr = format!("127.0.0.1:{}", free_ports(1)).parse().unwrap();
    let (url, config) = (format!("smtp://{addr}"), config.display().to_string());
    let arguments = ["--dwell", "60ms", "--mail", &url, "--config", &config];
    let mut ended = Vec::new(); // with what each had accepted
    let (mut sink, mut process) = (None, None);
    for _ in 0..rounds {
        if sink.is_none() {
            sink = Some(Sink::on(addr, Setup::usual()).await.unwrap());
        }
        if process.is_none() {
            process = Some(Process::start(&data, &arguments).await);
        }
        let (Some(running), Some(server)) = (&process, &sink) else { unreachable!("both were just started") };
        let enough = server.accepted() + random_below(ORDERS as u64);
        place(&running.url("intake", "/orders")).await;
        eventually("mails", async || {
            let so_far = server.accepted();
            if so_far >= enough { Ok(()) } else { Err(format!("{so_far} of {enough}")) }
        })
        .await;
        let what = random_below(3);
        if what != 0
            && let Some(mut process) = process.take()
        {
            process.kill();
        }
        if what != 1
            && let Some(mut sink) = sink.take()
        {
            sink.end().await;
            ended.push(sink);
        }
    }
    let sink = match sink {
        Some(sink) => sink,
        None => Sink::on(addr, Setup::usual()).await.unwrap(),
    };
    let process = match process {
        Some(process) => process,
        None => Process::start(&data, &arguments).await,
    };
    wait_until_done(&process).await;
    assert!(process.terminate().success());
    ended.push(sink);
    let mails: Vec<Received> = ended.iter().flat_map(Sink::mails).collect();

    let store = SqliteStore::open_tool(&data.join("store.db")).unwrap();
    let counted = store.ledger_counts().await.unwrap().repeated;
    let (orders, repeats) = judge(&mails);
    println!("{rounds} rounds: {orders} orders, {} mails, {repeats} repeats, {counted} counted", mails.len());
    assert_eq!(orders, rounds as usize * ORDERS);
    assert!(repeats <= counted, "{repeats} repeats, {counted} counted as possible");
}

/// Orders, and mails that came more than once; every order's states came in order and completely.
fn judge(mails: &[Received]) -> (usize, u64) {
    let (mut arrived, mut repeats) = (BTreeMap::<String, Vec<String>>::new(), 0);
    let mut bodies = HashMap::new();
    for mail in mails {
        let header = |name| mail.header(name).unwrap().to_owned();
        let states = arrived.entry(header("X-Order-Id")).or_default();
        let state = header("X-Order-State");
        if states.contains(&state) {
            repeats += 1;
        } else {
            states.push(state);
        }
        let first = bodies.entry(header("Message-ID")).or_insert(&mail.raw);
        assert!(*first == &mail.raw, "a repeat has the same bytes");
    }
    for (order, states) in &arrived {
        assert_eq!(*states, Flow::STATES, "order {order}");
    }
    (arrived.len(), repeats)
}

/// Places the orders of a round, and waits until all of them are acknowledged.
async fn place(url: &str) {
    let http = reqwest::Client::new();
    let mut senders = JoinSet::new();
    for sender in 0..ORDERS {
        let (http, url) = (http.clone(), url.to_owned());
        senders.spawn(async move {
            let body = json!({ "product": "1010", "email": format!("c{sender}@example.org") });
            let response = http.post(url).json(&body).send().await.expect("an answer");
            assert_eq!(response.status(), 202);
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent.unwrap();
    }
}
