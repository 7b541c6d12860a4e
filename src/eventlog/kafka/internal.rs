//! Whether the brokers can keep what they keep about groups and transactions. One broker with Kafka's defaults cannot: it wants
//! three copies of a topic that it makes at the first transaction, and whoever asks for one hears of a time-out.

use std::collections::HashMap;

use super::topics::Topics;
use crate::eventlog::{Error, Result};

/// A topic of the brokers' own, and the settings that it is made by.
struct Internal {
    topic: &'static str,
    keeps: &'static str,
    copies: &'static str,
    in_sync: Option<&'static str>,
}

const ALL: [Internal; 2] = [
    Internal {
        topic: "__transaction_state",
        keeps: "transactions",
        copies: "transaction.state.log.replication.factor",
        in_sync: Some("transaction.state.log.min.isr"),
    },
    Internal {
        topic: "__consumer_offsets",
        keeps: "groups",
        copies: "offsets.topic.replication.factor",
        in_sync: None,
    },
];

impl Topics {
    /// Names what keeps the brokers from keeping groups and transactions. [`Error::Unavailable`], since it may be mended, or
    /// more brokers may come.
    pub(super) fn check_internal(&self) -> Result<()> {
        let brokers = self.metadata(None)?.brokers().len();
        let settings = self.broker_settings()?;
        ALL.iter().try_for_each(|internal| self.check_one(internal, brokers, &settings))
    }

    fn check_one(&self, internal: &Internal, brokers: usize, settings: &HashMap<String, String>) -> Result<()> {
        let &Internal { topic, keeps, copies, in_sync } = internal;
        let layout = match self.found(topic) {
            Ok(layout) => layout,
            Err(Error::Fatal(_)) => return Ok(()), // not for our eyes
            Err(error) => return Err(error),
        };
        let number =
            |settings: &HashMap<String, String>, name| settings.get(name).and_then(|n| n.parse::<usize>().ok());
        let trouble = if let Some(layout) = layout {
            let wanted = number(&self.settings(topic)?, "min.insync.replicas");
            wanted.filter(|wanted| *wanted > layout.copies).map(|wanted| {
                let (has, address) = (layout.copies, &self.options.brokers);
                format!(
                    "the brokers cannot keep {keeps}: their topic {topic} wants {wanted} copies in sync and has {has}: \
                     `kafka-configs.sh --bootstrap-server {address} --alter --entity-type topics --entity-name {topic} \
                     --add-config min.insync.replicas={has}`"
                )
            })
        } else {
            let wanted = number(settings, copies);
            let in_sync = in_sync.filter(|name| number(settings, name).is_some_and(|wanted| wanted > brokers));
            let named = (wanted.is_some_and(|wanted| wanted > brokers)).then_some(copies);
            named.or(in_sync).map(|name| {
                let wanted = number(settings, name).unwrap_or_default();
                let all = in_sync.map_or_else(String::new, |name| format!(" and {name}={brokers}"));
                format!(
                    "the brokers cannot keep {keeps}: {name} is {wanted}, and {brokers} of them can be seen; start the missing \
                     ones, or set {copies}={brokers}{all} in their configuration and start them again"
                )
            })
        };
        trouble.map_or(Ok(()), |text| Err(Error::Unavailable(text)))
    }
}
