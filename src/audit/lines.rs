//! The lines that orders go through, as the topic of flows tells them: read here as plain JSON, by no code of those who wrote it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;
use wildmatch::WildMatch;

use super::Line;
use crate::eventlog::Record;

/// Every flow of the topic, by the name that events give it.
#[derive(Default)]
pub(super) struct Lines {
    flows: HashMap<String, Vec<Stage>>,
    /// By flow, and by the product's key and name.
    made: HashMap<[String; 3], Arc<Line>>,
}

struct Stage {
    estado: String,
    dwell: Option<Duration>,
    /// The first that fits a product counts.
    exceptions: Vec<Exception>,
}

struct Exception {
    product: Option<WildMatch>,
    name: Option<WildMatch>,
    dwell: Duration,
}

impl Lines {
    /// Takes a record of the topic. The first of a version counts, and what is none is passed over: anybody can write there.
    pub(super) fn take(&mut self, record: &Record) {
        let Ok(value) = serde_json::from_slice::<Value>(&record.value) else { return };
        let (Some(name), Some(version)) = (value["name"].as_str(), value["version"].as_u64()) else { return };
        let id = format!("{name}@{version}");
        let is_its_key = record.key.as_deref() == Some(id.as_bytes());
        let stages = value["step"].as_array().and_then(|steps| steps.iter().map(Stage::read).collect());
        if let (true, Some(stages)) = (is_its_key, stages) {
            self.flows.entry(id).or_insert(stages);
        }
    }

    /// The line of the order that a state event is about; `None` when the event names no flow, or one that the topic does not hold.
    pub(super) fn of(&mut self, event: &Value) -> Option<Arc<Line>> {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = ["flow", "gameid", "name"].map(text);
        if let Some(line) = self.made.get(&key) {
            return Some(line.clone());
        }
        let [flow, product, name] = &key;
        let stages = self.flows.get(flow)?.iter();
        let line = Arc::new(stages.map(|stage| (stage.estado.clone(), stage.dwell_of(product, name))).collect());
        self.made.insert(key, Arc::clone(&line));
        Some(line)
    }
}

impl Stage {
    fn read(step: &Value) -> Option<Self> {
        let exceptions = step.get("for").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Some(Self {
            estado: step["state"].as_str()?.to_owned(),
            dwell: match step.get("dwell") {
                Some(dwell) => Some(duration(dwell)?),
                None => None,
            },
            exceptions: exceptions.iter().map(Exception::read).collect::<Option<_>>()?,
        })
    }

    fn dwell_of(&self, product: &str, name: &str) -> Option<Duration> {
        let fitting = self.exceptions.iter().find(|exception| exception.fits(product, name));
        fitting.map(|exception| exception.dwell).or(self.dwell)
    }
}

impl Exception {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        Some(Self {
            product: text("product").map(WildMatch::new),
            name: text("name").map(WildMatch::new_case_insensitive),
            dwell: duration(&value["dwell"])?,
        })
    }

    fn fits(&self, product: &str, name: &str) -> bool {
        self.product.as_ref().is_none_or(|pattern| pattern.matches(product))
            && self.name.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

fn duration(value: &Value) -> Option<Duration> {
    humantime::parse_duration(value.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Timestamp, wire::Headers};

    fn record(key: &str, value: &Value) -> Record {
        let (key, value) = (Some(key.as_bytes().to_vec()), value.to_string().into_bytes());
        Record { offset: 0, key, value, headers: Headers::default(), at: Timestamp::from_millis(0) }
    }

    #[test]
    fn a_line_is_that_of_the_flow_and_the_product_of_an_event() {
        let exceptions = json!([{ "product": "44-*", "dwell": "1m" }, { "name": "*PIZZA*", "dwell": "2m" }]);
        let steps = json!([
            { "state": "nuevo", "leave": "timer", "dwell": "500ms", "for": exceptions },
            { "state": "listo", "leave": "command" },
            { "state": "entregado" },
        ]);
        let flow = json!({ "name": "shop", "version": 2, "step": steps });
        let other = json!({ "name": "shop", "version": 2, "step": [{ "state": "otro" }] });
        let mut lines = Lines::default();
        for (key, value) in [("shop@3", &other), ("shop@2", &flow), ("shop@2", &other), ("shop@2", &json!("shop"))] {
            lines.take(&record(key, value));
        }
        let mut first = |flow: &str, product: &str, name: &str| {
            let line = lines.of(&json!({ "flow": flow, "gameid": product, "name": name }))?;
            let states: Vec<_> = line.iter().map(|(state, _)| state.clone()).collect();
            assert_eq!(
                (states, line[1].1, line[2].1),
                (["nuevo", "listo", "entregado"].map(Into::into).into(), None, None)
            );
            line[0].1.map(|dwell| dwell.as_millis())
        };
        assert_eq!(first("shop@2", "7", "Pan"), Some(500));
        assert_eq!(first("shop@2", "44-A", "Una pizza"), Some(60_000));
        assert_eq!(first("shop@2", "7", "Una pizza"), Some(120_000));
        assert_eq!((first("shop@3", "7", "Pan"), first("", "7", "Pan")), (None, None));
    }
}
