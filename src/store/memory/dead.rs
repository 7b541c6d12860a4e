//! Dead letters: records in a table of their own, mails in the ledger.

use std::collections::btree_map::Entry;

use async_trait::async_trait;

use super::{MemoryStore, Tables, mailing::Mailing};
use crate::{
    domain::{DeadLetter, OrderId, Source, Timestamp, wire},
    store::{
        Result,
        dead::{Action, DeadId, DeadItem, DeadLetters, beginning},
        ledger::{MailId, MailStatus},
    },
};

/// A record that could not be processed.
pub(super) struct Letter {
    record: DeadLetter,
    status: Status,
    /// Whoever drives it again has it until then.
    claimed_until: Timestamp,
    /// Counts them in the order in which they came.
    number: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Dead,
    /// To be driven again.
    Chosen,
    Redriven,
    Dropped,
}

impl Tables {
    /// Keeps a dead record, if its source is not there yet; of one that stands for many it learns what more there is by now.
    pub(super) fn insert_letter(&mut self, letter: DeadLetter) {
        let number = self.letters.len();
        let new = |record| Letter { record, status: Status::Dead, claimed_until: Timestamp::default(), number };
        match self.letters.entry(letter.source.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(new(letter))),
            Entry::Occupied(mut entry) if wire::run(&letter.headers).is_some() => {
                let kept = entry.get_mut();
                (kept.record.reason, kept.record.headers) = (letter.reason, letter.headers);
                kept.status = Status::Dead;
            }
            Entry::Occupied(_) => {}
        }
    }

    /// The records of a status, oldest first.
    fn letters(&self, status: Status) -> Vec<&Letter> {
        let mut found: Vec<_> = self.letters.values().filter(|letter| letter.status == status).collect();
        found.sort_by_key(|letter| (letter.record.at, letter.number));
        found
    }

    fn dead_mail(id: MailId, mail: &Mailing) -> Option<DeadItem> {
        (mail.status == MailStatus::Dead).then(|| DeadItem {
            id: DeadId::Mail(id),
            order: Some(id.order),
            reason: mail.reply.clone().unwrap_or_default(),
            class: mail.class,
            attempts: mail.attempts,
            at: mail.tried_at.unwrap_or_default(),
            letter: None,
        })
    }

    /// All that is dead and undecided, oldest first.
    fn dead(&self) -> Vec<DeadItem> {
        let mut items: Vec<_> = self.mails().filter_map(|(id, mail)| Self::dead_mail(id, mail)).collect();
        items.extend(
            self.letters(Status::Dead).into_iter().map(|letter| DeadItem::of_record(beginning(&letter.record))),
        );
        items.sort_by_key(|item| item.at);
        items
    }

    fn decide(&mut self, id: &DeadId, action: Action, now: Timestamp) -> bool {
        match id {
            DeadId::Mail(id) => {
                let Some(mail) = self.mail(*id).filter(|mail| mail.status == MailStatus::Dead) else { return false };
                match action {
                    Action::Redrive | Action::Release => mail.redrive(now),
                    Action::Drop => mail.status = MailStatus::Dropped,
                }
                self.note_waiting(id.order);
                if let (Action::Release, Some(row)) = (action, self.orders.get(&id.order)) {
                    let address = row.details.address.as_ref().unwrap_or(&row.order.email);
                    self.suppressed.remove(&address.as_str().to_ascii_lowercase());
                }
                true
            }
            DeadId::Record(source) => {
                let to = if action == Action::Drop { Status::Dropped } else { Status::Chosen };
                self.move_letter(source, Status::Dead, to)
            }
        }
    }

    fn move_letter(&mut self, source: &Source, from: Status, to: Status) -> bool {
        let letter = self.letters.get_mut(source).filter(|letter| letter.status == from);
        letter.map(|letter| letter.status = to).is_some()
    }
}

#[async_trait]
impl DeadLetters for MemoryStore {
    async fn dead(&self, reason: Option<&str>, limit: usize) -> Result<Vec<DeadItem>> {
        let mut items = self.tables().dead();
        items.retain(|item| reason.is_none_or(|reason| item.reason.contains(reason)));
        items.truncate(limit);
        Ok(items)
    }

    async fn dead_one(&self, id: &DeadId) -> Result<Option<DeadItem>> {
        let tables = self.tables();
        Ok(match id {
            DeadId::Mail(_) => tables.dead().into_iter().find(|item| item.id == *id),
            DeadId::Record(source) => {
                let letter = tables.letters.get(source).filter(|letter| letter.status == Status::Dead);
                letter.map(|letter| DeadItem::of_record(letter.record.clone()))
            }
        })
    }

    async fn dead_record_of(&self, order: OrderId) -> Result<Option<DeadItem>> {
        let tables = self.tables();
        let mut items = tables.letters(Status::Dead).into_iter().map(|dead| DeadItem::of_record(dead.record.clone()));
        Ok(items.find(|item| item.order == Some(order)))
    }

    async fn decide(&self, id: &DeadId, action: Action, now: Timestamp) -> Result<bool> {
        Ok(self.tables().decide(id, action, now))
    }

    async fn claim_redrives(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<DeadLetter>> {
        let mut tables = self.tables();
        let free = tables.letters(Status::Chosen).into_iter().filter(|letter| letter.claimed_until <= now).take(limit);
        let claimed: Vec<DeadLetter> = free.map(|letter| letter.record.clone()).collect();
        for DeadLetter { source, .. } in &claimed {
            tables.letters.entry(source.clone()).and_modify(|letter| letter.claimed_until = until);
        }
        Ok(claimed)
    }

    async fn redriven(&self, source: &Source) -> Result<()> {
        self.tables().move_letter(source, Status::Chosen, Status::Redriven);
        Ok(())
    }

    async fn dead_record_count(&self) -> Result<u64> {
        let is_open = |letter: &&Letter| matches!(letter.status, Status::Dead | Status::Chosen);
        Ok(self.tables().letters.values().filter(is_open).count() as u64)
    }
}
