//! How many records were refused, by topic, by who wrote them, and what for.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::domain::Fault;

/// Most producers that are told apart: anybody can write who they are.
const PRODUCERS_MAX: usize = 20;
/// Longest name of a producer, in bytes.
const NAME_MAX: usize = 64;
const NONE: &str = "unknown";
const OTHER: &str = "other";

/// Counts for all roles of a process, which read different topics.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    refused: Family<[(&'static str, String); 3], Counter>,
    producers: Arc<Mutex<BTreeSet<String>>>,
}

impl Refusals {
    /// Registers the metric.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Records that do not fit, by topic, by the producer that the record names (source of a CloudEvent), and what is wrong";
        registry.register("encargo_records_refused", help, self.refused.clone());
    }

    /// Counts a record in, and who wrote it by its own account.
    pub fn count(&self, topic: &str, producer: Option<&str>, fault: Fault) {
        let labels =
            [("topic", topic.to_owned()), ("producer", self.producer(producer)), ("fault", fault.name().into())];
        self.refused.get_or_create(&labels).inc();
    }

    /// Who wrote a record, as it is told. Nobody else is told apart from the others once there are too many.
    fn producer(&self, name: Option<&str>) -> String {
        let is_name = |name: &&str| (1..=NAME_MAX).contains(&name.len()) && !name.contains(char::is_control);
        let Some(name) = name.filter(is_name) else { return NONE.into() };
        let mut producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        if producers.contains(name) || producers.len() < PRODUCERS_MAX && producers.insert(name.to_owned()) {
            return name.to_owned();
        }
        OTHER.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_that_make_up_names_are_counted_together() {
        let (refusals, mut registry) = (Refusals::default(), Registry::default());
        refusals.register(&mut registry);
        for number in 0..1_000 {
            refusals.count("orders", Some(&format!("/made-up/{number}")), Fault::Type);
        }
        refusals.count("orders", Some("/made-up/3"), Fault::Type);
        refusals.count("orders", Some("a\nb"), Fault::Syntax);
        refusals.count("orders", None, Fault::Syntax);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = |producer: &str, fault: &str, count: u64| {
            let line = format!("{{topic=\"orders\",producer=\"{producer}\",fault=\"{fault}\"}} {count}\n");
            assert!(text.contains(&line), "{line} in {text}");
        };
        line("/made-up/3", "type", 2);
        line(OTHER, "type", 1_000 - PRODUCERS_MAX as u64);
        line(NONE, "syntax", 2);
        assert_eq!(text.matches("_total{").count(), PRODUCERS_MAX + 2);
    }
}
