//! What a schema registry is told: a subject for the key and one for the value of each topic.

use serde_json::{Value, json};

use super::{Deployment, asyncapi::FLOWS, schemas};
use crate::domain::OrderId;

/// The name of the subject of a topic's values, as serialisers look it up.
pub fn value_subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// Subjects with their JSON Schemas. A dead letter has none: what is in it is what nobody could read.
pub fn subjects(deployment: &Deployment) -> Vec<(String, Value)> {
    let schemas: Vec<_> = schemas().collect();
    let mut subjects = Vec::new();
    for flow in FLOWS.iter().filter(|flow| flow.format != "dead-letter") {
        let schema = schemas.iter().find(|(name, _)| *name == flow.format).map(|(_, schema)| schema.clone());
        let topic = deployment.topic(flow.topic);
        subjects.push((format!("{topic}-key"), key()));
        subjects.push((value_subject(topic), schema.expect("each topic has a format")));
    }
    subjects
}

/// Digits alone, which are a number to whoever reads them as JSON.
fn key() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "key",
        "description": "The order's number in decimal.",
        "type": "integer",
        "minimum": 1,
        "maximum": OrderId::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;

    /// They are published as draft 7.
    #[test]
    fn no_subject_says_what_only_later_drafts_know() {
        let deployment = Deployment {
            topics: FLOWS.map(|flow| (flow.topic, flow.topic.to_owned())),
            groups: [(Role::Fulfilment, "fulfilment"), (Role::Tracking, "tracking")],
        };
        let subjects = subjects(&deployment);
        assert_eq!(subjects.len(), 8);
        for (name, schema) in subjects {
            let text = schema.to_string();
            for later in ["$defs", "$anchor", "$dynamic", "prefixItems", "unevaluated", "dependent", "minContains"] {
                assert!(!text.contains(&format!("\"{later}")), "{name} has {later}: draft 7 says that otherwise");
            }
        }
    }
}
