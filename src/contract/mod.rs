//! What topics hold, as machines read it: a JSON Schema for each format, and whether versions of them agree. How formats are
//! changed: `docs/contracts.md`.

mod alternatives;
mod asyncapi;
mod bounds;
mod compatibility;
mod decimal;
mod shape;
mod subjects;

use serde_json::Value;

use crate::{domain::wire, role::Role};

pub use self::{
    alternatives::Incomparable,
    compatibility::{Break, Direction, breaks},
    shape::NoSchema,
    subjects::{subjects, value_subject},
};

/// Each format's name and JSON Schema.
pub fn schemas() -> impl Iterator<Item = (&'static str, Value)> {
    wire::formats().into_iter().map(|format| (format.name, format.schema().to_value()))
}

/// What a deployment calls its topics and its consumer groups.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The name of each topic, by its setting below `topics.`
    pub topics: [(&'static str, String); 5],
    /// The group of each role that reads with one.
    pub groups: [(Role, &'static str); 2],
}

impl Deployment {
    /// What a topic is called here, by its setting below `topics.`
    fn topic(&self, setting: &str) -> &str {
        let named = self.topics.iter().find(|(known, _)| *known == setting);
        named.map(|(_, name)| &**name).expect("a deployment names all topics")
    }

    fn group(&self, role: Role) -> Option<&'static str> {
        self.groups.iter().find(|(reader, _)| *reader == role).map(|(_, group)| *group)
    }
}

/// The documents of topics by path, as they are exported and served.
pub fn documents(deployment: &Deployment) -> Vec<(String, Value)> {
    let schemas = schemas().map(|(name, schema)| (format!("schemas/{name}.json"), schema));
    schemas.chain([("asyncapi.json".to_owned(), asyncapi::document(deployment))]).collect()
}

#[cfg(test)]
mod tests;
