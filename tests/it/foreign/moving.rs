//! Moving over from the old services: what is refused, what is told, and what is not done again.

use encargo::{
    eventlog::{Lag, TopicPartition},
    fulfilment,
};
use serde_json::{Value, json};

use super::{all_notified, five_fields, ours::Ours, place, players::Player, post_form};
use crate::harness::eventually;

pub const KAFKA_PYTHON: &str = "kafka-python";

/// What a command that has to fail says.
fn refused(ours: &Ours, arguments: &[&str]) -> String {
    let output = ours.cluster.output(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    said
}

/// What `migrate check` says, with its status.
pub fn check(ours: &Ours) -> (Value, Option<i32>) {
    let output = ours.cluster.output(&["migrate", "check", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {said}")), output.status.code())
}

/// Waits until the members that were killed are put out of their groups, and that step is next.
pub async fn next_step(ours: &Ours, step: &str) -> Value {
    eventually(&format!("the step {step}"), async || {
        let (found, _) = check(ours);
        let is_quiet = found["troubles"].as_array().is_some_and(Vec::is_empty);
        if found["next"] == step && is_quiet { Ok(found) } else { Err(found.to_string()) }
    })
    .await
}

/// Waits until so many states would be mailed twice.
async fn twice(ours: &Ours, states: u64) {
    eventually("states that would be mailed twice", async || {
        let (found, _) = check(ours);
        if found["mail"]["twice"] == states { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_in_use_are_not_given_again() {
    let ours = Ours::beside_old_readers("300ms", "1").await;
    let mut intake = ours.cluster.start("intake", 0).await;
    assert_eq!(place(&intake, 2).await.into_keys().collect::<Vec<_>>(), [1, 2]);
    let said = refused(&ours, &["log", "init", "--first-id", "5000"]);
    assert!(said.contains("were given from") && said.contains("--intake-stopped"), "{said}");
    assert_eq!(place(&intake, 1).await.into_keys().collect::<Vec<_>>(), [3], "nothing was changed");
    for used in ["1", "3"] {
        let said = refused(&ours, &["log", "init", "--first-id", used, "--intake-stopped"]);
        assert!(said.contains("cannot be the first; the next order is number"), "{said}");
    }
    intake.kill();
    // an old intake went further
    let old = Player::intake(KAFKA_PYTHON, "none", 6_000, &ours);
    post_form(&old.url("/"), 1).await;
    let said = refused(&ours, &["log", "init", "--first-id", "5000", "--intake-stopped"]);
    assert!(said.contains("order 6000 is in the topics") && said.contains("--first-id 6001"), "{said}");
    ours.cluster.run(&["log", "init", "--first-id", "6001", "--intake-stopped"]);
    let intake = ours.cluster.start("intake", 0).await;
    assert_eq!(place(&intake, 1).await.into_keys().collect::<Vec<_>>(), [6_001]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_old_processing_did_is_not_done_again_when_its_states_have_left_the_topic() {
    let mut ours = Ours::prepare("compra_detalle", "100ms").await;
    let group = format!("procesamiento-{}", ours.states);
    ours.cluster.set("fulfilment.old_group", group.clone());
    let intake = Player::intake(KAFKA_PYTHON, "none", 1, &ours);
    for row in 1..=3 {
        post_form(&intake.url("/"), row).await;
    }
    let processing = Player::processing(KAFKA_PYTHON, "0.02", "1", &ours);
    let log = ours.cluster.log();
    eventually("done and committed", async || {
        let states = ours.records(&ours.states).len();
        let lags = log.lag(&group, &[&ours.orders]).map_err(|e| e.to_string())?;
        let behind: u64 = lags.iter().map(Lag::records).sum();
        if (states, behind) == (12, 0) { Ok(()) } else { Err(format!("{states} states, {behind} behind")) }
    })
    .await;
    drop(processing);
    eventually("states that left the topic", async || {
        let topic = log.topic(&ours.states).map_err(|e| e.to_string())?.ok_or("it is not there")?;
        for (partition, range) in (0..).zip(topic.partitions) {
            let tp = TopicPartition { topic: ours.states.clone(), partition };
            log.delete_before(&tp, range.end).map_err(|e| e.to_string())?;
        }
        Ok(())
    })
    .await;
    for row in 1..=2 {
        post_form(&intake.url("/"), row).await;
    }
    let _fulfilment = ours.cluster.start("fulfilment", 0).await;
    eventually("the two that are left", async || {
        let last = ours.records(&ours.states).into_values().filter(|state| state["estado"] == "finalizado").count();
        if last >= 2 { Ok(()) } else { Err(format!("{last} finished")) }
    })
    .await;
    let mut ids: Vec<_> = ours.records(&ours.states).into_values().map(|state| state["orderid"].clone()).collect();
    ids.dedup();
    assert!(ids.iter().all(|id| *id == 4 || *id == 5), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_member_of_our_group_is_named() {
    let ours = Ours::prepare("compra_detalle", "300ms").await;
    // the old client gives up where no group was ever coordinated
    assert!(ours.cluster.start("fulfilment", 0).await.terminate().success());
    let stranger =
        Player::start("procesamiento.py", KAFKA_PYTHON, &ours, &["--group", fulfilment::GROUP, "--dwell", "0.1"]);
    let log = ours.cluster.log();
    let members = async |wanted: usize| {
        eventually("members of our group", async || {
            let groups = log.groups().map_err(|e| e.to_string())?;
            let found = groups.iter().find(|group| group.name == fulfilment::GROUP).map_or(0, |group| group.members);
            if found == wanted { Ok(()) } else { Err(format!("{found} members")) }
        })
        .await;
    };
    members(1).await;
    let said = refused(&ours, &["fulfilment"]);
    assert!(said.contains(fulfilment::GROUP) && said.contains("kafka-python") && said.contains("Stop"), "{said}");
    drop(stranger);
    members(0).await; // other tests use the same group
    let _fulfilment = ours.cluster.start("fulfilment", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_named_and_mails_are_counted() {
    let mut ours = Ours::beside_old_readers("300ms", "1").await;
    let file = ours.cluster.folder.path().join("old.jsonl");
    let notifications = Player::notifications(KAFKA_PYTHON, &file, &ours);
    let processing = Player::processing(KAFKA_PYTHON, "0.02", "2", &ours);
    let intake = Player::intake(KAFKA_PYTHON, "none", 1, &ours);
    let mut placed = std::collections::BTreeMap::new();
    for id in 1..=2 {
        post_form(&intake.url("/"), id).await;
        placed.insert(id, five_fields(id, id));
    }
    all_notified(&file, &placed).await;
    drop(intake);
    let found = next_step(&ours, "intake").await;
    assert_eq!((&found["highest_id"], &found["next_id"]), (&json!(2), &json!(1)));
    assert!(found["do"].as_str().is_some_and(|text| text.contains("--first-id 3`")), "{found}");
    assert_eq!(check(&ours).1, Some(3));
    ours.cluster.run(&["log", "init", "--first-id", "3"]);
    let ours_intake = ours.cluster.start("intake", 0).await;
    placed.extend(place(&ours_intake, 1).await);
    all_notified(&file, &placed).await;

    let found = next_step(&ours, "processing").await;
    assert_eq!(found["orders"], json!({ "queued": 0, "in_flight": 0, "finished": 3 }));
    assert_eq!(found["old"]["processing"].as_array().map(Vec::len), Some(1), "{found}");
    drop(processing);
    let _fulfilment = ours.cluster.start("fulfilment", 0).await;
    placed.extend(place(&ours_intake, 1).await);
    all_notified(&file, &placed).await;

    next_step(&ours, "notifications").await;
    twice(&ours, 16).await; // four orders, four states each
    drop(notifications);
    let found = eventually("the time from which on ours have to mail", async || {
        let (found, _) = check(&ours);
        let is_alone = found["old"]["notifications"] == json!([]);
        if is_alone && found["mail"]["since"].is_string() { Ok(found) } else { Err(found.to_string()) }
    })
    .await;
    let since = found["mail"]["since"].as_str().expect("a time").to_owned();
    ours.cluster.set("mail.since", since);
    let (_tracking, _mail) = (ours.cluster.start("tracking", 0).await, ours.cluster.start("mail", 0).await);
    next_step(&ours, "done").await;
    twice(&ours, 0).await;
    assert_eq!(check(&ours).1, Some(0));
}
