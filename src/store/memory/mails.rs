//! The operator's view of the ledger.

use async_trait::async_trait;

use super::{MemoryStore, Tables, mailing::Mailing};
use crate::{
    domain::{EmailAddress, OrderId},
    store::{
        Result,
        ledger::{MailId, MailStatus, Suppression},
        links::LINK,
        mails::{MailEntry, Mails, Resend, SuppressedQuery},
    },
};

impl Tables {
    fn entry(&self, id: MailId) -> Option<MailEntry> {
        let row = self.orders.get(&id.order)?;
        let (at, mail) = row.mail(id)?;
        Some(MailEntry {
            id,
            estado: row.states.get(&id.seq).map_or(LINK, |state| &state.event.estado).into(),
            status: mail.status,
            at,
            due_at: Some(mail.due_at).filter(|_| mail.status.is_unsettled()),
            attempts: mail.attempts,
            ambiguous: mail.ambiguous,
            // of one that was dropped before its first attempt it is the time when it was made
            tried_at: mail.tried_at.filter(|_| mail.attempts > 0),
            class: mail.class,
            reply: mail.reply.clone(),
        })
    }
}

impl Tables {
    fn resend(&mut self, resend: Resend) -> bool {
        let (id, at) = (resend.id, resend.at);
        let is_later = |seq| self.orders.get(&id.order).is_some_and(|row| row.mail(MailId { seq, ..id }).is_some());
        if id.is_link() || (id.seq..u8::MAX).any(|seq| is_later(seq + 1)) {
            return false;
        }
        let is_as_seen = |mail: &&mut Mailing| mail.status == MailStatus::Sent && mail.attempts == resend.attempts;
        let Some(mail) = self.mail(id).filter(is_as_seen) else { return false };
        mail.redrive(at);
        (mail.ambiguous, mail.compacted) = (true, false);
        self.note_waiting(id.order);
        self.resends.push(resend);
        true
    }
}

#[async_trait]
impl Mails for MemoryStore {
    async fn mails_of(&self, order: OrderId) -> Result<Vec<MailEntry>> {
        let tables = self.tables();
        let seqs = tables.orders.get(&order).into_iter().flat_map(|row| row.states.keys().copied());
        let ids = [MailId::link(order)].into_iter().chain(seqs.map(|seq| MailId { order, seq }));
        Ok(ids.filter_map(|id| tables.entry(id)).collect())
    }

    async fn resend(&self, resend: Resend) -> Result<bool> {
        Ok(self.tables().resend(resend))
    }

    async fn resends_of(&self, order: OrderId) -> Result<Vec<Resend>> {
        Ok(self.tables().resends.iter().filter(|resend| resend.id.order == order).cloned().collect())
    }

    async fn mails_waiting(&self, limit: usize) -> Result<Vec<MailEntry>> {
        let tables = self.tables();
        Ok(tables.heads().into_iter().take(limit).filter_map(|(_, id)| tables.entry(id)).collect())
    }

    async fn suppressed(&self, query: SuppressedQuery) -> Result<Vec<Suppression>> {
        let tables = self.tables();
        let lower = |text: &str| text.to_ascii_lowercase();
        let after = query.after.as_ref().map(|after| lower(after.as_str())).unwrap_or_default();
        let wanted = |(address, one): &(&String, &Suppression)| {
            **address > after
                && query.containing.as_ref().is_none_or(|text| address.contains(&lower(text)))
                && query.reason.as_ref().is_none_or(|text| lower(&one.reason).contains(&lower(text)))
        };
        Ok(tables.suppressed.iter().filter(wanted).take(query.limit).map(|(_, one)| one.clone()).collect())
    }

    async fn suppression(&self, address: &EmailAddress) -> Result<Option<Suppression>> {
        Ok(self.tables().suppressed.get(&address.as_str().to_ascii_lowercase()).cloned())
    }

    async fn release_address(&self, address: &EmailAddress) -> Result<bool> {
        Ok(self.tables().suppressed.remove(&address.as_str().to_ascii_lowercase()).is_some())
    }
}
