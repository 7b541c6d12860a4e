//! The wire formats: what stands in a record's value and headers, for ever readable.
//!
//! The first fields are those of the old services, spelled and typed as they spell them; ours come after. Readers
//! ignore what they do not know and need none of ours. Golden samples of every version lie in `tests/golden/`.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Cause, Change, Closing, DeadLetter, EmailAddress, Invalid, Order, OrderId, Product, Source, StateEvent, Timestamp,
    Waits,
};

/// A record's headers: names and raw values, repeats allowed.
pub type Headers = Vec<(String, Vec<u8>)>;

/// The record key of an order: its id in decimal.
pub fn key(id: OrderId) -> Vec<u8> {
    id.to_string().into_bytes()
}

#[derive(Serialize, Deserialize)]
struct WireOrder<'a> {
    orderid: u64,
    #[serde(borrow)]
    gameid: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    price: Cow<'a, str>,
    #[serde(borrow)]
    usermail: Cow<'a, str>,
    // from here on ours
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    lang: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placed_at: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    handle: Option<Cow<'a, str>>,
}

// Not a flattened WireOrder: `flatten` buffers every field, which costs more than the rest of the parse.
#[derive(Serialize, Deserialize)]
struct WireEvent<'a> {
    orderid: u64,
    #[serde(borrow)]
    gameid: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    price: Cow<'a, str>,
    #[serde(borrow)]
    usermail: Cow<'a, str>,
    #[serde(borrow)]
    estado: Cow<'a, str>,
    // from here on ours
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    lang: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placed_at: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    handle: Option<Cow<'a, str>>,
    // from here on since version 2
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<u8>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    flow: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    next: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    change: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    waits: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_ms: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    closes: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    command: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    by: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    /// The address with which it was placed, when that is not the one in `usermail` any more.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    placed_usermail: Option<Cow<'a, str>>,
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
pub fn decode_order(value: &[u8], headers: &Headers, at: Timestamp) -> Result<Order, Invalid> {
    let wire: WireOrder = serde_json::from_slice(value).map_err(|e| malformed(&e))?;
    Ok(Order {
        id: OrderId::new(wire.orderid)?,
        product: Product::new(&wire.gameid, &wire.name, &wire.price)?,
        email: wire.usermail.parse()?,
        lang: wire.lang.and_then(|lang| lang.parse().ok()),
        placed_at: wire.placed_at.unwrap_or(at),
        handle: wire.handle.and_then(|handle| handle.parse().ok()),
        trace: header(headers, "traceparent").and_then(|text| text.parse().ok()),
    })
}

/// The value of a `compra_confirmada` record.
pub fn encode_event(event: &StateEvent) -> Vec<u8> {
    let order = &event.order;
    let (cause, command, by) = match &event.cause {
        Cause::Placed => (PLACED, None, None),
        Cause::Timer => (TIMER, None, None),
        Cause::Command { id, by } => (COMMAND, Some(Cow::Borrowed(&**id)), Some(Cow::Borrowed(&**by))),
    };
    let (waits, left) = match event.waits {
        Waits::ForCommand => (Some(FOR_COMMAND), None),
        Waits::Held(left) => (Some(HELD), left),
        Waits::Until(_) | Waits::Closed(_) | Waits::Untold => (None, None),
    };
    let wire = WireEvent {
        seq: Some(event.seq),
        at: Some(event.at),
        next_at: event.next_at(),
        lang: order.lang.map(|lang| Cow::Borrowed(lang.code())),
        placed_at: Some(order.placed_at),
        handle: order.handle.map(|handle| Cow::Owned(handle.to_string())),
        step: Some(event.step),
        flow: event.flow.as_deref().map(Cow::Borrowed),
        next: event.next.as_deref().map(Cow::Borrowed),
        change: Some(event.change).filter(|change| *change != Change::Entered).map(|change| change.name().into()),
        waits: waits.map(Cow::Borrowed),
        left_ms: left.map(|left| left.as_millis() as u64),
        closes: event.closes().map(|closing| Cow::Borrowed(closing.name())),
        cause: Some(Cow::Borrowed(cause)),
        command,
        by,
        reason: event.reason.as_deref().map(Cow::Borrowed),
        placed_usermail: event.address.as_ref().map(|_| Cow::Borrowed(order.email.as_str())),
        ..old_event(event)
    };
    serde_json::to_vec(&wire).expect("strings and numbers always serialise")
}

/// The value of a `compra_confirmada` record with the fields of the old services alone.
pub fn encode_old_event(event: &StateEvent) -> Vec<u8> {
    serde_json::to_vec(&old_event(event)).expect("strings and numbers always serialise")
}

fn old_event(event: &StateEvent) -> WireEvent<'_> {
    let order = &event.order;
    WireEvent {
        orderid: order.id.get(),
        gameid: Cow::Borrowed(&order.product.id),
        name: Cow::Borrowed(&order.product.name),
        price: Cow::Borrowed(order.product.price.as_str()),
        usermail: Cow::Borrowed(event.recipient().as_str()),
        estado: Cow::Borrowed(&event.estado),
        seq: None,
        at: None,
        next_at: None,
        lang: None,
        placed_at: None,
        handle: None,
        step: None,
        flow: None,
        next: None,
        change: None,
        waits: None,
        left_ms: None,
        closes: None,
        cause: None,
        command: None,
        by: None,
        reason: None,
        placed_usermail: None,
    }
}

/// Reads a `compra_confirmada` record of any version, or an old service's; `at` is the record's time.
pub fn decode_event(value: &[u8], headers: &Headers, at: Timestamp) -> Result<StateEvent, Invalid> {
    let wire: WireEvent = serde_json::from_slice(value).map_err(|e| malformed(&e))?;
    let entered_at = wire.at.unwrap_or(at);
    if wire.estado.is_empty() || wire.estado.len() > 64 || wire.estado.contains(char::is_control) {
        return Err(Invalid::because("estado: must have 1 to 64 bytes and no control characters"));
    }
    let recipient: EmailAddress = wire.usermail.parse()?;
    let placed_for = wire.placed_usermail.map(|address| address.parse()).transpose()?;
    let order = Arc::new(Order {
        id: OrderId::new(wire.orderid)?,
        product: Product::new(&wire.gameid, &wire.name, &wire.price)?,
        email: placed_for.clone().unwrap_or_else(|| recipient.clone()),
        lang: wire.lang.and_then(|lang| lang.parse().ok()),
        placed_at: wire.placed_at.unwrap_or(entered_at),
        handle: wire.handle.and_then(|handle| handle.parse().ok()),
        trace: header(headers, "traceparent").and_then(|text| text.parse().ok()),
    });
    // the first event has 1; another writer's 0 tells as little as none
    let Some(seq) = wire.seq.filter(|seq| *seq > 0) else {
        return old_services_event(order, &wire.estado, entered_at);
    };
    let event = StateEvent::of_version_1(order, seq, &*wire.estado, entered_at, wire.next_at);
    let Some(step) = wire.step else { return Ok(event) };
    let cause = match (wire.cause.as_deref(), wire.command, wire.by) {
        (Some(PLACED), ..) => Cause::Placed,
        (Some(COMMAND), Some(id), Some(by)) => Cause::Command { id: id.into(), by: by.into() },
        _ => Cause::Timer,
    };
    let closes = wire.closes.and_then(|name| Closing::named(&name));
    let waits = match (closes, wire.next_at, wire.waits.as_deref()) {
        (Some(closing), ..) => Waits::Closed(closing),
        (None, _, Some(HELD)) => Waits::Held(wire.left_ms.map(Duration::from_millis)),
        (None, Some(due), _) => Waits::Until(due),
        (None, None, Some(FOR_COMMAND)) => Waits::ForCommand,
        (None, None, _) => return Err(Invalid::because("closes: an event after which nothing is due must have it")),
    };
    Ok(StateEvent {
        address: placed_for.map(|_| recipient),
        step,
        flow: wire.flow.map(Into::into),
        change: wire.change.and_then(|name| Change::named(&name)).unwrap_or(Change::Entered),
        next: wire.next.map(Into::into),
        waits,
        cause,
        reason: wire.reason.map(Into::into),
        ..event
    })
}

/// The states of the old services, in order: their records have a name and no number.
pub const OLD_STATES: [&str; 4] = ["recibido", "preparando", "entregando", "finalizado"];

fn old_services_event(order: Arc<Order>, estado: &str, at: Timestamp) -> Result<StateEvent, Invalid> {
    let place = OLD_STATES.iter().position(|state| *state == estado);
    let place = place.ok_or(Invalid::because("estado: a record without seq must have a state of the old services"))?;
    let event = StateEvent::of_version_1(order, place as u8 + 1, estado, at, None);
    let waits = if place + 1 == OLD_STATES.len() { event.waits } else { Waits::Untold };
    Ok(StateEvent { waits, ..event })
}

const PLACED: &str = "placed";
const TIMER: &str = "timer";
const COMMAND: &str = "command";
const FOR_COMMAND: &str = "command";
const HELD: &str = "held";

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
    let mut headers = Vec::with_capacity(6);
    let mut put = |name: &str, value: &str| headers.push((name.to_owned(), value.as_bytes().to_vec()));
    put("content-type", "application/json");
    put("ce_specversion", "1.0");
    put("ce_id", &id);
    put("ce_source", source);
    put("ce_type", kind);
    if let Some(trace) = order.trace {
        put("traceparent", &trace.to_string());
    }
    headers
}

/// The header by which fulfilment knows its own events again.
pub const SEAL: &str = "encargo_seal";

/// What stands for the name of a header that is not UTF-8. The Kafka library gives neither its name nor its value.
pub const UNREADABLE: &str = "\u{fffd}";

const DEAD: &str = "dead.";
/// Says what was cut off a dead letter; it stays with the letter, and such a one is not driven again.
const CUT: &str = "dead.cut";
/// Most bytes of a dead letter, with some room below the brokers' default for a whole batch (1,048,588): its own headers
/// come on top of a record that was itself as large as they take.
const LETTER_MAX: usize = 1_000_000;
/// Of a letter that is cut, most bytes of its key, and of its headers.
const PART_MAX: usize = 64 * 1024;
/// What a header costs beside its bytes, at most.
const HEADER_COST: usize = 16;
/// Longest reason that is believed.
const REASON_MAX: usize = 2_000;
/// Most times that a record can say that it was driven again; the stores count with a sign.
const ATTEMPTS_MAX: u32 = 1_000_000;

/// Cuts a dead letter that is too large to be written, so that it says so: what is kept of key, headers and value is
/// their beginning, and the whole record is where it came from for as long as its topic keeps it.
pub fn fit_dead_letter(letter: &mut DeadLetter) {
    letter.headers = without_dead(&letter.headers);
    let cost = |(name, value): &(String, Vec<u8>)| name.len() + value.len() + HEADER_COST;
    let key = letter.key.as_ref().map_or(0, Vec::len);
    let headers: usize = letter.headers.iter().map(cost).sum();
    let (value, count) = (letter.value.len(), letter.headers.len());
    if key + headers + value + letter.reason.len() + 2 * REASON_MAX <= LETTER_MAX {
        note_unreadable(letter);
        return;
    }
    if let Some(key) = &mut letter.key {
        key.truncate(PART_MAX);
    }
    let mut kept = 0;
    let fits = |header: &&(String, Vec<u8>)| {
        kept += cost(header);
        kept <= PART_MAX
    };
    letter.headers = letter.headers.iter().take_while(fits).cloned().collect();
    letter.value.truncate(LETTER_MAX - 2 * PART_MAX - 4 * REASON_MAX);
    let text = format!(
        "{} of {key} bytes of the key, {} of {count} headers and {} of {value} bytes of the value are kept",
        letter.key.as_ref().map_or(0, Vec::len),
        letter.headers.len(),
        letter.value.len()
    );
    letter.headers.push((CUT.to_owned(), text.into_bytes()));
}

/// Has a letter say that headers are missing whose names are not UTF-8; where they stood is left to be seen.
pub fn note_unreadable(letter: &mut DeadLetter) {
    let missing = letter.headers.iter().filter(|(name, _)| name == UNREADABLE).count();
    if missing > 0 && cut(&letter.headers).is_none() {
        let text = format!("{missing} of {} headers are not kept: their names are not UTF-8", letter.headers.len());
        letter.headers.push((CUT.to_owned(), text.into_bytes()));
    }
}

/// The headers of a dead letter of which nothing is kept but where it came from and why; it has neither key nor value.
/// `None` when it is cut so far already.
pub fn position_only(key: Option<&[u8]>, value: &[u8], headers: &Headers) -> Option<Headers> {
    let own = |(name, _): &&(String, Vec<u8>)| name.starts_with(DEAD) && name != CUT;
    let mut kept: Headers = headers.iter().filter(own).cloned().collect();
    if key.is_none() && value.is_empty() && headers.len() <= kept.len() + 1 {
        return None;
    }
    let text = match cut(headers) {
        Some(text) => format!("{text}, and of that nothing: the topic of the dead letters takes no more"),
        None => format!(
            "nothing of {} bytes of the key, {} headers and {} bytes of the value is kept: the topic of the dead letters \
             takes no more",
            key.map_or(0, <[u8]>::len),
            headers.len() - kept.len(),
            value.len()
        ),
    };
    kept.push((CUT.to_owned(), text.into_bytes()));
    Some(kept)
}

/// What was cut off a dead letter; `None` when it is whole.
pub fn cut(headers: &Headers) -> Option<&str> {
    header(headers, CUT)
}

/// The headers of a dead letter: those of the record, then where it came from and why it was refused.
pub fn dead_letter_headers(letter: &DeadLetter) -> Headers {
    let source = &letter.source;
    let mut headers = without_dead(&letter.headers);
    headers.extend(letter.headers.iter().filter(|(name, _)| name == CUT).cloned());
    for (name, value) in [
        ("topic", source.topic.clone()),
        ("partition", source.partition.to_string()),
        ("offset", source.offset.to_string()),
        ("reason", letter.reason.clone()),
        ("attempts", letter.attempts.to_string()),
    ] {
        headers.push((format!("{DEAD}{name}"), value.into_bytes()));
    }
    headers
}

/// Reads a dead-letter record; `None` when it lacks the headers that say where it came from.
pub fn decode_dead_letter(key: Option<&[u8]>, value: &[u8], headers: &Headers, at: Timestamp) -> Option<DeadLetter> {
    let dead = |name: &str| header(headers, &format!("{DEAD}{name}"));
    // anybody can write these: what no topic is called, and numbers that no store keeps, are no source
    let topic = dead("topic").filter(|topic| is_topic(topic))?;
    let mut reason = dead("reason").unwrap_or("unknown").replace(char::is_control, "\u{fffd}");
    reason.truncate(reason.floor_char_boundary(REASON_MAX));
    let mut kept = without_dead(headers);
    kept.extend(headers.iter().filter(|(name, _)| name == CUT).cloned());
    Some(DeadLetter {
        source: Source {
            topic: topic.to_owned(),
            partition: dead("partition")?.parse().ok().filter(|number| i32::try_from(*number).is_ok())?,
            offset: dead("offset")?.parse().ok().filter(|offset| i64::try_from(*offset).is_ok())?,
        },
        reason,
        attempts: attempts(headers),
        at,
        key: key.map(<[u8]>::to_vec),
        value: value.to_vec(),
        headers: kept,
    })
}

/// The headers of a dead letter that goes back to its topic: its own, and how often that has happened.
pub fn redrive_headers(letter: &DeadLetter) -> Headers {
    let mut headers = without_dead(&letter.headers);
    headers.push((format!("{DEAD}attempts"), (letter.attempts + 1).to_string().into_bytes()));
    headers
}

/// How often a record was driven again, from its headers.
pub fn attempts(headers: &Headers) -> u32 {
    let said: u32 = header(headers, "dead.attempts").and_then(|text| text.parse().ok()).unwrap_or(0);
    said.min(ATTEMPTS_MAX)
}

/// Kafka's rules for a topic's name.
fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn without_dead(headers: &Headers) -> Headers {
    headers.iter().filter(|(name, _)| !name.starts_with(DEAD)).cloned().collect()
}

fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(other, _)| other == name)?;
    std::str::from_utf8(value).ok()
}

/// The parser's words without what it quotes from the record: that may be an address.
fn malformed(error: &serde_json::Error) -> Invalid {
    let text = error.to_string();
    let text = match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) => format!("{}…{}", &text[..first], &text[last + 1..]),
        _ => text,
    };
    Invalid(format!("not a valid JSON record: {text}").into())
}

#[cfg(test)]
mod tests;
