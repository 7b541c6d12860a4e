//! What an old service did with the orders before us.
//!
//! Its states have no key and stand on whatever partition, while an order belongs to the partition of its input record.
//! So they are read from all output partitions into a map, which is asked when the order arrives. An order that is
//! found there is carried on from its last state, and one that is finished stays so; neither state is written again.
//!
//! States leave the topic by age, perhaps before the orders. What the old service's group has committed tells such orders,
//! which are done, from those that it never saw.

use std::collections::HashMap;

use super::{
    Error,
    scan::{ranges, read_to_end},
};
use crate::{
    domain::{Order, OrderId, Timestamp, wire},
    eventlog::{EventLog, TopicPartition},
};

/// The last state of each order that an old service worked on; an id that it gave twice is two orders.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Legacy {
    states: HashMap<(OrderId, u64), (u8, Timestamp)>,
    /// States that were entered up to then may have left the topic; `None` while it holds all that were ever there.
    gone_until: Option<Timestamp>,
}

impl Legacy {
    /// Takes a state of an old service; later ones in the flow win.
    pub fn add(&mut self, order: &Order, seq: u8, at: Timestamp) {
        let last = self.states.entry((order.id, order.fingerprint())).or_insert((seq, at));
        if seq > last.0 {
            *last = (seq, at);
        }
    }

    /// The order's last state there, and when it entered it.
    pub fn state_of(&self, order: &Order) -> Option<(u8, Timestamp)> {
        self.states.get(&(order.id, order.fingerprint())).copied()
    }

    /// Whether no old service left anything.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// States of a partition that were entered up to then may have left it.
    pub fn gone_until(&mut self, at: Timestamp) {
        self.gone_until = self.gone_until.max(Some(at));
    }

    /// Whether any states may have left the topic.
    pub fn has_gaps(&self) -> bool {
        self.gone_until.is_some()
    }

    /// Whether an old service may have done the order, and its states are not there any more.
    pub fn may_have_forgotten(&self, order: &Order) -> bool {
        self.gone_until.is_some_and(|until| order.placed_at <= until) && self.state_of(order).is_none()
    }

    /// Reads them from the whole output.
    pub(super) fn read(log: &dyn EventLog, states: &str) -> Result<Self, Error> {
        let mut legacy = Self::default();
        for (range, partition) in ranges(log, states)?.into_iter().zip(0..) {
            let tp = TopicPartition { topic: states.to_owned(), partition };
            let mut first = None;
            read_to_end(log, &tp, range.start, |record| {
                first.get_or_insert(record.at);
                if record.key.is_some() {
                    return;
                }
                if let Ok(event) = wire::decode_event(&record.value, &record.headers, record.at) {
                    legacy.add(&event.order, event.seq, event.at);
                }
            })?;
            if range.start > 0 {
                legacy.gone_until(first.unwrap_or(Timestamp::from_millis(i64::MAX)));
            }
        }
        Ok(legacy)
    }
}
