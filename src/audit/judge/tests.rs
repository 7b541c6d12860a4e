//! The auditor must be able to object: each test breaks one thing in a history that is otherwise right.

use super::*;
use crate::audit::{Mail, View};

const STATES: [&str; 4] = ["recibido", "preparando", "entregando", "finalizado"];

fn rules() -> Rules {
    let flow = STATES.map(|estado| (estado.to_owned(), Some(Duration::from_secs(1)))).into();
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
            let (estado_now, to) = ((*estado).to_owned(), format!("c{id}@example.org"));
            facts.events.push(Event { position, id, estado: estado_now, at, to, is_mailed: true, ..Event::default() });
            history.push(((*estado).to_owned(), at));
            facts.mails.push(Mail {
                id,
                estado: (*estado).into(),
                message_id: format!("<{id}.{seq}@x>"),
                to: format!("c{id}@example.org"),
                is_link: false,
                arrival: Some(seq as u64 * 3 + id),
            });
        }
        facts
            .views
            .insert(id, View { estado: "finalizado".into(), history, dropped: Vec::new(), unanswered: Vec::new() });
    }
    facts.counts = Some(Counts { total: 3, finished: 3, cancelled: 0 });
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
fn it_tells_how_late_timers_fired() {
    let report = Report { late_ms: (1..=200).collect(), ..Report::default() };
    assert_eq!([0.5, 0.99, 1.0].map(|part| report.lateness_ms(part)), [100, 198, 200]);
    assert_eq!(Report::default().lateness_ms(1.0), 0);
}

#[test]
fn it_objects_to_a_retry_that_was_taken_twice() {
    assert_objects("I1", |facts| {
        for id in [1, 2] {
            let place = |order: &&mut Placed| order.id == id;
            facts.orders.iter_mut().find(place).unwrap().email = "c@example.org".into();
            facts.acknowledged.iter_mut().find(place).unwrap().email = "c@example.org".into();
            facts.mails.iter_mut().filter(|mail| mail.id == id).for_each(|mail| mail.to = "c@example.org".into());
            facts.events.iter_mut().filter(|event| event.id == id).for_each(|event| event.to = "c@example.org".into());
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

/// Order 3 as one that was held, went on, was delayed and was readdressed in its second state, and was cancelled in its
/// third before the mail about that was sent.
fn amended() -> Facts {
    let mut facts = sound();
    facts.events.retain(|event| event.id != 3 || event.estado == "recibido");
    facts.mails.retain(|mail| mail.id != 3 || mail.estado == "recibido");
    let event = |seq: u64, estado: &str, at: i64| Event {
        position: (0, 20 + seq),
        id: 3,
        estado: estado.into(),
        at,
        to: "c3@example.org".into(),
        seq: Some(seq),
        ..Event::default()
    };
    let command = |number: u64| Some(format!("c-{number}"));
    let changed = |seq, change: &str, at, next_at| Event {
        change: Some(change.into()),
        next_at,
        command: command(seq),
        ..event(seq, "preparando", at)
    };
    let (entered, to) = (|event| Event { is_mailed: true, ..event }, "eva@example.org");
    facts.events.extend([
        entered(event(2, "preparando", 1_000)),
        Event { waits: Some("held".into()), ..changed(3, "held", 1_400, None) },
        changed(4, "resumed", 5_000, Some(5_600)),
        changed(5, "delayed", 5_100, Some(9_000)),
        Event { to: to.into(), ..changed(6, "readdressed", 5_200, Some(9_000)) },
        Event { to: to.into(), ..entered(event(7, "entregando", 9_000)) },
        Event {
            to: to.into(),
            closes: Some("cancelled".into()),
            command: command(8),
            ..entered(event(8, "cancelado", 9_100))
        },
    ]);
    let history: Vec<_> = facts.events.iter().filter(|event| event.id == 3).map(|e| (e.estado.clone(), e.at)).collect();
    facts.views.insert(
        3,
        View { estado: "cancelado".into(), history, dropped: vec!["entregando".into()], unanswered: Vec::new() },
    );
    for (estado, to) in [("preparando", "c3@example.org"), ("cancelado", to)] {
        let message_id = format!("<3.{estado}@x>");
        facts.mails.push(Mail {
            id: 3,
            estado: estado.into(),
            message_id,
            to: to.into(),
            is_link: false,
            arrival: Some(30),
        });
    }
    facts.commanded = vec![
        Commanded { id: 3, command: "c-8".into(), is_done: true },
        Commanded { id: 3, command: "c-9".into(), is_done: false },
    ];
    facts.counts = Some(Counts { total: 3, finished: 2, cancelled: 1 });
    facts
}

/// Spoils order 3's event with a number, in log and view.
fn spoil(facts: &mut Facts, seq: u64, spoil: impl FnOnce(&mut Event)) {
    spoil(facts.events.iter_mut().find(|event| event.id == 3 && event.seq == Some(seq)).unwrap());
    let history = facts.events.iter().filter(|event| event.id == 3).map(|e| (e.estado.clone(), e.at)).collect();
    facts.views.get_mut(&3).unwrap().history = history;
}

fn assert_objects_to(promise: &str, what: impl FnOnce(&mut Facts)) {
    let mut facts = amended();
    what(&mut facts);
    let found = judge(&facts, &rules()).objections;
    assert!(found.iter().any(|text| text.starts_with(promise)), "{promise} expected, found {found:?}");
}

#[test]
fn a_life_with_commands_passes() {
    let report = judge(&amended(), &rules());
    assert_eq!(report.objections, Vec::<String>::new());
    assert_eq!((report.finished, report.cancelled, report.in_flight), (2, 1, 0));
}

#[test]
fn it_objects_to_anything_after_an_end() {
    for estado in ["finalizado", "cancelado", "entregando"] {
        assert_objects_to("I2", |facts| {
            let last = facts.events.last().unwrap().clone();
            let after = Event { position: (0, 40), seq: Some(9), estado: estado.into(), closes: None, ..last };
            facts.events.push(Event { command: None, ..after });
        });
    }
    // finished and cancelled
    assert_objects_to("I2", |facts| {
        let cancelled = facts.events.last().unwrap().clone();
        facts.events.push(Event { id: 1, position: (0, 50), seq: None, to: "c1@example.org".into(), ..cancelled });
    });
}

#[test]
fn it_objects_to_what_nobody_ordered() {
    for seq in [3, 4, 5, 6, 8] {
        assert_objects_to("I2", |facts| spoil(facts, seq, |event| event.command = None));
    }
    assert_objects_to("I2", |facts| spoil(facts, 8, |event| event.command = Some("c-6".into())));
    assert_objects_to("I2", |facts| spoil(facts, 4, |event| event.seq = Some(9)));
    assert_objects_to("I2", |facts| spoil(facts, 8, |event| event.closes = Some("finished".into())));
}

#[test]
fn it_objects_to_what_comes_before_its_time() {
    for early in [8_999, 1_500] {
        assert_objects_to("I2", |facts| spoil(facts, 7, |event| event.at = early));
    }
    assert_objects_to("I2", |facts| spoil(facts, 4, |event| event.next_at = Some(5_599)));
    // it went on while it was held
    assert_objects_to("I2", |facts| facts.events.retain(|event| event.id != 3 || event.seq != Some(4)));
    // it waited for somebody
    assert_objects_to("I2", |facts| facts.events[0].waits = Some("command".into()));
}

#[test]
fn it_objects_to_mails_of_a_cancelled_order() {
    // lost, and not dropped
    assert_objects_to("I3", |facts| facts.views.get_mut(&3).unwrap().dropped.clear());
    // the end's own
    assert_objects_to("I3", |facts| drop(facts.mails.pop()));
    // about a state that it never entered
    let mail = |estado: &str, arrival| Mail {
        id: 3,
        estado: estado.into(),
        message_id: "<late@x>".into(),
        to: "eva@example.org".into(),
        is_link: false,
        arrival: Some(arrival),
    };
    assert_objects_to("I3", |facts| facts.mails.push(mail("finalizado", 40)));
    // after the end's
    assert_objects_to("I3", |facts| facts.mails.push(mail("entregando", 40)));
    // unless its mailer stalled in the middle of it
    let mut facts = amended();
    facts.mails.push(mail("entregando", 40));
    facts.views.get_mut(&3).unwrap().unanswered.push("entregando".into());
    assert_eq!(judge(&facts, &rules()).objections, Vec::<String>::new());
    // to the address of before
    assert_objects_to("I3", |facts| facts.mails.last_mut().unwrap().to = "c3@example.org".into());
}

#[test]
fn it_objects_to_what_clients_were_told_of_commands() {
    assert_objects_to("I1", |facts| facts.commanded[0].is_done = false);
    assert_objects_to("I1", |facts| facts.commanded[1].is_done = true);
}

#[test]
fn it_objects_to_other_counts() {
    assert_objects_to("I5", |facts| facts.counts = Some(Counts { total: 3, finished: 3, cancelled: 0 }));
    assert_objects_to("I5", |facts| facts.counts = Some(Counts { total: 3, finished: 2, cancelled: 0 }));
}

#[test]
fn links_that_were_asked_for_are_no_mails_too_many() {
    let link = |facts: &Facts, message_id: &str, to: &str| {
        let mail = facts.mails.iter().find(|mail| mail.id == 3).unwrap().clone();
        let (message_id, to) = (message_id.into(), to.into());
        Mail { estado: String::new(), is_link: true, message_id, to, ..mail }
    };
    let mut facts = amended();
    facts.mails.extend([link(&facts, "<a@x>", "eva@example.org"), link(&facts, "<b@x>", "c3@example.org")]);
    let report = judge(&facts, &rules());
    assert_eq!((report.objections, report.repeats), (vec![], 0));
    assert_objects_to("I3", |facts| facts.mails.push(link(facts, "<a@x>", "foreign@example.org")));
    assert_objects_to("I3", |facts| {
        facts.mails.extend([(); 2].map(|()| link(facts, "<a@x>", "eva@example.org")));
        facts.repeats_counted = 0;
    });
}
