//! Headers of records: CloudEvents 1.0 in binary mode (Kafka protocol binding §3.2), the trace, and what fulfilment knows its
//! own events by.

use crate::domain::{Order, StateEvent};

/// A record's headers: names and raw values, repeats allowed.
pub type Headers = Vec<(String, Vec<u8>)>;

/// The headers of a placed order: CloudEvents 1.0 in binary mode (Kafka protocol binding §3.2), and the trace.
pub fn order_headers(order: &Order) -> Headers {
    cloud_event(order, order.id.to_string(), "/encargo/intake", "encargo.order.placed")
}

/// The headers of a state event; `ce_id` is the event's identity, `order.seq`.
pub fn event_headers(event: &StateEvent) -> Headers {
    let id = format!("{}.{}", event.order.id, event.seq);
    cloud_event(&event.order, id, "/encargo/fulfilment", "encargo.order.state-entered")
}

const FORWARDED: &str = "/encargo/forward";

/// The headers of a state that is forwarded to old readers.
pub fn forwarded_headers(event: &StateEvent) -> Headers {
    let id = format!("{}.{}", event.order.id, event.seq);
    cloud_event(&event.order, id, FORWARDED, "encargo.order.state-entered")
}

/// Whether a record is a state that was forwarded to old readers, and so stands in our topic already.
pub fn is_forwarded(headers: &Headers) -> bool {
    header(headers, "ce_source") == Some(FORWARDED)
}

fn cloud_event(order: &Order, id: String, source: &str, kind: &str) -> Headers {
    let mut headers = plain_cloud_event(id, source, kind);
    headers.extend(order.trace.map(|trace| ("traceparent".to_owned(), trace.to_string().into_bytes())));
    headers
}

pub(super) fn plain_cloud_event(id: String, source: &str, kind: &str) -> Headers {
    let fields = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", &id),
        ("ce_source", source),
        ("ce_type", kind),
    ];
    let mut headers = Vec::with_capacity(fields.len() + 2); // trace and seal
    headers.extend(fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
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
