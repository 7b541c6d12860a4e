//! JSON Schemas (2020-12) of the wire formats, made of the types that read and write them.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use super::{
    command_records::{WireCommand, WireOutcome},
    letters::DeadLetterHeaders,
    records::{WireEvent, WireOrder},
    schema_id,
};

/// What stands in the records of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    schema: fn() -> Schema,
}

impl Format {
    /// Its schema.
    pub fn schema(&self) -> Schema {
        let mut schema = (self.schema)();
        schema.insert("$id".into(), schema_id(self.name).into());
        schema
    }
}

/// All formats, in the order in which an order meets them.
pub fn formats() -> [Format; 5] {
    [
        Format { name: "order", schema: of::<WireOrder<'static>> },
        Format { name: "state", schema: of::<WireEvent<'static>> },
        Format { name: "command", schema: of::<WireCommand<'static>> },
        Format { name: "outcome", schema: of::<WireOutcome<'static>> },
        Format { name: "dead-letter", schema: of::<DeadLetterHeaders> },
    ]
}

fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
}
