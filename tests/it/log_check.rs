//! `encargo log check` finds what is planted on real brokers, and nothing where nothing is.

use std::{collections::BTreeSet, time::Duration};

use encargo::{app::kafka::connect, clock::Clock, eventlog::TopicPartition};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::Value;

use crate::{
    eventlog::{numbered, part},
    harness::{
        PATIENCE,
        cluster::{Cluster, needed},
        eventually,
    },
};

/// A topic as somebody else made it: name, partitions, copies, and settings.
type Made<'a> = (&'a str, i32, i32, &'a [(&'a str, &'a str)]);

async fn make(topics: &[Made<'_>]) {
    let admin: AdminClient<DefaultClientContext> = client(&[]).create().unwrap();
    let topics: Vec<_> = topics
        .iter()
        .map(|(name, partitions, copies, settings)| {
            let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(*copies));
            settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    for made in admin.create_topics(&topics, &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
}

/// What was found: the code, and what it is about by the setting that names it.
fn found(cluster: &Cluster, keys: &[&str], output: &std::process::Output) -> BTreeSet<(String, String)> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let named = |about: &str| {
        let key = keys.iter().find(|key| cluster.setting(key) == about);
        key.map_or_else(|| about.to_owned(), |key| (*key).to_owned())
    };
    let findings = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    findings
        .map(|finding| (finding["code"].as_str().unwrap().into(), named(finding["about"].as_str().unwrap())))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_nothing_is_found_on_topics_that_were_just_made() {
    let cluster = Cluster::prepare(&[]).await;
    let output = cluster.output(&["log", "check", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stdout)), (Some(0), ""), "{said}");
    assert!(said.contains("Topics looked at: 7."), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_clocks_of_brokers_are_compared_and_no_topic_is_left() {
    let cluster = Cluster::prepare(&[]).await;
    assert_eq!(cluster.run(&["log", "check", "--clocks"]), "");
    let log = connect(&cluster.config(), needed("ENCARGO_TEST_KAFKA3")).unwrap();
    let now = crate::harness::real_clock().now();
    let clocks = log.clocks(&Clock::manual(now - Duration::from_hours(2))).unwrap();
    let ahead: Vec<_> = clocks.iter().map(|clock| clock.ahead_ms / 60_000).collect();
    assert!(ahead.len() == 3 && ahead.iter().all(|minutes| (119..=130).contains(minutes)), "{clocks:?}");
    eventually("the topics go", async || {
        let left: Vec<_> =
            log.names().unwrap().into_iter().filter(|name| name.starts_with("encargo_clocks_")).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_every_fault_of_a_topic_is_found() {
    let mut cluster = Cluster::name(&[]).await;
    let [orders, states] = ["topics.orders", "topics.states"].map(|key| cluster.setting(key).to_owned());
    cluster.set("topics.forward_states", format!("theirs_{states}"));
    let namesake = cluster.setting("topics.forward_states").replace("confirmada", "confirmadas");
    let name = |key| cluster.setting(key);
    let good = [("min.insync.replicas", "2"), ("retention.ms", "2592000000")];
    let and = |more: &[(&'static str, &'static str)]| [&good, more].concat();
    make(&[
        (name("topics.orders"), 4, 3, &[("min.insync.replicas", "2"), ("retention.ms", "1000")]),
        (name("topics.states"), 3, 3, &and(&[("cleanup.policy", "compact")])),
        (name("topics.dead"), 1, 3, &[("min.insync.replicas", "2"), ("retention.ms", "3600000")]),
        (name("topics.ids"), 2, 1, &good),
        (name("topics.flows"), 1, 3, &and(&[("max.message.bytes", "10000")])),
        (
            name("topics.outcomes"),
            4,
            3,
            &[
                ("min.insync.replicas", "1"),
                ("retention.ms", "-1"),
                ("retention.bytes", "1000000"),
                ("unclean.leader.election.enable", "true"),
            ],
        ),
        (&namesake, 4, 3, &good),
    ])
    .await;
    let output = cluster.output(&["log", "check", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let keys = ["orders", "states", "dead", "ids", "flows", "commands", "outcomes", "forward_states"];
    let keys: Vec<_> = keys.iter().map(|key| format!("topics.{key}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let expected = [
        ("retention-flight", "topics.orders"),
        ("partitions-unequal", "topics.states"),
        ("compacted", "topics.states"),
        ("retention-less", "topics.dead"),
        ("partitions-one", "topics.ids"),
        ("copies-few", "topics.ids"),
        ("min-insync-impossible", "topics.ids"),
        ("retention-always", "topics.flows"),
        ("message-size", "topics.flows"),
        ("topic-missing", "topics.commands"),
        ("min-insync-low", "topics.outcomes"),
        ("retention-bytes", "topics.outcomes"),
        ("unclean-election", "topics.outcomes"),
        ("topic-missing", "topics.forward_states"),
        ("topic-namesake", "topics.forward_states"),
    ];
    let expected = expected.map(|(code, about)| (code.to_owned(), about.to_owned()));
    assert_eq!(found(&cluster, &keys, &output), BTreeSet::from(expected));

    let told = |lang| String::from_utf8(cluster.output(&["log", "check", "--lang", lang]).stdout).unwrap();
    let (es, en) = (told("es"), told("en"));
    assert!(es.contains(&format!("fallo: {orders} borra lo que tiene más de 1 s, y un pedido puede durar")), "{es}");
    assert!(en.contains(&format!("fault: {states} has 3 partitions and needs 4, ")), "{en}");
    let command = format!("  kafka-topics.sh --bootstrap-server {} --alter", needed("ENCARGO_TEST_KAFKA3"));
    assert!(en.contains(&format!("{command} --topic {states} --partitions 4\n")), "{en}");
}

fn client(settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", needed("ENCARGO_TEST_KAFKA3"));
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// An offset that somebody commits in a group's name.
fn commit(group: &str, tp: &TopicPartition, offset: i64) {
    let consumer: BaseConsumer = client(&[("group.id", group)]).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&tp.topic, tp.partition as i32, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

/// A consumer as the Python services have them.
fn python(group: &str, topic: &str) -> BaseConsumer {
    let config = client(&[("group.id", group), ("client.id", "kafka-python-2.0.2"), ("session.timeout.ms", "6000")]);
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_every_fault_of_groups_and_transactions_is_found() {
    let mut cluster = Cluster::prepare(&[]).await;
    cluster.set("log.transaction_timeout", "20m");
    cluster.set("log.session_timeout", "20ms");
    let [orders, states, dead] =
        ["orders", "states", "dead"].map(|key| cluster.setting(&format!("topics.{key}")).to_owned());
    let log = cluster.log();
    log.append(numbered(&orders, 0, 0..2)).await.unwrap();
    log.append(numbered(&states, 0, 0..3)).await.unwrap();
    log.append(numbered(&dead, 0, 0..5)).await.unwrap();
    commit("encargo-fulfilment", &part(&orders, 0), 1);
    commit("encargo-tracking", &part(&dead, 0), 1);
    log.delete_before(&part(&dead, 0), 3).unwrap();
    commit("encargo-tracking", &part(&states, 1), 100);
    let held = client(&[("transactional.id", &format!("held-{states}")), ("transaction.timeout.ms", "60000")]);
    let held: BaseProducer = held.create().unwrap();
    held.init_transactions(PATIENCE).unwrap();
    held.begin_transaction().unwrap();
    let long_ago = (crate::harness::real_clock().now() - Duration::from_hours(1)).as_millis();
    held.send(BaseRecord::<(), _>::to(&states).partition(2).timestamp(long_ago).payload("x"))
        .map_err(|(e, _)| e)
        .unwrap();
    held.flush(PATIENCE).unwrap();
    let shared = format!("newGroup-{states}");
    let members = [python("encargo-fulfilment", &orders), python(&shared, &orders), python(&shared, &states)];
    eventually("they are in their groups", async || {
        let polled =
            members.iter().filter_map(|member| member.poll(Duration::from_millis(20))?.err()).collect::<Vec<_>>();
        let owned = members.iter().map(|member| member.assignment().unwrap().count()).collect::<Vec<_>>();
        if owned.iter().all(|count| *count > 0) { Ok(()) } else { Err(format!("{owned:?} {polled:?}")) }
    })
    .await;

    let output = cluster.output(&["log", "check", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("Findings"), "{said}");
    let hanging = format!("{states}/2");
    let expected = [
        ("foreign-commit", "encargo-fulfilment"),
        ("foreign-member", "encargo-fulfilment"),
        ("auto-commit", "encargo-fulfilment"),
        ("abandoned", "encargo-tracking"),
        ("offset-trimmed", "encargo-tracking"),
        ("offset-beyond", "encargo-tracking"),
        ("two-applications", &shared),
        ("auto-commit", &shared),
        ("offset-reset", &shared),
        ("hanging-transaction", &hanging),
        ("transaction-timeout", "brokers"),
        ("session-timeout", "brokers"),
    ];
    let expected = expected.map(|(code, about)| (code.to_owned(), about.to_owned()));
    assert_eq!(found(&cluster, &[], &output), BTreeSet::from(expected));
}
