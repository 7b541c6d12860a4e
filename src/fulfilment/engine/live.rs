//! The orders in flight of one partition: found by their number, by when their time is over, and by where in the output
//! their latest event stands. There may be a million, so that each is packed.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    sync::Arc,
};

use slab::Slab;

use super::Now;
use crate::{
    clock::Monotonic,
    domain::{EmailAddress, Flow, Order, OrderId, StateEvent, Timestamp, Waits, lifecycle::OrderState},
};

/// The place of an order in [`Live`].
pub(super) type Key = u32;

/// Orders in flight.
#[derive(Debug, Default)]
pub(super) struct Live {
    orders: Slab<LiveOrder>,
    by_id: HashMap<OrderId, Key>,
    /// When whose time is over. An entry counts if the order under the key is due at that very time: others are left from
    /// before something else happened to it.
    timers: BinaryHeap<Reverse<(Monotonic, Key)>>,
    /// Where the latest durable events stand in the output.
    offsets: BTreeSet<u64>,
    /// How many stand elsewhere.
    elsewhere: usize,
}

/// Where an order stands, and its latest event in the output.
#[derive(Debug)]
struct LiveOrder {
    order: Arc<Order>,
    flow: Arc<Flow>,
    amended: Option<Box<Amended>>,
    at: Timestamp,
    waits: Waits,
    due: Option<Monotonic>,
    place: Place,
    seq: u8,
    step: u8,
}

/// What commands left: most orders have nothing of it.
#[derive(Debug)]
struct Amended {
    address: Option<EmailAddress>,
    commands: Box<[u64]>,
}

/// Where an order's latest event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere yet: it waits for its commit.
    Staged,
    /// At an offset of our partition of the output.
    At(u64),
    /// Somewhere else: an old service wrote it on whatever partition, and no watermark may hang on it.
    Elsewhere,
}

impl Live {
    /// The key of an order.
    pub(super) fn find(&self, id: OrderId) -> Option<Key> {
        self.by_id.get(&id).copied()
    }

    /// What was placed under a key.
    pub(super) fn order(&self, key: Key) -> &Arc<Order> {
        &self.orders[key as usize].order
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    /// Where an order stands.
    pub(super) fn state(&self, key: Key) -> OrderState {
        let LiveOrder { order, flow, amended, at, waits, seq, step, .. } = &self.orders[key as usize];
        let (order, flow) = (order.clone(), flow.clone());
        let address = amended.as_ref().and_then(|amended| amended.address.clone());
        let commands = amended.as_ref().map(|amended| amended.commands.clone()).unwrap_or_default();
        OrderState { order, flow, address, seq: *seq, step: *step, at: *at, waits: *waits, commands }
    }

    /// How many orders stand where an old service left them.
    pub(super) const fn elsewhere(&self) -> usize {
        self.elsewhere
    }

    /// An event of an order, which is not durable yet: nothing that was planned for the order counts any more.
    pub(super) fn happens(&mut self, key: Option<Key>, event: &StateEvent, flow: &Arc<Flow>) -> Key {
        let is_amended = event.address.is_some() || !event.commands.is_empty();
        let amended = || Box::new(Amended { address: event.address.clone(), commands: event.commands.clone() });
        let order = LiveOrder {
            order: event.order.clone(),
            flow: flow.clone(),
            amended: is_amended.then(amended),
            at: event.at,
            waits: event.waits,
            due: None,
            place: Place::Staged,
            seq: event.seq,
            step: event.step,
        };
        if let Some(key) = key {
            let before = std::mem::replace(&mut self.orders[key as usize], order);
            self.leave(before.place);
            return key;
        }
        let key = self.orders.insert(order) as Key;
        self.by_id.insert(event.order.id, key);
        key
    }

    /// The order's event of that number is durable.
    pub(super) fn settle(&mut self, key: Key, seq: u8, offset: u64, now: Now) {
        // otherwise another follows in the same commit
        if self.orders[key as usize].seq == seq {
            self.orders[key as usize].place = Place::At(offset);
            self.offsets.insert(offset);
            self.plan(key, now);
        }
    }

    /// An order where its latest event left it: at an offset of the output, or elsewhere.
    pub(super) fn restore(&mut self, event: &StateEvent, flow: &Arc<Flow>, offset: Option<u64>, now: Now) {
        let key = self.happens(None, event, flow);
        self.orders[key as usize].place = offset.map_or(Place::Elsewhere, Place::At);
        self.offsets.extend(offset);
        self.elsewhere += usize::from(offset.is_none());
        #[cfg(test)]
        if crate::planted::is_planted(crate::planted::Defect::TimerLost) {
            return;
        }
        self.plan(key, now);
    }

    /// An order's time runs from when its event says, not from the end of the commit. The wall clock may have been set back
    /// meanwhile: no more is left of it than there was.
    fn plan(&mut self, key: Key, now: Now) {
        let order = &mut self.orders[key as usize];
        if let Waits::Until(until) = order.waits {
            let left = until.since(order.at).saturating_sub(now.wall.since(order.at));
            let due = now.monotonic + left;
            order.due = Some(due);
            self.timers.push(Reverse((due, key)));
        }
    }

    fn leave(&mut self, place: Place) {
        match place {
            Place::Staged => {}
            Place::At(offset) => drop(self.offsets.remove(&offset)),
            Place::Elsewhere => self.elsewhere -= 1,
        }
    }

    /// When the next timer ends, or one that does not count any more.
    pub(super) fn first_due(&self) -> Option<Monotonic> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// An order whose time is over, and since when.
    pub(super) fn next_due(&mut self, now: Monotonic) -> Option<(Key, Monotonic)> {
        while let Some(Reverse((due, key))) = self.timers.peek().copied()
            && due <= now
        {
            self.timers.pop();
            if self.orders.get(key as usize).is_some_and(|order| order.due == Some(due)) {
                return Some((key, due));
            }
        }
        None
    }

    /// Takes out an order whose life is over.
    pub(super) fn remove(&mut self, key: Key) {
        let LiveOrder { order, place, .. } = self.orders.remove(key as usize);
        self.leave(place);
        if self.by_id.get(&order.id) == Some(&key) {
            self.by_id.remove(&order.id);
        }
    }

    /// The lowest place in the output at which the latest event of one of them stands.
    pub(super) fn first_offset(&self) -> Option<u64> {
        self.offsets.first().copied()
    }
}
