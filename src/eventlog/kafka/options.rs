//! What a cluster is told about us, and what the library is told about the cluster.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use crate::eventlog::{Error, Result};

/// In this group's name the log asks what other groups do.
pub(super) const ASKING: &str = "encargo-asking";
/// In this group's name it reads partitions to their end.
const READING: &str = "encargo-reading";
/// Groups that nobody is in: brokers want a name, and to know whether it may be used.
pub const HELPERS: [&str; 2] = [ASKING, READING];

/// How to reach a cluster, and the settings that our promises hang on.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to begin: `host:port,host:port`.
    pub brokers: String,
    /// Any property of librdkafka (`sasl.username`, `ssl.ca.location`, …). It comes after ours, but those that would
    /// break a promise are refused (see [`Options::check`]).
    pub properties: BTreeMap<String, String>,
    /// Copies of each topic that [`create`](crate::eventlog::EventLog::create) makes.
    pub replication: u16,
    /// Copies that must have a record before it is acknowledged.
    pub min_insync_replicas: u16,
    /// How long brokers keep records; must be longer than the longest outage. `Duration::MAX`: for ever.
    pub retention: Duration,
    /// Topics whose records are kept for ever.
    pub kept: Vec<String>,
    /// After this time without a confirmation an append is given up as not confirmed.
    pub message_timeout: Duration,
    /// After this time the brokers abort a transaction whose member stalls or died. Until then it holds up who takes its
    /// partitions over, so it should be shorter than the session.
    pub transaction_timeout: Duration,
    /// After this time without a sign of life a member loses its partitions.
    pub session_timeout: Duration,
    /// Whether members keep their partitions over a restart that is shorter than the session timeout (KIP-345).
    pub static_membership: bool,
    /// Longest time for a question to the cluster (topics, offsets, groups).
    pub request_timeout: Duration,
    /// Records that may wait for their confirmation; further appends are refused as overload.
    pub waiting_max: usize,
    /// Most records that a member gets at once.
    pub batch_records_max: usize,
    /// Most bytes of values that a member or reader gets at once, but at least one record.
    pub batch_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            properties: BTreeMap::new(),
            replication: 3,
            min_insync_replicas: 2,
            retention: Duration::from_hours(7 * 24),
            kept: Vec::new(),
            message_timeout: Duration::from_secs(3),
            transaction_timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(6),
            static_membership: false,
            request_timeout: Duration::from_secs(10),
            waiting_max: 16_384,
            batch_records_max: 1_024,
            batch_bytes_max: 4 << 20,
        }
    }
}

/// Properties that are ours: another value would lose or repeat records, or contradict a setting with a name of its own.
const OURS: [(&str, &str); 26] = [
    ("bootstrap.servers", "it is the log's address"),
    ("metadata.broker.list", "it is the log's address"),
    ("client.id", "it names the slot"),
    ("group.id", "it is the service's name"),
    ("group.instance.id", "use log.static_membership"),
    ("group.protocol", "mode are fenced by the classic protocol"),
    ("partition.assignment.strategy", "partitions are handed over one by one"),
    ("session.timeout.ms", "use log.session_timeout"),
    ("enable.auto.commit", "offsets are committed with their effects"),
    ("enable.auto.offset.store", "offsets are committed with their effects"),
    ("auto.offset.reset", "a gap must be seen, not passed over"),
    ("isolation.level", "aborted records must not be seen"),
    ("enable.partition.eof", "it tells the end of a partition"),
    ("transactional.id", "it is made of group and slot"),
    ("transaction.timeout.ms", "use log.transaction_timeout"),
    ("enable.idempotence", "records must not double"),
    ("enable.gapless.guarantee", "a lost record must not end the producer"),
    ("acks", "a record is acknowledged once it is safe"),
    ("request.required.acks", "a record is acknowledged once it is safe"),
    ("message.timeout.ms", "use log.message_timeout"),
    ("delivery.timeout.ms", "use log.message_timeout"),
    ("max.in.flight", "records must keep their order"),
    ("max.in.flight.requests.per.connection", "records must keep their order"),
    ("retries", "use log.message_timeout"),
    ("message.send.max.retries", "use log.message_timeout"),
    ("queue.buffering.max.messages", "the log keeps that bound"),
];

impl Options {
    /// Refuses properties that are ours, and values that cannot be.
    pub fn check(&self) -> Result<()> {
        for (name, why) in OURS {
            if self.properties.contains_key(name) {
                return Err(Error::Fatal(format!("the Kafka property {name} cannot be set: {why}")));
            }
        }
        if self.brokers.trim().is_empty() {
            return Err(Error::Fatal("the event log's address names no broker".into()));
        }
        if self.min_insync_replicas > self.replication || self.min_insync_replicas == 0 {
            let (min, all) = (self.min_insync_replicas, self.replication);
            return Err(Error::Fatal(format!(
                "{min} of {all} copies cannot be required to acknowledge a record: the minimum is 1 and the maximum is the number of copies"
            )));
        }
        Ok(())
    }

    /// What every client of the cluster is told.
    fn base(&self, client: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set_log_level(RDKafkaLogLevel::Info)
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", client)
            .set("client.software.name", "encargo")
            // a broker that was away is asked again at once, not after ten seconds
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "500")
            .set("topic.metadata.refresh.fast.interval.ms", "100")
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("socket.timeout.ms", "10000");
        config
    }

    fn with_properties(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        // otherwise the level of the logs keeps back what it would say
        if self.properties.contains_key("debug") {
            config.set_log_level(RDKafkaLogLevel::Debug);
        }
        config
    }

    fn consumer(&self, client: &str) -> ClientConfig {
        let mut config = self.base(client);
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("session.timeout.ms", self.session_timeout.as_millis().to_string())
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.error.backoff.ms", "100");
        config
    }

    /// A client that asks about topics, offsets and, when it is named, one group's offsets.
    pub(super) fn query_config(&self, group: Option<&str>, isolation: &str) -> ClientConfig {
        let mut config = self.consumer(ASKING);
        config.set("isolation.level", isolation);
        if let Some(group) = group {
            config.set("group.id", group);
        }
        self.with_properties(config)
    }

    /// A client that reads partitions to their end. The library wants a group's name even where nothing is committed.
    pub(super) fn reading(&self) -> ClientConfig {
        let mut config = self.consumer(READING);
        config
            .set("group.id", READING)
            .set("enable.partition.eof", "true")
            // at the end the broker is to say so at once
            .set("fetch.wait.max.ms", "10");
        self.with_properties(config)
    }

    /// A member of a group.
    pub(super) fn member(&self, group: &str, slot: u32) -> ClientConfig {
        let session = self.session_timeout.as_millis();
        let mut config = self.consumer(&client_id(slot));
        config
            .set("group.id", group)
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            // the heartbeat's answer tells that partitions move: what a dead member held waits for it
            .set("heartbeat.interval.ms", (session / 20).clamp(100, 1_000).to_string())
            // A fetch for each record costs the broker more than the record does, so what comes within this time comes
            // together: a third less of its CPU at 1,500 orders/s. Also, partitions that are new wait for a fetch's end.
            .set("fetch.wait.max.ms", "50")
            .set("fetch.min.bytes", "32768");
        if self.static_membership {
            config.set("group.instance.id", instance_id(group, slot));
        }
        self.with_properties(config)
    }

    fn producer(&self, client: &str) -> ClientConfig {
        let mut config = self.base(client);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "none")
            // the brokers' default for a whole batch is a little more
            .set("message.max.bytes", "1048000")
            // ours is the lower bound; a transaction is larger than what waits in appends
            .set("queue.buffering.max.messages", "1000000");
        config
    }

    /// The producer of appends.
    pub(super) fn producer_config(&self) -> ClientConfig {
        let mut config = self.producer("encargo-appending");
        config.set("message.timeout.ms", self.message_timeout.as_millis().to_string()).set("linger.ms", LINGER_MS);
        self.with_properties(config)
    }

    /// A producer whose one record, of so many bytes, the brokers are to refuse.
    pub(super) fn probing(&self, bytes: usize) -> ClientConfig {
        let mut config = self.producer_config();
        config
            .set("enable.idempotence", "false")
            .set("message.timeout.ms", self.request_timeout.as_millis().to_string())
            // beside the record stands what is said of it
            .set("message.max.bytes", (bytes + 1_024).to_string());
        config
    }

    /// How long a transaction may take until it is asked to commit: as long as a partition is without a leader, but it is given up
    /// while the brokers would still take an abort; later they have aborted it themselves, and the producer is fenced.
    pub(super) fn filling_timeout(&self) -> Duration {
        self.transaction_timeout * 4 / 5
    }

    /// The producer of a member's transactions.
    pub(super) fn transacting(&self, group: &str, slot: u32) -> ClientConfig {
        let mut config = self.producer(&client_id(slot));
        config
            .set("transactional.id", transactional_id(group, slot))
            .set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string())
            // for its records as well: one that ran out of time leaves a gap behind, which dooms the next transaction
            .set("message.timeout.ms", self.transaction_timeout.as_millis().to_string())
            // the library wants no request to outlive the transaction
            .set("socket.timeout.ms", self.transaction_timeout.as_millis().min(10_000).to_string())
            .set("linger.ms", "0");
        self.with_properties(config)
    }
}

/// How long a record waits for company, as Kafka's own producer does by default (KIP-1030): a request for each record costs the
/// broker and this process more than the record does.
const LINGER_MS: &str = "5";

/// The names of all our members begin like this.
pub(super) const CLIENT: &str = "encargo-slot-";

/// By this name a slot's live member is known in its group.
pub(super) fn client_id(slot: u32) -> String {
    format!("{CLIENT}{slot}")
}

/// A static member's name.
pub(super) fn instance_id(group: &str, slot: u32) -> String {
    format!("{group}-slot-{slot}")
}

pub(super) fn transactional_id(group: &str, slot: u32) -> String {
    format!("{group}-{slot}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_says_what_it_is_asked_to() {
        let properties = BTreeMap::from([("debug".to_owned(), "cgrp".to_owned())]);
        let asked = Options { properties, ..Options::default() };
        assert!(matches!(asked.member("group", 0).log_level, RDKafkaLogLevel::Debug));
        assert!(matches!(Options::default().member("group", 0).log_level, RDKafkaLogLevel::Info));
    }
}
