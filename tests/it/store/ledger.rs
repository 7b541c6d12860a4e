//! The mail ledger: lanes, leases, settlements.

use std::collections::HashSet;

use encargo::{
    domain::{Lang, Waits},
    store::{
        Store,
        ledger::{Class, Leasing, Mail, MailStatus, Reason, Verdict},
        orders::Batch,
    },
};

use super::{Place, support::*};

/// Sends all that is due.
async fn settle_all(store: &dyn Store, second: u64) {
    for mail in lease(store, second).await {
        settle(store, mail.id, mail.attempt, sent()).await;
    }
}

fn retry(second: u64) -> Verdict {
    Verdict::Retry(at(second), Reason::new(Class::Deferred, "451 try later"))
}

pub async fn the_oldest_due_mail_is_leased_first(place: &dyn Place) {
    let store = place.open().await;
    for (number, due) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        store.apply((Batch { now: at(due), ..batch(events([(number, 1)])) }).into()).await.unwrap();
    }
    let first = store.lease(at(35), at(95), 2).await.unwrap();
    assert_eq!(ids(&first), [mail_id(2, 1), mail_id(3, 1)]);
    assert_eq!(ids(&lease(&*store, 35).await), [mail_id(1, 1)]);
    assert_eq!(ids(&lease(&*store, 40).await), [mail_id(4, 1)]);
    assert_eq!(store.lease(at(41), at(95), 0).await.unwrap(), []);
}

pub async fn a_leased_mail_tells_everything(place: &dyn Place) {
    let store = place.open().await;
    // the order has gone on since: the mail is about the state that it had entered
    apply(&*store, events([(1, 2), (1, 3)])).await;
    let expected = Mail {
        id: mail_id(1, 2),
        order: order(1),
        address: None,
        estado: "preparando".into(),
        template: "preparando".into(),
        step: 2,
        at: at(8),
        next: None,
        waits: Waits::Until(at(16)),
        expect_at: None,
        begun_at: at(0),
        attempt: 1,
        tries: 1,
        copies: 0,
        ambiguous: false,
        suppressed: None,
    };
    assert_eq!(lease(&*store, 0).await, [expected]);
    let (_, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!(history[0].mail, Some(MailStatus::Sending), "durable before it is answered");
}

pub async fn a_mail_leased_as_it_is_made_is_told_as_any_other(place: &dyn Place) {
    let store = place.open().await;
    let mut english = order(2);
    english.lang = Some(Lang::En);
    apply(&*store, vec![event(english, 1)]).await;
    settle_all(&*store, 0).await;
    // the second event of an order says nothing of its language: what was placed counts
    let leasing = Leasing { until: at(60), limit: 10 };
    let batch = Batch { lease: Some(leasing), ..batch(events([(1, 1), (2, 2), (3, 1), (3, 2)])) };
    let mut leased = store.apply(batch.into()).await.unwrap().leased;
    leased.sort_by_key(|mail| mail.id);
    assert_eq!(ids(&leased), [mail_id(1, 1), mail_id(2, 2), mail_id(3, 1)]);
    assert_eq!(lease(&*store, 59).await, [], "they are leased");
    store.expire_leases(at(0)).await.unwrap();
    let mut again = lease(&*store, 0).await;
    again.sort_by_key(|mail| mail.id);
    for (mail, again) in leased.into_iter().zip(again) {
        assert_eq!(Mail { attempt: 2, tries: 2, ambiguous: true, ..mail }, again);
    }
}

pub async fn what_is_due_already_goes_before_what_is_made(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (2, 1)])).await;
    let leasing = Leasing { until: at(65), limit: 3 };
    let later = Batch { now: at(5), lease: Some(leasing), ..batch(events([(3, 1), (4, 1)])) };
    let leased = store.apply(later.into()).await.unwrap().leased;
    assert_eq!(ids(&leased[..2]), [mail_id(1, 1), mail_id(2, 1)]);
    assert_eq!(leased.len(), 3);
    assert_eq!(lease(&*store, 5).await.len(), 1);
}

pub async fn a_mail_to_a_suppressed_address_is_made_as_such(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1)])).await;
    lease(&*store, 0).await;
    let gone = Verdict::Dead(Reason::new(Class::Address, "550 5.1.1 unknown"));
    settle(&*store, mail_id(1, 1), 1, gone).await;
    let mut shouted = order(2);
    shouted.email = "ANA@example.org".parse().unwrap();
    let batch = Batch { lease: Some(Leasing { until: at(60), limit: 1 }), ..batch(vec![event(shouted, 1)]) };
    let leased = store.apply(batch.into()).await.unwrap().leased;
    let suppressed = leased[0].suppressed.as_ref().expect("it is suppressed");
    assert_eq!((suppressed.mail, &*suppressed.reason), (mail_id(1, 1), "550 5.1.1 unknown"));
}

pub async fn nothing_is_leased_before_it_is_due(place: &dyn Place) {
    let store = place.open().await;
    store.apply((Batch { now: at(10), ..batch(events([(1, 1)])) }).into()).await.unwrap();
    assert_eq!(lease(&*store, 9).await, []);
    assert_eq!(lease(&*store, 10).await.len(), 1);
    assert_eq!(lease(&*store, 11).await, [], "it is being sent");
}

pub async fn lanes_keep_the_order_of_states(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2), (1, 3), (2, 1)])).await;
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, 1), mail_id(2, 1)]);
    assert_eq!(lease(&*store, 1).await, []);
    apply(&*store, events([(1, 4)])).await;
    for seq in 1..4 {
        assert_eq!(settle(&*store, mail_id(1, seq), 1, sent()).await, 1);
        assert_eq!(ids(&lease(&*store, 2).await), [mail_id(1, seq + 1)]);
    }
    // a new state after all is settled is the head at once
    settle(&*store, mail_id(2, 1), 1, sent()).await;
    apply(&*store, events([(2, 2)])).await;
    assert_eq!(ids(&lease(&*store, 2).await), [mail_id(2, 2)]);
}

pub async fn a_retry_is_due_when_it_says(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2)])).await;
    lease(&*store, 0).await;
    assert_eq!(settle(&*store, mail_id(1, 1), 1, retry(100)).await, 1);
    assert_eq!(lease(&*store, 99).await, [], "the next state waits behind it");
    let again = lease(&*store, 100).await;
    assert_eq!(ids(&again), [mail_id(1, 1)]);
    assert_eq!((again[0].attempt, again[0].ambiguous), (2, false), "the result of the first attempt is known");
    settle(&*store, mail_id(1, 1), 2, sent()).await;
    assert_eq!(ids(&lease(&*store, 100).await), [mail_id(1, 2)]);
}

pub async fn a_dead_mail_frees_its_lane(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2)])).await;
    lease(&*store, 0).await;
    assert_eq!(settle(&*store, mail_id(1, 1), 1, refused()).await, 1);
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, 2)]);
    let (_, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!(history[0].mail, Some(MailStatus::Dead));
}

pub async fn only_the_current_attempt_is_settled(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1)])).await;
    for verdict in [sent(), refused(), retry(5)] {
        assert_eq!(settle(&*store, mail_id(1, 1), 0, verdict.clone()).await, 0, "never leased");
        assert_eq!(settle(&*store, mail_id(9, 1), 1, verdict).await, 0, "never there");
    }
    lease(&*store, 0).await;
    assert_eq!(lease(&*store, 60).await[0].attempt, 2);
    for verdict in [sent(), refused(), retry(5)] {
        assert_eq!(settle(&*store, mail_id(1, 1), 1, verdict).await, 0, "taken over since");
    }
    assert_eq!(settle(&*store, mail_id(1, 1), 2, sent()).await, 1);
    for verdict in [sent(), refused(), retry(5)] {
        assert_eq!(settle(&*store, mail_id(1, 1), 2, verdict).await, 0, "settled already");
    }
    assert_eq!(store.ledger_counts().await.unwrap().by_status, [(MailStatus::Sent, 1)]);
    assert_eq!(store.dead(None, 10).await.unwrap(), []);
}

pub async fn an_expired_lease_is_ambiguous(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2)])).await;
    lease(&*store, 0).await;
    drop(store);
    let store = place.open().await;
    assert_eq!(lease(&*store, 59).await, []);
    let again = lease(&*store, 60).await;
    assert_eq!(ids(&again), [mail_id(1, 1)]);
    assert_eq!((again[0].attempt, again[0].ambiguous), (2, true));
    // the first attempt's result stays unknown whatever comes of later ones
    settle(&*store, mail_id(1, 1), 2, retry(70)).await;
    let third = lease(&*store, 70).await;
    assert_eq!((third[0].attempt, third[0].ambiguous), (3, true));
    assert_eq!(store.ledger_counts().await.unwrap().repeated, 2);
    settle(&*store, mail_id(1, 1), 3, sent()).await;
    assert!(!lease(&*store, 70).await[0].ambiguous, "the next mail has nothing to do with it");
}

pub async fn leases_can_be_ended_at_once(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (2, 1), (3, 1)])).await;
    assert_eq!(store.expire_leases(at(0)).await.unwrap(), 0);
    lease(&*store, 0).await;
    settle(&*store, mail_id(3, 1), 1, sent()).await;
    assert_eq!(store.expire_leases(at(5)).await.unwrap(), 2);
    assert_eq!(settle(&*store, mail_id(1, 1), 1, sent()).await, 0, "a lease that was ended cannot be settled");
    assert_eq!(lease(&*store, 4).await, []);
    let again = lease(&*store, 5).await;
    assert_eq!(ids(&again), [mail_id(1, 1), mail_id(2, 1)]);
    assert!(again.iter().all(|mail| mail.ambiguous && mail.attempt == 2));
}

pub async fn it_knows_when_the_next_mail_is_due(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.next_due().await.unwrap(), None);
    store.apply((Batch { now: at(20), ..batch(events([(1, 1), (1, 2)])) }).into()).await.unwrap();
    store.apply((Batch { now: at(10), ..batch(events([(2, 1)])) }).into()).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), Some(at(10)));
    assert_eq!(lease(&*store, 30).await.len(), 2);
    assert_eq!(store.next_due().await.unwrap(), Some(at(90)), "when the leases end");
    settle(&*store, mail_id(2, 1), 1, retry(50)).await;
    assert_eq!(store.next_due().await.unwrap(), Some(at(50)));
    settle(&*store, mail_id(1, 1), 1, sent()).await;
    assert_eq!(store.next_due().await.unwrap(), Some(at(20)), "what waited in the lane since then");
    assert_eq!(ids(&lease(&*store, 30).await), [mail_id(1, 2)]);
    settle(&*store, mail_id(1, 2), 1, refused()).await;
    lease(&*store, 50).await;
    settle(&*store, mail_id(2, 1), 2, sent()).await;
    assert_eq!(store.next_due().await.unwrap(), None);
}

pub async fn mails_are_counted(place: &dyn Place) {
    let store = place.open().await;
    let counts = store.ledger_counts().await.unwrap();
    assert_eq!((counts.by_status, counts.repeated, counts.oldest_unsettled_at), (vec![], 0, None));
    apply(&*store, events([(1, 1), (1, 2), (2, 1), (3, 2), (4, 3), (5, 4)])).await;
    lease(&*store, 0).await;
    settle(&*store, mail_id(1, 1), 1, sent()).await;
    settle(&*store, mail_id(2, 1), 1, sent()).await;
    settle(&*store, mail_id(4, 3), 1, refused()).await;
    drop(store);
    let counts = place.open().await.ledger_counts().await.unwrap();
    let expected = [(MailStatus::Pending, 1), (MailStatus::Sending, 2), (MailStatus::Sent, 2), (MailStatus::Dead, 1)];
    assert_eq!(counts.by_status, expected);
    assert_eq!(counts.oldest_unsettled_at, Some(at(8)), "orders 1 and 3 entered their second state then");
}

pub async fn no_mail_is_leased_twice_at_once(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, (1..=200).map(|number| event(order(number), 1)).collect()).await;
    let worker = async || {
        let mut mine = vec![];
        loop {
            let leased = store.lease(at(0), at(60), 7).await.unwrap();
            if leased.is_empty() {
                return mine;
            }
            mine.extend(ids(&leased));
        }
    };
    let (a, b, c) = tokio::join!(worker(), worker(), worker());
    let all = [a, b, c].concat();
    assert_eq!(all.len(), 200);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 200);
}
