//! What a batch of events changes, computed from what the store holds of their orders. No I/O.

use std::collections::BTreeMap;

use super::{
    rows,
    tally::{Kind, Tally},
};
use crate::{
    domain::{
        Closing, Order, OrderId, Timestamp,
        lifecycle::{self, Relation},
    },
    store::{
        ledger::{Class, MailId, MailStatus},
        orders::{Applied, Batch, Details, Incoming},
    },
};

/// A state that an order has entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State<'a> {
    pub(super) estado: std::borrow::Cow<'a, str>,
    pub(super) closing: Option<Closing>,
    pub(super) at: Timestamp,
}

/// A mail that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) head: i16,
    pub(super) sending: bool,
    pub(super) class: Option<Class>,
}

/// What the store holds of an order, and what is added to it.
#[derive(Debug, Default)]
pub(super) struct OrderRow<'a> {
    pub(super) fingerprint: i64,
    pub(super) details: Details,
    /// Whether these are not what the store holds.
    pub(super) is_changed: bool,
    pub(super) states: BTreeMap<u8, State<'a>>,
    pub(super) lane: BTreeMap<u8, Waiting>,
    /// The order, when it is new.
    pub(super) new: Option<&'a Order>,
    pub(super) added: BTreeMap<u8, &'a Incoming>,
}

/// What a batch of events changes.
#[derive(Default)]
pub(super) struct Changes<'a> {
    pub(super) orders: Vec<(&'a Order, Details)>,
    /// Those of orders that are there already.
    pub(super) details: Vec<(i64, Details)>,
    /// By key.
    pub(super) history: Vec<(i64, &'a Incoming)>,
    /// New mails, by key, and whether they are heads.
    pub(super) lane: Vec<(i64, Timestamp, i16)>,
    /// Mails that are there already and become heads, or are no longer.
    pub(super) heads: Vec<(i64, i16)>,
    /// Mails that wait no longer, since their order was cancelled or refused.
    pub(super) dropped: Vec<i64>,
    /// Mails that come after that, and do not wait at all.
    pub(super) unsent: Vec<i64>,
    pub(super) started: Vec<i64>,
    pub(super) finished: Vec<i64>,
    /// Events of another order under the same id.
    pub(super) conflicts: Vec<&'a Incoming>,
    pub(super) tally: Tally,
    pub(super) applied: Applied,
}

/// Takes each event to its order, in their order.
pub(super) fn changes<'a>(stored: &mut BTreeMap<OrderId, OrderRow<'a>>, batch: &'a Batch) -> Changes<'a> {
    let mut changes = Changes::default();
    let before: BTreeMap<OrderId, State<'a>> =
        stored.iter().filter_map(|(id, order)| Some((*id, order.state()?.1.clone()))).collect();
    for incoming in &batch.events {
        take(stored, &mut changes, batch, incoming);
    }
    for (id, order) in stored {
        order.write(*id, before.get(id), batch, &mut changes);
    }
    changes
}

fn take<'a>(
    stored: &mut BTreeMap<OrderId, OrderRow<'a>>,
    changes: &mut Changes<'a>,
    batch: &'a Batch,
    incoming: &'a Incoming,
) {
    let event = &incoming.event;
    let known = stored.get(&event.order.id);
    let last = known.and_then(|known| Some((known.state()?.0, known.fingerprint.cast_unsigned())));
    let is_known = known.is_some_and(|known| known.states.contains_key(&event.seq));
    let relation = lifecycle::relate(last, event).unless_known(is_known);
    if relation == Relation::Conflict {
        changes.conflicts.push(incoming);
    }
    if !changes.applied.count(relation, batch.is_unmailed(event)) {
        return;
    }
    let known = stored.entry(event.order.id).or_insert_with(|| OrderRow {
        fingerprint: event.order.fingerprint().cast_signed(),
        new: Some(&*event.order),
        ..OrderRow::default()
    });
    if let Some(details) = known.details.after(relation, incoming) {
        (known.details, known.is_changed) = (details, true);
    }
    let state = State { estado: (&*event.estado).into(), closing: event.closes(), at: event.at };
    known.states.insert(event.seq, state);
    known.added.insert(event.seq, incoming);
}

impl<'a> OrderRow<'a> {
    /// Where the order stands.
    fn state(&self) -> Option<(u8, &State<'a>)> {
        self.states.last_key_value().map(|(seq, state)| (*seq, state))
    }

    /// Notes what was added.
    fn write(&mut self, id: OrderId, before: Option<&State<'a>>, batch: &Batch, changes: &mut Changes<'a>) {
        let Some((_, state)) = self.state().filter(|_| !self.added.is_empty()) else { return };
        if before != Some(state) {
            for (state, by) in before.map(|state| (state, -1)).into_iter().chain([(state, 1)]) {
                changes.tally.add(Kind::of_order(state.closing), &state.estado, by);
                if let Some(closing) = state.closing {
                    changes.tally.ended(closing, state.at, by);
                }
            }
        }
        match (before.is_some_and(|state| state.closing.is_none()), state.closing.is_none()) {
            (false, true) => changes.started.push(id.get() as i64),
            (true, false) => changes.finished.push(id.get() as i64),
            _ => {}
        }
        match self.new {
            Some(order) => {
                changes.tally.placed(order.placed_at);
                changes.orders.push((order, self.details.clone()));
            }
            None if self.is_changed => changes.details.push((id.get() as i64, self.details.clone())),
            None => {}
        }
        changes.history.extend(self.added.iter().map(|(seq, incoming)| (rows::key(id, *seq), *incoming)));
        self.drop_waiting(id, changes);
        self.recompute_head(id, batch, changes);
    }

    /// When the order was cancelled or refused just now, mails about what was before wait no longer; those that are being sent
    /// may finish.
    fn drop_waiting(&mut self, id: OrderId, changes: &mut Changes<'a>) {
        let Some(from) = self.details.mails_from.filter(|from| self.added.contains_key(from)) else { return };
        let is_dropped = |seq: &u8, mail: &mut Waiting| *seq < from && !mail.sending;
        for (seq, mail) in self.lane.extract_if(.., is_dropped) {
            changes.dropped.push(rows::key(id, seq));
            changes.tally.mail(MailStatus::Pending, -1);
            changes.tally.class(MailStatus::Pending, mail.class, -1);
        }
    }

    /// The first unsettled mail is the head; what was the head waits, or finishes what it is at.
    fn recompute_head(&self, id: OrderId, batch: &Batch, changes: &mut Changes<'a>) {
        let (dropped, mailed): (Vec<_>, Vec<_>) = self
            .added
            .iter()
            .filter(|(_, incoming)| batch.mails(&incoming.event))
            .partition(|(seq, _)| self.details.drops(MailId { order: id, seq: **seq }));
        changes.unsent.extend(dropped.iter().map(|(seq, _)| rows::key(id, **seq)));
        changes.tally.mail(MailStatus::Pending, mailed.len() as i64);
        let first = mailed.iter().map(|(seq, _)| *seq).chain(self.lane.keys()).min();
        for &(seq, incoming) in &mailed {
            changes.lane.push((rows::key(id, *seq), incoming.event.at, i16::from(Some(seq) == first)));
        }
        for (seq, mail) in &self.lane {
            let head = match (Some(seq) == first, mail.sending) {
                (true, _) => 1,
                (false, true) => 2,
                (false, false) => 0,
            };
            if head != mail.head {
                changes.heads.push((rows::key(id, *seq), head));
            }
        }
    }
}
