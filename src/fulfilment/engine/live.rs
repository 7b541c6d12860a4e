//! The orders in flight of one partition: found by their number, by when their time is over, and by where in the output
//! their latest event stands. There may be a million, so that each is packed.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU64,
    sync::Arc,
    time::Duration,
};

use hashbrown::HashTable;
use roaring::RoaringTreemap;
use slab::Slab;

use super::Now;
use crate::{
    clock::Monotonic,
    domain::{
        EmailAddress, Flow, Order, OrderId, PackedOrder, StateEvent, Timestamp, Waits,
        lifecycle::{self, OrderState},
    },
};

/// The place of an order in [`Live`].
pub(super) type Key = u32;

/// Orders in flight.
#[derive(Debug, Default)]
pub(super) struct Live {
    orders: Slab<LiveOrder>,
    /// Their keys by their numbers, which stand with the orders.
    by_id: HashTable<Key>,
    hasher: RandomState,
    /// When whose time is over. An entry counts if the order under the key is due at that very time: others are left from
    /// before something else happened to it.
    timers: BinaryHeap<Reverse<(Due, Key)>>,
    /// Where the latest durable events stand in the output.
    offsets: RoaringTreemap,
    /// How many stand elsewhere.
    elsewhere: usize,
}

/// What was placed, the flow that it stays with, and where it stands.
#[derive(Debug)]
struct LiveOrder {
    order: PackedOrder,
    flow: Arc<Flow>,
    latest: Latest,
}

/// An order's latest event.
#[derive(Debug)]
struct Latest {
    amended: Option<Box<Amended>>,
    at: Timestamp,
    waits: Waits,
    due: Option<Due>,
    place: Place,
    seq: u8,
    step: u8,
}

/// When a timer ends, in nanoseconds of the clock that timers go by, plus one so that `Option` needs no room: half the size of
/// the time itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due(NonZeroU64);

impl From<Monotonic> for Due {
    fn from(time: Monotonic) -> Self {
        Self(NonZeroU64::MIN.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl From<Due> for Monotonic {
    fn from(due: Due) -> Self {
        Duration::from_nanos(due.0.get() - 1)
    }
}

/// What commands left: most orders have nothing of it.
#[derive(Debug)]
struct Amended {
    address: Option<EmailAddress>,
    expect_at: Option<Timestamp>,
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
        self.by_id.find(self.hasher.hash_one(id), |&key| self.orders[key as usize].order.id() == id).copied()
    }

    /// What was placed under a key.
    pub(super) fn order(&self, key: Key) -> Order {
        self.orders[key as usize].order.unpack()
    }

    /// The number of an order's latest event.
    pub(super) fn seq(&self, key: Key) -> u8 {
        self.orders[key as usize].latest.seq
    }

    /// Makes room for so many more, so that nothing has to be moved while they come.
    pub(super) fn reserve(&mut self, more: usize) {
        let Self { orders, by_id, hasher, timers, .. } = self;
        orders.reserve(more);
        by_id.reserve(more, |key| hasher.hash_one(orders[*key as usize].order.id()));
        timers.reserve(more);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    /// Where an order stands.
    pub(super) fn state(&self, key: Key) -> OrderState {
        let LiveOrder { order, flow, latest } = &self.orders[key as usize];
        let Latest { amended, at, waits, seq, step, .. } = latest;
        let order = Arc::new(order.unpack());
        let address = amended.as_ref().and_then(|amended| amended.address.clone());
        let commands = amended.as_ref().map(|amended| amended.commands.clone()).unwrap_or_default();
        let expected = || lifecycle::expected(flow, *step, *waits, *at);
        let expect_at = amended.as_ref().map_or_else(expected, |amended| amended.expect_at);
        let flow = flow.clone();
        OrderState { order, flow, address, seq: *seq, step: *step, at: *at, waits: *waits, expect_at, commands }
    }

    /// How many orders stand where an old service left them.
    pub(super) const fn elsewhere(&self) -> usize {
        self.elsewhere
    }

    /// An event of an order, which is not durable yet: nothing that was planned for the order counts any more.
    pub(super) fn happens(&mut self, key: Option<Key>, event: &StateEvent, flow: &Arc<Flow>) -> Key {
        let is_amended = event.address.is_some() || !event.commands.is_empty();
        let amended = || {
            let (address, commands) = (event.address.clone(), event.commands.clone());
            Box::new(Amended { address, expect_at: event.exits.expect_at, commands })
        };
        let latest = Latest {
            amended: is_amended.then(amended),
            at: event.at,
            waits: event.waits,
            due: None,
            place: Place::Staged,
            seq: event.seq,
            step: event.step,
        };
        if let Some(key) = key {
            let before = std::mem::replace(&mut self.orders[key as usize].latest, latest);
            self.leave(before.place);
            return key;
        }
        let order = LiveOrder { order: PackedOrder::from(&*event.order), flow: flow.clone(), latest };
        let key = self.orders.insert(order) as Key;
        let Self { by_id, hasher, orders, .. } = self;
        let hash = |key: &Key| hasher.hash_one(orders[*key as usize].order.id());
        by_id.insert_unique(hash(&key), key, hash);
        key
    }

    /// The order's event of that number is durable.
    pub(super) fn settle(&mut self, key: Key, seq: u8, offset: u64, now: Now) {
        // otherwise another follows in the same commit
        let latest = &mut self.orders[key as usize].latest;
        if latest.seq == seq {
            latest.place = Place::At(offset);
            self.offsets.insert(offset);
            self.plan(key, now);
        }
    }

    /// An order where its latest event left it: at an offset of the output, or elsewhere. Its timer does not run yet.
    pub(super) fn restore(&mut self, event: &StateEvent, flow: &Arc<Flow>, offset: Option<u64>) -> Key {
        let key = self.happens(None, event, flow);
        self.orders[key as usize].latest.place = offset.map_or(Place::Elsewhere, Place::At);
        self.offsets.extend(offset);
        self.elsewhere += usize::from(offset.is_none());
        key
    }

    /// Has the timers of all that were restored run.
    pub(super) fn plan_all(&mut self, now: Now) {
        #[cfg(test)]
        if crate::planted::is_planted(crate::planted::Defect::TimerLost) {
            return;
        }
        let keys: Vec<_> = self.orders.iter().map(|(key, _)| key as Key).collect();
        for key in keys {
            self.plan(key, now);
        }
    }

    /// Takes out those whose flow has no state left for them: their numbers and what was placed, and where their latest events
    /// stand.
    pub(super) fn take_those_at_the_end(&mut self) -> Vec<(Order, u64)> {
        let is_at_the_end = |(_, order): &(usize, &LiveOrder)| order.latest.step >= order.flow.last_seq();
        let keys: Vec<_> = self.orders.iter().filter(is_at_the_end).map(|(key, _)| key as Key).collect();
        let taken = keys.into_iter().filter_map(|key| {
            let Place::At(offset) = self.orders[key as usize].latest.place else { return None };
            let order = self.order(key);
            self.remove(key);
            Some((order, offset))
        });
        taken.collect()
    }

    /// An order's time runs from when its event says, not from the end of the commit. The wall clock may have been set back
    /// meanwhile: no more is left of it than there was.
    pub(super) fn plan(&mut self, key: Key, now: Now) {
        let latest = &mut self.orders[key as usize].latest;
        if let Waits::Until(until) = latest.waits {
            let left = until.since(latest.at).saturating_sub(now.wall.since(latest.at));
            let due = Due::from(now.monotonic + left);
            latest.due = Some(due);
            self.timers.push(Reverse((due, key)));
        }
    }

    fn leave(&mut self, place: Place) {
        match place {
            Place::Staged => {}
            Place::At(offset) => _ = self.offsets.remove(offset),
            Place::Elsewhere => self.elsewhere -= 1,
        }
    }

    /// When the next timer ends, or one that does not count any more.
    pub(super) fn first_due(&self) -> Option<Monotonic> {
        self.timers.peek().map(|Reverse((due, _))| (*due).into())
    }

    /// An order whose time is over, and since when.
    pub(super) fn next_due(&mut self, now: Monotonic) -> Option<(Key, Monotonic)> {
        while let Some(Reverse((due, key))) = self.timers.peek().copied()
            && Monotonic::from(due) <= now
        {
            self.timers.pop();
            if self.orders.get(key as usize).is_some_and(|order| order.latest.due == Some(due)) {
                return Some((key, due.into()));
            }
        }
        None
    }

    /// Takes out an order whose life is over.
    pub(super) fn remove(&mut self, key: Key) {
        let LiveOrder { order, latest, .. } = self.orders.remove(key as usize);
        self.leave(latest.place);
        if let Ok(entry) = self.by_id.find_entry(self.hasher.hash_one(order.id()), |&other| other == key) {
            entry.remove();
        }
    }

    /// The lowest place in the output at which the latest event of one of them stands.
    pub(super) fn first_offset(&self) -> Option<u64> {
        self.offsets.min()
    }
}
