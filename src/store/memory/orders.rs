//! Orders, their history, and the transaction that projects into them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::{MemoryStore, Projected, Tables, mailing::Mailing};
use crate::{
    domain::{
        Cause, CommandId, CommandOutcome, DeadLetter, Order, OrderId, StateEvent, Timestamp,
        lifecycle::{self, Relation},
    },
    eventlog::TopicPartition,
    store::{
        Error, Result, columns,
        ledger::{MailId, MailStatus},
        orders::{
            Advance, Applied, Batch, Details, HistoryEntry, Incoming, OrderCounts, OrderView, Orders, Query, conflict,
        },
    },
};

/// An order with its history, by seq: never empty.
pub(super) struct Row {
    pub(super) order: Order,
    pub(super) details: Details,
    pub(super) states: BTreeMap<u8, State>,
    /// The mail with its link, and when that was asked for.
    pub(super) link: Option<(Timestamp, Mailing)>,
}

/// What happened to an order, and the mail about it.
pub(super) struct State {
    pub(super) event: StateEvent,
    pub(super) offset: Option<u64>,
    pub(super) mail: Option<Mailing>,
}

impl Row {
    pub(super) fn has_refused_mail(&self) -> bool {
        let mut mails = self.states.values().filter_map(|state| state.mail.as_ref());
        mails.any(|mail| mail.status == MailStatus::Dead)
    }

    pub(super) fn current(&self) -> (u8, &State) {
        let (seq, state) = self.states.last_key_value().expect("an order is stored with its first state");
        (*seq, state)
    }

    /// A mail of the order, and when what it is about happened.
    pub(super) fn mail(&self, id: MailId) -> Option<(Timestamp, &Mailing)> {
        if id.is_link() {
            return self.link.as_ref().map(|(asked_at, mail)| (*asked_at, mail));
        }
        let State { event, mail, .. } = self.states.get(&id.seq)?;
        Some((event.at, mail.as_ref()?))
    }

    pub(super) fn mails_mut(&mut self) -> impl Iterator<Item = &mut Mailing> {
        let link = self.link.iter_mut().map(|(_, mail)| mail);
        link.chain(self.states.values_mut().filter_map(|state| state.mail.as_mut()))
    }

    fn view(&self) -> OrderView {
        let (seq, State { event, .. }) = self.current();
        let Details { partition, flow, address, .. } = self.details.clone();
        OrderView {
            order: self.order.clone(),
            partition,
            address,
            flow,
            step: event.step,
            estado: (&*event.estado).into(),
            seq,
            at: event.at,
            waits: event.waits,
            exits: event.exits,
        }
    }
}

impl State {
    fn line(&self) -> HistoryEntry {
        let event = &self.event;
        let (command, by) = match &event.cause {
            Cause::Command { id, by } => (Some(id.as_str().into()), Some(by.clone())),
            Cause::Placed | Cause::Timer => (None, None),
        };
        HistoryEntry {
            seq: event.seq,
            estado: (&*event.estado).into(),
            change: event.change,
            at: event.at,
            due: event.next_at(),
            offset: self.offset,
            by,
            command,
            reason: event.reason.clone(),
            mail: self.mail.as_ref().map(|mail| mail.status),
        }
    }
}

impl Tables {
    fn offset(&self, group: &str, tp: &TopicPartition) -> u64 {
        self.projected.get(&(group.to_owned(), tp.clone())).map_or(0, |projected| projected.offset)
    }

    fn apply(&mut self, batch: &Batch) -> Result<Applied> {
        let reached = |Advance { tp, from, to, .. }: &Advance| from != to && self.offset(&batch.group, tp) == *to;
        if !batch.advances.is_empty() && batch.advances.iter().all(reached) {
            return Ok(Applied::default()); // its first answer was lost
        }
        if let Some(stale) = batch.advances.iter().find(|step| self.offset(&batch.group, &step.tp) != step.from) {
            return Err(Error::Fenced(stale.tp.to_string()));
        }
        for Advance { tp, to, print, .. } in &batch.advances {
            let projected = Projected { offset: *to, print: *print };
            self.projected.insert((batch.group.clone(), tp.clone()), projected);
        }
        let (mut applied, mut conflicts) = (Applied::default(), Vec::new());
        for incoming in &batch.events {
            self.event(batch, incoming, &mut applied, &mut conflicts);
        }
        let (letters, floods) = batch.bound(conflicts);
        applied.floods = floods;
        for letter in letters.into_iter().chain(batch.dead.iter().cloned()) {
            self.insert_letter(letter);
        }
        for outcome in &batch.outcomes {
            if !self.outcomes.get(&outcome.command).is_some_and(columns::stays) {
                self.outcomes.insert(outcome.command.clone(), outcome.clone());
            }
        }
        if let Some(leasing) = batch.lease {
            applied.leased = self.lease_due(batch.now, leasing);
        }
        Ok(applied)
    }

    fn event(&mut self, batch: &Batch, incoming: &Incoming, applied: &mut Applied, conflicts: &mut Vec<DeadLetter>) {
        let event = &incoming.event;
        let row = self.orders.get(&event.order.id);
        let is_known = row.is_some_and(|row| row.states.contains_key(&event.seq));
        let last = row.map(|row| (row.current().0, row.order.fingerprint()));
        let relation = lifecycle::relate(last, event).unless_known(is_known);
        if relation == Relation::Conflict {
            conflicts.push(conflict(&incoming.letter, row.map(|row| &row.order), &event.order));
        }
        if !applied.count(relation, batch.is_unmailed(event)) {
            return;
        }
        let new = || Row {
            order: Order { handle: None, ..(*event.order).clone() },
            details: Details::default(),
            states: BTreeMap::new(),
            link: None,
        };
        let row = self.orders.entry(event.order.id).or_insert_with(new);
        if let Some(details) = row.details.after(relation, incoming) {
            row.details = details;
        }
        let is_dropped = row.details.drops(MailId { order: event.order.id, seq: event.seq });
        let mail = batch.mails(event).then(|| Mailing::new(batch.now, is_dropped));
        let seq = event.seq;
        #[cfg(test)]
        let seq = match last {
            Some((last, _)) if crate::planted::is_planted(crate::planted::Defect::LateIsLatest) => seq.max(last + 1),
            _ => seq,
        };
        row.states.insert(seq, State { event: event.clone(), offset: incoming.offset(), mail });
        if row.details.mails_from == Some(event.seq) {
            let earlier = row.states.range_mut(..event.seq).filter_map(|(_, state)| state.mail.as_mut());
            for mail in earlier.filter(|mail| mail.status == MailStatus::Pending) {
                mail.cancel();
            }
        }
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
        Ok(tables.orders.get(&id).map(|row| (row.view(), row.states.values().map(State::line).collect())))
    }

    async fn orders(&self, query: Query) -> Result<Vec<OrderView>> {
        let tables = self.tables();
        let wanted = |row: &&Row| {
            let (_, State { event, .. }) = row.current();
            let is_overdue = |at: Timestamp| {
                let times = [event.next_at(), event.exits.expect_at];
                event.closes().is_none() && times.into_iter().flatten().any(|time| time < at)
            };
            let mut addresses = [Some(&row.order.email), row.details.address.as_ref()].into_iter().flatten();
            query.below.is_none_or(|below| row.order.id < below)
                && query.estado.as_ref().is_none_or(|estado| **estado == *event.estado)
                && query.overdue_at.is_none_or(is_overdue)
                && (!query.mail_refused || row.has_refused_mail())
                && query.entered_before.is_none_or(|before| event.at < before)
                && query.product.as_ref().is_none_or(|text| row.order.product.matches(text))
                && query
                    .usermail
                    .as_ref()
                    .is_none_or(|of| addresses.any(|address| address.as_str().eq_ignore_ascii_case(of.as_str())))
        };
        Ok(tables.orders.values().rev().filter(wanted).take(query.limit).map(Row::view).collect())
    }

    async fn order_counts(&self) -> Result<OrderCounts> {
        let tables = self.tables();
        let mut counts = OrderCounts::default();
        for row in tables.orders.values() {
            let (_, State { event, .. }) = row.current();
            counts.add(&event.estado, event.closes(), 1);
        }
        Ok(counts)
    }

    async fn outcome(&self, command: &CommandId) -> Result<Option<CommandOutcome>> {
        Ok(self.tables().outcomes.get(command).cloned())
    }
}
