//! Mails that are leased as they are made: they are written once, where a lease after that would read them again and write
//! them a second time. What such a lease would have taken before them goes before them here, too.

use std::collections::HashSet;

use rusqlite::{CachedStatement, Connection};

use super::{Result, ledger, rows};
use crate::{
    domain::{EmailAddress, Lang, Order, OrderId, Timestamp, TraceParent, lifecycle::Relation},
    store::{
        ledger::{Leasing, Mail, MailId},
        orders::{Batch, Incoming},
    },
};

/// What is stored of an order and is no part of its fingerprint: its later events may say something else.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub(super) lang: Option<Lang>,
    pub(super) placed_at: Timestamp,
    pub(super) trace: Option<TraceParent>,
}

pub(super) struct Births<'conn> {
    suppressed: CachedStatement<'conn>,
    now: Timestamp,
    /// The end of the leases.
    pub(super) until: Timestamp,
    /// How many more may be born.
    room: usize,
    /// Orders whose mails can still change in this batch.
    moving: HashSet<OrderId>,
    /// How many more may be leased, born or not.
    rest: usize,
    /// Something is due that was not born.
    others: bool,
    born: Vec<Mail>,
}

impl<'conn> Births<'conn> {
    pub(super) fn new(conn: &'conn Connection, batch: &Batch) -> Result<Self> {
        let Leasing { until, limit } = batch.lease.unwrap_or(Leasing { until: batch.now, limit: 0 });
        let others = limit > 0 && ledger::is_any_due(conn, batch.now)?;
        let mut seen = HashSet::with_capacity(batch.events.len());
        let orders = batch.events.iter().map(|incoming| incoming.event.order.id);
        Ok(Self {
            suppressed: conn.prepare_cached("SELECT address, at, reason, mail FROM suppressed WHERE address = ?")?,
            now: batch.now,
            until,
            room: if others { 0 } else { limit },
            moving: if limit > 0 { orders.filter(|order| !seen.insert(*order)).collect() } else { HashSet::new() },
            rest: limit,
            others,
            born: Vec::new(),
        })
    }

    /// Whether the mail about an event is leased at once; `is_head`: nothing in its lane is before it.
    pub(super) fn takes(&mut self, incoming: &Incoming, relation: Relation, is_head: bool) -> bool {
        let is_born =
            is_head && self.room > 0 && relation != Relation::Late && !self.moving.contains(&incoming.event.order.id);
        self.room -= usize::from(is_born);
        self.others |= !is_born;
        is_born
    }

    /// Keeps a mail that was leased, as a lease would have told it.
    pub(super) fn keep(
        &mut self,
        incoming: &Incoming,
        stored: Option<Stored>,
        address: Option<&EmailAddress>,
    ) -> Result<()> {
        let event = &incoming.event;
        let mut order = Order { handle: None, ..(*event.order).clone() };
        if let Some(Stored { lang, placed_at, trace }) = stored {
            (order.lang, order.placed_at, order.trace) = (lang, placed_at, trace);
        }
        let recipient = address.unwrap_or(&order.email).as_str().to_ascii_lowercase();
        let mut found = self.suppressed.query([&recipient])?;
        let suppressed = found.next()?.map(|row| rows::suppression(row, 0)).transpose()?.flatten();
        self.rest -= 1;
        self.born.push(Mail {
            id: MailId { order: order.id, seq: event.seq },
            order,
            address: address.cloned(),
            estado: (&*event.estado).into(),
            template: event.mail.as_deref().unwrap_or(&event.estado).into(),
            step: event.step,
            at: event.at,
            next: event.next.as_deref().map(Into::into),
            waits: event.waits,
            expect_at: event.exits.expect_at,
            attempt: 1,
            begun_at: self.now,
            tries: 1,
            copies: 0,
            ambiguous: false,
            suppressed,
        });
        Ok(())
    }

    /// All mails that are leased with the batch, once it is written.
    pub(super) fn finish(mut self, conn: &Connection) -> Result<Vec<Mail>> {
        if self.others && self.rest > 0 {
            let leasing = Leasing { until: self.until, limit: self.rest };
            self.born.extend(ledger::lease(conn, self.now, leasing)?);
        }
        Ok(self.born)
    }
}
