//! The topics as an AsyncAPI 3.0 document: what stands in them, who writes it, and which consumer group reads it.

use serde_json::{Map, Value, json};

use super::{Deployment, schemas};
use crate::{domain::wire, role::Role};

/// What stands in a topic, and which roles write and read it.
pub(super) struct Flow {
    pub(super) format: &'static str,
    /// Its setting below `topics.`
    pub(super) topic: &'static str,
    writer: Role,
    reader: Role,
}

pub(super) const FLOWS: [Flow; 5] = [
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
        let address = deployment.topic(flow.topic);
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
        message["headers"] = cloud_event(flow.format);
        message["payload"] = told;
        message["correlationId"] =
            json!({ "description": "The order's number.", "location": "$message.payload#/orderid" });
    }
    message
}

const CLOUD_EVENT: &str = "CloudEvents 1.0 in binary mode. Records of the old services have none of these, those of earlier versions some. A record \
                           with content-type application/cloudevents+json is read, too: the event is its value then (structured mode).";

/// The headers of a format's records (Kafka protocol binding §3.2, and the extensions Partitioning and Distributed Tracing).
fn cloud_event(format: &str) -> Value {
    let kind = wire::KINDS.into_iter().find(|kind| kind.format == format).expect("what goes over a topic is of a kind");
    let field = |description: &str, example: &str| json!({ "type": "string", "minLength": 1, "description": description, "examples": [example] });
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = json!({
        "type": "object",
        "description": CLOUD_EVENT,
        "properties": {
            "content-type": field("What the data is (datacontenttype).", "application/json"),
            "ce_specversion": field("The version of CloudEvents.", "1.0"),
            "ce_id": field("Unique with ce_source.", "17.2"),
            "ce_source": field("Which role wrote it.", kind.source),
            "ce_type": field("What it is, with the version of that; without one in records of before.", kind.name),
            "ce_time": field("When it happened.", "2025-11-24T16:00:08.000Z"),
            "ce_dataschema": field("The $id of the data's schema.", &wire::schema_id(format)),
            "ce_subject": field("The order's number in decimal.", "17"),
            "ce_partitionkey": field("The record's key.", "17"),
        },
    });
    headers["properties"]["ce_time"]["format"] = "date-time".into();
    if let "order" | "state" = format {
        let placed = "The trace in which the order was placed (W3C Trace Context).";
        headers["properties"]["ce_traceparent"] = field(placed, trace);
        headers["properties"]["traceparent"] = field("The same, for what does not know CloudEvents.", trace);
    }
    headers
}
