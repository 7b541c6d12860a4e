//! Whether the brokers let us work as the settings say, and decide what is to be decided.

use std::{collections::HashMap, time::Duration};

use super::finding::{
    Finding,
    Level::{Fault, Risk},
};
use crate::{
    cli::time::span,
    domain::Timestamp,
    eventlog::kafka::{BrokerClock, Held},
};

/// The longest that a transaction can be open where the brokers do not say it (their default).
const TRANSACTION_MAX: Duration = Duration::from_mins(15);

/// By how much clocks may differ: less than that is seen in no mail, and moves no retention that anybody sets.
const SKEW_MAX: Duration = Duration::from_secs(10);
/// Records that are younger than a broker's own time by more than this are refused (its `message.timestamp.after.max.ms`).
const REFUSED_FROM: Duration = Duration::from_hours(1);

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
    /// Empty where they are not to be compared.
    pub(super) clocks: Vec<BrokerClock>,
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
    found.extend(brokers.clocks.iter().filter_map(of_clock));
    found
}

fn of_clock(clock: &BrokerClock) -> Option<Finding> {
    let sure = clock.ahead_ms.unsigned_abs().saturating_sub(clock.within_ms.unsigned_abs());
    let skew = Duration::from_millis(sure);
    let (level, code) = match clock.ahead_ms {
        _ if skew < SKEW_MAX => return None,
        0.. => (Risk, "clock-ahead"),
        _ if skew >= REFUSED_FROM => (Fault, "clock-behind"),
        _ => (Risk, "clock-behind"),
    };
    Some(Finding::new(level, code, &clock.broker).with("found", span(skew)))
}

impl Brokers {
    fn time(&self, name: &str) -> Option<Duration> {
        self.settings.get(name)?.parse().ok().map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_when_it_surely_is() {
        let level = |ahead_ms, within_ms| {
            let found = of_clock(&BrokerClock { broker: "k1:9092".into(), ahead_ms, within_ms });
            found.map(|finding| (finding.level, finding.code))
        };
        assert_eq!(level(0, 5), None);
        assert_eq!(level(-15_000, 6_000), None);
        assert_eq!(level(-15_000, 4_000), Some((Risk, "clock-behind")));
        assert_eq!(level(7_200_000, 10), Some((Risk, "clock-ahead")));
        assert_eq!(level(-7_200_000, 10), Some((Fault, "clock-behind")));
    }
}
