//! Mails of orders that are readdressed, or end beside the line.

use encargo::{
    domain::{Change, Closing, Waits},
    store::{
        Past, Store,
        dead::{Action, DeadId},
        ledger::{Class, Mail, MailStatus, Reason, Settlement, Verdict},
        mails::SuppressedQuery,
        orders::{Batch, Incoming},
    },
};

use super::{
    Place,
    lives::{commanded, ended, told},
    support::*,
};

/// Its mails go to another address from now on.
fn readdressed(number: u64, seq: u8, address: &str) -> Incoming {
    let mut incoming = commanded(number, seq, Change::Readdressed, Waits::Until(at(99)));
    incoming.event.address = Some(address.parse().unwrap());
    incoming
}

/// The order enters its state under an address that was corrected before.
fn told_at(number: u64, seq: u8, address: &str) -> Incoming {
    let mut incoming = told(number, seq);
    incoming.event.address = Some(address.parse().unwrap());
    incoming
}

fn deferred(second: u64) -> Verdict {
    Verdict::Retry(at(second), Reason::new(Class::Deferred, "451 try later"))
}

async fn settled(store: &dyn Store, mail: &Mail, verdict: Verdict) {
    assert_eq!(store.settle(vec![Settlement::new(mail, verdict)]).await.unwrap().count, 1);
}

/// The status of each mail of an order.
async fn statuses(store: &dyn Store, number: u64) -> Vec<Option<MailStatus>> {
    let (_, history) = store.order(id(number)).await.unwrap().unwrap();
    history.iter().map(|line| line.mail).collect()
}

/// What is counted is what is there.
async fn counts_agree(store: &dyn Store, numbers: &[u64]) {
    let mut mails = vec![];
    for number in numbers {
        mails.extend(store.mails_of(id(*number)).await.unwrap());
    }
    let counts = store.ledger_counts().await.unwrap();
    for status in MailStatus::ALL {
        let there = mails.iter().filter(|mail| mail.status == status).count() as u64;
        let counted = counts.by_status.iter().find(|(other, _)| *other == status).map_or(0, |(_, n)| *n);
        assert_eq!(counted, there, "{status:?} in {mails:?}");
        for class in Class::ALL {
            let there = mails.iter().filter(|mail| (mail.status, mail.class) == (status, Some(class))).count() as u64;
            let counted = counts.by_class.iter().find(|(s, c, _)| (*s, *c) == (status, class)).map_or(0, |(.., n)| *n);
            assert_eq!(counted, there, "{status:?} {class:?} in {mails:?}");
        }
    }
}

const PENDING: Option<MailStatus> = Some(MailStatus::Pending);
const SENDING: Option<MailStatus> = Some(MailStatus::Sending);
const SENT: Option<MailStatus> = Some(MailStatus::Sent);
const DROPPED: Option<MailStatus> = Some(MailStatus::Dropped);

pub async fn only_what_is_mailed_has_a_mail(place: &dyn Place) {
    let store = place.open().await;
    let mut silent = told(1, 1);
    silent.event.mail = None;
    let held = commanded(1, 2, Change::Held, Waits::Held(None));
    let mut named = told(1, 3);
    named.event.mail = Some("aviso".into());
    let since = Batch { mail_since: Some(at(10)), ..batch(vec![silent, held, named]) };
    assert_eq!(store.apply(since.into()).await.unwrap().unmailed, 0, "nobody wanted a mail about them");
    assert_eq!(statuses(&*store, 1).await, [None, None, PENDING]);
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, 3)], "nothing waits for what has no mail");
    counts_agree(&*store, &[1]).await;
}

pub async fn a_leased_mail_tells_all_that_its_event_said(place: &dyn Place) {
    let store = place.open().await;
    let mut one = told(1, 3);
    one.event.step = 2;
    one.event.estado = "horneando".into();
    one.event.mail = Some("aviso".into());
    one.event.next = Some("listo".into());
    one.event.waits = Waits::ForCommand;
    one.event.exits.expect_at = Some(at(77));
    apply(&*store, vec![one, ended(2, 2, Closing::Refused)]).await;
    let mut leased = lease(&*store, 0).await;
    leased.sort_by_key(|mail| mail.id);
    let [one, end] = &leased[..] else { panic!("{leased:?}") };
    assert_eq!((&*one.estado, &*one.template, one.step), ("horneando", "aviso", 2));
    assert_eq!((one.next.as_deref(), one.waits, one.expect_at), (Some("listo"), Waits::ForCommand, Some(at(77))));
    assert_eq!((&*end.estado, &*end.template), ("rechazado", "rechazado"));
    assert_eq!((end.next.as_deref(), end.waits), (None, Waits::Closed(Closing::Refused)));
}

pub async fn waiting_mails_go_to_the_corrected_address(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, vec![told(1, 1), told(1, 2)]).await;
    let first = lease(&*store, 0).await;
    assert_eq!(first[0].recipient().as_str(), "ana@example.org");
    apply(&*store, vec![readdressed(1, 3, "eva@example.com")]).await;
    settled(&*store, &first[0], deferred(1)).await;
    drop(store);
    let store = place.open().await;
    for seq in [1, 2] {
        let next = lease(&*store, 1).await;
        assert_eq!((ids(&next), next[0].recipient().as_str()), (vec![mail_id(1, seq)], "eva@example.com"));
        assert_eq!(next[0].order, order(1), "as it was placed");
        settled(&*store, &next[0], sent()).await;
    }
}

pub async fn a_corrected_address_is_asked_for_in_the_suppressed_ones(place: &dyn Place) {
    let store = place.open().await;
    let refused = Verdict::Dead(Reason::new(Class::Address, "550 5.1.1 no such user"));
    apply(&*store, vec![told(1, 1)]).await;
    settled(&*store, &lease(&*store, 0).await[0], refused).await;
    // from an address that gets no mail to one that does, and the other way round
    apply(&*store, vec![told(2, 1), readdressed(2, 2, "eva@example.com")]).await;
    apply(&*store, vec![told_at(3, 1, "ANA@example.org")]).await;
    let mut next = lease(&*store, 0).await;
    next.sort_by_key(|mail| mail.id);
    let suppressed: Vec<_> = next.iter().map(|mail| (mail.id, mail.suppressed.is_some())).collect();
    assert_eq!(suppressed, [(mail_id(2, 1), false), (mail_id(3, 1), true)]);
}

/// The address was corrected while a mail to the old one was on its way.
pub async fn a_refusal_counts_for_the_address_that_was_refused(place: &dyn Place) {
    let store = place.open().await;
    for (number, class) in [(1, Class::Address), (2, Class::Suppressed), (3, Class::Refused)] {
        apply(&*store, vec![told_at(number, 1, &format!("Old{number}@example.org"))]).await;
        let under_way = lease(&*store, 20).await;
        apply(&*store, vec![readdressed(number, 2, &format!("new{number}@example.org"))]).await;
        settled(&*store, &under_way[0], Verdict::Dead(Reason::new(class, "550 no"))).await;
        let again = lease(&*store, 20).await;
        if class == Class::Refused {
            assert_eq!(again, [], "it was not for the address");
            continue;
        }
        let to = again[0].recipient().as_str();
        assert_eq!((ids(&again), again[0].attempt), (vec![mail_id(number, 1)], 2));
        assert_eq!((to, &again[0].suppressed), (&*format!("new{number}@example.org"), &None));
        settled(&*store, &again[0], sent()).await;
    }
    let suppressed = store.suppressed(SuppressedQuery { limit: 10, ..Default::default() }).await.unwrap();
    let suppressed: Vec<_> = suppressed.iter().map(|one| (one.address.as_str(), one.at, one.mail)).collect();
    assert_eq!(suppressed, [("old1@example.org", at(20), mail_id(1, 1))]);
    assert_eq!(store.ledger_counts().await.unwrap().suppressed, 1);
    counts_agree(&*store, &[1, 2, 3]).await;
    // written in another way it is the same address
    apply(&*store, vec![told_at(4, 1, "four@example.org")]).await;
    let under_way = lease(&*store, 20).await;
    apply(&*store, vec![readdressed(4, 2, "FOUR@example.org")]).await;
    settled(&*store, &under_way[0], Verdict::Dead(Reason::new(Class::Address, "550 no"))).await;
    assert_eq!(lease(&*store, 20).await, []);
}

pub async fn a_cancelled_order_tells_its_end_alone(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, vec![told(1, 1), told(1, 2), told(2, 1), told(3, 1)]).await;
    settled(&*store, &lease(&*store, 0).await[0], deferred(900)).await;
    // 1 has one that was put off, in 2 all is in one batch, 3 was told once before
    let batch = vec![ended(1, 3, Closing::Cancelled), ended(3, 2, Closing::Refused), told(4, 1), told(4, 2)];
    let batch = batch.into_iter().chain([ended(4, 3, Closing::Cancelled)]).collect();
    let before = statuses(&*store, 3).await;
    apply(&*store, batch).await;
    assert_eq!(statuses(&*store, 1).await, [DROPPED, DROPPED, PENDING]);
    assert_eq!(statuses(&*store, 3).await, [before[0], PENDING]);
    assert_eq!(statuses(&*store, 4).await, [DROPPED, DROPPED, PENDING]);
    counts_agree(&*store, &[1, 2, 3, 4]).await;
    drop(store);
    let store = place.open().await;
    let leased = lease(&*store, 0).await;
    let mut told: Vec<_> = leased.iter().map(|mail| (mail.id, &*mail.estado)).collect();
    told.sort();
    assert_eq!(told, [(mail_id(1, 3), "cancelado"), (mail_id(4, 3), "cancelado")], "at once, and nothing else");
    let mails = store.mails_of(id(1)).await.unwrap();
    for dropped in &mails[..2] {
        assert_eq!((dropped.class, dropped.due_at), (Some(Class::Cancelled), None));
        assert!(dropped.reply.as_deref().unwrap().contains("cancelled"), "{dropped:?}");
    }
    assert_eq!((mails[0].attempts, mails[1].attempts, mails[1].tried_at), (1, 0, None));
    assert_eq!(store.dead(None, 10).await.unwrap(), [], "nobody has to decide about them");
    for mail in &leased {
        settled(&*store, mail, sent()).await;
    }
    // 3 was being sent, which ended unheard; 2 goes on
    assert_eq!(ids(&lease(&*store, 10_000).await), [mail_id(2, 1)]);
    assert_eq!(ids(&lease(&*store, 10_000).await), [mail_id(3, 2)]);
    counts_agree(&*store, &[1, 2, 3, 4]).await;
}

pub async fn mails_of_before_the_end_are_dropped_when_they_come_late(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, vec![ended(1, 3, Closing::Cancelled)]).await;
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, 3)]);
    let applied = apply(&*store, vec![told(1, 1), told(1, 2)]).await;
    assert_eq!((applied.late, applied.ignored), (2, 0));
    assert_eq!(statuses(&*store, 1).await, [DROPPED, DROPPED, SENDING]);
    // in one batch, in either order
    apply(&*store, vec![told(2, 2), ended(2, 3, Closing::Refused), told(2, 1)]).await;
    assert_eq!(statuses(&*store, 2).await, [DROPPED, DROPPED, PENDING]);
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(2, 3)]);
    assert_eq!(store.mails_of(id(2)).await.unwrap()[0].class, Some(Class::Cancelled));
    counts_agree(&*store, &[1, 2]).await;
    // an end that comes late itself
    apply(&*store, vec![told(3, 1), told(3, 4)]).await;
    apply(&*store, vec![ended(3, 3, Closing::Cancelled)]).await;
    assert_eq!(statuses(&*store, 3).await, [DROPPED, PENDING, PENDING]);
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(3, 3)]);
    counts_agree(&*store, &[1, 2, 3]).await;
}

pub async fn a_mail_that_is_being_sent_may_finish(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, vec![told(1, 1), told(1, 2)]).await;
    let under_way = lease(&*store, 0).await;
    apply(&*store, vec![ended(1, 3, Closing::Cancelled)]).await;
    assert_eq!(statuses(&*store, 1).await, [SENDING, DROPPED, PENDING]);
    assert_eq!(lease(&*store, 0).await, [], "the end waits for it");
    settled(&*store, &under_way[0], sent()).await;
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, 3)]);
    assert_eq!(statuses(&*store, 1).await, [SENT, DROPPED, SENDING]);
    counts_agree(&*store, &[1]).await;
}

pub async fn what_waits_again_after_the_end_is_dropped(place: &dyn Place) {
    let store = place.open().await;
    let unknown = Verdict::Unknown(at(900), Reason::new(Class::Unanswered, "no answer"));
    let of_address = Verdict::Dead(Reason::new(Class::Address, "550"));
    for (number, verdict, is_ambiguous) in
        [(1, deferred(900), false), (2, unknown, true), (3, of_address, false), (4, refused(), false)]
    {
        apply(&*store, vec![told(number, 1)]).await;
        let under_way = lease(&*store, 0).await;
        let mut end = ended(number, 3, Closing::Cancelled);
        let is_corrected = number == 3;
        if is_corrected {
            end.event.address = Some("eva@example.com".parse().unwrap());
        }
        apply(&*store, vec![end]).await;
        settled(&*store, &under_way[0], verdict).await;
        let mails = store.mails_of(id(number)).await.unwrap();
        let status = if number == 4 { MailStatus::Dead } else { MailStatus::Dropped };
        assert_eq!((mails[0].status, mails[0].ambiguous, mails[0].attempts), (status, is_ambiguous, 1));
        let end = lease(&*store, 0).await;
        assert_eq!(ids(&end), [mail_id(number, 3)], "at once");
        settled(&*store, &end[0], sent()).await;
    }
    assert!(store.suppression(&"ana@example.org".parse().unwrap()).await.unwrap().is_some());
    // an attempt that nobody settled
    apply(&*store, vec![told(5, 1), told(6, 1)]).await;
    assert_eq!(lease(&*store, 0).await.len(), 2);
    apply(&*store, vec![ended(5, 2, Closing::Cancelled)]).await;
    let leased = lease(&*store, 60).await;
    assert_eq!(ids(&leased), [mail_id(6, 1)], "its lease has run out, and so has that of 5");
    let mails = store.mails_of(id(5)).await.unwrap();
    assert_eq!((mails[0].status, mails[0].ambiguous, mails[0].attempts), (MailStatus::Dropped, true, 1));
    assert_eq!(ids(&lease(&*store, 60).await), [mail_id(5, 2)]);
    counts_agree(&*store, &[1, 2, 3, 4, 5, 6]).await;
    let repeated = store.ledger_counts().await.unwrap().repeated;
    assert_eq!(repeated, 1, "only 6 may come twice");
}

pub async fn what_is_driven_again_after_the_end_is_dropped(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, vec![told(1, 1)]).await;
    settled(&*store, &lease(&*store, 0).await[0], refused()).await;
    apply(&*store, vec![ended(1, 2, Closing::Cancelled)]).await;
    settled(&*store, &lease(&*store, 0).await[0], refused()).await;
    for seq in [1, 2] {
        assert!(store.decide(&DeadId::Mail(mail_id(1, seq)), Action::Redrive, at(5)).await.unwrap());
    }
    let mut leased = lease(&*store, 5).await;
    leased.extend(lease(&*store, 5).await);
    assert_eq!(ids(&leased), [mail_id(1, 2)], "nobody is told what is over");
    assert_eq!(statuses(&*store, 1).await, [DROPPED, SENDING]);
    counts_agree(&*store, &[1]).await;
}

pub async fn a_finished_order_keeps_its_mails(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2), (1, 4), (1, 3)])).await;
    assert_eq!(statuses(&*store, 1).await, [PENDING; 4]);
    // where mail is off, an end drops nothing and there is nothing to drop
    let off = Batch { mail: false, ..batch(vec![told(2, 1), ended(2, 2, Closing::Cancelled)]) };
    store.apply(off.into()).await.unwrap();
    assert_eq!(statuses(&*store, 2).await, [None, None]);
    counts_agree(&*store, &[1, 2]).await;
}

pub async fn dropped_mails_are_compacted(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, vec![told(1, 1), ended(1, 2, Closing::Cancelled), told(2, 2), ended(2, 3, Closing::Cancelled)])
        .await;
    apply(&*store, vec![told(2, 1)]).await;
    for mail in lease(&*store, 0).await {
        settled(&*store, &mail, sent()).await;
    }
    let past = Past { keys: at(0), mails: at(1_000), minutes: at(0) };
    assert_eq!(store.prune(past).await.unwrap().mails, 5);
    assert_eq!(store.prune(past).await.unwrap().mails, 0);
    let mails = store.mails_of(id(2)).await.unwrap();
    assert!(mails.iter().all(|mail| mail.reply.is_none() && mail.tried_at.is_none()), "{mails:?}");
    assert_eq!(statuses(&*store, 2).await, [DROPPED, DROPPED, SENT]);
}
