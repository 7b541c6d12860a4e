use super::*;
use crate::domain::Timestamp;

const LEASE: Duration = Duration::from_mins(2);

fn open(room: usize) -> (Handover, Clock) {
    let handover = Handover::default();
    handover.offer(room, LEASE);
    (handover, Clock::manual(Timestamp::from_millis(1_000)))
}

/// A mail with that number of its order.
pub(crate) fn mail(seq: u8) -> Mail {
    let product = crate::domain::Product::new("3170", "King's Bounty", "7.99").unwrap();
    let order = crate::domain::Order {
        id: crate::domain::OrderId::new(1).unwrap(),
        product,
        email: "ana@example.org".parse().unwrap(),
        lang: None,
        placed_at: Timestamp::default(),
        handle: None,
        trace: None,
    };
    Mail {
        id: crate::store::ledger::MailId { order: order.id, seq },
        order,
        address: None,
        estado: "recibido".into(),
        template: "recibido".into(),
        step: seq,
        at: Timestamp::default(),
        next: None,
        waits: crate::domain::Waits::Untold,
        expect_at: None,
        attempt: 1,
        begun_at: Timestamp::default(),
        tries: 1,
        copies: 0,
        ambiguous: false,
        suppressed: None,
    }
}

#[test]
fn nothing_is_granted_without_a_mailer_that_has_room() {
    let (clock, handover) = (Clock::manual(Timestamp::default()), Handover::default());
    assert_eq!(handover.grant(&clock), None);
    handover.offer(0, LEASE);
    assert_eq!(handover.grant(&clock), None);
    handover.offer(1, LEASE);
    assert!(handover.grant(&clock).is_some());
    handover.abandon();
    assert_eq!(handover.grant(&clock), None);
}

#[test]
fn what_is_granted_and_not_used_can_be_granted_again() {
    let (handover, clock) = open(5);
    let grant = handover.grant(&clock).unwrap();
    let leasing = Leasing { until: Timestamp::from_millis(1_000) + LEASE, limit: 5 };
    assert_eq!((grant.leasing, grant.expires), (leasing, clock.monotonic() + LEASE));
    handover.offer(5, LEASE);
    assert_eq!(handover.grant(&clock).unwrap().leasing.limit, 5, "whoever had the first is gone");
    handover.hand(grant, vec![mail(1), mail(2)]);
    assert_eq!(handover.grant(&clock).unwrap().leasing.limit, 3);
}

#[test]
fn as_many_as_were_granted_are_a_call_and_fewer_are_none() {
    let (handover, clock) = open(2);
    handover.hand(handover.grant(&clock).unwrap(), vec![mail(1)]);
    let (handed, is_called) = handover.take();
    assert_eq!((handed.len(), is_called), (1, false));
    handover.offer(1, LEASE);
    handover.hand(handover.grant(&clock).unwrap(), vec![mail(2)]);
    assert!(handover.take().1);
    assert!(!handover.take().1, "once");
    handover.call();
    assert!(handover.take().1);
}

#[tokio::test]
async fn who_closes_hears_of_what_was_granted_before() {
    let (handover, clock) = open(2);
    let grant = handover.grant(&clock).unwrap();
    let closing = async {
        handover.close().await;
        handover.take().0.len()
    };
    let handing = async {
        assert_eq!(handover.grant(&clock), None, "it is closed");
        handover.offer(0, LEASE); // as a look into the ledger does that was under way
        handover.hand(grant, vec![mail(1)]);
    };
    let (handed, ()) = tokio::join!(biased; closing, handing);
    assert_eq!(handed, 1);
}
