//! Headers of records: CloudEvents 1.0 in binary mode (Kafka protocol binding §3.2), the trace, and what fulfilment knows its
//! own events by.

use std::borrow::Cow;

use crate::domain::{Order, StateEvent};

/// A record's headers: names and raw values, repeats allowed.
pub type Headers = Vec<Header>;

/// A header. Most of ours are the same for every record: those have no memory of their own, which would be more allocations
/// than the rest of a record takes.
pub type Header = (Cow<'static, str>, Cow<'static, [u8]>);

/// A header as it is read.
pub fn read_header(name: &str, value: &[u8]) -> Header {
    let known_name = NAMES.into_iter().find(|known| *known == name);
    let known_value = VALUES.into_iter().find(|known| known.as_bytes() == value);
    (
        known_name.map_or_else(|| name.to_owned().into(), Cow::Borrowed),
        known_value.map_or_else(|| value.to_owned().into(), |known| known.as_bytes().into()),
    )
}

/// Names of our headers.
const NAMES: [&str; 7] = ["content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "traceparent", SEAL];
/// Values that many of ours have.
const VALUES: [&str; 6] = [JSON, CLOUD_EVENTS, INTAKE, FULFILMENT, PLACED, ENTERED];

const JSON: &str = "application/json";
const CLOUD_EVENTS: &str = "1.0";
const INTAKE: &str = "/encargo/intake";
const FULFILMENT: &str = "/encargo/fulfilment";
const PLACED: &str = "encargo.order.placed";
const ENTERED: &str = "encargo.order.state-entered";

/// The headers of a placed order: CloudEvents 1.0 in binary mode (Kafka protocol binding §3.2), and the trace.
pub fn order_headers(order: &Order) -> Headers {
    cloud_event(order, order.id.to_string(), INTAKE, PLACED)
}

/// The headers of a state event; `ce_id` is the event's identity, `order.seq`.
pub fn event_headers(event: &StateEvent) -> Headers {
    let id = format!("{}.{}", event.order.id, event.seq);
    cloud_event(&event.order, id, FULFILMENT, ENTERED)
}

const FORWARDED: &str = "/encargo/forward";

/// The headers of a state that is forwarded to old readers.
pub fn forwarded_headers(event: &StateEvent) -> Headers {
    let id = format!("{}.{}", event.order.id, event.seq);
    cloud_event(&event.order, id, FORWARDED, ENTERED)
}

/// Whether a record is a state that was forwarded to old readers, and so stands in our topic already.
pub fn is_forwarded(headers: &Headers) -> bool {
    header(headers, "ce_source") == Some(FORWARDED)
}

fn cloud_event(order: &Order, id: String, source: &'static str, kind: &'static str) -> Headers {
    let mut headers = plain_cloud_event(id, source, kind);
    headers.extend(order.trace.map(|trace| ("traceparent".into(), trace.to_string().into_bytes().into())));
    headers
}

pub(super) fn plain_cloud_event(id: String, source: &'static str, kind: &'static str) -> Headers {
    let mut headers = Headers::with_capacity(NAMES.len());
    headers.push(("content-type".into(), JSON.as_bytes().into()));
    headers.push(("ce_specversion".into(), CLOUD_EVENTS.as_bytes().into()));
    headers.push(("ce_id".into(), id.into_bytes().into()));
    headers.push(("ce_source".into(), source.as_bytes().into()));
    headers.push(("ce_type".into(), kind.as_bytes().into()));
    headers
}

/// The header by which fulfilment knows its own events again.
pub const SEAL: &str = "encargo_seal";

/// What stands for the name of a header that is not UTF-8. The Kafka library gives neither its name nor its value.
pub const UNREADABLE: &str = "\u{fffd}";

pub(super) fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(other, _)| other == name)?;
    std::str::from_utf8(value).ok()
}
