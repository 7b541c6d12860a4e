//! Dead letters for programs.

use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::output::bytes_as_json,
    domain::{Fault, wire},
    ops::DeadJson,
    store::dead::DeadItem,
};

/// A dead letter as `/ledger` tells it, and what stands in it.
#[derive(Serialize)]
pub(super) struct WholeJson<'a> {
    #[serde(flatten)]
    letter: DeadJson<'a>,
    misfit: Option<MisfitJson<'a>>,
    record: Option<RecordJson<'a>>,
}

/// What is wrong with a record, as the letter's headers tell it.
#[derive(Serialize)]
struct MisfitJson<'a> {
    /// `syntax`, `missing`, `type`, `rule` or `conflict`.
    fault: Option<&'static str>,
    /// The field, as a JSON Pointer.
    pointer: Option<&'a str>,
    /// The `$id` of the schema by which it was read.
    schema: Option<&'a str>,
    /// The version of the records that its reader knew.
    version: Option<u32>,
    /// Who wrote the record, by its own account.
    producer: Option<&'a str>,
    /// How many records the letter stands for.
    records: u64,
}

/// A record: text as text, other bytes as a list of numbers.
#[derive(Serialize)]
struct RecordJson<'a> {
    key: Option<Value>,
    headers: Vec<(&'a str, Value)>,
    value: Value,
}

impl<'a> From<&'a DeadItem> for WholeJson<'a> {
    fn from(item: &'a DeadItem) -> Self {
        let misfit = item.letter.as_ref().map(|letter| {
            let wire::Told { fault, pointer, schema, version, producer } = wire::told(&letter.headers);
            let records = wire::records(&letter.headers);
            MisfitJson { fault: fault.map(Fault::name), pointer, schema, version, producer, records }
        });
        let record = item.letter.as_ref().map(|letter| RecordJson {
            key: letter.key.as_deref().map(bytes_as_json),
            headers: letter.headers.iter().map(|(name, value)| (name, bytes_as_json(value))).collect(),
            value: bytes_as_json(&letter.value),
        });
        Self { letter: item.into(), misfit, record }
    }
}

/// What was decided about a dead letter, for programs.
#[derive(Serialize)]
pub(in crate::cli) struct DecidedJson {
    pub(in crate::cli) id: String,
    /// `redrive` or `drop`.
    pub(in crate::cli) action: &'static str,
}
