//! On real brokers, by a producer that writes its own bytes, with each role a process of its own.

use std::collections::BTreeMap;

use encargo::config::Config;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};

use super::{
    STATES, check_good, check_poison, forgeries, known,
    poison::{Poison, Random, out_of_time, poison},
    producer::{Codec, Producer},
};
use crate::{
    eventlog::{append, part, read_all},
    harness::{
        cluster::{Cluster, needed},
        eventually,
        process::Process,
    },
    roles::{finished, place},
};

const RECORDS: usize = 100_000;
const ROLES: [&str; 4] = ["intake", "fulfilment", "tracking", "mail"];
const CODECS: [Codec; 8] =
    [Codec::None, Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd, Codec::Wrong];

/// A set-up on the cluster of one broker, whose address is told. What the brokers would refuse by default, the time of a
/// record, these topics take.
async fn hostile(dead_limit: &str) -> (Cluster, String) {
    let broker = needed("ENCARGO_TEST_KAFKA");
    let cluster = Cluster::name_on_one(&[("intake.backlog_max", "1000000"), ("flow.dwell", "2s")]).await;
    let config = cluster.config();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &broker).create().unwrap();
    let retention = config.log.retention.as_millis().to_string();
    let topic = |name, partitions, limit| {
        NewTopic::new(name, partitions, TopicReplication::Fixed(1))
            .set("message.timestamp.after.max.ms", "9223372036854775807")
            .set("max.message.bytes", limit)
            .set("retention.ms", &retention)
            .set("min.insync.replicas", "1")
    };
    let topics = &config.topics;
    let wanted = [
        topic(&topics.orders, 4, "1048588"),
        topic(&topics.states, 4, "1048588"),
        topic(&topics.ids, 1, "1048588"),
        topic(&topics.dead, 1, dead_limit),
    ];
    for made in admin.create_topics(&wanted, &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
    cluster.run(&["log", "init"]);
    (cluster, broker)
}

/// Writes batches until so many records were taken. How many the broker refused.
fn flood(broker: &str, config: &Config) -> usize {
    let (mut producer, mut random) = (Producer::connect(broker), Random(15));
    let now = crate::harness::real_clock().now().as_millis();
    let topics =
        [(&config.topics.orders, 4), (&config.topics.states, 4), (&config.topics.dead, 1), (&config.topics.ids, 1)];
    let (mut taken, mut refused) = (0, 0);
    while taken < RECORDS {
        let (topic, partitions) = *random.pick(&topics);
        let codec = *random.pick(&CODECS);
        let out = random.below(9) == 0;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for _ in 0..1_000 {
            let record = if out { out_of_time(&mut random) } else { poison(&mut random, now) };
            let size = record.value.as_ref().map_or(0, Vec::len) + 700;
            if bytes + size > 1_048_000 && !batch.is_empty() {
                break;
            }
            bytes += size;
            batch.push(record);
        }
        match producer.send(topic, random.below(partitions) as u32, &batch, codec) {
            Ok(_) => taken += batch.len(),
            Err(_) => refused += batch.len(),
        }
        assert!(refused < RECORDS, "the broker takes none of it");
    }
    refused
}

async fn start_all(cluster: &Cluster) -> Vec<Process> {
    let mut processes: Vec<_> = ROLES.iter().map(|role| cluster.spawn(role, 0)).collect();
    for process in &mut processes {
        process.ready().await;
    }
    processes
}

async fn place_good(intake: &Process, numbers: std::ops::Range<u32>, good: &mut BTreeMap<u64, String>) {
    for number in numbers {
        let email = format!("good{number}@example.org");
        let id = place(intake, &email).await["orderid"].as_u64().unwrap();
        good.insert(id, email);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_no_record_ends_or_stops_a_process() {
    let (cluster, broker) = hostile("1048588").await;
    let (config, log, store) = (cluster.config(), cluster.log(), cluster.store().await);
    let processes = start_all(&cluster).await;
    let mut good = BTreeMap::new();
    place_good(&processes[0], 0..12, &mut good).await;
    for id in good.keys() {
        known(store.as_ref(), *id).await;
    }
    let (log_now, states) = (log.clone(), config.topics.states.clone());
    // whoever is killed now restores its orders from a topic that says that they are finished
    tokio::task::spawn_blocking(move || {
        let forged = forgeries(log_now.as_ref(), &states);
        append(log_now.as_ref(), forged);
    })
    .await
    .unwrap();
    drop(processes);
    let processes = start_all(&cluster).await;
    let (address, flooded) = (broker.clone(), config.clone());
    let flood = tokio::task::spawn_blocking(move || flood(&address, &flooded));
    place_good(&processes[0], 12..24, &mut good).await;
    let refused = flood.await.unwrap();
    place_good(&processes[0], 24..36, &mut good).await;
    let maildir = cluster.folder.path().join("mail");
    check_good(log.as_ref(), &config, &maildir, &good).await;
    check_poison(log.as_ref(), store.as_ref(), &config).await;
    for process in &processes {
        process.ready().await;
    }
    drop(processes);
    let processes = start_all(&cluster).await;
    place_good(&processes[0], 36..40, &mut good).await;
    check_good(log.as_ref(), &config, &maildir, &good).await;
    for process in processes {
        assert!(process.terminate().success());
    }
    println!("{refused} records were refused by the broker");
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_a_narrow_topic_of_dead_letters_gets_them_cut() {
    let (cluster, broker) = hostile("2000").await;
    let (config, log, store) = (cluster.config(), cluster.log(), cluster.store().await);
    let up = cluster.start("up", 0).await;
    let (mut producer, mut random) = (Producer::connect(&broker), Random(7));
    let now = crate::harness::real_clock().now().as_millis();
    for size in [50_000, 10, 10, 900, 10, 1_500, 10] {
        let poison = Poison { key: None, value: Some(vec![b'x'; size]), headers: Vec::new(), at: now };
        producer.send(&config.topics.orders, random.below(4) as u32, &[poison], Codec::None).unwrap();
    }
    let id = place(&up, "ana@example.org").await["orderid"].clone();
    assert_eq!(finished(&up, &id).await["estado"], STATES[3]);
    eventually("all dead letters", async || {
        let count = store.dead_record_count().await.map_err(|e| e.to_string())?;
        if count == 7 { Ok(()) } else { Err(format!("{count}")) }
    })
    .await;
    let letters = store.dead(None, 10).await.unwrap().into_iter().filter_map(|item| item.letter);
    let cut = letters.filter(|letter| encargo::domain::wire::cut(&letter.headers).is_some()).count();
    assert_eq!(cut, 1, "only what the topic does not take whole");
    assert!(read_all(log.as_ref(), &part(&config.topics.dead, 0), 0).len() >= 7);
    assert!(up.terminate().success());
}
