//! Who places orders, and what they were told.

use fastrand::Rng;

use super::setup::{ORDERS, STATES};
use crate::{
    audit::Placed,
    domain::{Order, OrderId, Product, Timestamp, wire},
    eventlog::{Error, EventLog, NewRecord},
};

#[derive(Default)]
pub(super) struct Customers {
    /// The number of the last order.
    last: u64,
    acknowledged: Vec<(Placed, NewRecord)>,
    /// Orders that nobody answered for, or that were refused: their customers try again.
    unanswered: Vec<(Placed, NewRecord)>,
}

impl Customers {
    /// Has something be placed; returns what, in words. Orders that are there already come again only where they are
    /// remembered.
    pub(super) fn place(&mut self, log: &dyn EventLog, rng: &mut Rng, now: Timestamp, remembers: bool) -> String {
        let kind = rng.u32(0..12);
        match kind {
            0 => append(log, record(None, b"{\"orderid\":\"poison".to_vec(), now), "poison"),
            1 | 2 if remembers && !self.acknowledged.is_empty() => {
                let (placed, record) = self.acknowledged[rng.usize(0..self.acknowledged.len())].clone();
                append(log, record, &format!("order {} again", placed.id))
            }
            3 if remembers && !self.acknowledged.is_empty() => {
                let (placed, _) = &self.acknowledged[rng.usize(0..self.acknowledged.len())];
                let (_, record) = order(placed.id, "another", now);
                append(log, record, &format!("another order {}", placed.id))
            }
            _ if !self.unanswered.is_empty() => {
                let (placed, record) = self.unanswered.swap_remove(rng.usize(0..self.unanswered.len()));
                self.submit(log, placed, record, remembers)
            }
            _ => {
                self.last += 1;
                let (placed, record) = order(self.last, ["one", "two"][rng.usize(0..2)], now);
                self.submit(log, placed, record, remembers)
            }
        }
    }

    fn submit(&mut self, log: &dyn EventLog, placed: Placed, record: NewRecord, remembers: bool) -> String {
        let id = placed.id;
        match write(log, record.clone()) {
            Ok(()) => self.acknowledged.push((placed, record)),
            // it may be there: the customer tries again, if that can be told from another order
            Err(Error::Unconfirmed(_)) if !remembers => return format!("order {id}, unconfirmed and given up"),
            Err(error) => {
                self.unanswered.push((placed, record));
                return format!("order {id}: {error}");
            }
        }
        format!("order {id}")
    }

    /// What customers were told is accepted.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = &Placed> {
        self.acknowledged.iter().map(|(placed, _)| placed)
    }
}

fn append(log: &dyn EventLog, record: NewRecord, what: &str) -> String {
    match write(log, record) {
        Ok(()) => what.to_owned(),
        Err(error) => format!("{what}: {error}"),
    }
}

/// A log in memory answers at once.
pub(super) fn write(log: &dyn EventLog, record: NewRecord) -> Result<(), Error> {
    now_or_never(log.append(vec![record])).map(drop)
}

fn order(id: u64, product: &str, now: Timestamp) -> (Placed, NewRecord) {
    let order = Order {
        id: OrderId::new(id).expect("it is counted from 1"),
        product: Product::new(product, "Ñandú \"a, b\"", "7.99").expect("a product"),
        email: format!("customer{id}@shop.example").parse().expect("an address"),
        lang: None,
        placed_at: now,
        handle: None,
        trace: None,
    };
    let placed = Placed { id, product: product.to_owned(), email: order.email.as_str().to_owned() };
    (placed, record(Some(wire::key(order.id)), wire::encode_order(&order), now))
}

fn record(key: Option<Vec<u8>>, value: Vec<u8>, at: Timestamp) -> NewRecord {
    NewRecord { topic: ORDERS.into(), partition: None, key, value, headers: wire::Headers::default(), at }
}

/// A state of an order that is not ours, as another service writes it.
pub(super) fn state(id: u64, place: u8, partition: u32, at: Timestamp) -> NewRecord {
    let order = OrderId::new(id).expect("it is a small number");
    let mut value = serde_json::json!({
        "orderid": id,
        "gameid": "one",
        "name": "a name",
        "price": "7.99",
        "usermail": "stranger@shop.example",
        "estado": wire::OLD_STATES[usize::from(place)],
        "seq": place + 1,
        "at": at.to_string(),
    });
    if usize::from(place) + 1 < wire::OLD_STATES.len() {
        value["next_at"] = at.to_string().into();
    }
    let (topic, partition, key) = (STATES.into(), Some(partition), Some(wire::key(order)));
    NewRecord { topic, partition, key, value: value.to_string().into_bytes(), headers: wire::Headers::default(), at }
}

/// What a future has that is ready.
pub(super) fn now_or_never<T>(mut future: crate::eventlog::BoxFuture<T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => unreachable!("nothing in memory waits"),
    }
}
