//! What a record holds: its value, without the number of its schema, or, of a CloudEvent in structured mode (Kafka protocol binding §3.3), the data in its value.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Headers, cloudevents, framing::json, parse::parse};
use crate::domain::{Fault, Invalid, Misfit, TraceParent};

/// With this the content type of each structured CloudEvent begins, whatever its format.
const STRUCTURED: &str = "application/cloudevents";
const IN_JSON: &str = "+json";
const IN_DATA: &str = "/data";
const IN_BASE64: &str = "/data_base64";

/// A CloudEvent in its JSON format (§2 and §3); extensions that are not here are ignored.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    datacontenttype: Option<Cow<'a, str>>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'a, str>>,
}

/// What is to be decoded of a record.
#[derive(Debug)]
pub struct Content<'a> {
    /// JSON, if the record is what it should be.
    pub data: Cow<'a, [u8]>,
    /// Where that stands in the record's value, as a JSON Pointer; empty when it is the whole value.
    pub place: &'static str,
    /// The trace that the record tells.
    pub(super) trace: Option<TraceParent>,
}

/// What a record holds, framed by a serialiser or not. Whatever is not named a CloudEvent in structured mode by its `content-type` is its value, as it is.
pub fn content<'a>(value: &'a [u8], headers: &Headers) -> Result<Content<'a>, Misfit> {
    let value = json(value);
    if !is_structured(headers)? {
        return Ok(Content { data: value.into(), place: "", trace: cloudevents::trace(headers) });
    }
    let in_words = |misfit: Misfit| Misfit { reason: format!("a structured CloudEvent: {}", misfit.reason), ..misfit };
    let envelope: Envelope<'a> = parse(value).map_err(in_words)?;
    let trace = envelope.traceparent.as_deref().and_then(|text| text.parse().ok());
    let (data, place) = envelope.data().map_err(in_words)?;
    Ok(Content { data, place, trace: trace.or_else(|| cloudevents::trace(headers)) })
}

/// Who wrote a record by its own account: the source of a CloudEvent in either mode.
pub fn producer<'a>(value: &'a [u8], headers: &'a Headers) -> Option<Cow<'a, str>> {
    #[derive(Deserialize)]
    struct Sourced<'a> {
        #[serde(borrow)]
        source: Cow<'a, str>,
    }
    match is_structured(headers) {
        Ok(true) => parse::<Sourced>(json(value)).ok().map(|sourced| sourced.source),
        _ => headers.text("ce_source").map(Cow::Borrowed),
    }
}

impl Content<'_> {
    /// Reads the data, and has what does not fit point into the record's value.
    pub(super) fn read<T>(&self, read: impl FnOnce(&[u8]) -> Result<T, Misfit>) -> Result<T, Misfit> {
        read(&self.data).map_err(|misfit| match (self.place, misfit.pointer) {
            (IN_BASE64, pointer) => {
                let within = pointer.as_ref().map_or_else(String::new, |pointer| format!(" at {pointer:?}"));
                let reason = format!("in data_base64{within}: {}", misfit.reason);
                Misfit { fault: misfit.fault, pointer: Some(IN_BASE64.into()), reason }
            }
            (place, pointer) => Misfit { pointer: pointer.map(|pointer| format!("{place}{pointer}")), ..misfit },
        })
    }
}

impl<'a> Envelope<'a> {
    fn data(self) -> Result<(Cow<'a, [u8]>, &'static str), Misfit> {
        if self.specversion != "1.0" {
            return Err(Invalid::of("specversion", "must be 1.0").into());
        }
        for (field, attribute) in [("id", self.id), ("source", self.source), ("type", self.kind)] {
            if attribute.is_empty() {
                return Err(Invalid::of(field, "must not be empty").into());
            }
        }
        if self.datacontenttype.is_some_and(|media| !is_json(&media)) {
            return Err(Invalid::of("datacontenttype", "must be application/json").into());
        }
        match (self.data, self.data_base64) {
            (Some(data), None) => Ok((data.get().as_bytes().into(), IN_DATA)),
            (None, Some(text)) => {
                let data = BASE64_STANDARD.decode(&*text).map_err(|_| Invalid::of("data_base64", "must be Base64"))?;
                Ok((data.into(), IN_BASE64))
            }
            (Some(_), Some(_)) => Err(Invalid::of("data_base64", "must not stand beside data").into()),
            (None, None) => {
                let reason = "must have data or data_base64".into();
                Err(Misfit { fault: Fault::Missing, pointer: Some(IN_DATA.into()), reason })
            }
        }
    }
}

/// Whether the value is a whole event; of other formats than JSON it cannot be read.
fn is_structured(headers: &Headers) -> Result<bool, Misfit> {
    let Some((_, media)) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")) else {
        return Ok(false);
    };
    let essence = essence(std::str::from_utf8(media).unwrap_or_default());
    let Some((start, format)) = essence.split_at_checked(STRUCTURED.len()) else { return Ok(false) };
    if !start.eq_ignore_ascii_case(STRUCTURED) {
        return Ok(false);
    }
    if !format.eq_ignore_ascii_case(IN_JSON) {
        return Err(Invalid::because(
            "content-type: of structured CloudEvents, application/cloudevents+json alone is read",
        )
        .into());
    }
    Ok(true)
}

/// A media type without its parameters.
fn essence(media: &str) -> &str {
    media.split(';').next().unwrap_or_default().trim()
}

fn is_json(media: &str) -> bool {
    let essence = essence(media).to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}
