use std::time::Duration;

use super::*;
use crate::{
    clock::Clock,
    domain::{Order, OrderId, Product, Timestamp, lifecycle},
    eventlog::{
        NewRecord, TopicSpec,
        memory::{MemoryLog, Options},
    },
};

/// A log with a topic of states and one of flows.
fn log(clock: &Clock) -> Arc<MemoryLog> {
    let log = MemoryLog::new(clock.clone(), Options::default());
    for name in ["states", "flows"] {
        log.create(&TopicSpec { name: name.into(), partitions: 1 }).unwrap();
    }
    Arc::new(log)
}

fn restorer(log: &Arc<MemoryLog>, clock: Clock) -> Restorer {
    Restorer {
        log: log.clone(),
        env: Env::simulated(clock, 1),
        flow: flow(1),
        flows: "flows".into(),
        states: "states".into(),
        old_states: None,
        old_group: None,
        remember: 10,
        spawn: Arc::new(on_a_thread),
        known: Arc::default(),
    }
}

fn flow(version: u32) -> Arc<Flow> {
    Arc::new(Flow::standard(Duration::from_secs(u64::from(version))).with_version(version))
}

async fn publish(log: &Arc<MemoryLog>, version: u32) {
    let flow = Flow::clone(&flow(version));
    let configured = flows::topic::Configured { flow, from: "a test".into(), is_numbered: true };
    flows::topic::publish(log.clone(), "flows", configured, Timestamp::default()).await.unwrap();
}

/// An order that has begun with a version.
async fn begun(log: &MemoryLog, id: u64, version: u32) {
    let order = Order {
        id: OrderId::new(id).unwrap(),
        product: Product::new("1010", "Faro", "12.50").unwrap(),
        email: "ana@example.org".parse().unwrap(),
        lang: None,
        placed_at: Timestamp::default(),
        handle: None,
        trace: None,
    };
    let event = lifecycle::place(Arc::new(order), &flow(version), Timestamp::default());
    write(log, wire::encode_event(&event), wire::Headers::default()).await;
}

async fn write(log: &MemoryLog, value: Vec<u8>, headers: wire::Headers) {
    let (topic, key, at) = ("states".into(), Some(b"7".to_vec()), Timestamp::default());
    log.append(vec![NewRecord { topic, partition: Some(0), key, value, headers, at }]).await.unwrap();
}

fn restored(restorer: &Restorer) -> Result<Engine, Error> {
    let tp = TopicPartition { topic: "orders".into(), partition: 0 };
    restorer.restore(&GroupOffset { tp, offset: 0, metadata: String::new() }, &Shared::default())
}

/// The versions under which the orders in flight go on, in the order of the orders.
fn go_on_under(mut engine: Engine) -> Vec<Arc<str>> {
    let day = Duration::from_hours(24);
    engine.tick(Now { wall: Timestamp::default() + day, monotonic: day }, 10);
    let mut events: Vec<_> = engine.staged().iter().map(|staged| staged.event.clone()).collect();
    events.sort_by_key(|event| event.order.id);
    events.into_iter().map(|event| event.flow.unwrap()).collect()
}

/// Fulfilment that went on without such an event would walk its order from where it was before.
#[tokio::test]
async fn events_of_a_newer_version_are_not_passed_over() {
    let clock = Clock::manual(Timestamp::default());
    let log = log(&clock);
    write(&log, br#"{"version":3}"#.to_vec(), wire::Headers::from_iter([(wire::SEAL, b"x")])).await;
    let refused = restored(&restorer(&log, clock));
    assert!(matches!(refused, Err(Error::NewerEvent { offset: 0, source: wire::Unreadable::Newer(3), .. })));
}

/// Timers wait while a partition is restored, so that what is known is not asked for.
#[tokio::test]
async fn versions_that_are_known_are_not_read_again() {
    let clock = Clock::manual(Timestamp::default());
    let log = log(&clock);
    publish(&log, 1).await;
    publish(&log, 2).await;
    begun(&log, 1, 1).await;
    begun(&log, 2, 2).await;
    let mut restorer = restorer(&log, clock);
    restorer.look_ahead();
    restorer.flows = "a topic that is not there".into();
    assert_eq!(go_on_under(restored(&restorer).unwrap()), [flow(1).id(), flow(2).id()]);
}

/// Another instance brought it after this one had looked.
#[tokio::test]
async fn an_order_of_a_version_that_came_later_goes_on_under_it() {
    let clock = Clock::manual(Timestamp::default());
    let log = log(&clock);
    publish(&log, 1).await;
    begun(&log, 1, 1).await;
    let restorer = restorer(&log, clock);
    restorer.look_ahead();
    publish(&log, 2).await;
    begun(&log, 2, 2).await;
    assert_eq!(go_on_under(restored(&restorer).unwrap()), [flow(1).id(), flow(2).id()]);
}
