//! What became of attempts is written down.

use rusqlite::{CachedStatement, Connection, params};

use super::lanes::{key, lane, promote};
use crate::{
    domain::Timestamp,
    store::{
        Result,
        ledger::{Class, Fate, MailStatus, Reason, Settled, Settlement, Verdict},
        sqlite::{
            rows, suppressed,
            tally::{Kind, Tally},
        },
    },
};

pub(super) fn settle(conn: &Connection, settlements: &[Settlement]) -> Result<Settled> {
    let mut ledger = Settling::new(conn)?;
    let (mut count, mut tally) = (0, Tally::default());
    for settlement in settlements {
        let (key, attempt) = (key(settlement.id), settlement.attempt);
        let (status, class, counts) = match ledger.fate(settlement)? {
            Fate::Sent(reply) => (MailStatus::Sent, None, ledger.end(key, attempt, MailStatus::Sent, None, reply)?),
            Fate::Dead(reason) => (MailStatus::Dead, Some(reason.class), ledger.dead_letter(key, attempt, reason)?),
            Fate::Dropped { unknown } => {
                (MailStatus::Dropped, Some(Class::Cancelled), ledger.cancel(key, attempt, unknown)?)
            }
            Fate::Waits { until, reason, unknown } => {
                (MailStatus::Pending, Some(reason.class), ledger.retry(key, attempt, until, reason, unknown)?)
            }
        };
        if !counts {
            continue;
        }
        count += 1;
        tally.add(Kind::Mail, MailStatus::Sending.name(), -1);
        tally.add(Kind::Mail, status.name(), 1);
        tally.class(status.name(), class, 1);
        if let Some(reason) = settlement.suppresses() {
            tally.add(Kind::Suppressed, "", suppressed::insert(conn, key, &settlement.to, &reason.text)?);
        }
    }
    tally.write(conn)?;
    Ok(Settled { count, promoted: ledger.promoted })
}

/// The statements that settle, looked up once. Each answers whether the attempt was the current one.
pub(super) struct Settling<'conn> {
    conn: &'conn Connection,
    end: CachedStatement<'conn>,
    retry: CachedStatement<'conn>,
    later: CachedStatement<'conn>,
    promoted: u64,
}

impl<'conn> Settling<'conn> {
    pub(super) fn new(conn: &'conn Connection) -> Result<Self> {
        Ok(Self {
            conn,
            end: conn.prepare_cached(
                "UPDATE history SET mail = ?3, reply = ?4, class = ?5, head = 0
                 WHERE id = ?1 AND mail = 'sending' AND attempts = ?2",
            )?,
            retry: conn.prepare_cached(
                "UPDATE history SET mail = 'pending', reply = ?3, due_at = coalesce(?4, tried_at),
                     ambiguous = ambiguous OR ?5, class = ?6, copies = copies + ?5
                 WHERE id = ?1 AND mail = 'sending' AND attempts = ?2",
            )?,
            later: conn.prepare_cached(
                "SELECT 1 FROM history WHERE id > ?1 AND id < ?2 AND mail IN ('pending', 'sending') LIMIT 1",
            )?,
            promoted: 0,
        })
    }

    /// What becomes of a mail; only one that was not accepted depends on its order.
    fn fate<'a>(&self, settlement: &'a Settlement) -> Result<Fate<'a>> {
        if let Verdict::Sent(reply) = &settlement.verdict {
            return Ok(Fate::Sent(reply));
        }
        let sql = "SELECT coalesce(address, usermail), mails_from FROM orders WHERE id = ?";
        let mut select = self.conn.prepare_cached(sql)?;
        let mut found = select.query([settlement.id.order.get() as i64])?;
        Ok(match found.next()? {
            Some(row) => settlement.fate(rows::text(row, 0)?, row.get(1)?),
            None => settlement.fate(settlement.to.as_str(), None),
        })
    }

    fn cancel(&mut self, key: i64, attempt: u32, unknown: bool) -> Result<bool> {
        let Reason { class, text } = Reason::cancelled();
        let current = self.end(key, attempt, MailStatus::Dropped, Some(class), &text)?;
        if current && unknown {
            self.conn.prepare_cached("UPDATE history SET ambiguous = 1 WHERE id = ?")?.execute([key])?;
        }
        Ok(current)
    }

    fn end(&mut self, key: i64, attempt: u32, status: MailStatus, class: Option<Class>, reply: &str) -> Result<bool> {
        if self.end.execute(params![key, attempt, status.name(), reply, class.map(Class::name)])? == 0 {
            return Ok(false);
        }
        // nearly always there is none, and then nothing has to be written
        if self.later.exists([key, lane(key).1])? {
            self.promoted += u64::from(promote(self.conn, key)?);
        }
        Ok(true)
    }

    pub(super) fn dead_letter(&mut self, key: i64, attempt: u32, reason: &Reason) -> Result<bool> {
        let current = self.end(key, attempt, MailStatus::Dead, Some(reason.class), &reason.text)?;
        if current {
            self.conn.prepare_cached("INSERT INTO dead_mails (id) VALUES (?)")?.execute([key])?;
        }
        Ok(current)
    }

    fn retry(
        &mut self,
        key: i64,
        attempt: u32,
        until: Option<Timestamp>,
        reason: &Reason,
        unknown: bool,
    ) -> Result<bool> {
        let (text, class, until) = (&reason.text, reason.class.name(), until.map(Timestamp::as_millis));
        Ok(self.retry.execute(params![key, attempt, text, until, unknown, class])? == 1)
    }
}
