//! Dead letters: records and mails, and what an operator decides about them.

use encargo::{
    domain::{DeadLetter, wire},
    store::{
        Store,
        dead::{Action, DeadId, DeadItem},
        ledger::{Class, MailStatus, Reason, Verdict},
        orders::Batch,
    },
};

use super::{Place, support::*};

fn record(offset: u64) -> DeadId {
    DeadId::Record(letter(offset).source)
}

fn mail(order: u64, seq: u8) -> DeadId {
    DeadId::Mail(mail_id(order, seq))
}

async fn bury(store: &dyn Store, dead: Vec<DeadLetter>) {
    store.apply((Batch { dead, ..batch(vec![]) }).into()).await.unwrap();
}

/// Lets mails about new states of orders be refused, in turn, at the given seconds.
async fn refuse<const N: usize>(store: &dyn Store, mails: [(u64, u8, u64); N]) {
    for (number, seq, second) in mails {
        apply(store, events([(number, seq)])).await;
        assert_eq!(ids(&lease(store, second).await), [mail_id(number, seq)]);
        settle(store, mail_id(number, seq), 1, refused()).await;
    }
}

async fn names(store: &dyn Store, reason: Option<&str>, limit: usize) -> Vec<DeadId> {
    store.dead(reason, limit).await.unwrap().into_iter().map(|item| item.id).collect()
}

async fn decide(store: &dyn Store, id: DeadId, action: Action) -> bool {
    store.decide(&id, action, at(100)).await.unwrap()
}

/// Claims records for a minute.
async fn claim(store: &dyn Store, second: u64, limit: usize) -> Vec<DeadLetter> {
    store.claim_redrives(at(second), at(second + 60), limit).await.unwrap()
}

pub async fn letters_are_kept_once_per_source(place: &dyn Place) {
    let store = place.open().await;
    let again = DeadLetter { reason: "found again".into(), ..letter(5) };
    bury(&*store, vec![letter(5), again.clone()]).await;
    bury(&*store, vec![again]).await;
    drop(store);
    let store = place.open().await;
    let dead = store.dead(None, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].letter, Some(letter(5)), "whole, and as it was first seen");
    // another partition is another source
    let mut elsewhere = letter(5);
    elsewhere.source.partition = 1;
    elsewhere.key = None;
    bury(&*store, vec![elsewhere.clone()]).await;
    assert_eq!(store.dead_record_count().await.unwrap(), 2);
    let id = DeadId::Record(elsewhere.source.clone());
    assert_eq!(store.dead_one(&id).await.unwrap().unwrap().letter, Some(elsewhere));
}

pub async fn a_letter_that_stands_for_many_grows(place: &dyn Place) {
    let store = place.open().await;
    let run = |last: u64| {
        let mut run = wire::first_of_run(letter(5));
        wire::note_run(&mut run, &[5..=last]);
        run
    };
    bury(&*store, vec![run(6), letter(4), run(9)]).await;
    let of = async || {
        let item = store.dead_one(&record(5)).await.unwrap()?;
        Some(wire::records(&item.letter.unwrap().headers))
    };
    assert_eq!(of().await, Some(5), "the later one is the whole truth");
    assert!(decide(&*store, record(5), Action::Drop).await);
    assert_eq!(of().await, None);
    bury(&*store, vec![run(11)]).await;
    assert_eq!(of().await, Some(7), "there are records that nobody decided about");
    bury(&*store, vec![letter(5)]).await;
    assert_eq!(of().await, Some(7));
    assert_eq!(store.dead_record_count().await.unwrap(), 2);
}

pub async fn dead_letters_are_listed_oldest_first(place: &dyn Place) {
    let store = place.open().await;
    refuse(&*store, [(1, 1, 20), (2, 1, 40)]).await;
    bury(&*store, vec![letter(30), letter(10)]).await;
    let all = [record(10), mail(1, 1), record(30), mail(2, 1)];
    assert_eq!(names(&*store, None, 10).await, all);
    assert_eq!(names(&*store, None, 3).await, all[..3]);
    assert_eq!(names(&*store, Some("no such user"), 10).await, [mail(1, 1), mail(2, 1)]);
    assert_eq!(names(&*store, Some("valid JSON"), 10).await, [record(10), record(30)]);
    assert_eq!(names(&*store, Some("%"), 10).await, [], "a plain text, not a pattern");
}

pub async fn one_dead_letter_can_be_looked_at(place: &dyn Place) {
    let store = place.open().await;
    refuse(&*store, [(1, 1, 20)]).await;
    bury(&*store, vec![DeadLetter { attempts: 2, ..letter(10) }]).await;
    let item = store.dead_one(&mail(1, 1)).await.unwrap().unwrap();
    let expected = DeadItem {
        id: mail(1, 1),
        order: Some(id(1)),
        reason: "550 5.1.1 no such user".into(),
        class: Some(Class::Refused),
        attempts: 1,
        at: at(20),
        letter: None,
    };
    assert_eq!(item, expected);
    let item = store.dead_one(&record(10)).await.unwrap().unwrap();
    assert_eq!((item.order, item.attempts, item.at), (Some(id(17)), 2, at(10)));
    assert_eq!(item.letter.unwrap().value, letter(10).value);
    for unknown in [mail(1, 2), mail(3, 1), record(11)] {
        assert_eq!(store.dead_one(&unknown).await.unwrap(), None);
        assert!(!decide(&*store, unknown, Action::Redrive).await);
    }
}

pub async fn a_record_is_driven_again(place: &dyn Place) {
    let store = place.open().await;
    bury(&*store, vec![letter(3), letter(1), letter(2)]).await;
    assert_eq!(claim(&*store, 0, 10).await, []);
    for offset in [2, 1] {
        assert!(decide(&*store, record(offset), Action::Redrive).await);
    }
    assert_eq!(names(&*store, None, 10).await, [record(3)], "decided about");
    assert_eq!(store.dead_record_count().await.unwrap(), 3, "chosen ones are still to be done");
    drop(store);
    let store = place.open().await;
    assert_eq!(claim(&*store, 100, 1).await, [letter(1)]);
    assert_eq!(claim(&*store, 100, 10).await, [letter(2)], "the first is taken");
    store.redriven(&letter(1).source).await.unwrap();
    store.redriven(&letter(1).source).await.unwrap();
    // only a chosen one can have been driven
    store.redriven(&letter(3).source).await.unwrap();
    assert_eq!(claim(&*store, 159, 10).await, []);
    assert_eq!(claim(&*store, 160, 10).await, [letter(2)], "whoever had it did not do it");
    assert_eq!(store.dead_record_count().await.unwrap(), 2);
    // read again from the dead-letter topic, it stays what it is
    bury(&*store, vec![letter(1)]).await;
    assert_eq!(names(&*store, None, 10).await, [record(3)]);
}

pub async fn a_chosen_record_is_claimed_by_one(place: &dyn Place) {
    let store = place.open().await;
    let letters: Vec<_> = (0..60).map(letter).collect();
    bury(&*store, letters.clone()).await;
    for offset in 0..60 {
        assert!(decide(&*store, record(offset), Action::Redrive).await);
    }
    let (a, b, c) = tokio::join!(claim(&*store, 100, 25), claim(&*store, 100, 25), claim(&*store, 100, 25));
    let mut all = [a, b, c].concat();
    all.sort_by_key(|letter| letter.source.offset);
    assert_eq!(all, letters);
}

pub async fn a_decision_is_made_once(place: &dyn Place) {
    let store = place.open().await;
    refuse(&*store, [(1, 1, 20), (2, 1, 20)]).await;
    bury(&*store, vec![letter(1), letter(2)]).await;
    for (dropped, redriven) in [(record(1), record(2)), (mail(1, 1), mail(2, 1))] {
        assert!(decide(&*store, dropped.clone(), Action::Drop).await);
        assert!(decide(&*store, redriven.clone(), Action::Redrive).await);
        for decided in [dropped, redriven] {
            for action in [Action::Redrive, Action::Drop] {
                assert!(!decide(&*store, decided.clone(), action).await);
            }
            assert_eq!(store.dead_one(&decided).await.unwrap(), None);
        }
    }
    assert_eq!(names(&*store, None, 10).await, []);
    assert_eq!(store.dead_record_count().await.unwrap(), 1);
    let (_, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!(history[0].mail, Some(MailStatus::Dropped));
    let counts = store.ledger_counts().await.unwrap();
    assert_eq!(counts.by_status, [(MailStatus::Pending, 1), (MailStatus::Dropped, 1)]);
    assert_eq!(ids(&lease(&*store, 1_000).await), [mail_id(2, 1)], "a dropped mail is not sent");
}

pub async fn a_redriven_mail_is_sent_again(place: &dyn Place) {
    let store = place.open().await;
    refuse(&*store, [(1, 1, 20)]).await;
    decide(&*store, mail(1, 1), Action::Redrive).await;
    assert_eq!(store.next_due().await.unwrap(), Some(at(100)), "at once");
    let again = lease(&*store, 100).await;
    assert_eq!((again[0].id, again[0].attempt, again[0].ambiguous), (mail_id(1, 1), 2, false));
    settle(&*store, mail_id(1, 1), 2, refused()).await;
    let item = store.dead_one(&mail(1, 1)).await.unwrap().unwrap();
    assert_eq!((item.attempts, item.at), (2, at(100)));
}

pub async fn a_redriven_mail_goes_before_later_ones(place: &dyn Place) {
    let store = place.open().await;
    refuse(&*store, [(1, 1, 20), (1, 2, 20)]).await;
    apply(&*store, events([(1, 3)])).await;
    decide(&*store, mail(1, 2), Action::Redrive).await;
    decide(&*store, mail(1, 1), Action::Redrive).await;
    for (seq, attempt) in [(1, 2), (2, 2), (3, 1)] {
        assert_eq!(ids(&lease(&*store, 100).await), [mail_id(1, seq)]);
        assert_eq!(lease(&*store, 100).await, []);
        assert_eq!(settle(&*store, mail_id(1, seq), attempt, sent()).await, 1);
    }
    assert_eq!(store.next_due().await.unwrap(), None);
}

pub async fn a_redriven_mail_lets_the_running_one_finish(place: &dyn Place) {
    let store = place.open().await;
    refuse(&*store, [(1, 1, 20), (2, 1, 20), (3, 1, 20), (4, 1, 20)]).await;
    apply(&*store, events([(1, 2), (2, 2), (3, 2), (4, 2)])).await;
    assert_eq!(lease(&*store, 30).await.len(), 4); // until 90
    for number in [1, 2, 3, 4] {
        decide(&*store, mail(number, 1), Action::Redrive).await;
    }
    // the second state of order 1 was being sent, and its result counts
    assert_eq!(settle(&*store, mail_id(1, 2), 1, sent()).await, 1);
    // that of order 2 is to be tried again, and that of order 3 is cut off: both wait for the first
    settle(&*store, mail_id(2, 2), 1, Verdict::Retry(at(40), Reason::new(Class::Deferred, "451"))).await;
    settle(&*store, mail_id(4, 2), 1, sent()).await;
    assert_eq!(store.expire_leases(at(50)).await.unwrap(), 1);
    let first = lease(&*store, 100).await;
    assert_eq!(ids(&first), [1, 2, 3, 4].map(|number| mail_id(number, 1)));
    assert_eq!(lease(&*store, 101).await, []);
    for number in [1, 2, 3, 4] {
        settle(&*store, mail_id(number, 1), 2, sent()).await;
    }
    let second = lease(&*store, 101).await;
    let attempts: Vec<_> = second.iter().map(|mail| (mail.id, mail.attempt, mail.ambiguous)).collect();
    assert_eq!(attempts, [(mail_id(2, 2), 2, false), (mail_id(3, 2), 2, true)]);
}

pub async fn a_list_tells_the_beginning_of_a_record(place: &dyn Place) {
    let store = place.open().await;
    let (part, long) = (4_096, vec![b'7'; 900_000]);
    let headers = |all: &[(&str, usize)]| all.iter().map(|(name, length)| (name, &long[..*length])).collect();
    let large = DeadLetter { key: Some(long.clone()), value: long.clone(), ..letter(1) };
    let letters = [
        large.clone(),
        DeadLetter { headers: headers(&[("a", 10)]), ..letter(2) },
        DeadLetter { headers: headers(&[("a [\"dead.cut\",[", 9_000)]), ..letter(3) },
        DeadLetter { headers: headers(&[("a", 9_000), ("dead.cut", 20)]), ..letter(4) },
        DeadLetter { key: Some(Vec::new()), value: Vec::new(), ..letter(5) },
        DeadLetter { key: None, value: Vec::new(), ..letter(6) },
    ];
    bury(&*store, letters.to_vec()).await;
    let listed: Vec<_> = store.dead(None, 10).await.unwrap().into_iter().map(|item| item.letter.unwrap()).collect();
    assert_eq!((listed[0].key.as_ref().unwrap().len(), listed[0].value.len()), (part, part));
    assert_eq!(listed[1], letters[1]);
    assert_eq!((&listed[2].headers, &listed[3].headers), (&headers(&[]), &headers(&[("dead.cut", 20)])));
    assert_eq!(listed[4..], letters[4..]);
    // alone it is whole, and goes back whole
    for whole in &letters {
        let id = DeadId::Record(whole.source.clone());
        assert_eq!(store.dead_one(&id).await.unwrap().unwrap().letter.as_ref(), Some(whole));
    }
    decide(&*store, record(1), Action::Redrive).await;
    assert_eq!(claim(&*store, 100, 10).await, [large]);
}

pub async fn the_order_of_a_record_is_found(place: &dyn Place) {
    let store = place.open().await;
    let with = |offset, key: Option<&[u8]>, value: &[u8]| DeadLetter {
        key: key.map(<[u8]>::to_vec),
        value: value.to_vec(),
        ..letter(offset)
    };
    let letters = vec![
        with(1, Some(b"5"), b"{\"orderid\":6}"),
        with(2, None, b"{\"orderid\":6}"),
        with(3, Some(&[0xff]), b"{\"orderid\":0}"),
        with(4, None, &[0xff, 0]),
    ];
    bury(&*store, letters).await;
    let dead = store.dead(None, 10).await.unwrap();
    let orders: Vec<_> = dead.iter().map(|item| item.order).collect();
    assert_eq!(orders, [Some(id(5)), Some(id(6)), None, None]);
    let long = format!("{{\n  \"name\": \"\\u0000 {}\",\n  \"orderid\" : 60 }}", "\u{e9}".repeat(5_000));
    bury(&*store, vec![with(5, None, long.as_bytes()), with(6, Some(b"60"), b"")]).await;
    for (order, offset) in [(5, Some(1)), (6, Some(2)), (60, Some(5)), (7, None), (1, None)] {
        let found = store.dead_record_of(id(order)).await.unwrap().map(|item| item.id);
        assert_eq!(found, offset.map(record), "{order}");
    }
    decide(&*store, record(5), Action::Drop).await;
    assert_eq!(store.dead_record_of(id(60)).await.unwrap().unwrap().id, record(6));
}
