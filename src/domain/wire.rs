//! The wire formats: what stands in a record's value and headers, for ever readable.
//!
//! The first fields are those of the old services, spelled and typed as they spell them; ours come after. Readers
//! ignore what they do not know and need none of ours. Golden samples of every version lie in `tests/golden/`.

mod cloudevents;
mod command_records;
mod commands;
mod content;
mod events;
mod framing;
mod headers;
mod letters;
mod parse;
mod records;
mod runs;
mod schemas;
mod waits;

use std::borrow::Cow;

use self::{parse::parse, records::WireOrder};
use super::{Misfit, Order, OrderId, Product, Timestamp, TraceParent};

pub use cloudevents::{
    KINDS, Kind, command_headers, event_headers, forwarded_headers, is_forwarded, order_headers, outcome_headers,
};
pub use commands::{decode_command, decode_outcome, encode_command, encode_outcome, read_by, read_reason};
pub use content::{Content, content, producer};
pub use events::{OLD_STATES, Unreadable, decode_event, encode_event, encode_old_event};
pub use framing::{Framed, Schemas, frame, json};
pub use headers::{Header, Headers, SEAL, UNREADABLE};
pub use letters::{
    OWN, Told, attempts, cut, dead_letter_headers, decode_dead_letter, fit_dead_letter, note_misfit, note_unreadable,
    position_only, redrive_headers, told, without_own,
};
pub use runs::{first_of_run, note_run, records, run};
pub use schemas::{Format, formats};
pub use waits::{read_waits, waits_name};

/// The version of what stands in records. A program reads all versions up to its own. Whoever changes records so that older
/// programs would misread them counts this up, and has each event say so (`version`).
pub const VERSION: u32 = 2;

/// The `$id` of a format's schema.
pub fn schema_id(format: &str) -> String {
    format!("urn:encargo:{format}")
}

/// The record key of an order: its id in decimal.
pub fn key(id: OrderId) -> Vec<u8> {
    id.to_string().into_bytes()
}

/// The value of a `compra_detalle` record.
pub fn encode_order(order: &Order) -> Vec<u8> {
    let wire = WireOrder {
        orderid: order.id.get(),
        gameid: Cow::Borrowed(&order.product.id),
        name: Cow::Borrowed(&order.product.name),
        price: Cow::Borrowed(order.product.price.as_str()),
        usermail: Cow::Borrowed(order.email.as_str()),
        lang: order.lang.map(|lang| Cow::Borrowed(lang.code())),
        placed_at: Some(order.placed_at),
        handle: order.handle.map(|handle| Cow::Owned(handle.to_string())),
    };
    serde_json::to_vec(&wire).expect("strings and numbers always serialise")
}

/// Reads a `compra_detalle` record, ours or an old service's; `at` is the record's time.
pub fn decode_order(value: &[u8], headers: &Headers, at: Timestamp) -> Result<Order, Misfit> {
    let content = content(value, headers)?;
    content.read(|data| read_order(data, content.trace, at))
}

fn read_order(data: &[u8], trace: Option<TraceParent>, at: Timestamp) -> Result<Order, Misfit> {
    let wire: WireOrder = parse(data)?;
    Ok(Order {
        id: OrderId::new(wire.orderid)?,
        product: Product::new(&wire.gameid, &wire.name, &wire.price)?,
        email: wire.usermail.parse().map_err(|invalid| Misfit::at("usermail", &invalid))?,
        lang: wire.lang.and_then(|lang| lang.parse().ok()),
        placed_at: wire.placed_at.unwrap_or(at),
        handle: wire.handle.and_then(|handle| handle.parse().ok()),
        trace,
    })
}

#[cfg(test)]
mod tests;
