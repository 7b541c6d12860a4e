//! What is placed, what comes of it, and what every reader must agree on.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use encargo::audit;
use serde_json::{Value, json};

use super::{
    STATES,
    ours::{Ours, by_place},
    players::{catalog, dump},
};
use crate::harness::{eventually, process::Process};

/// Places orders as a customer of ours; the five fields of each, by id.
pub(super) async fn place(intake: &Process, count: u64) -> BTreeMap<u64, Value> {
    let (http, url) = (reqwest::Client::new(), intake.url("intake", "/orders"));
    let mut placed = BTreeMap::new();
    for row in (1..=3).cycle().take(count as usize) {
        let product = five_fields(0, row)["gameid"].clone();
        let body = json!({ "product": product, "email": "cliente@example.org" });
        let answer = http.post(&url).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
        let answer: Value = answer.json().await.expect("JSON");
        let id = answer["orderid"].as_u64().expect("a number");
        placed.insert(id, five_fields(id, row));
    }
    placed
}

/// The order of a catalogue row, as everybody writes it.
pub(super) fn five_fields(id: u64, row: u64) -> Value {
    let mut rows = csv::Reader::from_path(catalog()).expect("the catalogue");
    let product = rows.records().nth(row as usize - 1).expect("that many rows").expect("CSV");
    json!({
        "orderid": id, "gameid": product[0], "name": product[1], "price": product[2],
        "usermail": "cliente@example.org",
    })
}

pub(super) async fn post_form(url: &str, row: u64) -> String {
    let request = reqwest::Client::new().post(url).header("Content-Type", "application/x-www-form-urlencoded");
    request.body(format!("value={row}")).send().await.expect("an answer").text().await.expect("text")
}

pub(super) async fn text(url: &str) -> String {
    reqwest::get(url).await.expect("an answer").text().await.expect("text")
}

pub(super) async fn get(url: &str) -> Value {
    let text = text(url).await;
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
}

/// Our tracking shows each order finished, as the old service would, and its four states in order.
pub(super) async fn all_finished(tracking: &Process, placed: &BTreeMap<u64, Value>) {
    for (id, order) in placed {
        let mut expected = order.clone();
        expected["estado"] = "finalizado".into();
        let url = tracking.url("tracking", &format!("/orders/{id}"));
        eventually(&format!("order {id} told whole"), async || {
            let found: Value =
                reqwest::get(&url).await.map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())?;
            let history = found["history"].as_array().cloned().unwrap_or_default();
            let states: Vec<_> = history.iter().filter_map(|entry| entry["estado"].as_str()).collect();
            if states == STATES { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
        assert_eq!(get(&tracking.url("tracking", &format!("/?value={id}"))).await, expected);
    }
}

/// Every (order, state) is in our Maildir, once, to the right address: a copy, after a lease that ended on a machine that stood
/// still, is the same mail.
pub(super) async fn all_mailed(ours: &Ours, placed: &BTreeMap<u64, Value>) {
    let maildir = ours.cluster.folder.path().join("mail");
    let mails = eventually("all mails", async || {
        let mails = audit::read_maildir(&maildir).map_err(|e| format!("{e:#}"))?;
        let told: BTreeSet<_> = mails.iter().map(|mail| (mail.id, mail.estado.clone())).collect();
        if told.len() >= placed.len() * 4 { Ok(mails) } else { Err(format!("{} mails", mails.len())) }
    })
    .await;
    let told: BTreeSet<(u64, &str)> = mails.iter().map(|mail| (mail.id, mail.estado.as_str())).collect();
    let expected = placed.keys().flat_map(|id| STATES.map(|estado| (*id, estado))).collect();
    assert_eq!(told, expected);
    let ids: BTreeSet<&str> = mails.iter().map(|mail| mail.message_id.as_str()).collect();
    assert_eq!(ids.len(), told.len());
    assert!(mails.iter().all(|mail| mail.to == "cliente@example.org"));
}

/// The old service mailed each state, in order. One that stood still past its session reads again what it had not
/// committed, and mails that again: so it was, and no fault of ours.
pub(super) async fn all_notified(file: &Path, placed: &BTreeMap<u64, Value>) {
    let lines = eventually("all old mails", async || {
        let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
        let told: BTreeSet<&str> = text.lines().collect();
        if told.len() >= placed.len() * 4 { Ok(text) } else { Err(format!("{} mails", told.len())) }
    })
    .await;
    let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for line in lines.lines() {
        let mail: Value = serde_json::from_str(line).expect("a line of JSON");
        let id = mail["orderid"].as_u64().expect("a number");
        let (states, estado) = (told.entry(id).or_default(), mail["estado"].as_str().expect("text").to_owned());
        if !states.contains(&estado) {
            states.push(estado);
        }
        let same = |(name, value): (&String, &Value)| mail[name.as_str()] == *value;
        assert!(placed[&id].as_object().expect("fields").iter().all(same), "{mail} is not {}", placed[&id]);
    }
    assert_eq!(told, placed.keys().map(|id| (*id, STATES.map(str::to_owned).into())).collect());
}

/// The topic has each state of each order once, whoever wrote it.
pub(super) fn each_state_once(ours: &Ours, placed: &BTreeMap<u64, Value>) {
    let records = ours.records(&ours.states);
    let mut told: Vec<(u64, &str)> = records
        .values()
        .map(|state| (state["orderid"].as_u64().expect("a number"), state["estado"].as_str().expect("text")))
        .collect();
    told.sort_unstable();
    let mut expected: Vec<_> = placed.keys().flat_map(|id| STATES.map(|estado| (*id, estado))).collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

/// A `read_committed` reader in another language sees the same records.
pub(super) fn both_readers_agree(ours: &Ours) {
    for topic in [&ours.orders, &ours.states] {
        let theirs =
            by_place(&dump(ours, topic), |text| serde_json::from_str(text.as_str().expect("text")).expect("JSON"));
        assert!(!theirs.is_empty());
        assert_eq!(ours.records(topic), theirs, "{topic}");
    }
}

/// What `log groups` says of forwarding in this set-up's topics.
pub(super) fn forwarding(ours: &Ours) -> Vec<Value> {
    let topics = ours.cluster.config().topics;
    let groups = ours.cluster.run(&["log", "groups", "--json"]);
    let lines = groups.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let is_ours = |line: &Value| line["topic"] == *topics.states || line["topic"] == *ours.states;
    lines.filter(|line| line["group"] == "encargo-forward" && is_ours(line)).collect()
}

/// The states of each order as the old service mailed them.
pub(super) fn notified(file: &Path) -> Result<BTreeMap<u64, Vec<String>>, String> {
    let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(file).map_err(|e| e.to_string())?.lines() {
        let mail: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let estado = mail["estado"].as_str().expect("text").to_owned();
        told.entry(mail["orderid"].as_u64().expect("a number")).or_default().push(estado);
    }
    Ok(told)
}

/// `jsonify` in debug mode: keys sorted, indented by two, ASCII, and a newline at the end.
pub(super) fn flask_answer(order: &Value) -> String {
    let text = serde_json::to_string_pretty(order).expect("JSON");
    let ascii = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", c as u32) };
    text.chars().map(ascii).collect::<String>() + "\n"
}
