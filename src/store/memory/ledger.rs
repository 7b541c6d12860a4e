//! The mail ledger: the mail about a state, and the lanes in which an order's mails wait for each other.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{MemoryStore, Tables, mailing::Mailing, orders::Row};
use crate::{
    domain::{OrderId, Timestamp, Waits},
    store::{
        Result,
        ledger::{Class, Leasing, Ledger, LedgerCounts, Mail, MailId, MailStatus, Settled, Settlement, Suppression},
        links::{LINK, LinkRequest, Links},
    },
};

impl Tables {
    pub(super) fn mail(&mut self, id: MailId) -> Option<&mut Mailing> {
        let row = self.orders.get_mut(&id.order)?;
        if id.is_link() {
            return row.link.as_mut().map(|(_, mail)| mail);
        }
        row.states.get_mut(&id.seq)?.mail.as_mut()
    }

    /// All rows of the ledger.
    pub(super) fn mails(&self) -> impl Iterator<Item = (MailId, &Mailing)> {
        self.orders.keys().flat_map(|order| self.link(*order).into_iter().chain(self.lane(*order)))
    }

    /// The mail with the link to an order.
    fn link(&self, order: OrderId) -> Option<(MailId, &Mailing)> {
        let (_, mail) = self.orders.get(&order)?.link.as_ref()?;
        Some((MailId::link(order), mail))
    }

    /// The mails about the events of an order.
    fn lane(&self, order: OrderId) -> impl Iterator<Item = (MailId, &Mailing)> {
        let states = self.orders.get(&order).into_iter().flat_map(|row| &row.states);
        states.filter_map(move |(seq, state)| Some((MailId { order, seq: *seq }, state.mail.as_ref()?)))
    }

    /// Of each order its link and the first unsettled mail about an event, first due first: only these are leased.
    pub(super) fn heads(&self) -> Vec<(Timestamp, MailId)> {
        let is_unsettled = |(_, mail): &(MailId, &Mailing)| mail.status.is_unsettled();
        let of_order = |order: &OrderId| {
            let link = self.link(*order).filter(is_unsettled);
            link.into_iter().chain(self.lane(*order).find(is_unsettled))
        };
        let heads = self.waiting.iter().flat_map(of_order);
        let mut heads: Vec<_> = heads.map(|(id, mail)| (mail.due_at, id)).collect();
        heads.sort_unstable();
        heads
    }

    /// Notes whether an order has mails to be sent; to be called whenever one of them has changed.
    pub(super) fn note_waiting(&mut self, order: OrderId) {
        if self.link(order).into_iter().chain(self.lane(order)).any(|(_, mail)| mail.status.is_unsettled()) {
            self.waiting.insert(order);
        } else {
            self.waiting.remove(&order);
        }
    }

    /// Leases what is due, first due first.
    pub(super) fn lease_due(&mut self, now: Timestamp, leasing: Leasing) -> Vec<Mail> {
        let due = self.heads().into_iter().take_while(|(due_at, _)| *due_at <= now).take(leasing.limit);
        due.filter_map(|(_, id)| self.lease(id, now, leasing.until)).collect()
    }

    fn lease(&mut self, id: MailId, now: Timestamp, until: Timestamp) -> Option<Mail> {
        let is_dropped = self.orders.get(&id.order)?.details.drops(id);
        let mail = self.mail(id)?;
        if is_dropped {
            mail.cancel();
            self.note_waiting(id.order);
            return None;
        }
        mail.lease(now, until);
        let is_repeat = mail.ambiguous;
        self.repeated += u64::from(is_repeat);
        self.told(id, now)
    }

    /// A mail as it is once leased.
    fn told(&self, id: MailId, now: Timestamp) -> Option<Mail> {
        let row = self.orders.get(&id.order)?;
        let address = row.details.address.clone();
        let recipient = address.as_ref().unwrap_or(&row.order.email).as_str().to_ascii_lowercase();
        let event = row.states.get(&id.seq).map(|state| &state.event);
        let (at, mail) = row.mail(id)?;
        let estado = event.map_or(LINK, |event| &event.estado);
        Some(Mail {
            id,
            order: row.order.clone(),
            address,
            estado: estado.into(),
            template: event.and_then(|event| event.mail.as_deref()).unwrap_or(estado).into(),
            step: event.map_or(0, |event| event.step),
            at,
            next: event.and_then(|event| event.next.as_deref()).map(Into::into),
            waits: event.map_or(Waits::Untold, |event| event.waits),
            expect_at: event.and_then(|event| event.exits.expect_at),
            attempt: mail.attempts,
            begun_at: mail.begun_at.unwrap_or(now),
            tries: mail.tries,
            copies: mail.copies,
            ambiguous: mail.ambiguous,
            suppressed: self.suppressed.get(&recipient).cloned(),
        })
    }

    fn ask_link(&mut self, request: &LinkRequest) -> bool {
        let Some(row) = self.orders.get_mut(&request.order) else { return false };
        let recipient = row.details.address.as_ref().unwrap_or(&row.order.email);
        if !recipient.as_str().eq_ignore_ascii_case(request.email.as_str()) {
            return false;
        }
        let mut mail = Mailing::pending(request.at);
        if let Some((asked_at, last)) = &row.link {
            if last.status.is_unsettled() || *asked_at > request.unless_since {
                return false;
            }
            mail.attempts = last.attempts; // so that a late settlement of the last one is void
        }
        row.link = Some((request.at, mail));
        self.note_waiting(request.order);
        true
    }

    /// Returns whether the attempt was the current one.
    fn settle(&mut self, settlement: &Settlement) -> bool {
        let (id, Settlement { attempt, to, .. }) = (settlement.id, settlement);
        let Some(Row { order, details, .. }) = self.orders.get(&id.order) else { return false };
        let fate = settlement.fate(details.address.as_ref().unwrap_or(&order.email).as_str(), details.mails_from);
        let Some(mail) = self.mail(id).filter(|mail| mail.is_attempt(*attempt)) else { return false };
        mail.settle(&fate);
        let at = mail.tried_at.unwrap_or_default();
        if let Some(reason) = settlement.suppresses() {
            let address = to.as_str().to_ascii_lowercase();
            let email = address.parse().expect("an address in lower case is one, too");
            let suppression = Suppression { address: email, at, reason: reason.text.clone(), mail: id };
            self.suppressed.entry(address).or_insert(suppression);
        }
        self.note_waiting(id.order);
        true
    }

    /// Takes reply and attempts from what was sent or dropped, last tried before then. Returns how many rows.
    pub(super) fn compact(&mut self, before: Timestamp) -> u64 {
        let mails = self.orders.values_mut().flat_map(Row::mails_mut);
        let is_old = |mail: &&mut Mailing| {
            let is_settled = matches!(mail.status, MailStatus::Sent | MailStatus::Dropped);
            is_settled && !mail.compacted && mail.tried_at.is_some_and(|at| at < before)
        };
        let mut compacted = 0;
        for mail in mails.filter(is_old) {
            (mail.reply, mail.tried_at, mail.attempts, mail.compacted) = (None, None, 0, true);
            compacted += 1;
        }
        compacted
    }
}

impl Mailing {
    fn is_attempt(&self, attempt: u32) -> bool {
        self.status == MailStatus::Sending && self.attempts == attempt
    }
}

#[async_trait]
impl Links for MemoryStore {
    async fn ask_link(&self, request: LinkRequest) -> Result<bool> {
        Ok(self.tables().ask_link(&request))
    }
}

#[async_trait]
impl Ledger for MemoryStore {
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
        Ok(self.tables().lease_due(now, Leasing { until, limit }))
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Settled> {
        let mut tables = self.tables();
        let count = settlements.iter().map(|settlement| u64::from(tables.settle(settlement))).sum();
        Ok(Settled { count, promoted: count }) // lanes have no heads here: each of them may have another mail
    }

    async fn renew(&self, attempts: Vec<(MailId, u32)>, until: Timestamp) -> Result<Vec<MailId>> {
        let mut tables = self.tables();
        let mut held = Vec::new();
        for (id, attempt) in attempts {
            if let Some(mail) = tables.mail(id).filter(|mail| mail.is_attempt(attempt)) {
                mail.due_at = until;
                held.push(id);
            }
        }
        Ok(held)
    }

    async fn expire_leases(&self, now: Timestamp) -> Result<u64> {
        let mut tables = self.tables();
        let sending: Vec<MailId> =
            tables.mails().filter(|(_, mail)| mail.status == MailStatus::Sending).map(|(id, _)| id).collect();
        for id in &sending {
            if let Some(mail) = tables.mail(*id) {
                (mail.status, mail.due_at, mail.ambiguous) = (MailStatus::Pending, now, true);
                mail.class = Some(Class::Unanswered);
            }
        }
        Ok(sending.len() as u64)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(self.tables().heads().first().map(|(due_at, _)| *due_at))
    }

    async fn ledger_counts(&self) -> Result<LedgerCounts> {
        let tables = self.tables();
        let (mut by_status, mut by_class) = (BTreeMap::new(), BTreeMap::new());
        for (_, mail) in tables.mails() {
            *by_status.entry(mail.status.name()).or_default() += 1;
            if let Some(class) = mail.class {
                *by_class.entry((mail.status.name(), class)).or_default() += 1;
            }
        }
        let status = |status: MailStatus| by_status.get(status.name()).map(|n| (status, *n));
        let class = |((name, class), n)| {
            let status = MailStatus::ALL.into_iter().find(|status| status.name() == name)?;
            Some((status, class, n))
        };
        let heads = tables.heads().into_iter().filter_map(|(_, id)| tables.orders.get(&id.order)?.mail(id));
        Ok(LedgerCounts {
            by_status: MailStatus::ALL.into_iter().filter_map(status).collect(),
            by_class: by_class.into_iter().filter_map(class).collect(),
            suppressed: tables.suppressed.len() as u64,
            repeated: tables.repeated,
            oldest_unsettled_at: heads.map(|(at, _)| at).min(),
        })
    }
}
