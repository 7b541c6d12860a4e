//! Avro by the schema of its writer, as JSON.
//!
//! The library decodes; what it does not bound is bounded here, since anybody may write bytes: how deep and how wide a schema
//! is, that each part of a value takes a byte at least, and that the value neither ends early nor goes on.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use apache_avro::{
    Decimal, Schema,
    reader::datum::GenericDatumReader,
    schema::{InnerDecimalSchema, NamespaceRef, ResolvedSchema},
    types::Value,
    util::max_allocation_bytes,
};
use serde_json::{Map, Number, Value as Json};

use crate::domain::Timestamp;

/// Largest value that is read, in bytes: what a topic takes unless it is told otherwise.
const VALUE_MAX: usize = 1 << 20;
/// Most bytes that the library takes for one list: more items than bytes there cannot be.
const LIST_MAX: usize = VALUE_MAX * size_of::<Value>();
/// Deepest nesting of a schema, unions counted.
const DEPTH_MAX: usize = 12;
/// Most types in a schema, each counted as often as it is used.
const TYPES_MAX: usize = 10_000;
/// Largest type of a fixed length, in bytes.
const FIXED_MAX: usize = 1 << 16;

/// Why something is not read, in words. No part of a value stands in it.
type Words = Cow<'static, str>;

/// A schema by which values are read.
pub(super) struct Avro(Schema);

impl Avro {
    /// Reads a schema, and refuses one whose values could be larger than their bytes.
    pub(super) fn parse(text: &str) -> Result<Self, Words> {
        max_allocation_bytes(LIST_MAX);
        let unreadable = |e| Words::from(format!("cannot be read ({e})"));
        let schema = Schema::parse_str(text).map_err(unreadable)?;
        let types = Types(ResolvedSchema::new(&schema).map_err(unreadable)?);
        types.survey(&schema, None, 0, &mut 0)?;
        Ok(Self(schema))
    }

    /// A value of this schema as JSON, with the names of its fields.
    pub(super) fn json(&self, payload: &[u8]) -> Result<Vec<u8>, Words> {
        if payload.len() > VALUE_MAX {
            return Err(format!("is larger than {VALUE_MAX} bytes").into());
        }
        // the library's words may quote the value
        let unlike = |_| Words::from("is not what that schema describes");
        let types = Types(ResolvedSchema::new(&self.0).map_err(unlike)?);
        let reader = GenericDatumReader::builder(&self.0).resolved_writer_schemata(types.0.clone());
        let mut bytes = Bytes { rest: payload, ran_out: false };
        let value = reader.build().and_then(|reader| reader.read_value(&mut bytes)).map_err(unlike)?;
        if bytes.ran_out {
            return Err("ends before what that schema describes does".into());
        }
        if !bytes.rest.is_empty() {
            return Err("goes on after what that schema describes".into());
        }
        Ok(types.translate(&self.0, None, value)?.to_string().into_bytes())
    }
}

/// The types of a schema that have names.
struct Types<'s>(ResolvedSchema<'s>);

impl Types<'_> {
    /// What a reference stands for, and the namespace within.
    fn resolve<'a>(&'a self, schema: &'a Schema, within: NamespaceRef<'a>) -> Option<(&'a Schema, NamespaceRef<'a>)> {
        match schema {
            Schema::Ref { name } => {
                let (name, schema) = self.0.get_names().get_key_value(&*name.fully_qualified_name(within))?;
                Some((schema, name.namespace()))
            }
            Schema::Record(record) => Some((schema, record.name.namespace().or(within))),
            _ => Some((schema, within)),
        }
    }

    fn survey(&self, schema: &Schema, within: NamespaceRef<'_>, depth: usize, types: &mut usize) -> Result<(), Words> {
        *types += 1;
        if depth > DEPTH_MAX || *types > TYPES_MAX {
            return Err("is nested too deeply, or within itself".into());
        }
        let (schema, within) = self.resolve(schema, within).ok_or("refers to what it does not define")?;
        let mut each = |inner: &Schema| self.survey(inner, within, depth + 1, types);
        match schema {
            Schema::Record(record) if !record.fields.is_empty() => {
                record.fields.iter().try_for_each(|field| each(&field.schema))
            }
            Schema::Union(union) => {
                union.variants().iter().filter(|variant| !matches!(variant, Schema::Null)).try_for_each(each)
            }
            Schema::Array(array) => each(&array.items),
            Schema::Map(map) => each(&map.types),
            Schema::Null | Schema::Record(_) => Err("has a type that takes no bytes".into()),
            Schema::Fixed(fixed) if !(1..=FIXED_MAX).contains(&fixed.size) => {
                Err("has a type of a fixed length that is none, or too large".into())
            }
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Fixed(fixed) if !(1..=FIXED_MAX).contains(&fixed.size) => {
                    Err("has a decimal of a fixed length that is none, or too large".into())
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Times become RFC 3339 and decimals text, as records have them.
    fn translate(&self, schema: &Schema, within: NamespaceRef<'_>, value: Value) -> Result<Json, Words> {
        let (schema, within) = self.resolve(schema, within).ok_or("refers to what it does not define")?;
        Ok(match (schema, value) {
            (Schema::Union(union), Value::Union(index, inner)) => {
                let variant = union.variants().get(index as usize).ok_or("has no such type")?;
                self.translate(variant, within, *inner)?
            }
            (Schema::Record(record), Value::Record(fields)) => {
                let mut object = Map::new();
                for ((name, value), field) in fields.into_iter().zip(&record.fields) {
                    object.insert(name, self.translate(&field.schema, within, value)?);
                }
                object.into()
            }
            (Schema::Array(array), Value::Array(items)) => {
                let items = items.into_iter().map(|item| self.translate(&array.items, within, item));
                Json::Array(items.collect::<Result<_, _>>()?)
            }
            (Schema::Map(map), Value::Map(entries)) => {
                let entries =
                    entries.into_iter().map(|(key, value)| Ok((key, self.translate(&map.types, within, value)?)));
                Json::Object(entries.collect::<Result<_, Words>>()?)
            }
            (Schema::Decimal(decimal), Value::Decimal(value)) => digits(&value, decimal.scale)?.into(),
            (_, value) => scalar(value)?,
        })
    }
}

/// A value without parts.
fn scalar(value: Value) -> Result<Json, Words> {
    let moment = |millis| Json::from(Timestamp::from_millis(millis).to_string());
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Int(value) | Value::Date(value) | Value::TimeMillis(value) => value.into(),
        Value::Long(value)
        | Value::TimeMicros(value)
        | Value::LocalTimestampMillis(value)
        | Value::LocalTimestampMicros(value)
        | Value::LocalTimestampNanos(value) => value.into(),
        Value::TimestampMillis(millis) => moment(millis),
        Value::TimestampMicros(micros) => moment(micros.div_euclid(1_000)),
        Value::TimestampNanos(nanos) => moment(nanos.div_euclid(1_000_000)),
        Value::Float(value) => number(value.into())?,
        Value::Double(value) => number(value)?,
        Value::String(text) | Value::Enum(_, text) => text.into(),
        Value::Uuid(uuid) => uuid.to_string().into(),
        // one character for each, as Avro's own JSON has it
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => bytes.into_iter().map(char::from).collect::<String>().into(),
        _ => return Err("has a part of a type that JSON does not have".into()),
    })
}

fn number(value: f64) -> Result<Json, Words> {
    Ok(Number::from_f64(value).ok_or("has a number that is none")?.into())
}

/// A decimal with as many digits behind its point.
fn digits(value: &Decimal, scale: usize) -> Result<String, Words> {
    const TOO_LARGE: &str = "has a decimal of more than 38 digits";
    let bytes = Vec::<u8>::try_from(value).map_err(|_| TOO_LARGE)?;
    let is_negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let mut whole = [if is_negative { 0xff } else { 0 }; size_of::<i128>()];
    let start = whole.len().checked_sub(bytes.len()).filter(|_| scale <= 38).ok_or(TOO_LARGE)?;
    whole[start..].copy_from_slice(&bytes);
    let unscaled = i128::from_be_bytes(whole);
    let text = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, part) = text.split_at(text.len() - scale);
    let sign = if is_negative { "-" } else { "" };
    Ok(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") })
}

/// The bytes of a value. The library takes some that are missing for nothing.
struct Bytes<'a> {
    rest: &'a [u8],
    ran_out: bool,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ran_out |= buffer.len() > self.rest.len();
        self.rest.read(buffer)
    }
}

#[cfg(test)]
mod tests;
