//! What topics hold, as machines read it: a JSON Schema for each format, and whether versions of them agree. How formats are
//! changed: `docs/contracts.md`.

mod alternatives;
mod bounds;
mod compatibility;

use serde_json::Value;

use crate::domain::wire;

pub use compatibility::{Break, Direction, breaks};

/// Each format's name and JSON Schema.
pub fn schemas() -> impl Iterator<Item = (&'static str, Value)> {
    wire::formats().into_iter().map(|format| (format.name, format.schema().to_value()))
}

#[cfg(test)]
mod tests;
