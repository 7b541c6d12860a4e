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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::words::contract_texts;

    /// What a page shows of a document: what is said of it, of its operations, of what they take and answer, and of fields.
    fn texts(value: &Value, is_named: bool, found: &mut BTreeSet<String>) {
        let mut note = |text: &Value| {
            found.extend(text.as_str().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")));
        };
        match value {
            Value::Object(fields) => {
                note(&value["summary"]);
                // a type's own description stands nowhere; a response, a parameter and a field have one that does
                if is_named {
                    note(&value["description"]);
                }
                for (name, within) in
                    fields.iter().filter(|(name, _)| !["example", "examples"].contains(&name.as_str()))
                {
                    let names = ["properties", "responses"].contains(&name.as_str());
                    match within {
                        Value::Object(named) if names => named.values().for_each(|field| texts(field, true, found)),
                        Value::Array(all) => all.iter().for_each(|one| texts(one, name == "parameters", found)),
                        _ => texts(within, name == "info", found),
                    }
                }
            }
            Value::Array(all) => all.iter().for_each(|one| texts(one, false, found)),
            _ => {}
        }
    }

    #[test]
    fn what_listeners_say_of_themselves_is_said_in_spanish_too() {
        let mut said = BTreeSet::new();
        for document in [intake::openapi(), tracking::openapi(), ops::openapi()] {
            texts(&document, false, &mut said);
        }
        let translated: BTreeSet<_> = contract_texts().map(str::to_owned).collect();
        let missing: Vec<_> = said.difference(&translated).collect();
        assert!(missing.is_empty(), "src/words/contract.tsv lacks {missing:#?}");
        let unused: Vec<_> = translated.difference(&said).collect();
        assert!(unused.is_empty(), "src/words/contract.tsv has what nothing says: {unused:#?}");
    }
}
