//! `encargo log check` finds what is planted on real brokers, and nothing where nothing is.

use std::collections::BTreeSet;

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use serde_json::Value;

use crate::harness::cluster::{Cluster, needed};

/// A topic as somebody else made it: name, partitions, copies, and settings.
type Made<'a> = (&'a str, i32, i32, &'a [(&'a str, &'a str)]);

async fn make(topics: &[Made<'_>]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", needed("ENCARGO_TEST_KAFKA3"));
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
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
