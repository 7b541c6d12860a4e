//! What this deployment tells of its formats: topics as they are called here, and what its listeners answer.

use serde_json::Value;

use crate::{
    config::{self, Config, Topics},
    contract::{self, Deployment},
    fulfilment, intake, ops, registry,
    role::Role,
    tracking,
};

/// The names of topics and groups.
pub fn deployment(config: &Config) -> Deployment {
    let Topics { orders, states, commands, outcomes, dead, .. } = config.topics.clone();
    Deployment {
        topics: [
            ("orders", orders),
            ("states", states),
            ("commands", commands),
            ("outcomes", outcomes),
            ("dead", dead),
        ],
        groups: [(Role::Fulfilment, fulfilment::GROUP), (Role::Tracking, tracking::GROUP)],
    }
}

/// All documents by path, as they are exported: those of topics, and what each listener answers at `/openapi.json`.
pub fn documents(config: &Config) -> Vec<(String, Value)> {
    let mut documents = contract::documents(&deployment(config));
    let listeners = [("intake", intake::openapi()), ("tracking", tracking::openapi()), ("ops", ops::openapi())];
    documents.extend(listeners.map(|(listener, document)| (format!("openapi-{listener}.json"), document)));
    documents
}

/// The schema registry of these settings, if they name one.
pub fn registry(config: &Config) -> Option<registry::Options> {
    let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let config::Registry { url, user, password, ca } = &config.registry;
    Some(registry::Options {
        url: set(url)?,
        user: set(user),
        password: password.clone(),
        ca: Some(ca.clone()).filter(|path| !path.as_os_str().is_empty()),
    })
}
