//! Orders, their history, and the transaction that projects into them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::{MemoryStore, Projected, Tables, ledger::Mailing};
use crate::{
    domain::{
        Order, OrderId, Timestamp,
        lifecycle::{self, Relation},
    },
    eventlog::TopicPartition,
    store::{
        Error, Result,
        orders::{Advance, Applied, Batch, HistoryEntry, Incoming, OrderCounts, OrderView, Orders, Query, conflict},
    },
};

/// An order with its history, by seq: never empty.
pub(super) struct Row {
    pub(super) order: Order,
    pub(super) states: BTreeMap<u8, State>,
}

/// A state that an order entered, and the mail about it.
pub(super) struct State {
    pub(super) estado: Box<str>,
    pub(super) at: Timestamp,
    pub(super) next_at: Option<Timestamp>,
    pub(super) last: bool,
    pub(super) mail: Option<Mailing>,
}

impl Row {
    fn current(&self) -> (u8, &State) {
        let (seq, state) = self.states.last_key_value().expect("an order is stored with its first state");
        (*seq, state)
    }

    fn view(&self) -> OrderView {
        let (seq, state) = self.current();
        OrderView {
            order: self.order.clone(),
            estado: state.estado.clone(),
            seq,
            at: state.at,
            next_at: state.next_at,
            finished: state.last,
        }
    }
}

impl Tables {
    fn offset(&self, group: &str, tp: &TopicPartition) -> u64 {
        self.projected.get(&(group.to_owned(), tp.clone())).map_or(0, |projected| projected.offset)
    }

    fn apply(&mut self, batch: &Batch) -> Result<Applied> {
        let reached = |Advance { of, from, to, .. }: &Advance| from != to && self.offset(&batch.group, of) == *to;
        if !batch.advances.is_empty() && batch.advances.iter().all(reached) {
            return Ok(Applied::default()); // its first answer was lost
        }
        if let Some(stale) = batch.advances.iter().find(|step| self.offset(&batch.group, &step.of) != step.from) {
            return Err(Error::Fenced(stale.of.to_string()));
        }
        for Advance { of, to, print, .. } in &batch.advances {
            let projected = Projected { offset: *to, print: *print };
            self.projected.insert((batch.group.clone(), of.clone()), projected);
        }
        let mut applied = Applied::default();
        for incoming in &batch.events {
            self.event(batch, incoming, &mut applied);
        }
        for letter in &batch.dead {
            self.keep(letter.clone());
        }
        Ok(applied)
    }

    fn event(&mut self, batch: &Batch, incoming: &Incoming, applied: &mut Applied) {
        let event = &incoming.event;
        let row = self.orders.get(&event.order.id);
        let is_known = row.is_some_and(|row| row.states.contains_key(&event.seq));
        let last = row.map(|row| (row.current().0, row.order.fingerprint()));
        let relation = lifecycle::relate(last, event).unless_known(is_known);
        if relation == Relation::Conflict {
            let mut letter = incoming.letter.clone();
            letter.reason = conflict(row.map(|row| &row.order), &event.order);
            self.keep(letter);
        }
        if !applied.count(relation, batch.is_unmailed(event)) {
            return;
        }
        let mail = batch.mails(event).then(|| Mailing::pending(batch.now));
        let (estado, at, last) = (event.estado.as_ref().into(), event.at, event.closes().is_some());
        let state = State { estado, at, next_at: event.next_at(), last, mail };
        let new = || Row { order: Order { handle: None, ..(*event.order).clone() }, states: BTreeMap::new() };
        self.orders.entry(event.order.id).or_insert_with(new).states.insert(event.seq, state);
        self.note_waiting(event.order.id);
    }
}

#[async_trait]
impl Orders for MemoryStore {
    async fn offsets(&self, group: &str) -> Result<Vec<(TopicPartition, u64)>> {
        let tables = self.tables();
        let ours = tables.projected.iter().filter(|((name, _), _)| name == group);
        Ok(ours.map(|((_, tp), projected)| (tp.clone(), projected.offset)).collect())
    }

    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied> {
        self.tables().apply(&batch)
    }

    async fn order(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>> {
        let tables = self.tables();
        let line = |(seq, state): (&u8, &State)| HistoryEntry {
            seq: *seq,
            estado: state.estado.clone(),
            at: state.at,
            mail: state.mail.as_ref().map(|mail| mail.status),
        };
        Ok(tables.orders.get(&id).map(|row| (row.view(), row.states.iter().map(line).collect())))
    }

    async fn orders(&self, query: Query) -> Result<Vec<OrderView>> {
        let tables = self.tables();
        let wanted = |row: &&Row| {
            let (_, state) = row.current();
            let is_overdue = |at: Timestamp| !state.last && state.next_at.is_some_and(|next| next < at);
            query.below.is_none_or(|below| row.order.id < below)
                && query.estado.as_ref().is_none_or(|estado| **estado == *state.estado)
                && query.overdue_at.is_none_or(is_overdue)
                && query.usermail.as_ref().is_none_or(|of| row.order.email.as_str().eq_ignore_ascii_case(of.as_str()))
        };
        Ok(tables.orders.values().rev().filter(wanted).take(query.limit).map(Row::view).collect())
    }

    async fn order_counts(&self) -> Result<OrderCounts> {
        let tables = self.tables();
        let (mut by_state, mut finished) = (BTreeMap::<&str, u64>::new(), 0);
        for row in tables.orders.values() {
            let (_, state) = row.current();
            *by_state.entry(&state.estado).or_default() += 1;
            finished += u64::from(state.last);
        }
        let by_state = by_state.into_iter().map(|(estado, n)| (estado.into(), n)).collect();
        Ok(OrderCounts { total: tables.orders.len() as u64, by_state, finished })
    }
}
