//! State events, as `compra_confirmada` carries them.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;

use super::{
    Headers, SEAL, VERSION,
    content::content,
    framing::json,
    parse::parse,
    records::{ESTADO_MAX, WireEvent},
    waits::{read_waits, waits_name},
};
use crate::domain::{
    Cause, Change, EmailAddress, Exits, Invalid, Misfit, Order, OrderId, Product, StateEvent, Timestamp, TraceParent,
    Waits, has_length,
};

/// Why a record is no event that this program can take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is none.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// It may mean anything: whoever goes on without it is wrong about its order.
    #[error("it was written by a newer Encargo (version {0} of the records, this one reads up to {VERSION})")]
    Newer(u32),
}

/// Bytes of most events: less would be moved as it grows.
const USUAL_SIZE: usize = 512;

const PLACED: &str = "placed";
const TIMER: &str = "timer";
const COMMAND: &str = "command";

/// The value of a `compra_confirmada` record.
pub fn encode_event(event: &StateEvent) -> Vec<u8> {
    let order = &event.order;
    let (cause, command, by) = match &event.cause {
        Cause::Placed => (PLACED, None, None),
        Cause::Timer => (TIMER, None, None),
        Cause::Command { id, by } => (COMMAND, Some(Cow::Borrowed(id.as_str())), Some(Cow::Borrowed(&**by))),
    };
    let left = if let Waits::Held(left) = event.waits { left } else { None };
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
        waits: waits_name(event.waits).map(Cow::Borrowed),
        left_ms: left.map(|left| left.as_millis() as u64),
        closes: event.closes().map(|closing| Cow::Borrowed(closing.name())),
        cause: Some(Cow::Borrowed(cause)),
        command,
        by,
        reason: event.reason.as_deref().map(Cow::Borrowed),
        cancel: event.exits.cancel,
        advance: event.exits.advance,
        refuse: event.exits.refuse,
        expect_at: event.exits.expect_at,
        mail: mail_of(event),
        commands: (!event.commands.is_empty()).then(|| fingerprints(&event.commands).into()),
        placed_usermail: event.address.as_ref().map(|_| Cow::Borrowed(order.email.as_str())),
        ..old_event(event)
    };
    let mut value = Vec::with_capacity(USUAL_SIZE);
    serde_json::to_writer(&mut value, &wire).expect("strings and numbers always serialise");
    value
}

/// Most events are mailed with the template of their state's name.
fn mail_of(event: &StateEvent) -> Option<Cow<'_, str>> {
    let usual = if event.change == Change::Entered { Some(&event.estado) } else { None };
    (event.mail.as_ref() != usual).then(|| event.mail.as_deref().unwrap_or_default().into())
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
        cancel: None,
        advance: false,
        refuse: false,
        expect_at: None,
        mail: None,
        commands: None,
        placed_usermail: None,
        version: None,
    }
}

/// Reads a `compra_confirmada` record of any version up to ours, or an old service's; `at` is the record's time.
pub fn decode_event(value: &[u8], headers: &Headers, at: Timestamp) -> Result<StateEvent, Unreadable> {
    read_event(value, headers, at)
        .map_err(|misfit| newer(value, headers).map_or(Unreadable::Misfit(misfit), Unreadable::Newer))
}

/// A version after ours that an event bears. Only what is sealed counts: a stranger's record stops nobody.
fn newer(value: &[u8], headers: &Headers) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    headers.text(SEAL)?;
    let Versioned { version } = parse(json(value)).ok()?;
    (version > VERSION).then_some(version)
}

fn read_event(value: &[u8], headers: &Headers, at: Timestamp) -> Result<StateEvent, Misfit> {
    let content = content(value, headers)?;
    content.read(|data| read_data(data, content.trace, headers.text(SEAL).is_some(), at))
}

fn read_data(data: &[u8], trace: Option<TraceParent>, is_sealed: bool, at: Timestamp) -> Result<StateEvent, Misfit> {
    let wire: WireEvent = parse(data)?;
    if is_sealed && wire.version.is_some_and(|version| version > VERSION) {
        return Err(Invalid::of("version", "is of a newer Encargo").into());
    }
    let entered_at = wire.at.unwrap_or(at);
    if !has_length(&wire.estado, 1..=ESTADO_MAX) || wire.estado.contains(char::is_control) {
        return Err(Invalid::of("estado", "must have 1 to 64 characters and no control characters").into());
    }
    let address = |field, text: &str| text.parse::<EmailAddress>().map_err(|invalid| Misfit::at(field, &invalid));
    let recipient = address("usermail", &wire.usermail)?;
    let placed_for = wire.placed_usermail.map(|text| address("placed_usermail", &text)).transpose()?;
    let order = Arc::new(Order {
        id: OrderId::new(wire.orderid)?,
        product: Product::new(&wire.gameid, &wire.name, &wire.price)?,
        email: placed_for.clone().unwrap_or_else(|| recipient.clone()),
        lang: wire.lang.and_then(|lang| lang.parse().ok()),
        placed_at: wire.placed_at.unwrap_or(entered_at),
        handle: wire.handle.and_then(|handle| handle.parse().ok()),
        trace,
    });
    // the first event has 1; another writer's 0 tells as little as none
    let Some(seq) = wire.seq.filter(|seq| *seq > 0) else {
        return Ok(old_services_event(order, &wire.estado, entered_at)?);
    };
    let event = StateEvent::of_version_1(order, seq, &*wire.estado, entered_at, wire.next_at);
    let Some(step) = wire.step else { return Ok(event) };
    let cause = match (wire.cause.as_deref(), wire.command, wire.by) {
        (Some(PLACED), ..) => Cause::Placed,
        (Some(COMMAND), Some(id), Some(by)) => {
            let id = id.parse().map_err(|invalid| Misfit::at("command", &invalid))?;
            Cause::Command { id, by: by.into() }
        }
        _ => Cause::Timer,
    };
    let waits = read_waits(wire.closes.as_deref(), wire.next_at, wire.waits.as_deref(), wire.left_ms)
        .ok_or(Invalid::of("closes", "an event after which nothing is due must have it"))?;
    let change = wire.change.and_then(|name| Change::named(&name)).unwrap_or(Change::Entered);
    let mail = match wire.mail.as_deref() {
        None => Some(event.estado.clone()).filter(|_| change == Change::Entered),
        Some(template) => Some(template.into()).filter(|_| !template.is_empty()),
    };
    Ok(StateEvent {
        address: placed_for.map(|_| recipient),
        step,
        flow: wire.flow.map(Into::into),
        change,
        exits: Exits { cancel: wire.cancel, advance: wire.advance, refuse: wire.refuse, expect_at: wire.expect_at },
        mail,
        commands: read_fingerprints(wire.commands.as_deref().unwrap_or_default())?,
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
    let place = place.ok_or(Invalid::of("estado", "a record without seq must have a state of the old services"))?;
    let event = StateEvent::of_version_1(order, place as u8 + 1, estado, at, None);
    let waits = if place + 1 == OLD_STATES.len() { event.waits } else { Waits::Untold };
    Ok(StateEvent { waits, ..event })
}

/// Fingerprints of commands as a text.
fn fingerprints(commands: &[u64]) -> String {
    commands.iter().map(|print| format!("{print:x}")).collect::<Vec<_>>().join(" ")
}

fn read_fingerprints(text: &str) -> Result<Box<[u64]>, Invalid> {
    let read = |word| u64::from_str_radix(word, 16);
    let prints = text.split_ascii_whitespace().map(read).collect::<Result<_, _>>();
    prints.map_err(|_| Invalid::of("commands", "must be hexadecimal numbers"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_orders_remember_round_trips(prints in prop::collection::vec(any::<u64>(), 0..9)) {
            let read = read_fingerprints(&fingerprints(&prints));
            prop_assert_eq!(read.as_deref(), Ok(&prints[..]));
        }
    }
}
