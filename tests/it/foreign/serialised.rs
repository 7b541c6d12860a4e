//! Orders that someone else's serialisers write by a schema registry, and what their deserialisers read of ours.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    ours::Ours,
    players::run,
    verdicts::{all_finished, all_mailed, each_state_once, place},
};
use crate::harness::cluster::needed;

/// Writes so many orders; the five fields of each, by id.
fn serialised(ours: &Ours, kind: &str, first: u64, count: u64) -> BTreeMap<u64, Value> {
    let (registry, first, count) = (needed("ENCARGO_TEST_REGISTRY"), first.to_string(), count.to_string());
    let arguments = ["--brokers", &ours.brokers, "--registry", &registry, "--orders", &ours.orders, "--kind", kind];
    let printed = run("serialised.py", &[&arguments[..], &["--first-id", &first, "--count", &count]].concat());
    let orders = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    orders.map(|order| (order["orderid"].as_u64().expect("a number"), order)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_serialisers_write_as_json_and_avro_become_mails() {
    let mut ours = Ours::prepare("serialised", "300ms").await;
    ours.cluster.set("registry.url", needed("ENCARGO_TEST_REGISTRY"));
    let _fulfilment = ours.cluster.start("fulfilment", 0).await;
    let (tracking, _mail) = (ours.cluster.start("tracking", 0).await, ours.cluster.start("mail", 0).await);
    let mut placed = serialised(&ours, "json", 1, 4);
    placed.extend(serialised(&ours, "avro", 101, 4));
    assert_eq!(placed.len(), 8);

    all_finished(&tracking, &placed).await;
    all_mailed(&ours, &placed).await;
    let shown = ours.records(&ours.orders);
    assert_eq!(shown.values().filter(|value| value.is_object()).count(), 4, "framed JSON is shown as JSON: {shown:?}");
}

/// The other way: they hold each of our records against the schema whose number it bears.
#[tokio::test(flavor = "multi_thread")]
async fn their_deserialisers_read_ours_where_these_are_framed() {
    let mut ours = Ours::prepare("deserialised", "300ms").await;
    let registry = needed("ENCARGO_TEST_REGISTRY");
    ours.cluster.run(&["contract", "publish", "--registry", &registry]);
    ours.cluster.set("registry.url", registry.clone());
    ours.cluster.set("log.framing", "confluent");
    ours.cluster.set("intake.usermail", "cliente@example.org");
    let (intake, _fulfilment) = (ours.cluster.start("intake", 0).await, ours.cluster.start("fulfilment", 0).await);
    let (tracking, _mail) = (ours.cluster.start("tracking", 0).await, ours.cluster.start("mail", 0).await);
    let placed = place(&intake, 3).await;
    all_finished(&tracking, &placed).await;
    all_mailed(&ours, &placed).await;
    each_state_once(&ours, &placed);

    let read =
        run("deserialised.py", &["--brokers", &ours.brokers, "--registry", &registry, &ours.orders, &ours.states]);
    let read: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let of_orders: Vec<_> = read.iter().filter(|record| record["topic"] == *ours.orders).collect();
    assert_eq!((of_orders.len(), read.len()), (3, 15));
    for order in of_orders.into_iter().map(|record| &record["value"]) {
        let expected = placed[&order["orderid"].as_u64().expect("a number")].as_object().expect("fields");
        assert!(expected.iter().all(|(name, value)| order[name] == *value), "{order}");
    }
}
