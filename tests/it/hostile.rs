//! No record that anybody can write to our topics ends or stops a process, or takes a state from an order.

#[cfg(feature = "kafka")]
mod cluster;
mod poison;
#[cfg(feature = "kafka")]
mod producer;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use encargo::{
    audit,
    config::Config,
    domain::{DeadLetter, OrderId, Source, Timestamp, flood::WHOLE_AT_ONCE, wire},
    eventlog::{EventLog, NewRecord, Record},
    fulfilment::Progress,
    store::Store,
};
use serde_json::Value;

use self::poison::{Poison, Random, poison};
use crate::{
    eventlog::{part, read_all},
    harness::{app::TestApp, eventually},
};

/// The default of `flow.dwell`.
const DWELL: Duration = Duration::from_secs(8);
const STATES: [&str; 4] = ["recibido", "preparando", "entregando", "finalizado"];

/// Topic, partition and offset.
type Place = (String, u32, u64);

fn place(Source { topic, partition, offset }: Source) -> Place {
    (topic, partition, offset)
}

/// All records of a topic that are there now, with where they stand.
fn records(log: &dyn EventLog, topic: &str) -> Vec<(Place, Record)> {
    let info = log.topic(topic).unwrap().expect("our topic");
    let mut all = Vec::new();
    for (range, partition) in info.partitions.iter().zip(0..) {
        let read = read_all(log, &part(topic, partition), range.start);
        all.extend(read.into_iter().map(|record| ((topic.to_owned(), partition, record.offset), record)));
    }
    all
}

/// The states that fulfilment wrote itself, by its seal: each order's, in order.
fn own_states(log: &dyn EventLog, config: &Config) -> BTreeMap<u64, Vec<String>> {
    let offsets = log.groups().unwrap().into_iter().flat_map(|group| group.offsets);
    let of_orders = offsets.filter(|offset| offset.tp.topic == config.topics.orders);
    let seals: BTreeMap<u32, _> = of_orders
        .filter_map(|offset| Some((offset.tp.partition, Progress::parse(&offset.metadata).unwrap()?.seal?)))
        .collect();
    let mut own: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for ((_, partition, _), record) in records(log, &config.topics.states) {
        if record.key.is_some()
            && seals.get(&partition).is_some_and(|seal| seal.admits(&record))
            && let Ok(event) = wire::decode_event(&record.value, &record.headers, record.at)
        {
            own.entry(event.order.id.get()).or_default().push(event.estado.to_string());
        }
    }
    own
}

/// Forged states of orders: finished by an impostor, with the right content too early, and of an Encargo that is yet to come,
/// which would stop whoever took it for one of ours. All bear the seal of another record.
fn forgeries(log: &dyn EventLog, states: &str) -> Vec<NewRecord> {
    let mut forged = Vec::new();
    for ((topic, partition, _), record) in records(log, states) {
        let Ok(event) = wire::decode_event(&record.value, &record.headers, record.at) else { continue };
        let json: Value = serde_json::from_slice(&record.value).unwrap();
        for (estado, seq, name, version) in [
            ("finalizado", 4, Some("Impostor"), None),
            ("preparando", 2, None, None),
            ("finalizado", 4, None, None),
            ("extraviado", 200, None, None),
            ("recibido", 1, None, Some(9)),
        ] {
            let mut json = json.clone();
            json["estado"] = estado.into();
            json["seq"] = seq.into();
            if let Some(name) = name {
                json["name"] = name.into();
            }
            if let Some(version) = version {
                json["version"] = version.into();
            }
            json.as_object_mut().unwrap().remove("next_at");
            forged.push(NewRecord {
                topic: topic.clone(),
                partition: Some(partition),
                key: Some(wire::key(event.order.id)),
                value: json.to_string().into_bytes(),
                headers: record.headers.clone(),
                at: record.at,
            });
        }
    }
    forged
}

/// Of which records a letter tells.
fn places(letter: &DeadLetter) -> Vec<Place> {
    let Source { topic, partition, offset } = &letter.source;
    let offsets = wire::run(&letter.headers).unwrap_or_else(|| vec![*offset..=*offset]);
    // anybody can write to the topic that a letter stands for all there can be
    offsets.into_iter().flatten().take(100_000).map(|offset| (topic.clone(), *partition, offset)).collect()
}

/// What becomes of each record is told by its bytes: it is one of ours, or a dead letter under its position.
async fn check_poison(log: &dyn EventLog, store: &dyn Store, config: &Config) {
    let mut wanted = BTreeSet::new();
    for (place, record) in records(log, &config.topics.orders) {
        if wire::decode_order(&record.value, &record.headers, record.at).is_err() {
            wanted.insert(place);
        }
    }
    for (place, record) in records(log, &config.topics.states) {
        let event = wire::decode_event(&record.value, &record.headers, record.at);
        if event.is_err() {
            wanted.insert(place);
        }
    }
    for (own, record) in records(log, &config.topics.dead) {
        let letter = wire::decode_dead_letter(record.key.as_deref(), &record.value, &record.headers, record.at);
        wanted.insert(letter.map_or(own, |letter| place(letter.source)));
    }
    eventually("a dead letter for each poison record", async || {
        let dead = store.dead(None, 1 << 30).await.map_err(|e| e.to_string())?;
        let found: BTreeSet<Place> = dead.iter().filter_map(|item| item.letter.as_ref()).flat_map(places).collect();
        match wanted.difference(&found).collect::<Vec<_>>() {
            missing if missing.is_empty() => Ok(()),
            missing => Err(format!("{} of {} are missing, such as {:?}", missing.len(), wanted.len(), missing[0])),
        }
    })
    .await;
}

/// Every good order has its four states of our making, in order, and its four mails, to its customer alone.
async fn check_good(log: &dyn EventLog, config: &Config, maildir: &Path, good: &BTreeMap<u64, String>) {
    eventually("all mails of the good orders", async || {
        let mails = audit::read_maildir(maildir).map_err(|e| format!("{e:#}"))?;
        for (id, email) in good {
            let of_order: Vec<_> = mails.iter().filter(|mail| mail.id == *id).collect();
            assert!(of_order.iter().all(|mail| mail.to == *email), "order {id}");
            if let Some(missing) = STATES.iter().find(|estado| !of_order.iter().any(|mail| mail.estado == **estado)) {
                return Err(format!("order {id}: no mail of {missing}"));
            }
        }
        Ok(())
    })
    .await;
    eventually("all states of the good orders", async || {
        let own = own_states(log, config);
        let unfinished = good.keys().find(|id| own.get(id).is_none_or(|states| states.len() < STATES.len()));
        unfinished.map_or(Ok(()), |id| Err(format!("order {id}: {:?}", own.get(id))))
    })
    .await;
    let own = own_states(log, config);
    for id in good.keys() {
        assert_eq!(own[id], STATES, "order {id}");
    }
}

/// Waits until the store has heard of an order.
async fn known(store: &dyn Store, id: u64) {
    eventually(&format!("order {id} is known"), async || {
        let found = store.order(OrderId::new(id).unwrap()).await.map_err(|e| e.to_string())?;
        found.map(drop).ok_or_else(|| "not yet".to_owned())
    })
    .await;
}

fn appended(topic: &str, partition: Option<u32>, poison: Poison) -> NewRecord {
    let read = |(name, value): (Vec<u8>, Option<Vec<u8>>)| {
        (String::from_utf8_lossy(&name).into_owned(), value.unwrap_or_default())
    };
    NewRecord {
        topic: topic.to_owned(),
        partition,
        key: poison.key,
        value: poison.value.unwrap_or_default(),
        headers: poison.headers.into_iter().map(read).collect(),
        at: Timestamp::from_millis(poison.at),
    }
}

async fn place_good(app: &TestApp, numbers: std::ops::Range<u32>, good: &mut BTreeMap<u64, String>) {
    for number in numbers {
        let email = format!("good{number}@example.org");
        let id = app.place("1010", &email).await["orderid"].as_u64().unwrap();
        good.insert(id, email);
        known(app.app().store().as_ref(), id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_states_that_contradict_an_order_is_few_letters_and_none_is_left_out() {
    let app = TestApp::start().await;
    place_good(&app, 0..1, &mut BTreeMap::new()).await;
    let (log, topic) = (app.app().log(), &app.config.topics.states);
    let (_, record) = records(log.as_ref(), topic).remove(0);
    let mut other: Value = serde_json::from_slice(&record.value).unwrap();
    other["name"] = "Another product".into();
    let (key, value, at) = (record.key, other.to_string().into_bytes(), record.at);
    let headers = wire::Headers::default();
    let other = NewRecord { topic: topic.clone(), partition: Some(0), key, value, headers, at };
    // more than one batch of the projection
    for _ in 0..5 {
        log.append(vec![other.clone(); 700]).await.unwrap();
    }
    let letters = eventually("a dead letter for each", async || {
        let dead = app.app().store().dead(None, 1 << 30).await.map_err(|e| e.to_string())?;
        let letters: Vec<_> = dead.into_iter().filter_map(|item| item.letter).collect();
        let found = letters.iter().flat_map(places).collect::<BTreeSet<_>>().len();
        if found == 3_500 { Ok(letters) } else { Err(format!("{found} in {} letters", letters.len())) }
    })
    .await;
    assert_eq!(letters.len() as u64, WHOLE_AT_ONCE + 1);
}

/// On the embedded log, through its interface.
#[tokio::test(flavor = "multi_thread")]
async fn no_record_stops_the_embedded_form() {
    let mut app = TestApp::start_with(&[("intake.backlog_max", "1000000")]).await;
    let (config, now) = (app.config.clone(), app.clock.now().as_millis());
    let mut good = BTreeMap::new();
    place_good(&app, 0..12, &mut good).await;
    let forged = forgeries(app.app().log().as_ref(), &config.topics.states);
    assert_eq!(forged.len(), 60);
    app.app().log().append(forged).await.unwrap();
    let topics = [&config.topics.orders, &config.topics.states, &config.topics.dead, &config.topics.ids];
    let mut random = Random(15);
    for _ in 0..20 {
        let mut records = Vec::new();
        for _ in 0..500 {
            let topic = *random.pick(&topics);
            let at = if random.below(9) == 0 { random.next() as i64 } else { now };
            let partition = (topic == &config.topics.ids).then_some(0);
            records.push(appended(topic, partition, poison(&mut random, at)));
        }
        app.app().log().append(records).await.unwrap();
    }
    app.stop().await;
    app.start_again().await;
    place_good(&app, 12..24, &mut good).await;
    for states in 2..=STATES.len() {
        app.clock.advance(DWELL);
        eventually("the good orders move", async || {
            let own = own_states(app.app().log().as_ref(), &config);
            let late = good.keys().find(|id| own[id].len() < states);
            late.map_or(Ok(()), |id| Err(format!("order {id}: {:?}", own[id])))
        })
        .await;
    }
    check_good(app.app().log().as_ref(), &config, &config.data.join("mail"), &good).await;
    check_poison(app.app().log().as_ref(), app.app().store().as_ref(), &config).await;
    app.stop().await;
    app.start_again().await;
}
