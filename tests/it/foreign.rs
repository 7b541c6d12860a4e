//! Each of our services among strangers: the old ones, played by Python on both of its Kafka libraries, in every
//! mixture, on a real broker and a real database.

mod cloudevents;
mod moving;
mod ours;
mod players;
mod serialised;
mod there_and_back;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};

use encargo::domain::Flow;
use ours::Ours;
use players::{LIBRARIES, Player};
use serde_json::Value;
use verdicts::{
    all_finished, all_mailed, all_notified, both_readers_agree, each_state_once, five_fields, flask_answer, forwarding,
    notified, place, post_form, text,
};

use crate::harness::eventually;

const UNKNOWN: &str = "ERROR: No existe ninguna transaccion con ese numero ID";
const STATES: [&str; 4] = Flow::STATES;

#[tokio::test(flavor = "multi_thread")]
async fn old_intake_then_ours_and_old_notifications_beside_ours() {
    let ours = Ours::beside_old_readers("300ms", "3").await;
    let _fulfilment = ours.cluster.start("fulfilment", 0).await;
    let (tracking, _mail) = (ours.cluster.start("tracking", 0).await, ours.cluster.start("mail", 0).await);
    let files = LIBRARIES.map(|library| ours.cluster.folder.path().join(format!("{library}.jsonl")));
    let notifications: Vec<_> =
        LIBRARIES.iter().zip(&files).map(|(library, file)| Player::notifications(library, file, &ours)).collect();

    let mut placed = BTreeMap::new();
    for (first, compression) in [1, 101, 201, 301, 401].into_iter().zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        for (first, library) in [first, first + 1_000].into_iter().zip(LIBRARIES) {
            let intake = Player::intake(library, compression, first, &ours);
            for row in 1..=2 {
                assert_eq!(post_form(&intake.url("/"), row).await, "Transaccion enviada!");
                placed.insert(first + row - 1, five_fields(first + row - 1, row));
            }
        }
    }

    all_finished(&tracking, &placed).await;
    all_mailed(&ours, &placed).await;
    for file in &files {
        all_notified(file, &placed).await;
    }
    for player in &notifications {
        assert_eq!(text(&player.url("/?value=77")).await, UNKNOWN);
    }
    assert_eq!(text(&tracking.url("tracking", "/?value=77")).await, UNKNOWN);
    both_readers_agree(&ours);
}

/// Old or ours in each of the three places, with the client that the old services pin and one set of settings, on topics
/// of one partition as theirs are. Whoever tracks answers what Flask answers, as long as orders do not overlap.
#[tokio::test(flavor = "multi_thread")]
async fn all_eight_mixtures_of_old_and_new_finish_and_mail_every_order() {
    for mixture in 0..8 {
        let [old_intake, old_processing, old_notifications] = [1, 2, 4].map(|bit| mixture & bit > 0);
        let ours = Ours::beside_old_readers("300ms", "1").await;
        let file = ours.cluster.folder.path().join("old.jsonl");
        let notifications = old_notifications.then(|| Player::notifications("kafka-python", &file, &ours));
        let mut running = Vec::new();
        let tracking = if old_notifications { None } else { Some(ours.cluster.start("tracking", 0).await) };
        if !old_notifications {
            running.push(ours.cluster.start("mail", 0).await);
        }
        let processing = old_processing.then(|| Player::processing("kafka-python", "0.1", "1", &ours));
        if !old_processing {
            running.push(ours.cluster.start("fulfilment", 0).await);
        }
        eprintln!("old intake {old_intake}, processing {old_processing}, notifications {old_notifications}");
        let (old, new) = if old_intake {
            (Some(Player::intake("kafka-python", "none", 1, &ours)), None)
        } else {
            (None, Some(ours.cluster.start("intake", 0).await))
        };
        let shop = old.as_ref().map(|old| old.url("/")).or(new.as_ref().map(|new| new.url("intake", "/")));
        let answers = tracking.as_ref().map(|ours| ours.url("tracking", "/?value="));
        let answers = answers.or(notifications.as_ref().map(|old| old.url("/?value="))).expect("one of them tracks");
        let mut placed = BTreeMap::new();
        for (id, row) in (1..=3).zip([8, 2, 8]) {
            assert_eq!(
                post_form(shop.as_deref().expect("one of them takes orders"), row).await,
                "Transaccion enviada!"
            );
            placed.insert(id, five_fields(id, row));
            match &tracking {
                Some(tracking) => {
                    all_finished(tracking, &placed).await;
                    all_mailed(&ours, &placed).await;
                }
                None => all_notified(&file, &placed).await,
            }
            let (answer, mut expected) = (text(&format!("{answers}{id}")).await, placed[&id].clone());
            expected["estado"] = "finalizado".into();
            if !old_intake && old_processing && old_notifications {
                // old processing passes on what our intake adds, and old tracking shows it
                let shown: Value = serde_json::from_str(&answer).expect("JSON");
                for ours in ["placed_at", "handle"] {
                    expected[ours] = shown[ours].clone();
                    assert!(shown[ours].is_string(), "{answer}");
                }
            }
            assert_eq!(answer, flask_answer(&expected));
        }
        drop(processing);
    }
}

/// What the old readers are told while the fulfilment that tells them is killed again and again: each order's states in
/// order, some perhaps twice, none left out.
#[tokio::test(flavor = "multi_thread")]
async fn forwarding_that_is_killed_in_the_middle_leaves_nothing_out_and_keeps_the_order() {
    let ours = Ours::beside_old_readers("300ms", "3").await;
    let (intake, tracking) = (ours.cluster.start("intake", 0).await, ours.cluster.start("tracking", 0).await);
    let mails = ours.cluster.folder.path().join("old.jsonl");
    let _notifications = Player::notifications("kafka-python", &mails, &ours);
    let mut placed = BTreeMap::new();
    for _ in 0..3 {
        let mut fulfilment = ours.cluster.start("fulfilment", 0).await;
        let before = ours.records(&ours.states).len();
        placed.extend(place(&intake, 6).await);
        eventually("some states forwarded", async || {
            let more = ours.records(&ours.states).len() - before;
            if more >= 8 { Ok(()) } else { Err(format!("{more} forwarded")) }
        })
        .await;
        fulfilment.kill();
    }
    let fulfilment = ours.cluster.start("fulfilment", 0).await;
    all_finished(&tracking, &placed).await;
    let expected: BTreeMap<_, _> = placed.keys().map(|id| (*id, STATES.map(str::to_owned).to_vec())).collect();
    let told = eventually("every state told to old readers", async || {
        let told = notified(&mails)?;
        let mut first_time = told.clone();
        for states in first_time.values_mut() {
            let mut seen = BTreeSet::new();
            states.retain(|estado| seen.insert(estado.clone()));
        }
        if first_time == expected { Ok(told) } else { Err(format!("{told:?}")) }
    })
    .await;
    // a repeat goes on from where it began, with no state passed over
    let number = |estado: &String| STATES.iter().position(|other| other == estado).expect("a state");
    for (id, states) in &told {
        let steps: Vec<_> = states.iter().map(number).collect();
        assert!(steps.windows(2).all(|step| step[1] <= step[0] + 1), "order {id}: {states:?}");
    }

    // without a crash nothing is repeated but what an instance says, whose last offsets came in the middle of a rebalance;
    // and its group shows how far it is
    assert!(fulfilment.terminate().success());
    let told = ours.records(&ours.states).len();
    let fulfilment = ours.cluster.start("fulfilment", 0).await;
    let mut more = place(&intake, 4).await;
    // nor when instances share the partitions, and one goes
    let _second = ours.cluster.start("fulfilment", 1).await;
    more.extend(place(&intake, 4).await);
    assert!(fulfilment.terminate().success());
    more.extend(place(&intake, 4).await);
    all_finished(&tracking, &more).await;
    let groups = forwarding(&ours);
    assert!(groups.len() == 3 && groups.iter().all(|group| group["topic"] != *ours.states), "{groups:?}");
    let now = eventually("the last states told", async || {
        let all = notified(&mails)?;
        let is_whole =
            |id: &u64| STATES.iter().all(|state| all.get(id).is_some_and(|told| told.iter().any(|t| t == state)));
        let now: usize = all.values().map(Vec::len).sum();
        if more.keys().all(is_whole) { Ok(now) } else { Err(format!("{told} told before, {now} now")) }
    })
    .await;
    let said = [0, 1].map(|slot| std::fs::read_to_string(ours.cluster.log_of("fulfilment", slot)).unwrap()).concat();
    assert!(now == told + 48 || said.contains("states may be forwarded twice"), "{told} told before, {now} now");
}

#[tokio::test(flavor = "multi_thread")]
async fn states_forwarded_to_their_own_topic_are_refused() {
    let mut ours = Ours::prepare("compra_detalle", "300ms").await;
    ours.cluster.set("topics.forward_states", ours.states.clone());
    let output = ours.cluster.output(&["fulfilment"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("topics.forward_states"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_then_old_processing_then_ours() {
    for library in LIBRARIES {
        let ours = Ours::prepare("compra_detalle", "300ms").await;
        let (intake, tracking) = (ours.cluster.start("intake", 0).await, ours.cluster.start("tracking", 0).await);
        let _mail = ours.cluster.start("mail", 0).await;
        let _processing = Player::processing(library, "0.1", "4", &ours);
        let placed = place(&intake, 6).await;
        all_finished(&tracking, &placed).await;
        all_mailed(&ours, &placed).await;
        both_readers_agree(&ours);
    }
}

/// Its records have no key, so the states of one order lie on several partitions, and one that was away reads them in
/// any order.
#[tokio::test(flavor = "multi_thread")]
async fn states_of_old_processing_are_all_told_in_whatever_order_they_are_read() {
    let ours = Ours::prepare("compra_detalle", "300ms").await;
    let intake = ours.cluster.start("intake", 0).await;
    let placed = place(&intake, 8).await;
    let processing = Player::processing("kafka-python", "0.02", "8", &ours);
    eventually("all states published", async || {
        let found = ours.records(&ours.states).len();
        if found == placed.len() * 4 { Ok(()) } else { Err(format!("{found} states")) }
    })
    .await;
    drop(processing);
    let mut split: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for ((partition, _), state) in ours.records(&ours.states) {
        split.entry(state["orderid"].as_u64().expect("a number")).or_default().insert(partition);
    }
    assert!(split.values().any(|partitions| partitions.len() > 1), "no order is on several partitions: {split:?}");

    let (tracking, _mail) = (ours.cluster.start("tracking", 0).await, ours.cluster.start("mail", 0).await);
    all_finished(&tracking, &placed).await;
    all_mailed(&ours, &placed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_takes_over_what_old_processing_has_in_the_middle() {
    for library in LIBRARIES {
        let ours = Ours::prepare("compra_detalles", "500ms").await;
        let intake = Player::intake(library, "none", 1, &ours);
        let (tracking, _mail) = (ours.cluster.start("tracking", 0).await, ours.cluster.start("mail", 0).await);
        let mut placed = BTreeMap::new();
        for id in 1..=9 {
            post_form(&intake.url("/"), 1 + id % 3).await;
            placed.insert(id, five_fields(id, 1 + id % 3));
        }
        // six of nine on their way, one after the other in the middle of their states
        let processing = Player::processing(library, "1.5", "6", &ours);
        eventually("orders in the middle of their states", async || {
            let states = ours.records(&ours.states);
            let preparing = states.values().filter(|state| state["estado"] == "preparando").count();
            if preparing >= 3 { Ok(()) } else { Err(format!("{preparing} preparando")) }
        })
        .await;
        drop(processing);
        let before = ours.records(&ours.states);

        let _fulfilment = ours.cluster.start("fulfilment", 0).await;
        all_finished(&tracking, &placed).await;
        all_mailed(&ours, &placed).await;
        each_state_once(&ours, &placed);
        assert!(forwarding(&ours).is_empty(), "nobody asked for it");
        let after = ours.records(&ours.states);
        assert!(before.iter().all(|(place, state)| after.get(place) == Some(state)), "what was written stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_there_under_nearly_the_same_name_is_named() {
    let mut ours = Ours::prepare("compra_detalles", "300ms").await;
    let there = ours.orders.clone();
    ours.cluster.set("topics.orders", there.replace("detalles", "detalle"));
    for (arguments, succeeds) in [
        (&["log", "init", "--dry-run"][..], true),
        (&["log", "init"], false),
        (&["fulfilment"], false),
        (&["log", "init"], false),
    ] {
        let output = ours.cluster.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), succeeds, "{arguments:?}: {said}");
        assert!(said.contains(&format!("set topics.orders = {there:?}")), "{arguments:?}: {said}");
    }
    ours.cluster.set("topics.orders", there);
    ours.cluster.run(&["log", "init"]);
}
