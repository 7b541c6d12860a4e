//! I2 on a cluster: instances come, go and die, an old service hands over, and each order has each state once.

use std::{collections::BTreeMap, sync::Arc, thread::JoinHandle, time::Duration};

use encargo::{
    clock::Clock,
    domain::{Flow, Order, OrderId, Product, StateEvent, Timestamp, wire},
    env::Env,
    eventlog::{self, EventLog, NewRecord, TopicSpec, kafka::KafkaLog},
    fulfilment::{CommandTopics, Deps, Error, Metrics, Options, Processor},
};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::{
    eventlog::{append, away::Broker, kafka::Cluster, named::Named, part, read_all},
    harness::PATIENCE,
};

mod commanded;
mod of_before;

const PARTITIONS: u32 = 6;
const DWELL: Duration = Duration::from_millis(500);
const STATES: [&str; 4] = ["recibido", "preparando", "entregando", "finalizado"];

/// A shop's topics on a cluster.
struct Shop {
    cluster: Cluster,
    log: Named<KafkaLog>,
}

/// An instance on a thread of its own.
struct Instance {
    stop: CancellationToken,
    metrics: Metrics,
    registry: Registry,
    thread: JoinHandle<Result<(), Error>>,
}

impl Instance {
    fn end(self) -> Result<(), Error> {
        self.stop.cancel();
        self.thread.join().unwrap()
    }

    /// Whether the log has refused a commit.
    fn was_refused(&self) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        !text.contains("encargo_commit_retries_total 0\n")
    }
}

impl Shop {
    fn open(cluster: Cluster) -> Self {
        // what it did, when one of these fails; there may be a subscriber already
        let _ = tracing_subscriber::fmt().with_test_writer().with_ansi(false).try_init();
        let log = cluster.patient();
        let topics = ["orders", "states", "commands", "outcomes"].map(|name| (name, PARTITIONS));
        for (name, partitions) in topics.into_iter().chain([("dead", 1)]) {
            log.create(&TopicSpec { name: name.into(), partitions }).unwrap();
        }
        Self { cluster, log }
    }

    fn start(&self, slot: u32) -> Instance {
        self.start_with(slot, DWELL)
    }

    fn start_with(&self, slot: u32, dwell: Duration) -> Instance {
        self.start_on(crate::harness::real_clock(), slot, dwell)
    }

    fn start_on(&self, clock: Clock, slot: u32, dwell: Duration) -> Instance {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let deps = Deps { log: Arc::new(self.cluster.kafka()), env: Env::real(clock), metrics: metrics.clone() };
        let options = Options {
            flow: Arc::new(Flow::standard(dwell)),
            flows: "flows".into(),
            orders: "orders".into(),
            states: "states".into(),
            dead: "dead".into(),
            commands: Some(CommandTopics { commands: "commands".into(), outcomes: "outcomes".into() }),
            old_states: None,
            old_group: None,
            tick: Duration::from_millis(20),
            in_flight_max: 1_000_000,
            remember: 1_000,
            slot,
        };
        let stop = CancellationToken::new();
        let real = crate::harness::real_clock();
        let ends = real.monotonic() + PATIENCE;
        let processor = loop {
            match Processor::new(deps.clone(), options.clone()) {
                Err(Error::Log(eventlog::Error::Unavailable(_))) if real.monotonic() < ends => {
                    crate::harness::real_clock().park(Duration::from_millis(50));
                }
                processor => break processor.unwrap(),
            }
        };
        let token = stop.clone();
        Instance { stop, metrics, registry, thread: std::thread::spawn(move || processor.run(&token)) }
    }

    /// The states of each order, in the order of their partition.
    fn states(&self) -> BTreeMap<u64, Vec<StateEvent>> {
        let mut states: BTreeMap<u64, Vec<StateEvent>> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for record in read_all(&self.log, &part("states", partition), 0) {
                let event = wire::decode_event(&record.value, &record.headers, record.at).unwrap();
                states.entry(event.order.id.get()).or_default().push(event);
            }
        }
        states
    }

    /// Waits until so many states are written, however.
    fn until(&self, what: &str, reached: impl Fn(&BTreeMap<u64, Vec<StateEvent>>) -> bool) {
        let clock = crate::harness::real_clock();
        let ends = clock.monotonic() + PATIENCE;
        loop {
            let states = self.states();
            if reached(&states) {
                return;
            }
            let shown = || states.iter().map(|(id, events)| (id, events.len())).collect::<Vec<_>>();
            assert!(clock.monotonic() < ends, "{what}: {:?}", shown());
        }
    }
}

fn order(id: u64) -> Order {
    Order {
        id: OrderId::new(id).unwrap(),
        product: Product::new("3170", "King's Bounty", "7.99").unwrap(),
        email: "ana@example.org".parse().unwrap(),
        lang: None,
        placed_at: crate::harness::real_clock().now(),
        handle: None,
        trace: None,
    }
}

fn placed(id: u64) -> NewRecord {
    NewRecord {
        key: Some(wire::key(order(id).id)),
        partition: None,
        ..old_record("orders", 0, wire::encode_order(&order(id)))
    }
}

/// As the old services write: no key, no headers, any partition.
fn old_record(topic: &str, partition: u32, value: Vec<u8>) -> NewRecord {
    let at = crate::harness::real_clock().now();
    NewRecord {
        topic: topic.into(),
        partition: Some(partition),
        key: None,
        value,
        headers: wire::Headers::default(),
        at,
    }
}

fn old_order(id: u64, partition: u32) -> NewRecord {
    let text = format!(
        r#"{{"orderid": {id}, "gameid": "3170", "name": "King's Bounty", "price": "7.99", "usermail": "ana@example.org"}}"#
    );
    old_record("orders", partition, text.into_bytes())
}

fn old_state(id: u64, partition: u32, estado: &str) -> NewRecord {
    let text = format!(
        r#"{{"orderid": {id}, "gameid": "3170", "name": "King's Bounty", "price": "7.99", "usermail": "ana@example.org", "estado": "{estado}"}}"#
    );
    old_record("states", partition, text.into_bytes())
}

/// Every order has every state once, in order, never early.
fn check(states: &BTreeMap<u64, Vec<StateEvent>>, orders: std::ops::RangeInclusive<u64>, dwell: Duration) {
    assert_eq!(states.keys().copied().collect::<Vec<_>>(), orders.collect::<Vec<_>>());
    for (id, events) in states {
        let found: Vec<_> = events.iter().map(|event| &*event.estado).collect();
        assert_eq!(found, STATES, "order {id}");
        let times: Vec<Timestamp> = events.iter().map(|event| event.at).collect();
        assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= dwell), "order {id}: {times:?}");
    }
}

fn finished(states: &BTreeMap<u64, Vec<StateEvent>>) -> usize {
    states.values().filter(|events| events.iter().any(|event| &*event.estado == "finalizado")).count()
}

#[test]
fn kafka_instances_come_and_go_while_orders_flow() {
    let shop = Shop::open(Cluster::one());
    let first = shop.start(0);
    append(&shop.log, (1..=100).map(placed).collect());
    shop.until("the first works", |states| states.len() == 100);
    let second = shop.start(1);
    append(&shop.log, (101..=200).map(placed).collect());
    shop.until("orders go on", |states| finished(states) >= 100);
    let third = shop.start(2);
    append(&shop.log, (201..=300).map(placed).collect());
    shop.until("and on", |states| states.len() == 300);
    first.end().unwrap();
    append(&shop.log, (301..=400).map(placed).collect());
    shop.until("without the first", |states| states.len() == 400);
    second.end().unwrap();
    shop.until("all are finished", |states| finished(states) == 400);
    assert!(third.metrics.is_ready());
    third.end().unwrap();
    check(&shop.states(), 1..=400, DWELL);
}

#[test]
fn kafka_orders_of_an_old_service_go_on_where_it_stopped() {
    let shop = Shop::open(Cluster::one());
    // the old intake and the old processing choose any partition, and never the same
    append(&shop.log, (1..=40).map(|id| old_order(id, id as u32 % PARTITIONS)).collect());
    let done = |id: u64| {
        STATES[..(id % 5) as usize].iter().map(move |estado| old_state(id, (id as u32 * 7 + 1) % PARTITIONS, estado))
    };
    append(&shop.log, (1..=40).flat_map(done).collect());
    let before = shop.states();
    let first = shop.start(0);
    shop.until("a few move", |states| states.values().filter(|events| events.len() == 4).count() > 8);
    // another takes over in the middle
    let second = shop.start(1);
    first.end().unwrap();
    shop.until("all are finished", |states| finished(states) == 40);
    second.end().unwrap();
    let states = shop.states();
    for (id, events) in &states {
        let mut found: Vec<_> = events.iter().map(|event| event.estado.to_string()).collect();
        found.sort_by_key(|estado| STATES.iter().position(|known| known == estado));
        assert_eq!(found, STATES, "order {id}, after {} of the old service", before.get(id).map_or(0, Vec::len));
    }
    // later orders are nobody else's
    append(&shop.log, (41..=50).map(|id| old_order(id, 0)).collect());
    let again = shop.start(0);
    shop.until("new ones, too", |states| finished(states) == 50);
    again.end().unwrap();
    for lag in shop.log.lag("encargo-fulfilment", &["orders"]).unwrap() {
        assert_eq!(lag.records(), 0);
    }
    for group in shop.log.groups().unwrap() {
        assert!(group.offsets.iter().all(|offset| !offset.metadata.contains("x=")), "{:?}", group.offsets);
    }
}

#[test]
fn kafka_an_output_that_was_trimmed_too_far_ends_it_loudly() {
    let shop = Shop::open(Cluster::one());
    let slow = Duration::from_mins(10);
    let instance = shop.start_with(0, slow);
    append(&shop.log, vec![old_order(1, 0)]);
    shop.until("it is there", |states| states.len() == 1);
    instance.end().unwrap();
    append(&shop.log, vec![old_state(2, 0, "finalizado")]);
    let end = shop.log.topics().unwrap().iter().find(|topic| topic.name == "states").unwrap().partitions[0].end;
    shop.log.delete_before(&part("states", 0), end).unwrap();
    let ended = shop.start_with(0, slow).thread.join().unwrap();
    assert!(matches!(ended, Err(Error::Log(eventlog::Error::Trimmed { partition: 0, .. }))), "{ended:?}");
}

/// States are due when the test says so. By the system's clock a slow machine finished every order before the broker was
/// gone: nothing was left to commit, and nothing told the instance that it was away.
#[test]
fn kafka_orders_go_on_when_the_broker_is_back() {
    let broker = Broker::start();
    let shop = Shop::open(Cluster::of(broker.options()));
    let (real, clock) = (crate::harness::real_clock(), Clock::manual(crate::harness::real_clock().now()));
    let instance = shop.start_on(clock.clone(), 0, DWELL);
    append(&shop.log, (1..=50).map(placed).collect());
    shop.until("orders are taken", |states| states.len() == 50);
    assert!(!instance.was_refused());
    broker.kill();
    clock.advance(DWELL);
    // not readiness: whoever loses the partitions after that has nothing more to commit, and is ready again
    let ends = real.monotonic() + PATIENCE;
    while !instance.was_refused() {
        assert!(real.monotonic() < ends, "it never hears that the broker is away");
        crate::harness::real_clock().park(Duration::from_millis(20));
    }
    broker.restart();
    let advance_until = |what, count| {
        shop.until(what, |states| {
            clock.advance(DWELL);
            finished(states) == count
        });
    };
    advance_until("they are finished", 50);
    append(&shop.log, (51..=60).map(placed).collect());
    advance_until("and new ones", 60);
    instance.end().unwrap();
    check(&shop.states(), 1..=60, DWELL);
}
