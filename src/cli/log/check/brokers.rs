//! Whether the brokers let us work as the settings say, and decide what is to be decided.

use std::{collections::HashMap, time::Duration};

use super::finding::{Finding, Level::Fault};
use crate::{cli::time::span, domain::Timestamp, eventlog::kafka::Held};

/// The longest that a transaction can be open where the brokers do not say it (their default).
const TRANSACTION_MAX: Duration = Duration::from_mins(15);

/// What the brokers are told by the settings, and what they say.
pub(super) struct Brokers {
    pub(super) address: String,
    pub(super) session_timeout: Duration,
    pub(super) transaction_timeout: Duration,
    /// By Kafka's names; empty when the account may not see them.
    pub(super) settings: HashMap<String, String>,
    /// Why they cannot keep groups and transactions.
    pub(super) lacking: Option<String>,
    pub(super) held: Vec<Held>,
}

pub(super) fn judge(brokers: &Brokers, now: Timestamp) -> Vec<Finding> {
    let about = |level, code| Finding::new(level, code, "brokers");
    let mut found = Vec::new();
    found.extend(brokers.lacking.as_ref().map(|why| about(Fault, "brokers-own").with("why", why)));
    let longest = brokers.time("transaction.max.timeout.ms").unwrap_or(TRANSACTION_MAX);
    if brokers.transaction_timeout > longest {
        let finding = about(Fault, "transaction-timeout").but_needs(span(longest), span(brokers.transaction_timeout));
        found.push(finding);
    }
    let (least, most) = (brokers.time("group.min.session.timeout.ms"), brokers.time("group.max.session.timeout.ms"));
    let session = brokers.session_timeout;
    if least.is_some_and(|least| session < least) || most.is_some_and(|most| session > most) {
        let bounds = [least, most].map(|bound| bound.map_or_else(|| "-".to_owned(), span));
        found.push(about(Fault, "session-timeout").but_needs(bounds.join(" … "), span(session)));
    }
    // what a broker ends by itself it has ended by then
    for Held { tp, offset, at } in brokers.held.iter().filter(|held| now.since(held.at) > longest) {
        let command = format!(
            "kafka-transactions.sh --bootstrap-server {} abort --topic {} --partition {} --start-offset {offset}",
            brokers.address, tp.topic, tp.partition
        );
        let finding = Finding::new(Fault, "hanging-transaction", &tp.to_string());
        found.push(finding.with("offset", offset).with("age", span(now.since(*at))).mend(command));
    }
    found
}

impl Brokers {
    fn time(&self, name: &str) -> Option<Duration> {
        self.settings.get(name)?.parse().ok().map(Duration::from_millis)
    }
}
