//! The ledger for an operator: late mails, suppressed addresses, classes, compaction.

use encargo::store::{
    Past, Store,
    dead::{Action, DeadId},
    ledger::{Class, Mail, MailStatus, Reason, Settlement, Verdict},
    mails::{MailEntry, SuppressedQuery},
    orders::{Batch, HistoryEntry, Incoming},
};

use super::{Place, support::*};

fn dead(class: Class) -> Verdict {
    Verdict::Dead(Reason::new(class, "550 5.1.1 no such user"))
}

/// The order's first states, for an address of its own.
fn events_for(number: u64, email: &str, seqs: &[u8]) -> Vec<Incoming> {
    let order = encargo::domain::Order { email: email.parse().unwrap(), ..order(number) };
    seqs.iter().map(|seq| event(order.clone(), *seq)).collect()
}

pub async fn what_comes_late_goes_first_in_its_lane(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 2), (1, 4)])).await;
    apply(&*store, events([(1, 3), (1, 1)])).await;
    for seq in 1..=4 {
        assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, seq)]);
        assert_eq!(settle(&*store, mail_id(1, seq), 1, sent()).await, 1);
    }
    assert_eq!(store.next_due().await.unwrap(), None);
}

/// By the time that the order entered the state, also for one that comes late.
pub async fn states_of_before_are_not_mailed(place: &dyn Place) {
    let store = place.open().await;
    let moments = |states: &[(u64, u8, u64)]| {
        let at_moment = |(number, seq, second): &(u64, u8, u64)| {
            let mut incoming = event(order(*number), *seq);
            incoming.event.at = at(*second);
            incoming
        };
        states.iter().map(at_moment).collect::<Vec<_>>()
    };
    let since = |events| Batch { mail_since: Some(at(50)), ..batch(events) };
    let first = moments(&[(1, 1, 48), (1, 2, 49), (1, 3, 50), (2, 1, 51), (3, 2, 49)]);
    let applied = store.apply(since(first).into()).await.unwrap();
    assert_eq!((applied.accepted, applied.unmailed), (5, 3));
    let applied = store.apply(since(moments(&[(1, 4, 52), (3, 1, 47), (1, 4, 52)])).into()).await.unwrap();
    assert_eq!((applied.accepted, applied.late, applied.ignored, applied.unmailed), (1, 1, 1, 1));
    let status = |history: &[HistoryEntry]| history.iter().map(|entry| entry.mail).collect::<Vec<_>>();
    let pending = Some(MailStatus::Pending);
    let (_, history) = store.order(order(1).id).await.unwrap().unwrap();
    assert_eq!(status(&history), [None, None, pending, pending]);
    let (_, history) = store.order(order(3).id).await.unwrap().unwrap();
    assert_eq!(status(&history), [None, None]);
    assert_eq!(store.ledger_counts().await.unwrap().by_status, [(MailStatus::Pending, 3)]);
    let mut first = ids(&lease(&*store, 60).await);
    first.sort();
    assert_eq!(first, [mail_id(1, 3), mail_id(2, 1)]);
    // none of them counts where mail is off
    let off = Batch { mail: false, ..since(moments(&[(4, 1, 1)])) };
    assert_eq!(store.apply(off.into()).await.unwrap().unmailed, 0);
}

pub async fn a_late_mail_lets_the_running_one_finish(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 2), (1, 3), (2, 2)])).await;
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, 2), mail_id(2, 2)]);
    apply(&*store, events([(1, 1), (2, 1)])).await;
    assert_eq!(settle(&*store, mail_id(1, 2), 1, sent()).await, 1);
    assert_eq!(settle(&*store, mail_id(2, 2), 1, Verdict::Retry(at(0), Reason::new(Class::Deferred, "451"))).await, 1);
    assert_eq!(ids(&lease(&*store, 0).await), [mail_id(1, 1), mail_id(2, 1)]);
    assert_eq!(lease(&*store, 1).await, [], "the others wait for these");
    settle(&*store, mail_id(1, 1), 1, sent()).await;
    settle(&*store, mail_id(2, 1), 1, sent()).await;
    let mut next: Vec<_> = lease(&*store, 1).await.iter().map(|mail| (mail.id, mail.attempt)).collect();
    next.sort();
    assert_eq!(next, [(mail_id(1, 3), 1), (mail_id(2, 2), 2)]);
}

pub async fn what_was_sent_already_does_not_hold_up_what_is_late(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 2)])).await;
    lease(&*store, 0).await;
    settle(&*store, mail_id(1, 2), 1, sent()).await;
    store.apply((Batch { now: at(9), ..batch(events([(1, 1)])) }).into()).await.unwrap();
    assert_eq!(ids(&lease(&*store, 9).await), [mail_id(1, 1)]);
    settle(&*store, mail_id(1, 1), 1, sent()).await;
    // without mails, nothing waits for what has none
    store.apply((Batch { mail: false, ..batch(events([(2, 1)])) }).into()).await.unwrap();
    apply(&*store, events([(2, 4)])).await;
    store.apply((Batch { mail: false, ..batch(events([(2, 2)])) }).into()).await.unwrap();
    assert_eq!(ids(&lease(&*store, 9).await), [mail_id(2, 4)]);
}

pub async fn an_address_that_was_refused_is_suppressed(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events_for(1, "Ana@Example.org", &[1, 2])).await;
    apply(&*store, events_for(2, "eva@example.org", &[1])).await;
    let first = store.lease(at(20), at(80), 10).await.unwrap();
    assert!(first.iter().all(|mail| mail.suppressed.is_none()));
    settle(&*store, mail_id(1, 1), 1, dead(Class::Address)).await;
    settle(&*store, mail_id(1, 1), 1, dead(Class::Address)).await;
    settle(&*store, mail_id(2, 1), 1, sent()).await;
    // another order of the same customer, written in another way
    apply(&*store, events_for(3, "ana@example.ORG", &[1])).await;
    apply(&*store, events_for(4, "eva@example.org", &[1])).await;
    drop(store);
    let store = place.open().await;
    let mut next = lease(&*store, 30).await;
    next.sort_by_key(|mail| mail.id);
    assert_eq!(ids(&next), [mail_id(1, 2), mail_id(3, 1), mail_id(4, 1)]);
    let why = next[0].suppressed.clone().unwrap();
    assert_eq!((why.at, &*why.reason, why.mail), (at(20), "550 5.1.1 no such user", mail_id(1, 1)));
    assert_eq!(why.address.as_str(), "ana@example.org");
    assert_eq!((next[1].suppressed.as_ref(), &next[2].suppressed), (Some(&why), &None));
    assert_eq!(store.suppression(&"ANA@example.org".parse().unwrap()).await.unwrap(), Some(why));
    assert_eq!(store.suppression(&"eva@example.org".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.ledger_counts().await.unwrap().suppressed, 1);
}

pub async fn only_a_refusal_of_the_address_suppresses_it(place: &dyn Place) {
    let store = place.open().await;
    let others = Class::ALL.into_iter().filter(|class| *class != Class::Address);
    for (number, class) in (1..).zip(others) {
        apply(&*store, events([(number, 1)])).await;
        lease(&*store, 0).await;
        assert_eq!(settle(&*store, mail_id(number, 1), 1, dead(class)).await, 1);
    }
    // an attempt that is no longer the current one decides nothing
    apply(&*store, events([(50, 1)])).await;
    lease(&*store, 0).await;
    lease(&*store, 60).await;
    settle(&*store, mail_id(50, 1), 1, dead(Class::Address)).await;
    assert_eq!(store.ledger_counts().await.unwrap().suppressed, 0);
    assert_eq!(store.suppressed(SuppressedQuery { limit: 10, ..Default::default() }).await.unwrap(), []);
}

pub async fn a_released_address_has_mail_again(place: &dyn Place) {
    let store = place.open().await;
    let address = "ANA@example.org".parse().unwrap();
    assert!(!store.release_address(&address).await.unwrap());
    apply(&*store, events([(1, 1), (1, 2), (1, 3)])).await;
    lease(&*store, 0).await;
    settle(&*store, mail_id(1, 1), 1, dead(Class::Address)).await;
    assert!(lease(&*store, 0).await[0].suppressed.is_some());
    settle(&*store, mail_id(1, 2), 1, dead(Class::Suppressed)).await;
    assert!(store.release_address(&address).await.unwrap());
    assert!(!store.release_address(&address).await.unwrap());
    assert_eq!(store.suppression(&address).await.unwrap(), None);
    assert_eq!(store.ledger_counts().await.unwrap().suppressed, 0);
    let next = lease(&*store, 0).await;
    assert_eq!((next[0].id, &next[0].suppressed), (mail_id(1, 3), &None));
    assert_eq!(store.dead(None, 10).await.unwrap().len(), 2, "they stay dead until somebody decides");
    // refused again, it is suppressed again
    settle(&*store, mail_id(1, 3), 1, dead(Class::Address)).await;
    assert_eq!(store.suppression(&address).await.unwrap().unwrap().mail, mail_id(1, 3));
}

pub async fn a_mail_is_driven_again_with_its_address_let_through(place: &dyn Place) {
    let store = place.open().await;
    let release = async |order| {
        let id = DeadId::Mail(mail_id(order, 1));
        store.decide(&id, Action::Release, at(5)).await.unwrap()
    };
    for order in [1, 2] {
        apply(&*store, events([(order, 1)])).await;
        lease(&*store, 0).await;
        settle(&*store, mail_id(order, 1), 1, dead(Class::Address)).await;
    }
    let others = events_for(3, "eva@example.org", &[1]);
    apply(&*store, others).await;
    lease(&*store, 0).await;
    settle(&*store, mail_id(3, 1), 1, dead(Class::Address)).await;
    assert_eq!(store.ledger_counts().await.unwrap().suppressed, 2);
    assert!(release(1).await);
    assert_eq!(store.ledger_counts().await.unwrap().suppressed, 1, "only that address");
    let again = &lease(&*store, 5).await[0];
    assert_eq!((again.id, &again.suppressed), (mail_id(1, 1), &None));
    settle(&*store, mail_id(1, 1), 2, dead(Class::Address)).await;
    // who comes too late lets nothing through
    assert!(store.decide(&DeadId::Mail(mail_id(1, 1)), Action::Drop, at(5)).await.unwrap());
    assert!(!release(1).await);
    assert_eq!(store.ledger_counts().await.unwrap().suppressed, 2);
    assert!(release(2).await);
    assert_eq!(store.ledger_counts().await.unwrap().suppressed, 1);
}

pub async fn suppressed_addresses_are_listed_by_text_and_page(place: &dyn Place) {
    let store = place.open().await;
    let addresses = ["cy@b.example", "ana@a.example", "bo_b@a.example", "boxb@b.example"];
    for (number, address) in (1..).zip(addresses) {
        apply(&*store, events_for(number, address, &[1])).await;
        lease(&*store, 0).await;
        settle(&*store, mail_id(number, 1), 1, dead(Class::Address)).await;
    }
    let list = async |containing: Option<&str>, after: Option<&str>, limit| {
        let after = after.map(|after| after.parse().unwrap());
        let query = SuppressedQuery { containing: containing.map(str::to_owned), after, limit, ..Default::default() };
        let found = store.suppressed(query).await.unwrap();
        found.iter().map(|one| one.address.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 10).await, ["ana@a.example", "bo_b@a.example", "boxb@b.example", "cy@b.example"]);
    assert_eq!(list(None, Some("BO_B@a.example"), 1).await, ["boxb@b.example"]);
    assert_eq!(list(Some("B.Ex"), None, 10).await, ["boxb@b.example", "cy@b.example"]);
    assert_eq!(list(Some("bo_b"), None, 10).await, ["bo_b@a.example"], "a plain text, not a pattern");
    assert_eq!(list(Some("a"), Some("ana@a.example"), 1).await, ["bo_b@a.example"]);
    let by_reason = async |reason: &str| {
        let query = SuppressedQuery { reason: Some(reason.into()), limit: 10, ..Default::default() };
        store.suppressed(query).await.unwrap().len()
    };
    assert_eq!((by_reason("No Such USER").await, by_reason("relay").await), (4, 0));
}

pub async fn mails_are_counted_by_class(place: &dyn Place) {
    use MailStatus::{Dead, Dropped, Pending};
    let store = place.open().await;
    apply(&*store, events([(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)])).await;
    lease(&*store, 0).await;
    let put_off = |class| Verdict::Retry(at(50), Reason::new(class, "451"));
    settle(&*store, mail_id(1, 1), 1, put_off(Class::Deferred)).await;
    settle(&*store, mail_id(2, 1), 1, put_off(Class::Deferred)).await;
    settle(&*store, mail_id(3, 1), 1, Verdict::Unknown(at(50), Reason::new(Class::Unanswered, "cut off"))).await;
    settle(&*store, mail_id(4, 1), 1, dead(Class::Address)).await;
    settle(&*store, mail_id(5, 1), 1, dead(Class::Expired)).await;
    let expected = [(Pending, Class::Deferred, 2), (Pending, Class::Unanswered, 1), (Dead, Class::Address, 1)];
    assert_eq!(classes(&*store).await, [&expected[..], &[(Dead, Class::Expired, 1)]].concat());
    // taken again, driven again, dropped, cut off
    assert_eq!(store.lease(at(50), at(60), 2).await.unwrap().len(), 2);
    for (id, action) in [(4, Action::Redrive), (5, Action::Drop)] {
        assert!(store.decide(&DeadId::Mail(mail_id(id, 1)), action, at(50)).await.unwrap());
    }
    let expected = [(Pending, Class::Unanswered, 1), (Dropped, Class::Expired, 1)];
    let left = classes(&*store).await;
    assert_eq!(left.iter().map(|(.., n)| n).sum::<u64>(), 2, "{left:?}");
    assert!(left.contains(&expected[1]), "{left:?}");
    assert_eq!(store.expire_leases(at(50)).await.unwrap(), 3);
    let unanswered = classes(&*store).await.into_iter().find(|(_, class, _)| *class == Class::Unanswered);
    assert!(unanswered.is_some_and(|(.., n)| n >= 3));
    // all sent: no reason is left of them
    while let Some(mail) = store.lease(at(70), at(90), 1).await.unwrap().pop() {
        settle(&*store, mail.id, mail.attempt, sent()).await;
    }
    assert_eq!(classes(&*store).await, expected[1..]);
}

async fn classes(store: &dyn Store) -> Vec<(MailStatus, Class, u64)> {
    let mut counts = store.ledger_counts().await.unwrap().by_class;
    let place = |status: &MailStatus| MailStatus::ALL.iter().position(|other| other == status);
    counts.sort_by_key(|(status, class, _)| (place(status), *class));
    counts
}

pub async fn the_mails_of_an_order_are_told(place: &dyn Place) {
    let store = place.open().await;
    assert_eq!(store.mails_of(id(1)).await.unwrap(), []);
    store.apply((Batch { mail: false, ..batch(events([(1, 1)])) }).into()).await.unwrap();
    apply(&*store, events([(1, 2), (1, 3), (1, 4)])).await;
    store.lease(at(30), at(90), 1).await.unwrap();
    settle(&*store, mail_id(1, 2), 1, sent()).await;
    store.lease(at(40), at(100), 2).await.unwrap();
    settle(&*store, mail_id(1, 3), 1, Verdict::Unknown(at(50), Reason::new(Class::Unanswered, "cut off"))).await;
    let mail = |seq, estado: &str, status| MailEntry {
        id: mail_id(1, seq),
        estado: estado.into(),
        status,
        at: at(8 * (u64::from(seq) - 1)),
        due_at: None,
        attempts: 1,
        ambiguous: false,
        tried_at: None,
        class: None,
        reply: None,
    };
    let expected = [
        MailEntry {
            tried_at: Some(at(30)),
            reply: Some("250 2.0.0 Ok".into()),
            ..mail(2, "preparando", MailStatus::Sent)
        },
        MailEntry {
            due_at: Some(at(50)),
            ambiguous: true,
            tried_at: Some(at(40)),
            class: Some(Class::Unanswered),
            reply: Some("cut off".into()),
            ..mail(3, "entregando", MailStatus::Pending)
        },
        MailEntry { due_at: Some(at(0)), attempts: 0, ..mail(4, "finalizado", MailStatus::Pending) },
    ];
    assert_eq!(store.mails_of(id(1)).await.unwrap(), expected);
}

pub async fn waiting_mails_are_listed_first_due_first(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (1, 2), (2, 1), (3, 1), (4, 1)])).await;
    lease(&*store, 10).await;
    settle(&*store, mail_id(1, 1), 1, Verdict::Retry(at(90), Reason::new(Class::Deferred, "451"))).await;
    settle(&*store, mail_id(2, 1), 1, sent()).await;
    settle(&*store, mail_id(3, 1), 1, refused()).await;
    let waiting = store.mails_waiting(10).await.unwrap();
    let told: Vec<_> = waiting.iter().map(|mail| (mail.id, mail.status, mail.due_at)).collect();
    let expected =
        [(mail_id(4, 1), MailStatus::Sending, Some(at(70))), (mail_id(1, 1), MailStatus::Pending, Some(at(90)))];
    assert_eq!(told, expected);
    assert_eq!(store.mails_waiting(1).await.unwrap(), waiting[..1]);
}

/// Sends all that is due, at a second.
async fn send_all(store: &dyn Store, second: u64) {
    loop {
        let mails = store.lease(at(second), at(second + 60), 1_000).await.unwrap();
        if mails.is_empty() {
            return;
        }
        // together: by itself each waits for a projection that it could share a commit with
        let settled = |mail: &Mail| Settlement {
            id: mail.id,
            attempt: mail.attempt,
            to: mail.recipient().clone(),
            verdict: sent(),
        };
        store.settle(mails.iter().map(settled).collect()).await.unwrap();
    }
}

async fn compact(store: &dyn Store, second: u64) -> u64 {
    store.prune(Past { keys: at(0), mails: at(second), minutes: at(0) }).await.unwrap().mails
}

pub async fn old_rows_are_compacted(place: &dyn Place) {
    let store = place.open().await;
    // more than any back end takes in one piece
    apply(&*store, (1..=2_000).flat_map(|number| [event(order(number), 1), event(order(number), 2)]).collect()).await;
    send_all(&*store, 20).await;
    apply(&*store, events([(2_001, 1), (2_001, 2)])).await;
    send_all(&*store, 30).await;
    let before = store.order(id(7)).await.unwrap();
    let counts = store.ledger_counts().await.unwrap();
    assert_eq!(compact(&*store, 20).await, 0);
    assert_eq!(compact(&*store, 21).await, 4_000);
    assert_eq!(compact(&*store, 21).await, 0);
    assert_eq!(store.order(id(7)).await.unwrap(), before, "the history stays");
    assert_eq!(store.ledger_counts().await.unwrap(), counts);
    let mails = store.mails_of(id(7)).await.unwrap();
    assert_eq!(mails.len(), 2);
    assert!(
        mails.iter().all(|mail| mail.status == MailStatus::Sent && mail.reply.is_none() && mail.tried_at.is_none())
    );
    assert!(store.mails_of(id(2_001)).await.unwrap().iter().all(|mail| mail.reply.is_some()));
    assert_eq!(compact(&*store, 1_000).await, 2);
    assert_eq!(lease(&*store, 1_000).await, []);
}

pub async fn only_settled_rows_are_compacted(place: &dyn Place) {
    let store = place.open().await;
    apply(&*store, events([(1, 1), (2, 1), (2, 2), (3, 1), (4, 1)])).await;
    assert_eq!(lease(&*store, 20).await.len(), 4);
    settle(&*store, mail_id(1, 1), 1, refused()).await;
    settle(&*store, mail_id(3, 1), 1, Verdict::Retry(at(50), Reason::new(Class::Deferred, "451"))).await;
    settle(&*store, mail_id(4, 1), 1, sent()).await;
    let before = store.mails_of(id(2)).await.unwrap();
    assert_eq!(compact(&*store, 1_000).await, 1);
    assert_eq!(store.mails_of(id(2)).await.unwrap(), before);
    assert_eq!(store.dead_one(&DeadId::Mail(mail_id(1, 1))).await.unwrap().unwrap().attempts, 1);
    assert_eq!(store.mails_of(id(3)).await.unwrap()[0].reply.as_deref(), Some("451"));
    assert_eq!(settle(&*store, mail_id(2, 1), 1, sent()).await, 1);
    assert_eq!(ids(&store.lease(at(50), at(60), 9).await.unwrap()), [mail_id(2, 2), mail_id(3, 1)]);
}
