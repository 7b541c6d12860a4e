//! What the log on Kafka does in a second, on the cluster that `ENCARGO_TEST_KAFKA` names (see scripts/kafka-local).
//!
//! `cargo bench --bench kafka [-- append|transaction|read|restore]`

#![expect(clippy::disallowed_methods, reason = "a measurement in real time")]

use std::{sync::Arc, time::Duration};

use encargo::{
    bench::stats::Summary,
    clock::Clock,
    domain::{Flow, Order, OrderId, Product, StateEvent, wire},
    env::Env,
    eventlog::{
        EventLog, GroupOffset, MemberEvent, MemberMode, NewRecord, Outcome, TopicPartition, TopicSpec,
        kafka::{KafkaLog, Options},
    },
    fulfilment::{self, Deps, Metrics, Processor},
};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

const PARTITIONS: u32 = 12;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let chosen = |name: &str| args.first().is_none_or(|first| first == name);
    if chosen("append") {
        for (callers, linger) in [(1, None), (64, Some("0")), (64, None), (64, Some("2")), (256, None)] {
            append(callers, linger)?;
        }
    }
    if chosen("transaction") {
        for outputs in [1, 100, 1_000] {
            transaction(outputs)?;
        }
    }
    if chosen("read") {
        read()?;
    }
    if chosen("restore") {
        restore()?;
    }
    Ok(())
}

/// The log, and a topic that nobody else uses.
fn open(properties: &[(&str, &str)]) -> anyhow::Result<(Arc<KafkaLog>, String)> {
    let brokers = std::env::var("ENCARGO_TEST_KAFKA")?;
    let copies = if brokers.contains(',') { (3, 2) } else { (1, 1) };
    let mut options = Options { brokers, replication: copies.0, min_insync_replicas: copies.1, ..Options::default() };
    options.properties.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let log = KafkaLog::open(options)?;
    let topic = format!("bench-{}", Clock::system().now().as_millis());
    log.create(&TopicSpec { name: topic.clone(), partitions: PARTITIONS })?;
    Ok((Arc::new(log), topic))
}

/// About 300 bytes, like an order's event.
fn record(topic: &str, number: u64) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some((number % u64::from(PARTITIONS)) as u32),
        key: Some(number.to_string().into_bytes()),
        value: vec![b'v'; 200],
        headers: wire::Headers::from_iter([
            ("ce_id", &*number.to_string()),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ]),
        at: Clock::system().now(),
    }
}

/// CPU that this process has used.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // after the command's name: an empty word, the state, and ten more before utime and stime (proc(5))
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
    let ticks: u64 = [12, 13].iter().filter_map(|at| words.get(*at)?.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn append(callers: u64, linger: Option<&str>) -> anyhow::Result<()> {
    let (log, topic) = open(linger.map(|linger| ("linger.ms", linger)).as_slice())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    let clock = Clock::system();
    let first = clock.monotonic();
    runtime.block_on(log.append(vec![record(&topic, 0)]))?;
    let first = clock.monotonic().saturating_sub(first);
    let each = (60_000 / callers).clamp(100, 3_000);
    let (start, used) = (clock.monotonic(), cpu());
    let mut taken = Vec::new();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let (log, topic, clock) = (log.clone(), topic.clone(), clock.clone());
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    for number in 0..each {
                        let begun = clock.monotonic();
                        log.append(vec![record(&topic, caller * each + number)]).await?;
                        took.push(clock.monotonic().saturating_sub(begun));
                    }
                    anyhow::Ok(took)
                })
            })
            .collect();
        for task in tasks {
            for took in task.await?? {
                taken.push(took.as_secs_f64() * 1e3);
            }
        }
        anyhow::Ok(())
    })?;
    let (took, used) = (clock.monotonic().saturating_sub(start), cpu().saturating_sub(used));
    let count = callers * each;
    let millis = Summary::of(taken);
    println!(
        "append, {callers} callers, linger {}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} us of our CPU each; the very first took {first:?}",
        linger.unwrap_or("as built in"),
        count as f64 / took.as_secs_f64(),
        millis.p50,
        millis.p99,
        used.as_micros() as f64 / count as f64,
    );
    Ok(())
}

/// A commit every 20 ms, as fulfilment does.
fn transaction(outputs: u64) -> anyhow::Result<()> {
    const COMMITS: u64 = 200;
    let (log, topic) = open(&[])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(log.append((0..1_000).map(|number| record(&topic, number)).collect()))?;
    let mut member = log.join(&topic, &[&topic], 0, MemberMode::Outputs)?;
    while !matches!(member.next(Duration::from_secs(10))?, MemberEvent::Assigned(_)) {}
    let clock = Clock::system();
    let records: Vec<_> = (0..outputs).map(|number| record(&topic, number)).collect();
    let offsets: Vec<_> = (0..PARTITIONS)
        .map(|partition| GroupOffset {
            tp: TopicPartition { topic: topic.clone(), partition },
            offset: 1,
            metadata: "v1 w=120 a=40 f=30 d=1".into(),
        })
        .collect();
    let mut taken = Vec::new();
    let used = cpu();
    for _ in 0..COMMITS {
        let begun = clock.monotonic();
        let outcome = member.commit(&records, &offsets);
        anyhow::ensure!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        let took = clock.monotonic().saturating_sub(begun);
        taken.push(took.as_secs_f64() * 1e3);
        member.pause(&topic, true);
        runtime.block_on(clock.sleep(Duration::from_millis(20).saturating_sub(took)));
    }
    let millis = Summary::of(taken);
    println!(
        "transaction of {outputs} outputs over {PARTITIONS} partitions, one every 20 ms: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, {:.2} ms of our CPU each",
        millis.p50,
        millis.p99,
        millis.max,
        cpu().saturating_sub(used).as_micros() as f64 / 1e3 / COMMITS as f64,
    );
    Ok(())
}

/// A restore reads partitions like this: each to its end, four at once.
fn read() -> anyhow::Result<()> {
    const RECORDS: u64 = 240_000;
    let (log, topic) = open(&[])?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for first in (0..RECORDS).step_by(10_000) {
        runtime.block_on(log.append((first..first + 10_000).map(|number| record(&topic, number)).collect()))?;
    }
    let clock = Clock::system();
    for threads in [1, 2, 4] {
        let start = clock.monotonic();
        std::thread::scope(|scope| {
            let reading: Vec<_> = (0..threads)
                .map(|thread| {
                    let (log, topic) = (&log, &topic);
                    scope.spawn(move || -> anyhow::Result<u64> {
                        let mut count = 0;
                        for partition in (0..PARTITIONS).filter(|partition| partition % threads == thread) {
                            let tp = TopicPartition { topic: topic.clone(), partition };
                            let mut reader = log.read(&tp, 0)?;
                            loop {
                                let records = reader.next(10_000)?;
                                if records.is_empty() {
                                    break;
                                }
                                count += records.len() as u64;
                            }
                        }
                        Ok(count)
                    })
                })
                .collect();
            let mut count = 0;
            for thread in reading {
                count += thread.join().expect("a reader ends well")?;
            }
            anyhow::ensure!(count == RECORDS, "{count} records read");
            anyhow::Ok(())
        })?;
        let took = clock.monotonic().saturating_sub(start);
        println!(
            "read {RECORDS} records of {PARTITIONS} partitions to their ends, {threads} at once: {took:?}, {:.0}/s",
            RECORDS as f64 / took.as_secs_f64()
        );
    }
    Ok(())
}

/// Fulfilment starts on 100,000 orders in flight that are all due.
fn restore() -> anyhow::Result<()> {
    const ORDERS: u64 = 100_000;
    let (log, orders) = open(&[])?;
    let (states, dead) = (format!("{orders}-states"), format!("{orders}-dead"));
    for (name, partitions) in [(&states, PARTITIONS), (&dead, 1)] {
        log.create(&TopicSpec { name: name.clone(), partitions })?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let clock = Clock::system();
    let flow = Arc::new(Flow::standard(Duration::from_secs(8)));
    let event = |id: u64| -> anyhow::Result<NewRecord> {
        let order = Order {
            id: OrderId::new(id)?,
            product: Product::new("3170", "King's Bounty: Armored Princess", "7.99")?,
            email: "ana@example.org".parse()?,
            lang: None,
            placed_at: clock.now() - Duration::from_mins(1),
            handle: None,
            trace: None,
        };
        let at = order.placed_at;
        let event = StateEvent::of_version_1(order, 1, "recibido", at, Some(at));
        let (value, headers) = (wire::encode_event(&event), wire::event_headers(&event));
        Ok(NewRecord { topic: states.clone(), value, headers, ..record(&states, id) })
    };
    for first in (1..=ORDERS).step_by(10_000) {
        let events = (first..first + 10_000).map(event).collect::<anyhow::Result<Vec<_>>>()?;
        runtime.block_on(log.append(events))?;
    }
    let ends = || -> anyhow::Result<u64> {
        let topics = log.topics()?;
        let topic = topics.iter().find(|topic| topic.name == states);
        Ok(topic.map_or(0, |topic| topic.partitions.iter().map(|range| range.end).sum()))
    };
    let (before, metrics) = (ends()?, Metrics::new(&mut Registry::default()));
    let options = fulfilment::Options {
        flow,
        flows: format!("{states}-flows"),
        orders,
        states: states.clone(),
        dead,
        commands: None,
        old_states: None,
        old_group: None,
        tick: Duration::from_millis(20),
        in_flight_max: 1_000_000,
        remember: 10_000,
        slot: 0,
    };
    let processor =
        Processor::new(Deps { log: log.clone(), env: Env::real(clock.clone()), metrics: metrics.clone() }, options)?;
    let stop = CancellationToken::new();
    let start = clock.monotonic();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| processor.run(&stop));
        let mut ready = None;
        while ends()? == before && !running.is_finished() {
            if metrics.is_ready() && ready.is_none() {
                ready = Some(clock.monotonic().saturating_sub(start));
            }
        }
        let fired = clock.monotonic().saturating_sub(start);
        stop.cancel();
        running.join().expect("fulfilment ends well")?;
        println!(
            "{ORDERS} orders in flight: restored {ready:?} after the start, first timers written after {fired:?}, group's assignment included"
        );
        anyhow::Ok(())
    })
}
