//! The auditor must be able to object: each test breaks one thing in a history that is otherwise right.

use super::*;
use crate::audit::{Mail, View};

const STATES: [&str; 4] = ["recibido", "preparando", "entregando", "finalizado"];

fn rules() -> Rules {
    let flow = STATES.map(|estado| (estado.to_owned(), Duration::from_secs(1))).into();
    Rules { flow, all_finished: true, all_mailed: true, one_order_each: true, late_max: Some(Duration::from_secs(8)) }
}

/// Three orders, finished and mailed.
fn sound() -> Facts {
    let mut facts = Facts::default();
    for id in 1..=3 {
        let placed = Placed { id, product: "3170".into(), email: format!("c{id}@example.org") };
        facts.acknowledged.push(placed.clone());
        facts.orders.push(placed);
        let mut history = Vec::new();
        for (seq, estado) in STATES.iter().enumerate() {
            let at = seq as i64 * 1_000;
            let position = (0, seq as u64 * 3 + id);
            facts.events.push(Event { position, id, estado: (*estado).into(), at });
            history.push(((*estado).to_owned(), at));
            facts.mails.push(Mail {
                id,
                estado: (*estado).into(),
                message_id: format!("<{id}.{seq}@x>"),
                to: format!("c{id}@example.org"),
                arrival: Some(seq as u64 * 3 + id),
            });
        }
        facts.views.insert(id, View { estado: "finalizado".into(), history });
    }
    facts
}

fn objections(spoil: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = sound();
    spoil(&mut facts);
    judge(&facts, &rules()).objections
}

fn assert_objects(promise: &str, spoil: impl FnOnce(&mut Facts)) {
    let found = objections(spoil);
    assert!(found.iter().any(|text| text.starts_with(promise)), "{promise} expected, found {found:?}");
}

#[test]
fn a_sound_history_passes() {
    let report = judge(&sound(), &rules());
    assert_eq!((report.orders, report.events, report.mails, report.repeats), (3, 12, 12, 0));
    assert_eq!(report.objections, Vec::<String>::new());
}

#[test]
fn an_order_whose_acknowledgement_was_lost_is_no_objection() {
    let mut facts = sound();
    facts.acknowledged.pop();
    let report = judge(&facts, &rules());
    assert_eq!((report.unacknowledged, report.objections.len()), (1, 0));
}

#[test]
fn it_objects_to_a_lost_order() {
    assert_objects("I1", |facts| drop(facts.orders.remove(1)));
}

#[test]
fn it_objects_to_an_order_with_other_content() {
    assert_objects("I1", |facts| facts.orders[1].email = "eva@example.org".into());
    assert_objects("I1", |facts| facts.orders.push(Placed { product: "10".into(), ..facts.orders[0].clone() }));
}

#[test]
fn it_objects_to_one_number_for_two_customers() {
    assert_objects("I1", |facts| facts.acknowledged.push(facts.acknowledged[0].clone()));
}

#[test]
fn it_objects_to_a_lost_event() {
    for lost in 0..4 {
        assert_objects("I2", |facts| drop(facts.events.remove(lost)));
    }
}

#[test]
fn it_objects_to_a_doubled_event() {
    for doubled in 0..4 {
        assert_objects("I2", |facts| {
            let event = facts.events[doubled].clone();
            facts.events.push(Event { position: (0, 99), ..event });
        });
    }
}

#[test]
fn it_objects_to_an_early_event() {
    assert_objects("I2", |facts| facts.events[1].at -= 1);
}

#[test]
fn it_objects_to_a_late_event() {
    let delay = |by: i64| {
        move |facts: &mut Facts| {
            facts.events.last_mut().unwrap().at += by;
            facts.views.get_mut(&3).unwrap().history.last_mut().unwrap().1 += by;
        }
    };
    assert_eq!(objections(delay(8_000)), Vec::<String>::new());
    assert_objects("I2", delay(8_001));
}

#[test]
fn it_objects_to_a_retry_that_was_taken_twice() {
    assert_objects("I1", |facts| {
        for id in [1, 2] {
            let place = |order: &&mut Placed| order.id == id;
            facts.orders.iter_mut().find(place).unwrap().email = "c@example.org".into();
            facts.acknowledged.iter_mut().find(place).unwrap().email = "c@example.org".into();
            facts.mails.iter_mut().filter(|mail| mail.id == id).for_each(|mail| mail.to = "c@example.org".into());
        }
    });
}

#[test]
fn it_objects_to_reordered_events() {
    assert_objects("I2", |facts| {
        let position = facts.events[1].position;
        facts.events[1].position = facts.events[2].position;
        facts.events[2].position = position;
    });
}

#[test]
fn it_objects_to_a_stranger_and_to_a_split_history() {
    assert_objects("I2", |facts| facts.events[0].id = 77);
    assert_objects("I2", |facts| facts.events[3].position.0 = 1);
}

#[test]
fn it_objects_to_a_view_that_differs_from_the_log() {
    assert_objects("I4", |facts| drop(facts.views.remove(&2)));
    assert_objects("I4", |facts| facts.views.get_mut(&2).unwrap().estado = "recibido".into());
    assert_objects("I4", |facts| drop(facts.views.get_mut(&2).unwrap().history.pop()));
    assert_objects("I4", |facts| drop(facts.views.insert(9, facts.views[&1].clone())));
}

#[test]
fn it_objects_to_lost_strange_misdirected_and_reordered_mails() {
    assert_objects("I3", |facts| drop(facts.mails.pop()));
    assert_objects("I3", |facts| facts.mails[0].id = 9);
    assert_objects("I3", |facts| facts.mails[0].to = "eva@example.org".into());
    assert_objects("I3", |facts| facts.mails.swap(1, 2));
}

#[test]
fn it_objects_to_repeats_that_the_ledger_does_not_know() {
    let repeat = |facts: &mut Facts| facts.mails.push(facts.mails[3].clone());
    assert_objects("I3", repeat);
    let counted = objections(|facts| {
        repeat(facts);
        facts.repeats_counted = 1;
    });
    assert_eq!(counted, Vec::<String>::new());
    assert_objects("I3", |facts| {
        repeat(facts);
        facts.repeats_counted = 1;
        facts.mails.last_mut().unwrap().message_id = "<other@x>".into();
    });
}
