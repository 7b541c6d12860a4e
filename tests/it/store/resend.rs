//! The last mail of an order is sent again.

use encargo::store::{
    Past, Store,
    dead::{Action, DeadId},
    ledger::MailStatus,
    mails::Resend,
};

use super::{Place, support::*};

/// As somebody wants it who saw so many attempts.
fn resend(seq: u8, attempts: u32, second: u64) -> Resend {
    Resend { id: mail_id(1, seq), attempts, at: at(second), by: "ana".into(), reason: Some("it has not come".into()) }
}

pub async fn the_last_mail_is_sent_again_and_counted_as_a_repeat(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2)])).await;
    for seq in 1..=2 {
        assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, seq)]);
        settle(&*store, mail_id(1, seq), 1, sent()).await;
    }
    assert!(!store.resend(resend(1, 1, 50)).await.unwrap(), "not the last one");
    assert!(!store.resend(resend(2, 0, 50)).await.unwrap(), "it was tried since");
    assert!(store.resend(resend(2, 1, 50)).await.unwrap());
    assert!(!store.resend(resend(2, 1, 50)).await.unwrap(), "it waits already");
    assert_eq!(store.next_due().await.unwrap(), Some(at(50)), "at once");
    let counts = store.ledger_counts().await.unwrap();
    assert_eq!((counts.of(MailStatus::Sent), counts.of(MailStatus::Pending), counts.repeated), (1, 1, 0));
    // what comes meanwhile waits behind it
    apply(&*store, events([(1, 3)])).await;
    let again = lease(&*store, 100).await;
    assert_eq!((again.len(), again[0].id, again[0].attempt, again[0].ambiguous), (1, mail_id(1, 2), 2, true));
    assert_eq!((again[0].tries, again[0].copies), (1, 0));
    settle(&*store, mail_id(1, 2), 2, sent()).await;
    assert_eq!(ids(&lease(&*store, 100).await), [mail_id(1, 3)]);
    let counts = store.ledger_counts().await.unwrap();
    assert_eq!((counts.of(MailStatus::Sent), counts.repeated), (2, 1));
    drop(store);
    assert_eq!(place.open().await.resends_of(id(1)).await.unwrap(), [resend(2, 1, 50)]);
}

pub async fn only_a_mail_that_is_sent_is_sent_again(place: &dyn Place) {
    let store = place.open().await;
    assert!(!store.resend(resend(1, 0, 0)).await.unwrap(), "there is no such order");
    apply(&*store, events([(1, 1)])).await;
    assert!(!store.resend(resend(1, 0, 0)).await.unwrap(), "it waits");
    lease(&*store, 0).await;
    assert!(!store.resend(resend(1, 1, 0)).await.unwrap(), "it is being sent");
    settle(&*store, mail_id(1, 1), 1, refused()).await;
    assert!(!store.resend(resend(1, 1, 0)).await.unwrap(), "it is dead");
    assert_eq!(store.resends_of(id(1)).await.unwrap(), []);
    // a mail that was compacted has lost its attempts, and can be sent again all the same
    redrive(&*store, 1).await;
    settle(&*store, lease(&*store, 1).await[0].id, 2, sent()).await;
    let past = Past { keys: at(0), mails: at(1_000), minutes: at(0) };
    assert_eq!(store.prune(past).await.unwrap().mails, 1);
    assert!(store.resend(resend(1, 0, 2_000)).await.unwrap());
    let again = lease(&*store, 2_000).await;
    assert_eq!((again[0].attempt, again[0].ambiguous), (1, true));
    settle(&*store, mail_id(1, 1), 1, sent()).await;
    assert_eq!(store.ledger_counts().await.unwrap().by_status, [(MailStatus::Sent, 1)]);
}

/// Drives the order's first mail again.
async fn redrive(store: &dyn Store, second: u64) {
    assert!(store.decide(&DeadId::Mail(mail_id(1, 1)), Action::Redrive, at(second)).await.unwrap());
}
