//! A row of the ledger, and how attempts change it.

use crate::{
    domain::Timestamp,
    store::ledger::{Class, Fate, MailStatus, Reason},
};

/// A row of the ledger.
pub(super) struct Mailing {
    pub(super) status: MailStatus,
    /// Pending: not before then; sending: the end of the lease.
    pub(super) due_at: Timestamp,
    /// When the last attempt began.
    pub(super) tried_at: Option<Timestamp>,
    pub(super) attempts: u32,
    pub(super) ambiguous: bool,
    pub(super) class: Option<Class>,
    pub(super) reply: Option<String>,
    /// The first attempt since it was made, or driven again.
    pub(super) begun_at: Option<Timestamp>,
    pub(super) tries: u32,
    pub(super) copies: u32,
    pub(super) compacted: bool,
}

impl Mailing {
    /// A mail that waits, or that is not sent from the start.
    pub(super) fn new(due_at: Timestamp, is_dropped: bool) -> Self {
        let mut mail = Self::pending(due_at);
        if is_dropped {
            mail.cancel();
        }
        mail
    }

    pub(super) fn pending(due_at: Timestamp) -> Self {
        Self {
            status: MailStatus::Pending,
            due_at,
            tried_at: None,
            attempts: 0,
            ambiguous: false,
            class: None,
            reply: None,
            begun_at: None,
            tries: 0,
            copies: 0,
            compacted: false,
        }
    }

    pub(super) fn redrive(&mut self, now: Timestamp) {
        (self.status, self.class, self.due_at) = (MailStatus::Pending, None, now);
        (self.begun_at, self.tries, self.copies) = (None, 0, 0);
    }

    /// Its order has ended beside the line.
    pub(super) fn cancel(&mut self) {
        self.tried_at.get_or_insert(self.due_at);
        self.ambiguous |= self.status == MailStatus::Sending; // a lease that ran out
        self.end_as(MailStatus::Dropped, Reason::cancelled());
    }

    pub(super) fn lease(&mut self, now: Timestamp, until: Timestamp) {
        let ran_out = self.status == MailStatus::Sending;
        #[cfg(test)]
        let ran_out = ran_out && !crate::planted::is_planted(crate::planted::Defect::LeaseForgotten);
        self.ambiguous |= ran_out;
        (self.status, self.class) = (MailStatus::Sending, None);
        (self.due_at, self.tried_at) = (until, Some(now));
        self.begun_at.get_or_insert(now);
        self.attempts += 1;
        self.tries += 1;
    }

    pub(super) fn settle(&mut self, fate: &Fate) {
        match *fate {
            Fate::Sent(reply) => {
                (self.status, self.class, self.reply) = (MailStatus::Sent, None, Some(reply.to_owned()));
            }
            Fate::Dead(reason) => self.end_as(MailStatus::Dead, reason.clone()),
            Fate::Dropped { unknown } => {
                self.ambiguous |= unknown;
                self.end_as(MailStatus::Dropped, Reason::cancelled());
            }
            Fate::Waits { until, reason, unknown } => {
                self.due_at = until.or(self.tried_at).unwrap_or(self.due_at);
                self.ambiguous |= unknown;
                self.copies += u32::from(unknown);
                self.end_as(MailStatus::Pending, reason.clone());
            }
        }
    }

    fn end_as(&mut self, status: MailStatus, reason: Reason) {
        (self.status, self.class, self.reply) = (status, Some(reason.class), Some(reason.text));
    }
}
