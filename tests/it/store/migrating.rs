//! Stores of the version before, with orders in flight: they are brought up to date when they are opened, and go on.

use std::{future::Future, pin::Pin};

use encargo::{
    domain::{Change, Closing, CommandOutcome, Waits, command::Verdict},
    store::{
        Store,
        dead::{Action, DeadId},
        keys::{Reservation, Reserved},
        ledger::MailStatus,
        orders::{Batch, Query},
    },
};

use super::{
    PgSchema, Place, SqliteFile,
    lives::{command, commanded, ended, told},
    support::*,
};

/// Takes away what versions 8 and later of the tables have brought: what is left is what the version before had written.
const BACK_TO_7: &str = "
    DROP TABLE outcomes;
    DROP TABLE resends;
    DROP TABLE capacities;
    ALTER TABLE orders DROP COLUMN partition;
    ALTER TABLE orders DROP COLUMN flow;
    ALTER TABLE orders DROP COLUMN address;
    ALTER TABLE orders DROP COLUMN mails_from;
    ALTER TABLE history DROP COLUMN closes;
    ALTER TABLE history DROP COLUMN waits;
    ALTER TABLE history DROP COLUMN left_ms;
    ALTER TABLE history DROP COLUMN step;
    ALTER TABLE history DROP COLUMN change;
    ALTER TABLE history DROP COLUMN exits;
    ALTER TABLE history DROP COLUMN expect_at;
    ALTER TABLE history DROP COLUMN next;
    ALTER TABLE history DROP COLUMN by;
    ALTER TABLE history DROP COLUMN command;
    ALTER TABLE history DROP COLUMN reason;
    ALTER TABLE history DROP COLUMN template;
    ALTER TABLE history DROP COLUMN record_offset;
    DELETE FROM refinery_schema_history WHERE version > 7";

/// Orders by minute, where version 9 of PostgreSQL's tables found them.
const BACK_TO_8: &str = "INSERT INTO tally SELECT * FROM minutes; DROP TABLE minutes;";

/// Runs statements in a place that nobody has open.
type Run<'a> = dyn Fn(&'static str) -> Pin<Box<dyn Future<Output = ()> + 'a>> + 'a;

/// Orders in every state and mails in every status, as version 1 of events tells them.
async fn fill(store: &dyn Store) {
    let mut untold = event(order(5), 1);
    untold.event.waits = Waits::Untold;
    let events = events([(1, 1), (1, 2), (2, 1), (2, 4), (3, 1), (4, 1)]).into_iter().chain([untold]).collect();
    store.apply((Batch { advances: vec![advance(0, 0, 8)], ..batch(events) }).into()).await.unwrap();
    assert_eq!(lease(store, 0).await.len(), 5);
    settle(store, mail_id(1, 1), 1, sent()).await;
    settle(store, mail_id(2, 1), 1, refused()).await;
    let reservation = Reservation {
        key: "k".into(),
        request: 7,
        order: id(6),
        value: b"{}".to_vec(),
        track: String::new(),
        at: at(0),
        until: at(60),
    };
    store.reserve(reservation).await.unwrap();
}

async fn a_store_of_the_version_before_goes_on(place: &dyn Place, run: &Run<'_>) {
    let store = place.open().await;
    fill(&*store).await;
    let numbers = 1..=5;
    let all = async |store: &dyn Store| {
        let mut all = vec![];
        for number in numbers.clone() {
            all.push((store.order(id(number)).await.unwrap(), store.mails_of(id(number)).await.unwrap()));
        }
        let minutes = store.minutes(at(0)).await.unwrap();
        assert!(!minutes.is_empty());
        (all, minutes, store.order_counts().await.unwrap(), store.ledger_counts().await.unwrap())
    };
    let before = all(&*store).await;
    let stuck = Query { overdue_at: Some(at(1_000)), limit: 10, ..Query::default() };
    let was_stuck = store.orders(stuck.clone()).await.unwrap();
    drop(store);
    run(BACK_TO_7).await;

    let store = place.open().await;
    assert_eq!(all(&*store).await, before);
    assert_eq!(store.orders(stuck).await.unwrap(), was_stuck);
    assert_eq!(was_stuck.len(), 3);
    assert_eq!(store.offsets(GROUP).await.unwrap(), [(partition(0), 8)]);
    assert_eq!(store.held("k", 7, at(1)).await.unwrap(), Some(Reserved::Running));
    assert_eq!(store.outcome(&command("c")).await.unwrap(), None);

    // the orders go on, by time and by command, and are what they are from then on
    let outcome = CommandOutcome {
        command: command("c"),
        order: id(3),
        copy: None,
        verdict: Verdict::Done,
        status: None,
        at: at(9),
    };
    let events = vec![told(1, 3), ended(3, 2, Closing::Cancelled), commanded(4, 2, Change::Held, Waits::Held(None))];
    let batch = Batch { advances: vec![advance(0, 8, 11)], outcomes: vec![outcome.clone()], ..batch(events) };
    assert_eq!(store.apply(batch.into()).await.unwrap().accepted, 3);
    assert_eq!(store.outcome(&command("c")).await.unwrap(), Some(outcome));
    let (view, _) = store.order(id(1)).await.unwrap().unwrap();
    assert_eq!((view.partition, view.flow.as_deref(), view.step), (Some(3), Some("standard@2"), 3));
    let counts = store.order_counts().await.unwrap();
    assert_eq!((counts.total, counts.finished, counts.cancelled), (5, 1, 1));

    // mails of before: what waited is sent, what was being sent is sent again, what is dead can be driven again
    assert!(store.decide(&DeadId::Mail(mail_id(2, 1)), Action::Redrive, at(10)).await.unwrap());
    settle(&*store, mail_id(4, 1), 1, sent()).await;
    settle(&*store, mail_id(3, 1), 1, sent()).await;
    let mut leased = lease(&*store, 60).await;
    leased.sort_by_key(|mail| mail.id);
    let told: Vec<_> = leased.iter().map(|mail| (mail.id, &*mail.template, mail.step, mail.ambiguous)).collect();
    let expected = [
        (mail_id(1, 2), "preparando", 2, false),
        (mail_id(2, 1), "recibido", 1, false),
        (mail_id(3, 2), "cancelado", 1, false),
        (mail_id(5, 1), "recibido", 1, true),
    ];
    assert_eq!(told, expected);
    assert!(leased.iter().all(|mail| mail.next.is_none() && mail.address.is_none()));
    let (_, history) = store.order(id(3)).await.unwrap().unwrap();
    assert_eq!(history[0].mail, Some(MailStatus::Sent));
}

#[tokio::test]
async fn sqlite_a_file_of_the_version_before_goes_on() {
    let place = SqliteFile::new();
    let path = place.0.path().join("store.db");
    let run: &Run<'_> = &|sql| {
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        Box::pin(std::future::ready(()))
    };
    a_store_of_the_version_before_goes_on(&place, run).await;
}

#[tokio::test]
async fn postgres_a_database_of_the_version_before_goes_on() {
    let place = PgSchema::new();
    let run: &Run<'_> = &|sql| {
        Box::pin(async {
            place.run(BACK_TO_8).await;
            place.run(sql).await;
        })
    };
    a_store_of_the_version_before_goes_on(&place, run).await;
}
