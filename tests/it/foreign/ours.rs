//! Our side: a set-up on the cluster, and what our reader shows of its topics.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::cluster::{Cluster, needed};

/// Topics, a database and a folder of their own, and what the players must know of them.
pub struct Ours {
    pub cluster: Cluster,
    pub brokers: String,
    pub orders: String,
    pub states: String,
}

impl Ours {
    /// Makes topics of three partitions, the orders' one under a name that begins like this.
    pub async fn prepare(orders: &str, dwell: &str) -> Self {
        Self::partitioned(orders, dwell, "3").await
    }

    async fn partitioned(orders: &str, dwell: &str, partitions: &str) -> Self {
        let mut cluster = Cluster::name_on_one(&[("log.partitions", partitions), ("flow.dwell", dwell)]).await;
        let topics = cluster.config().topics;
        let orders = topics.orders.replace("compra_detalle", orders);
        cluster.set("topics.orders", orders.clone());
        cluster.run(&["log", "init"]);
        Self { cluster, brokers: needed("ENCARGO_TEST_KAFKA"), orders, states: topics.states }
    }

    /// The same for a set-up with old readers: our states have a topic of ours, and are forwarded to the one they know.
    pub async fn beside_old_readers(dwell: &str, partitions: &str) -> Self {
        let mut ours = Self::partitioned("compra_detalle", dwell, partitions).await;
        ours.cluster.set("topics.states", ours.states.replace("compra_confirmada", "encargo_states"));
        ours.cluster.set("topics.forward_states", ours.states.clone());
        ours.cluster.set("intake.usermail", "cliente@example.org");
        ours.cluster.run(&["log", "init"]);
        ours
    }

    /// The records of a topic as our reader shows them: value by partition and offset.
    pub fn records(&self, topic: &str) -> BTreeMap<(u64, u64), Value> {
        by_place(&self.cluster.run(&["log", "read", topic, "--json"]), |value| value)
    }
}

/// Lines of JSON with partition, offset and value, as a map.
pub fn by_place(lines: &str, value: impl Fn(Value) -> Value) -> BTreeMap<(u64, u64), Value> {
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let number = |record: &Value, name: &str| record[name].as_u64().expect("a number");
    records
        .map(|mut r| ((number(&r, "partition"), number(&r, "offset")), value(std::mem::take(&mut r["value"]))))
        .collect()
}
