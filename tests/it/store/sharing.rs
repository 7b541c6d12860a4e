//! Several processes on one database: trackers that bring events of the same orders, mailers on one ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use encargo::store::{
    Error, Ledger as _, Mails as _, Orders as _,
    ledger::{MailId, MailStatus},
    orders::Batch,
    postgres::PgStore,
};

use super::{PgSchema, support::*};

const ORDERS: u64 = 120;

/// Events of every order go to two trackers in turn, each in batches of its own partition: so they come late, and both
/// bring the same order at the same moment.
async fn track(store: &PgStore, partition: u32, seqs: [u8; 2]) -> u64 {
    let (mut offset, mut taken) = (0, 0);
    for first in (1..=ORDERS).step_by(15) {
        let events: Vec<_> = (first..first + 15).flat_map(|number| seqs.map(|seq| event(order(number), seq))).collect();
        let to = offset + events.len() as u64;
        let batch = std::sync::Arc::new(Batch { advances: vec![advance(partition, offset, to)], ..batch(events) });
        let applied = loop {
            match store.apply(batch.clone()).await {
                Ok(applied) => break applied,
                Err(Error::Unavailable(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        };
        taken += applied.accepted + applied.late;
        offset = to;
    }
    taken
}

/// What is in flight, of all mailers.
#[derive(Default)]
struct Air(Mutex<BTreeMap<u64, BTreeSet<u8>>>);

impl Air {
    fn take_off(&self, id: MailId) {
        let mut air = self.0.lock().unwrap();
        let order = air.entry(id.order.get()).or_default();
        // a later one may be in flight when an earlier one comes late
        assert!(order.range(..=id.seq).next().is_none(), "{id:?} overtakes {order:?}");
        order.insert(id.seq);
    }

    fn land(&self, id: MailId) {
        self.0.lock().unwrap().get_mut(&id.order.get()).unwrap().remove(&id.seq);
    }
}

async fn mail(store: &PgStore, air: &Air, tracked: &AtomicBool) -> u64 {
    let mut count = 0;
    loop {
        let done = tracked.load(Ordering::SeqCst);
        let mails = match store.lease(at(0), at(600), 7).await {
            Ok(mails) => mails,
            Err(Error::Unavailable(_)) => continue,
            Err(other) => panic!("{other}"),
        };
        if mails.is_empty() {
            if done && store.next_due().await.unwrap().is_none() {
                return count;
            }
            tokio::task::yield_now().await;
        }
        for mail in &mails {
            assert_eq!(mail.attempt, 1, "{mail:?}");
            air.take_off(mail.id);
        }
        for mail in mails {
            // before the store knows, for then the next may go
            air.land(mail.id);
            assert_eq!(settle(store, mail.id, 1, sent()).await, 1);
            count += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_trackers_and_mailers_share_the_work() {
    let schema = PgSchema::new();
    schema.create().await;
    let open = || PgStore::open(patient(schema.url()));
    let (a, b, c) = tokio::try_join!(open(), open(), open()).unwrap();
    let (air, tracked) = (Air::default(), AtomicBool::new(false));
    let tracking = async {
        let both = tokio::join!(track(&a, 0, [2, 4]), track(&b, 1, [1, 3]));
        tracked.store(true, Ordering::SeqCst);
        both.0 + both.1
    };
    let mailing = async {
        let sent = tokio::join!(mail(&a, &air, &tracked), mail(&b, &air, &tracked), mail(&c, &air, &tracked));
        sent.0 + sent.1 + sent.2
    };
    let (taken, mailed) = tokio::join!(tracking, mailing);
    assert_eq!((taken, mailed), (4 * ORDERS, 4 * ORDERS));
    let counts = a.ledger_counts().await.unwrap();
    assert_eq!((counts.by_status, counts.repeated), (vec![(MailStatus::Sent, 4 * ORDERS)], 0));
    assert_eq!(counts.oldest_unsettled_at, None);
    let orders = a.order_counts().await.unwrap();
    assert_eq!((orders.total, orders.finished), (ORDERS, ORDERS));
    assert_eq!(orders.by_state, [("finalizado".into(), ORDERS)]);
    for number in 1..=ORDERS {
        let (view, history) = a.order(id(number)).await.unwrap().unwrap();
        assert_eq!((view.seq, history.len()), (4, 4));
        assert_eq!(a.mails_of(id(number)).await.unwrap().len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracker_that_lost_its_partition_cannot_write() {
    let schema = PgSchema::new();
    schema.create().await;
    let open = || PgStore::open(patient(schema.url()));
    let (zombie, owner) = tokio::try_join!(open(), open()).unwrap();
    let of = |number, from, to| {
        std::sync::Arc::new(Batch { advances: vec![advance(0, from, to)], ..batch(events([(number, 1)])) })
    };
    // at the same moment: one of them, whichever it is
    for round in 0..20 {
        let (from, to) = (round * 10, round * 10 + 10);
        let (a, b) = tokio::join!(zombie.apply(of(1 + round, from, to)), owner.apply(of(101 + round, from, to - 1)));
        let fenced = |result: &encargo::store::Result<_>| matches!(result, Err(Error::Fenced(_)));
        assert!(a.is_ok() && fenced(&b) || fenced(&a) && b.is_ok(), "{a:?} {b:?}");
        if b.is_ok() {
            owner
                .apply(std::sync::Arc::new(Batch { advances: vec![advance(0, to - 1, to)], ..batch(vec![]) }))
                .await
                .unwrap();
        }
    }
    assert_eq!(owner.order_counts().await.unwrap().total, 20);
}
