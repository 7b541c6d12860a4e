//! The topics as an AsyncAPI 3.0 document: what stands in them, who writes it, and which consumer group reads it.

use serde_json::{Map, Value, json};

use super::{Deployment, schemas};
use crate::role::Role;

/// What stands in a topic, and which roles write and read it.
struct Flow {
    format: &'static str,
    topic: &'static str,
    writer: Role,
    reader: Role,
}

const FLOWS: [Flow; 5] = [
    Flow { format: "order", topic: "orders", writer: Role::Intake, reader: Role::Fulfilment },
    Flow { format: "state", topic: "states", writer: Role::Fulfilment, reader: Role::Tracking },
    Flow { format: "command", topic: "commands", writer: Role::Tracking, reader: Role::Fulfilment },
    Flow { format: "outcome", topic: "outcomes", writer: Role::Fulfilment, reader: Role::Tracking },
    Flow { format: "dead-letter", topic: "dead", writer: Role::Fulfilment, reader: Role::Tracking },
];

const ABOUT: &str = "Orders, their states, commands about them and what became of those, as they go over Kafka. Readers ignore fields that \
                     they do not know, and read no transaction that was aborted (isolation.level=read_committed).";

/// The document of a deployment.
pub(super) fn document(deployment: &Deployment) -> Value {
    let schemas: Map<String, Value> = schemas().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for flow in FLOWS {
        let address = deployment.topics.iter().find(|(setting, _)| *setting == flow.topic).map(|(_, name)| &**name);
        let address = address.expect("a deployment names all topics");
        let message = message(&flow, &schemas[flow.format]);
        channels.insert(flow.topic.into(), channel(&flow, address, &message));
        for (action, role) in [("send", flow.writer), ("receive", flow.reader)] {
            operations.insert(
                format!("{}.{action}.{}", role.name(), flow.topic),
                operation(&flow, action, deployment.group(role)),
            );
        }
        messages.insert(flow.format.into(), message);
    }
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:encargo",
        "info": {
            "title": "Encargo",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}

fn channel(flow: &Flow, address: &str, message: &Value) -> Value {
    json!({
        "address": address,
        "description": message["description"],
        "messages": { flow.format: { "$ref": format!("#/components/messages/{}", flow.format) } },
        "bindings": { "kafka": { "topic": address, "bindingVersion": "0.5.0" } },
    })
}

fn operation(flow: &Flow, action: &str, group: Option<&str>) -> Value {
    let mut operation = json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{}", flow.topic) },
        "messages": [{ "$ref": format!("#/channels/{}/messages/{}", flow.topic, flow.format) }],
    });
    if let Some(group) = group.filter(|_| action == "receive") {
        let group = json!({ "type": "string", "enum": [group] });
        operation["bindings"] = json!({ "kafka": { "groupId": group, "bindingVersion": "0.5.0" } });
    }
    operation
}

/// A format with its headers: a dead letter is nothing but headers around a record as it was.
fn message(flow: &Flow, schema: &Value) -> Value {
    let mut told = schema.clone();
    let fields = told.as_object_mut().expect("a schema of fields");
    // the document says itself which dialect and which message it is
    for keyword in ["$schema", "$id"] {
        fields.remove(keyword);
    }
    let title = fields.remove("title");
    let description = fields.remove("description");
    let mut message = json!({
        "name": flow.format,
        "title": title,
        "description": description,
        "bindings": { "kafka": {
            "key": { "type": "string", "description": "The order's number in decimal.", "pattern": "^[0-9]+$" },
            "bindingVersion": "0.5.0",
        } },
    });
    if flow.format == "dead-letter" {
        message["headers"] = told;
        message["payload"] = json!({ "description": "That of the record, unchanged." });
        message["contentType"] = "application/octet-stream".into();
        message["bindings"]["kafka"]["key"] = json!({ "description": "That of the record, unchanged." });
    } else {
        message["headers"] = cloud_event();
        message["payload"] = told;
        message["correlationId"] =
            json!({ "description": "The order's number.", "location": "$message.payload#/orderid" });
    }
    message
}

/// CloudEvents 1.0 in binary mode (Kafka protocol binding §3.2); records of the old services have none.
fn cloud_event() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "CloudEvents 1.0 in binary mode; records of the old services have none.",
        "properties": {
            "content-type": text("application/json"),
            "ce_specversion": text("1.0"),
            "ce_id": text("Unique with ce_source."),
            "ce_source": text("Which role wrote it, like /encargo/fulfilment."),
            "ce_type": text("What it is, like encargo.order.placed."),
            "traceparent": text("The trace in which the order was placed (W3C Trace Context)."),
        },
    })
}
