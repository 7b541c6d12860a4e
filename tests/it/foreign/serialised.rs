//! Orders that someone else's serialisers write by a schema registry.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    ours::Ours,
    players::run,
    verdicts::{all_finished, all_mailed},
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
