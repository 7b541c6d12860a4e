//! The mail with the link to an order.

use std::time::Duration;

use encargo::{
    domain::Waits,
    store::{
        Past, Store,
        dead::{Action, DeadId},
        ledger::{Class, MailId, MailStatus, Reason, Verdict},
        links::{LINK, LinkRequest},
    },
};

use super::{Place, support::*};

const AGAIN: Duration = Duration::from_mins(10);

async fn ask(store: &dyn Store, number: u64, email: &str, second: u64) -> bool {
    let (email, at) = (email.parse().unwrap(), at(second));
    store.ask_link(LinkRequest { order: id(number), email, at, unless_since: at - AGAIN }).await.unwrap()
}

pub async fn a_link_is_mailed_to_who_knows_number_and_address(place: &dyn Place) {
    let store = place.open().await;
    assert!(!ask(&*store, 1, "ana@example.org", 0).await, "there is no such order");
    apply(&*store, events([(1, 1), (1, 2)])).await;
    for foreign in ["eva@example.org", "ana@example.net", "a%@example.org"] {
        assert!(!ask(&*store, 1, foreign, 100).await, "{foreign}");
    }
    assert!(ask(&*store, 1, "ANA@Example.org", 100).await);
    let mails = lease(&*store, 100).await;
    assert_eq!(ids(&mails), [mail_id(1, 1), MailId::link(id(1))]);
    let link = &mails[1];
    assert_eq!((&*link.estado, &*link.template, link.at, link.attempt), (LINK, LINK, at(100), 1));
    assert_eq!((link.order.clone(), link.recipient().as_str()), (order(1), "ana@example.org"));
    assert_eq!((link.waits, &link.next, link.ambiguous), (Waits::Untold, &None, false));
    let (view, history) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!((view.seq, history.len()), (2, 2), "it is no part of the history");
    let told = store.mails_of(id(1)).await.unwrap();
    assert_eq!(told.iter().map(|mail| mail.id.seq).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((&*told[0].estado, told[0].status, told[0].at), (LINK, MailStatus::Sending, at(100)));
}

pub async fn links_and_other_mails_do_not_wait_for_each_other(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2)])).await;
    assert!(ask(&*store, 1, "ana@example.org", 0).await);
    let put_off = Verdict::Retry(at(500), Reason::new(Class::Deferred, "451"));
    assert_eq!(lease(&*store, 0).await.len(), 2);
    settle(&*store, mail_id(1, 0), 1, put_off.clone()).await;
    settle(&*store, mail_id(1, 1), 1, sent()).await;
    assert_eq!(ids(&lease(&*store, 10).await), [mail_id(1, 2)]);
    settle(&*store, mail_id(1, 2), 1, put_off).await;
    assert_eq!(ids(&lease(&*store, 500).await).len(), 2);
    settle(&*store, mail_id(1, 0), 2, sent()).await;
    assert_eq!(lease(&*store, 510).await, []);
    settle(&*store, mail_id(1, 2), 2, sent()).await;
    assert_eq!(store.ledger_counts().await.unwrap().by_status, [(MailStatus::Sent, 3)]);
}

pub async fn a_link_is_mailed_again_after_a_while(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 4)])).await;
    lease(&*store, 0).await;
    settle(&*store, mail_id(1, 4), 1, sent()).await;
    assert!(ask(&*store, 1, "ana@example.org", 0).await);
    assert!(!ask(&*store, 1, "ana@example.org", 5_000).await, "it is still to be sent");
    assert_eq!(lease(&*store, 5_000).await.len(), 1);
    settle(&*store, mail_id(1, 0), 1, sent()).await;
    assert!(ask(&*store, 1, "ana@example.org", 5_001).await);
    // what is said of the first one is void by now
    assert_eq!(ids(&lease(&*store, 5_001).await), [mail_id(1, 0)]);
    assert_eq!(settle(&*store, mail_id(1, 0), 1, refused()).await, 0);
    settle(&*store, mail_id(1, 0), 2, sent()).await;
    assert!(!ask(&*store, 1, "ana@example.org", 5_600).await, "too soon");
    assert!(ask(&*store, 1, "ana@example.org", 5_601).await);
    let mail = &lease(&*store, 5_601).await[0];
    assert_eq!((mail.attempt, mail.tries, mail.begun_at, mail.ambiguous), (3, 1, at(5_601), false));
    let counts = store.ledger_counts().await.unwrap();
    assert_eq!(counts.by_status, [(MailStatus::Sending, 1), (MailStatus::Sent, 1)]);
    assert_eq!((counts.repeated, counts.oldest_unsettled_at), (0, Some(at(5_601))));
    // also once the ledger has given up what it knew
    settle(&*store, mail_id(1, 0), 3, sent()).await;
    store.prune(Past { keys: at(0), mails: at(10_000), minutes: at(0) }).await.unwrap();
    assert!(ask(&*store, 1, "ana@example.org", 20_000).await);
    let counts = store.ledger_counts().await.unwrap();
    assert_eq!(counts.by_status, [(MailStatus::Pending, 1), (MailStatus::Sent, 1)]);
}

pub async fn a_refused_link_is_a_dead_letter_until_it_is_asked_for_again(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1)])).await;
    assert!(ask(&*store, 1, "ana@example.org", 0).await);
    lease(&*store, 0).await;
    settle(&*store, mail_id(1, 0), 1, refused()).await;
    let dead = DeadId::Mail(mail_id(1, 0));
    assert_eq!(store.dead_one(&dead).await.unwrap().unwrap().id.to_string(), "mail:1.0");
    assert!(store.decide(&dead, Action::Redrive, at(1)).await.unwrap());
    assert_eq!(ids(&lease(&*store, 1).await), [mail_id(1, 0)], "beside the one that is being sent");
    settle(&*store, mail_id(1, 0), 2, refused()).await;
    assert!(ask(&*store, 1, "ana@example.org", 601).await);
    assert_eq!(store.dead(None, 9).await.unwrap(), []);
    let counts = store.ledger_counts().await.unwrap();
    assert_eq!(counts.by_status, [(MailStatus::Pending, 1), (MailStatus::Sending, 1)]);
    assert_eq!(counts.by_class, []);
}

pub async fn a_link_outlives_the_order_and_follows_its_address(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1)])).await;
    assert!(ask(&*store, 1, "ana@example.org", 0).await);
    let mut end = event(order(1), 3);
    end.event.waits = Waits::Closed(encargo::domain::Closing::Cancelled);
    end.event.address = Some("eva@example.org".parse().unwrap());
    apply(&*store, vec![end]).await;
    let mails = lease(&*store, 0).await;
    let mut leased = ids(&mails);
    leased.sort();
    assert_eq!(leased, [mail_id(1, 0), mail_id(1, 3)]);
    assert!(mails.iter().all(|mail| mail.recipient().as_str() == "eva@example.org"));
    settle(&*store, mail_id(1, 0), 1, Verdict::Retry(at(5), Reason::new(Class::Deferred, "451"))).await;
    assert_eq!(ids(&lease(&*store, 5).await), [mail_id(1, 0)]);
    settle(&*store, mail_id(1, 0), 2, sent()).await;
    assert!(!ask(&*store, 1, "ana@example.org", 1_000).await, "where its mails no longer go");
    assert!(ask(&*store, 1, "eva@example.org", 1_000).await);
}

pub async fn of_many_who_ask_at_once_one_is_mailed(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1)])).await;
    let store = &*store;
    let ask = || ask(store, 1, "ana@example.org", 0);
    let (first, second, third, fourth) = tokio::join!(ask(), ask(), ask(), ask());
    assert_eq!([first, second, third, fourth].into_iter().filter(|is_made| *is_made).count(), 1);
    assert_eq!(store.ledger_counts().await.unwrap().by_status, [(MailStatus::Pending, 2)]);
}
